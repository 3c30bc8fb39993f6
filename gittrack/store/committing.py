"""The one way into a branch: objects as a durable pack, then the ref, under the repository's write lock.

Whatever decides what is committed (the newest revision of the run, say) is read while the lock is held,
so that of two editors neither undoes the other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gittrack.errors import BusyError
from gittrack.git.maintenance import fold_packs_in_background
from gittrack.git.objects import ObjectId, ObjectSet
from gittrack.git.packs import write_pack
from gittrack.git.refs import WriteLock, is_checked_out, list_refs, read_ref, write_lock
from gittrack.git.repository import Repository
from gittrack.schema.names import HEADS, REMOTES, experiment_of_ref, experiment_ref
from gittrack.store.identity import read_signature
from gittrack.store.planted import require_own_places

_log = logging.getLogger("gittrack")
_warned: set[str] = set()
_TRIES = 50  # other programs may move the branch; our own writers wait for the lock


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be committed on an experiment's branch."""

    made_as: str
    tree: ObjectId
    message: str
    authored_at_s: int


class Branches:
    """The write side of one repository while its lock is held; what `open_branches` yields."""

    def __init__(self, repository: Repository, lock: WriteLock) -> None:
        self._repository = repository
        self._lock = lock

    def new_objects(self) -> ObjectSet:
        """An empty set for what is to be committed here."""
        return ObjectSet(self._repository.object_format)

    def commit(self, objects: ObjectSet, draft: Draft) -> ObjectId:
        """Put a draft on top of its branch; durable on return.

        Raises:
            BusyError: another program keeps moving the branch. OSError: the disk is full or failing.
        """
        ref = experiment_ref(draft.made_as)
        committer = read_signature(self._repository, int(time.time()))
        author = read_signature(self._repository, draft.authored_at_s)
        for _ in range(_TRIES):
            tip = read_ref(self._repository, ref)
            parent = tip or self.find_remote_tip(ref)
            writing = objects.copy()
            commit = writing.add_commit(draft.tree, [parent] if parent else [], author, committer, draft.message)
            self._lock.announce(ref, commit)
            with write_pack(self._repository, writing):
                if self._lock.move_ref(ref, commit, tip):
                    _warn_if_checked_out(self._repository, ref)
                    return commit
        raise BusyError(f"another program keeps moving {ref}", "try again when it is done")

    def remove(self, ref: str, old: ObjectId) -> bool:
        """Remove a branch; False when it has moved."""
        return self._lock.delete_ref(ref, old)

    def move(self, ref: str, new: ObjectId, old: ObjectId | None, objects: ObjectSet) -> bool:
        """Point a branch elsewhere, with the objects that this needs, or make it; False when it has moved."""
        if not len(objects):
            return self._lock.move_ref(ref, new, old)
        self._lock.announce(ref, new)
        with write_pack(self._repository, objects):
            return self._lock.move_ref(ref, new, old)

    def find_remote_tip(self, ref: str) -> ObjectId | None:
        """A colleague's tip of an experiment that has no local branch yet: pushing is then a fast-forward."""
        wanted = ref.removeprefix(HEADS)
        for ref, tip in list_refs(self._repository, REMOTES).items():
            if ref.endswith(f"/gittrack/{wanted}") and experiment_of_ref(ref) is not None:
                return tip
        return None


def _warn_if_checked_out(repository: Repository, ref: str) -> None:
    if ref not in _warned and is_checked_out(repository, ref):
        _warned.add(ref)
        _log.warning(
            "gittrack: %s is checked out in %s: git status shows new runs as changes; leave it: git switch -",
            ref.removeprefix("refs/heads/"),
            repository.label,
        )


@contextmanager
def open_branches(repository: Repository) -> Iterator[Branches]:
    """Hold the write lock, with the repository's format checked; afterwards packs are folded where they add up.

    Raises:
        RepositoryError: the format is not written. BusyError, OSError: as `write_lock`.
    """
    repository.require_known_format()
    require_own_places(repository)
    with write_lock(repository) as lock:
        yield Branches(repository, lock)
    fold_packs_in_background(repository)
