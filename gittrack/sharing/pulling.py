"""Pulling: a remote's histories into the local branches, its tags beside ours, and what both had edited."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gittrack.git.network import Progress
from gittrack.git.objects import ObjectId
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.sharing.fetching import LocalRefs, RemoteRefs, bring, fetch
from gittrack.sharing.renumbering import Renumbered, find_collisions, renumber
from gittrack.sharing.uploaded import note_fetched
from gittrack.store.conflicts import Conflict
from gittrack.store.joining import Joined, join_branch


@dataclass(frozen=True, slots=True)
class Pulled:
    """What pulling changed here.

    Attributes:
        refs: what the remote has. branches: those of the local ones that moved. new_tags: full names.
        renumbered: local tags that had to take another name, since the remote has theirs.
    """

    refs: RemoteRefs
    branches: tuple[Joined, ...]
    new_tags: tuple[str, ...]
    renumbered: tuple[Renumbered, ...]

    @property
    def conflicts(self) -> list[Conflict]:
        return [conflict for branch in self.branches for conflict in branch.conflicts]


def pull(
    repository: Repository, remote: Remote, only: Iterable[str] | None = None, progress: Progress | None = None
) -> Pulled:
    """Take in what a remote has; what is cut off in between is made good by the next time.

    Args:
        only: branches, by full name; all where it is None. Tags come in any case.

    Raises:
        NetworkError: it is not reached, or refuses. BusyError: another program keeps moving a branch.
    """
    wanted = None if only is None else set(only)
    before = LocalRefs.read(repository, remote)
    refs = fetch(repository, remote, wanted, progress)
    after = LocalRefs.read(repository, remote)
    note_fetched(repository, remote, before.tracked, after.tracked)
    heads = [ref for ref in refs.heads if wanted is None or ref in wanted]
    branches = [_join(repository, ref, after.theirs(remote, ref), after.heads.get(ref)) for ref in heads]
    renumbered, new_tags = _take_tags(repository, remote, after.tags, refs.tags)
    moved = tuple(branch for branch in branches if branch is not None and branch.has_moved)
    return Pulled(refs, moved, new_tags, renumbered)


def _take_tags(
    repository: Repository, remote: Remote, mine: dict[str, ObjectId], theirs: dict[str, ObjectId]
) -> tuple[tuple[Renumbered, ...], tuple[str, ...]]:
    """Bring the registry's tags that are new here; a local one in their way is renumbered first."""
    renumbered = renumber(repository, find_collisions(mine, theirs), theirs)
    given_up = {done.old for done in renumbered}
    new = [ref for ref in theirs if ref not in mine or ref in given_up]
    bring(repository, remote, [f"{ref}:{ref}" for ref in new])
    return tuple(renumbered), tuple(new)


def _join(repository: Repository, head: str, theirs: ObjectId | None, mine: ObjectId | None) -> Joined | None:
    """Join a remote's branch into the local one; None where they are one, or it went at the remote meanwhile."""
    return None if theirs is None or theirs == mine else join_branch(repository, head, [theirs])
