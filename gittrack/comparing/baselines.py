"""Which two runs a gate compares: that of the code as it stands, and that of the code that it is to join."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gittrack.comparing.factors import is_seed
from gittrack.comparing.worktree import find_code_repository
from gittrack.errors import AmbiguousError, NotFoundError
from gittrack.git.bulk import walk_sound_commits
from gittrack.git.refs import read_head
from gittrack.git.repository import Repository
from gittrack.git.revisions import find_commit
from gittrack.schema.records import RunRecord
from gittrack.store.index_answers import list_finished_code
from gittrack.store.runs import StoredRun
from gittrack.store.search import find_by_ids
from gittrack.store.store import Store

_RUNS_MAX = 1_000  # of one commit that are looked through
_PARAMS_TOLD = 6


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a candidate is held against; ``run`` is None where there is none, and ``why`` says what was looked
    for."""

    run: StoredRun | None
    why: str


def find_candidate(store: Store, spec: str | None, experiment_id: str | None) -> StoredRun:
    """The run that is judged: as named, else the newest finished one of the commit that is checked out.

    Where no run is of that commit, the newest finished one of the branch that is checked out.

    Raises:
        NotFoundError: there is none. AmbiguousError: the name fits several.
    """
    if spec:
        return store.resolve(spec)
    repository = find_code_repository(store)
    head, branch = read_head(repository) if repository is not None else (None, None)
    runs = list_finished_code(store.repository, experiment_id)
    for found in runs:
        if head is not None and found.commit == head:
            return store.get_run(found.run_id)
    for found in runs:
        if branch is not None and found.branch == branch:
            return store.get_run(found.run_id)
    place = f"commit {head[:10]}" if head else "a commit"
    raise NotFoundError(
        f"no finished run is of {place}, which is checked out",
        "train first, or name a run: gittrack compare --run RUN",
    )


def find_baseline(store: Store, against: str, candidate: StoredRun) -> Baseline:
    """The run that ``against`` names; else the newest finished one of that git revision, or of its nearest
    ancestor.

    Only runs of the candidate's experiment count, and never the candidate itself.

    Raises:
        NotFoundError: neither a run nor a revision has that name. AmbiguousError: several runs do, and no
        revision.
    """
    unnamed: NotFoundError
    try:
        return Baseline(store.resolve(against), f"run {against}")
    except NotFoundError as error:  # an ambiguous one is none either, where git knows the name
        unnamed = error
    repository = find_code_repository(store) or store.repository
    commit = find_commit(repository, against)
    if commit is None:
        if isinstance(unnamed, AmbiguousError):
            raise unnamed
        raise NotFoundError(
            f"{against!r} is neither a run nor a revision that git knows here", "fetch it: git fetch origin"
        ) from unnamed
    by_commit: dict[str, list[str]] = {}
    for found in list_finished_code(store.repository, candidate.record.experiment_id):
        if found.commit is not None and found.run_id != candidate.record.id:
            by_commit.setdefault(found.commit, []).append(found.run_id)
    place = _nearest(repository, commit, by_commit)
    if place is None:
        return Baseline(
            None,
            f"no finished run of experiment {candidate.record.experiment} is of {against} ({commit[:10]})"
            " or of an ancestor of it that is here",
        )
    nearest = "" if place == commit else f", nearest run at {place[:10]}"
    run, choice = _choose(store, by_commit[place], candidate.record)
    return Baseline(run, f"{against} ({commit[:10]}){nearest}{choice}")


def _choose(store: Store, run_ids: Sequence[str], candidate: RunRecord) -> tuple[StoredRun, str]:
    """Of the runs of one commit, the newest first: the newest with the candidate's params, else the newest.

    And what is to be said of that choice. Params that only seed a random generator need not be equal.
    """
    runs = find_by_ids(store.repository, run_ids[:_RUNS_MAX])
    wanted = _settings(candidate)
    same = next((run for run in runs if _settings(run.record) == wanted), None)
    if same is not None:
        return same, ""
    newest = store.get_run(run_ids[0])
    others = f", the newest of {len(run_ids)} runs there" if len(run_ids) > 1 else ""
    known = _settings(newest.record)
    differing = sorted(key for key in {*wanted, *known} if wanted.get(key) != known.get(key))
    return newest, f"{others}, with other params: {', '.join(differing[:_PARAMS_TOLD])}"


def _settings(record: RunRecord) -> dict[str, str]:
    return {key: repr(value) for key, value in record.params.items() if not is_seed(key)}


def _nearest(repository: Repository, commit: str, runs: Collection[str]) -> str | None:
    """The newest of a commit and its ancestors that has a run."""
    if runs:
        for found in walk_sound_commits(repository, [commit]):  # type: ignore[list-item]
            if found.id in runs:
                return found.id
    return None
