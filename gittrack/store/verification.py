"""Checking what is stored: every run against the schema, every pointer against its object.

Says what is damaged and where a copy may be; changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace

from gittrack.errors import ArtifactMissingError, DamagedError, GittrackError
from gittrack.git.bulk import walk_commits
from gittrack.git.checking import check_objects
from gittrack.git.command import find_git, run_git
from gittrack.git.maintenance import folding_held_off
from gittrack.git.objects import BLOB, GITLINK_MODE, LINK_MODE, TREE_MODE, ObjectId
from gittrack.git.promised import is_partial
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository
from gittrack.schema.codec import EXPERIMENT_FILE, parse_experiment
from gittrack.schema.messages import parse_experiment_trailers, parse_run_trailers
from gittrack.schema.names import (
    HEADS,
    REMOTES,
    SCHEMA_FILE,
    check_artifact_path,
    experiment_of_ref,
    metric_path,
    one_line,
)
from gittrack.schema.points import Point, Summary
from gittrack.schema.records import MetricSummary, RunRecord
from gittrack.store.artifacts import parse_pointer, read_object
from gittrack.store.history import Revision, find_winners, list_branches
from gittrack.store.trees import RunTree

_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be: where, what, whether it is lost here or damaged, and what to do."""

    where: str
    kind: str
    message: str
    hint: str = ""


def verify(
    repository: Repository, *, only_run: str | None = None, progress: Callable[[int, int], None] | None = None
) -> tuple[int, list[Problem]]:
    """Check every run (or one) and every experiment's record; returns how many runs, and what is wrong.

    Args:
        progress: told after each run how many are done, of how many.
    """
    try:
        branches = list_branches(repository)
    except GittrackError as error:
        return 0, [Problem(repository.label, "damaged", error.message, error.hint)]
    tips = sorted(set(branches.values()))
    problems = [*_verify_branches(repository, branches), *_verify_history(repository, tips)]
    problems += _verify_objects(repository, tips)
    try:
        runs, experiments = find_winners(repository, tips)
    except GittrackError as error:
        return 0, [*problems, Problem(repository.label, "damaged", error.message, error.hint)]
    chosen = [revision for run_id, revision in runs.items() if only_run in (None, run_id)]
    seen: dict[str, bool] = {}
    with ObjectReader(repository) as reader:
        _bring(repository, reader, [*chosen, *experiments.values()])
        for number, revision in enumerate(chosen, 1):
            problems += _verify_run(repository, reader, revision, seen)
            if progress is not None:
                progress(number, len(chosen))
        for revision in experiments.values() if only_run is None else ():
            problems += _verify_experiment(reader, revision)
    return len(chosen), problems


def _bring(repository: Repository, reader: ObjectReader, revisions: Sequence[Revision]) -> None:
    """Fetch what a partial clone lacks of all that is looked at, at once."""
    if not is_partial(repository):
        return
    wanted = set[ObjectId]()
    for revision in revisions:
        try:
            files = RunTree(repository, reader, revision.commit.tree, revision.id).list_files()
        except DamagedError:
            continue  # told when it is verified
        wanted.update(object_id for mode, object_id in files.values() if mode not in (TREE_MODE, GITLINK_MODE))
    reader.bring(wanted)


def _verify_branches(repository: Repository, found: Container[str]) -> Iterator[Problem]:
    """The experiments' branches that lead to no commit: nothing else would tell that their runs are gone."""
    if find_git() is None:
        return
    try:
        output = run_git(repository.common_dir, "for-each-ref", "--format=%(refname)", HEADS, REMOTES)
    except GittrackError:
        return  # told where the runs are walked
    for name in output.decode(errors="surrogateescape").split("\n"):
        if experiment_of_ref(name) is not None and name not in found:
            message = f"the branch {one_line(name)} leads to no commit that can be read"
            yield Problem(repository.label, "damaged", message, "fetch it again from a remote: git fetch")


def _verify_history(repository: Repository, tips: Sequence[ObjectId]) -> Iterator[Problem]:
    """Whether every commit can be read: what lies behind one that cannot is not among the runs."""
    try:
        for _ in walk_commits(repository, tips):
            pass
    except GittrackError as error:
        yield Problem(repository.label, "damaged", error.message, error.hint)


def _verify_objects(repository: Repository, tips: Sequence[ObjectId]) -> Iterator[Problem]:
    """What git itself finds wrong with the objects that our branches lead to."""
    if not tips or find_git() is None:
        return
    try:
        with folding_held_off(repository):
            check_objects(repository, tips)
    except GittrackError as error:
        stderr = getattr(error, "stderr", "") or error.message
        for line in stderr.splitlines()[:20]:
            yield Problem(repository.label, "damaged", one_line(line), "fetch it again from a remote: git fetch")


def _verify_run(
    repository: Repository, reader: ObjectReader, revision: Revision, seen: dict[str, bool]
) -> Iterator[Problem]:
    where = f"run {revision.id[:12]} (commit {revision.commit.id[:10]})"
    tree = RunTree(repository, reader, revision.commit.tree, where)
    try:
        record = tree.read_record()
        yield from _verify_claims(record, revision, where)
        names = {entry.name for entry in reader.read_tree(revision.commit.tree)}
        if SCHEMA_FILE.encode() not in names:
            yield Problem(where, "damaged", f"it has no {SCHEMA_FILE}")
        yield from _verify_metrics(tree, record, where)
        yield from _verify_artifacts(repository, reader, tree, where, seen)
    except GittrackError as error:
        yield _problem(where, error)


def _verify_claims(record: RunRecord, revision: Revision, where: str) -> Iterator[Problem]:
    if parse_run_trailers(revision.commit.message) != (record.id, record.revision):
        yield Problem(where, "damaged", f"its trailers and its record differ: the record is of run {record.id}")


def _verify_metrics(tree: RunTree, record: RunRecord, where: str) -> Iterator[Problem]:
    stored = set(tree.list_histories())
    for key in sorted(stored - set(record.metrics)):
        yield Problem(where, "damaged", f"the history of metric {one_line(key)!r} is in no summary")
    for key, summary in record.metrics.items():
        if key not in stored:
            yield Problem(where, "damaged", f"metric {one_line(key)!r} has no history at {metric_path(key)}")
            continue
        try:
            found = _summarise(tree, key)
        except GittrackError as error:
            yield _problem(f"{where} {metric_path(key)}", error)
            continue
        # of two points at one step and in one millisecond the file cannot tell which was the last
        if repr(replace(found, last=summary.last, extra=summary.extra)) != repr(summary):
            yield Problem(where, "damaged", f"metric {one_line(key)!r}: its history and its summary differ")


def _summarise(tree: RunTree, key: str) -> MetricSummary:
    """The summary that a history gives, read in blocks."""
    summary, block = Summary(), list[Point]()
    for point in tree.read_history(key):
        block.append(point)
        if len(block) == _BLOCK:
            _add(summary, block)
            block = []
    if block:
        _add(summary, block)
    return summary.freeze()


def _add(summary: Summary, block: list[Point]) -> None:
    steps, timestamps, values = zip(*block, strict=True)
    summary.add(steps, [timestamp / 1000 for timestamp in timestamps], values)


def _verify_artifacts(
    repository: Repository, reader: ObjectReader, tree: RunTree, where: str, seen: dict[str, bool]
) -> Iterator[Problem]:
    """Check paths, and each pointer's object by its hash; an object that several runs share is read once."""
    for path, (mode, object_id) in tree.list_files().items():
        if not path.startswith("artifacts/") or mode in (LINK_MODE, TREE_MODE):
            continue
        shown = f"{where} {one_line(path)}"
        try:
            check_artifact_path(path.removeprefix("artifacts/"))
            pointer = parse_pointer(reader.read_kind(object_id, BLOB))
            if pointer is None or seen.get(pointer.oid):
                continue
            for _ in read_object(repository, path, pointer):
                pass
            seen[pointer.oid] = True
        except GittrackError as error:
            yield _problem(shown, error)


def _verify_experiment(reader: ObjectReader, revision: Revision) -> Iterator[Problem]:
    where = f"experiment {revision.id} (commit {revision.commit.id[:10]})"
    try:
        entry = reader.find_path(revision.commit.tree, EXPERIMENT_FILE)
        if entry is None:
            raise DamagedError(where, f"it has no {EXPERIMENT_FILE}")
        record = parse_experiment(reader.read_kind(entry.id, BLOB), where)
        if parse_experiment_trailers(revision.commit.message) != (record.id, record.revision):
            yield Problem(where, "damaged", "its trailers and its record differ")
    except GittrackError as error:
        yield _problem(where, error)


def _problem(where: str, error: GittrackError) -> Problem:
    kind = "missing" if isinstance(error, ArtifactMissingError) else "damaged"
    return Problem(where, kind, error.message.removeprefix(f"{where}: "), error.hint)
