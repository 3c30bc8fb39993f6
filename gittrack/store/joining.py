"""Joining histories made apart: a branch takes in other tips of the same experiment, and nothing is lost.

Where one tip reaches the other the branch just moves. Else a commit with both as parents joins them; it is made
of nothing but those two, so that it is the same wherever it is made, and clones that pull from each other come to
rest. What was edited in both gets one more revision where its tags are to be united.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gittrack.errors import BusyError, DamagedError
from gittrack.git.ancestry import find_independent, is_ancestor
from gittrack.git.bulk import read_commits
from gittrack.git.objects import Commit, ObjectId, ObjectSet
from gittrack.git.refs import read_ref
from gittrack.git.repository import Repository
from gittrack.schema.messages import format_join_message
from gittrack.store.committing import Branches, open_branches
from gittrack.store.conflicts import Conflict, find_conflicts, joiner, settle

_TRIES = 50  # other programs may move the branch; our own writers wait for the lock


@dataclass(frozen=True, slots=True)
class Joined:
    """What became of one branch: where it was and is, whether histories were joined, and what both had edited."""

    ref: str
    before: ObjectId | None
    tip: ObjectId
    is_join: bool = False
    conflicts: tuple[Conflict, ...] = ()

    @property
    def has_moved(self) -> bool:
        return self.before != self.tip


def join_branch(repository: Repository, ref: str, tips: Iterable[ObjectId]) -> Joined:
    """Bring tips of an experiment into its local branch, which is made where it is not there; durable on return.

    Raises:
        BusyError: another program keeps moving the branch. DamagedError: a tip cannot be read.
    """
    with open_branches(repository) as branches:
        return join_into(branches, repository, ref, tips)


def join_into(branches: Branches, repository: Repository, ref: str, tips: Iterable[ObjectId]) -> Joined:
    """As `join_branch`, while the write lock is held."""
    wanted = sorted(set(tips))
    conflicts: list[Conflict] = []
    is_join, first = False, read_ref(repository, ref)
    for _ in range(_TRIES + len(wanted)):
        before = read_ref(repository, ref)
        heads = find_independent(repository, [*wanted, *([before] if before else [])])
        if heads == [before]:
            return Joined(ref, first, heads[0], is_join, tuple(conflicts))
        objects = branches.new_objects()
        if before is None or before not in heads:  # it is behind one of them
            branches.move(ref, heads[0], before, objects)
            continue
        other = next(head for head in heads if head != before)  # two at a time: a join is of two
        tip, found = _join(repository, before, other, objects)
        if branches.move(ref, tip, before, objects):
            is_join = True
            conflicts += found
    raise BusyError(f"another program keeps moving {ref}", "try again when it is done")


def take_in(branches: Branches, repository: Repository, ref: str, based_on: ObjectId) -> bool:
    """Let a branch have the commit that an edit is based on, which may be a remote's; True where it had not.

    The edit then descends from it, and what stood beside it in the branch has been joined, not passed over.
    """
    tip = read_ref(repository, ref) or branches.find_remote_tip(ref)
    if tip is not None and is_ancestor(repository, based_on, tip):
        return False
    return join_into(branches, repository, ref, [based_on, *([tip] if tip else [])]).has_moved


def _join(
    repository: Repository, one: ObjectId, other: ObjectId, objects: ObjectSet
) -> tuple[ObjectId, Sequence[Conflict]]:
    """A tip above two; what it needs is added to the objects."""
    commits = []
    for head, commit in zip((one, other), read_commits(repository, (one, other)), strict=True):
        if commit is None:
            raise DamagedError(f"commit {head}", "it is not here, or no commit", "fetch it again: git fetch")
        commits.append(commit)
    found = find_conflicts(repository, one, other)
    return settle(repository, _add_join(commits, objects), found, objects)


def _add_join(commits: Sequence[Commit], objects: ObjectSet) -> Commit:
    """The commit that joins two: the newer one first, whose tree it shows, and at whose time it is made."""
    newer, older = sorted(commits, key=lambda commit: (commit.committed_at_s, commit.id), reverse=True)
    who, parents = joiner(newer.committed_at_s), (newer.id, older.id)
    message = format_join_message()
    made = objects.add_commit(newer.tree, parents, who, who, message)
    return Commit(made, newer.tree, parents, "", newer.committed_at_s, message)
