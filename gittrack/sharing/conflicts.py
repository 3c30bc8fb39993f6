"""What was edited on both sides of a join: which revision counts, what it says otherwise, and tags united.

By the ordinary rule the greater revision counts, and both stay in the history. Only tags are taken from both:
where the one that counts lacks some, one more revision holds them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gittrack.errors import DamagedError
from gittrack.git.bulk import read_blobs, walk_commits, walk_sound_commits
from gittrack.git.objects import Commit, ObjectId, ObjectSet, Signature
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository
from gittrack.schema.codec import EXPERIMENT_FILE, parse_experiment
from gittrack.schema.merging import list_lost, unite_tags
from gittrack.schema.messages import format_experiment_message, format_run_message
from gittrack.schema.records import ExperimentRecord, RunRecord
from gittrack.store.experiments import experiment_tree
from gittrack.store.history import Owner, Revision, read_revision
from gittrack.store.records import load_records
from gittrack.store.trees import revised_tree

_WHAT = "tags of both sides united"
_NAME = "gittrack"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A run, or an experiment's record, that was edited on both sides.

    Attributes:
        kept: the commit whose revision counts; other: the one that stays in the history only.
        lost: the fields in which that one says something else.
        united: the tags of both, where the kept one has others.
    """

    kind: str
    id: str
    name: str
    kept: ObjectId
    other: ObjectId
    lost: tuple[str, ...]
    united: dict[str, str] | None


def joiner(time_s: int) -> Signature:
    """Who joins: nobody in particular, so that the same join made apart is the same commit."""
    return Signature(_NAME, f"{_NAME}@localhost", time_s)


def find_conflicts(repository: Repository, one: ObjectId, other: ObjectId) -> list[Conflict]:
    """What has revisions on both sides of two tips that differ in more than the tags' order; sorted by id.

    Raises:
        RepositoryError: a history cannot be walked.
    """
    sides = [_find_newest(repository, [tip], [beyond]) for tip, beyond in ((one, other), (other, one))]
    (mine, seen), (theirs, _) = sides
    owners = sorted(owner for owner in mine if owner in theirs and not _is_same(mine[owner], theirs[owner]))
    if not owners:
        return []
    bases = _find_bases(repository, one, seen, set(owners))
    return [*_compare(repository, owners, mine, theirs, bases)]


def settle(
    repository: Repository, top: Commit, conflicts: Sequence[Conflict], objects: ObjectSet
) -> tuple[ObjectId, Sequence[Conflict]]:
    """The tip above a join: with one more revision for each conflict whose tags are to be united."""
    tip, time_s = top.id, top.committed_at_s
    with ObjectReader(repository) as reader:
        for conflict in conflicts:
            if conflict.united is None:
                continue
            who = joiner(time_s)
            tree, message = _revise(repository, reader, conflict, objects)
            tip = objects.add_commit(tree, [tip], who, who, message)
    return tip, conflicts


def _find_newest(
    repository: Repository, tips: Iterable[ObjectId], beyond: Sequence[ObjectId]
) -> tuple[dict[Owner, Revision], set[ObjectId]]:
    """The greatest revision of each owner on one side alone, and the commits of that side."""
    found: dict[Owner, Revision] = {}
    seen = set[ObjectId]()
    for commit in walk_commits(repository, tips, beyond=beyond):
        seen.add(commit.id)
        named = read_revision(commit)
        if named is not None:
            owner, revision = named
            if owner not in found or revision.rank > found[owner].rank:
                found[owner] = revision
    return found, seen


def _find_bases(
    repository: Repository, tip: ObjectId, apart: set[ObjectId], owners: set[Owner]
) -> dict[Owner, Revision]:
    """The greatest revision of each owner that both sides have."""
    found: dict[Owner, Revision] = {}
    for commit in walk_sound_commits(repository, [tip]):
        named = read_revision(commit) if commit.id not in apart else None
        if named is not None and named[0] in owners:
            owner, revision = named
            if owner not in found or revision.rank > found[owner].rank:
                found[owner] = revision
    return found


def _is_same(one: Revision, other: Revision) -> bool:
    return one.commit.id == other.commit.id or one.commit.tree == other.commit.tree


def _compare(
    repository: Repository,
    owners: Sequence[Owner],
    mine: dict[Owner, Revision],
    theirs: dict[Owner, Revision],
    bases: dict[Owner, Revision],
) -> Iterator[Conflict]:
    for owner in owners:
        winner, other = sorted((mine[owner], theirs[owner]), key=lambda one: one.rank, reverse=True)
        kept, lost = _load(repository, owner, winner), _load(repository, owner, other)
        if kept is None or lost is None:
            continue  # one that cannot be read: `verify` tells of it
        base = _load(repository, owner, bases[owner]) if owner in bases else None
        united = unite_tags(base.tags if base else {}, kept.tags, lost.tags)
        yield Conflict(
            kind=owner.kind,
            id=owner.id,
            name=kept.name,
            kept=winner.commit.id,
            other=other.commit.id,
            lost=list_lost(kept, lost) if isinstance(lost, type(kept)) else (),  # type: ignore[type-var]
            united=None if united == dict(kept.tags) else united,
        )


def _load(repository: Repository, owner: Owner, revision: Revision) -> RunRecord | ExperimentRecord | None:
    if owner.kind == "run":
        return next(iter(load_records(repository, [revision]))).record
    data = next(read_blobs(repository, [f"{revision.commit.id}:{EXPERIMENT_FILE}"]))
    try:
        return parse_experiment(data or b"", f"experiment commit {revision.commit.id[:10]}")
    except DamagedError:
        return None


def _revise(
    repository: Repository, reader: ObjectReader, conflict: Conflict, objects: ObjectSet
) -> tuple[ObjectId, str]:
    """Tree and message of the revision that unites the tags."""
    assert conflict.united is not None
    commit = reader.read_commit(conflict.kept)
    named = read_revision(commit)
    assert named is not None
    record = _load(repository, *named)
    if isinstance(record, RunRecord):
        run = replace(record, tags=conflict.united, revision=record.revision + 1)
        return revised_tree(reader, commit.tree, run, objects), format_run_message(run, _WHAT, {})
    assert record is not None
    experiment = replace(record, tags=conflict.united, revision=record.revision + 1)
    return experiment_tree(experiment, objects), format_experiment_message(experiment, _WHAT)
