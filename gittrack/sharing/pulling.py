"""Pulling: a remote's histories into the local branches, its tags beside ours, and what both had edited."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gittrack.git.network import Progress
from gittrack.git.objects import ObjectId
from gittrack.git.refs import read_ref
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.sharing.conflicts import Conflict
from gittrack.sharing.fetching import RemoteRefs, bring, fetch, list_tracked, tracked_head
from gittrack.sharing.joining import Joined, join_branch
from gittrack.sharing.renumbering import Renumbered, find_collisions, list_registry_tags, renumber
from gittrack.sharing.uploaded import note_fetched


@dataclass(frozen=True, slots=True)
class Pulled:
    """What pulling changed here.

    Attributes:
        refs: what the remote has. branches: those of the local ones that moved. new_tags: full names.
        renumbered: local tags that had to take another name, since the remote has theirs.
        live: how many runs in flight the remote tells of.
    """

    refs: RemoteRefs
    branches: tuple[Joined, ...]
    new_tags: tuple[str, ...]
    renumbered: tuple[Renumbered, ...]
    live: int

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
    before = list_tracked(repository, remote)
    fetched = fetch(repository, remote, wanted, progress)
    note_fetched(repository, remote, before, list_tracked(repository, remote))
    heads = [ref for ref in fetched.refs.heads if wanted is None or ref in wanted]
    branches = [_join(repository, remote, ref) for ref in heads]
    renumbered, new_tags = take_tags(repository, remote, fetched.refs.tags)
    moved = tuple(branch for branch in branches if branch is not None and branch.has_moved)
    return Pulled(fetched.refs, moved, new_tags, renumbered, len(fetched.refs.live))


def take_tags(
    repository: Repository, remote: Remote, theirs: dict[str, ObjectId]
) -> tuple[tuple[Renumbered, ...], tuple[str, ...]]:
    """Bring the registry's tags that are new here; a local one in their way is renumbered first."""
    mine = list_registry_tags(repository)
    renumbered = renumber(repository, find_collisions(mine, theirs), theirs)
    given_up = {done.old for done in renumbered}
    new = [ref for ref in theirs if ref not in mine or ref in given_up]
    bring(repository, remote, [f"{ref}:{ref}" for ref in new])
    return tuple(renumbered), tuple(new)


def _join(repository: Repository, remote: Remote, head: str) -> Joined | None:
    """Join a remote's branch into the local one; None where it went at the remote meanwhile."""
    tip = read_ref(repository, tracked_head(remote, head))
    if tip is None or read_ref(repository, head) == tip:
        return None
    return join_branch(repository, head, [tip])
