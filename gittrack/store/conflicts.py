"""What was edited on both sides of a join: which revision counts, what it says otherwise, and tags united.

By the ordinary rule the greater revision counts, and both stay in the history. Only tags are taken from both:
where the one that counts lacks some, one more revision holds them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gittrack.errors import DamagedError
from gittrack.git.ancestry import find_common
from gittrack.git.bulk import read_blobs, walk_commits, walk_sound_commits
from gittrack.git.objects import Commit, ObjectId, ObjectSet, Signature
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository
from gittrack.schema.codec import EXPERIMENT_FILE, parse_experiment
from gittrack.schema.merging import list_lost, unite_tags
from gittrack.schema.messages import format_experiment_message, format_run_message
from gittrack.schema.records import ExperimentRecord, RunRecord
from gittrack.store.history import Owner, Revision, read_revision
from gittrack.store.records import load_records
from gittrack.store.trees import experiment_tree, revised_tree

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
    mine, theirs = (_find_newest(repository, tip, beyond) for tip, beyond in ((one, other), (other, one)))
    owners = sorted(owner for owner in mine if owner in theirs and not _is_same(mine[owner], theirs[owner]))
    return [found for owner in owners if (found := _compare(repository, owner, mine[owner], theirs[owner]))]


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


def _find_newest(repository: Repository, tip: ObjectId, beyond: ObjectId) -> dict[Owner, Revision]:
    """The greatest revision of each owner on one side alone."""
    found: dict[Owner, Revision] = {}
    for commit in walk_commits(repository, [tip], beyond=[beyond]):
        _keep_greater(found, commit)
    return found


def _find_base(repository: Repository, owner: Owner, one: Revision, other: Revision) -> Revision | None:
    """The greatest revision that both of two grew from.

    Only what both commits themselves reach will do: of what the two sides share by now, one of them may have been
    made without knowing it.
    """
    found: dict[Owner, Revision] = {}
    for commit in walk_sound_commits(repository, find_common(repository, one.commit.id, other.commit.id)):
        _keep_greater(found, commit, only=owner)
    return found.get(owner)


def _keep_greater(found: dict[Owner, Revision], commit: Commit, only: Owner | None = None) -> None:
    named = read_revision(commit)
    if named is not None and only in (None, named[0]):
        owner, revision = named
        if owner not in found or revision.rank > found[owner].rank:
            found[owner] = revision


def _is_same(one: Revision, other: Revision) -> bool:
    return one.commit.id == other.commit.id or one.commit.tree == other.commit.tree


def _compare(repository: Repository, owner: Owner, mine: Revision, theirs: Revision) -> Conflict | None:
    """What two revisions made apart say; None where one of them cannot be read, of which `verify` tells."""
    winner, other = sorted((mine, theirs), key=lambda revision: revision.rank, reverse=True)
    kept, lost = _load(repository, owner, winner), _load(repository, owner, other)
    if kept is None or lost is None:
        return None
    grown_from = _find_base(repository, owner, winner, other)
    base = _load(repository, owner, grown_from) if grown_from else None
    united = unite_tags(base.tags if base else {}, kept.tags, lost.tags)
    return Conflict(
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
