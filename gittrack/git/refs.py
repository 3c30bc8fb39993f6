"""Reading refs, and moving one by compare-and-swap under a lock that heals after a crash.

One flock per repository (`write_lock`) makes our own writers wait instead of colliding; git's own lock of a ref
is the guard against everybody else. A writer that is killed between the two leaves a ``.lock``
that would block the branch for ever: it is removed only when our own note of the dead writer tells it.
How refs are kept is a module each: `ref_files`, `ref_tables`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gittrack.errors import BusyError, CommandError, DamagedError, NotFoundError
from gittrack.git.command import find_git, run_git
from gittrack.git.objects import COMMIT, ObjectId
from gittrack.git.reading import ObjectReader
from gittrack.git.ref_files import RefFiles, list_by_dulwich
from gittrack.git.ref_tables import RefTables
from gittrack.git.repository import Repository
from gittrack.git.write_lock import WAIT_S, Crash, HeldLock, RefLockedError, has_crashed, hold_lock

_REF_WAIT_S = 5.0
_LOCK_BYTES_MAX, _HEAD_BYTES_MAX = 64, 4096
_log = logging.getLogger("gittrack")


class WriteLock:
    """The held write lock of one repository; what `write_lock` yields."""

    def __init__(self, repository: Repository, lock: HeldLock) -> None:
        self.repository = repository
        self._lock = lock

    def move_ref(self, name: str, new: ObjectId, old: ObjectId | None) -> bool:
        """Move a full ref name from ``old`` to ``new``, or create it where ``old`` is None; durable when True.

        Returns False when the ref is not at ``old`` (any more).

        Raises:
            BusyError: somebody else holds the ref's lock for too long.
            RepositoryError: the ref is symbolic, or another ref is in its way. DamagedError: its file holds no id.
        """
        return self._change(name, new, old)

    def delete_ref(self, name: str, old: ObjectId) -> bool:
        """Remove a ref that is at ``old``; False when it is not. Raises as `move_ref`."""
        return self._change(name, None, old)

    def announce(self, name: str, new: ObjectId) -> None:
        """Write down durably that a ref is about to move, before the pack of its new value is there to be seen."""
        self._lock.note(name, new)

    def heal(self) -> None:
        """Remove the ref lock that a dead writer left, if one did."""
        if self._lock.crash is not None:
            self._heal(_refs_of(self.repository), self._lock.crash.ref)

    def _change(self, name: str, new: ObjectId | None, old: ObjectId | None) -> bool:
        """Change a ref under git's own lock of it; waits while somebody else holds that."""
        refs = _refs_of(self.repository, self._lock)
        self._lock.note(name, new or "")
        deadline = time.monotonic() + _REF_WAIT_S
        while True:
            try:
                return refs.change(name, new, old)
            except RefLockedError as error:
                self._heal(refs, name)
                if time.monotonic() > deadline:
                    self._lock.note("")  # it is not ours: the next writer must not take it for what we left
                    raise BusyError(
                        f"{name} is locked by another program", f"if none is running, remove {error.path}"
                    ) from None
                time.sleep(0.02)
            except FileNotFoundError:
                if time.monotonic() > deadline:  # git pack-refs took the folder away meanwhile: try again
                    raise

    def _heal(self, refs: RefFiles | RefTables, name: str) -> None:
        """Remove the ref's lock files when the writer that died before us left them.

        They were made after that writer's note and before we came, and hold what such a writer writes. What
        differs, or changes while we look, is another program's.
        """
        crash = self._lock.crash
        if crash is None or crash.ref != name:
            return
        self._lock.crash = None
        for path in refs.lock_paths(crash):
            try:
                _remove_if_left(refs, crash, path)
            except FileNotFoundError:
                continue


def _remove_if_left(refs: RefFiles | RefTables, crash: Crash, path: str) -> None:
    before = os.stat(path)
    if not crash.noted_at_ns <= before.st_mtime_ns <= crash.found_at_ns:
        return
    with open(path, "rb") as file:
        if not refs.is_left_by(crash, path, file.read(_LOCK_BYTES_MAX)):
            return
    time.sleep(refs.heal_after_s)
    after = os.stat(path)
    if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
        os.unlink(path)


@contextmanager
def write_lock(repository: Repository, wait_s: float = WAIT_S) -> Iterator[WriteLock]:
    """Hold the one write lock of a repository; raises as `hold_lock`."""
    with hold_lock(repository, wait_s) as lock:
        yield WriteLock(repository, lock)


def heal_after_crash(repository: Repository) -> None:
    """Clear away what a writer left that died holding the lock; nothing to do where none did or one works."""
    if not has_crashed(repository):
        return
    try:
        with write_lock(repository, wait_s=0.0) as lock:
            lock.heal()
    except (OSError, BusyError):
        return


def read_ref(repository: Repository, name: str) -> ObjectId | None:
    """Where a full ref name points, or None; through at most 5 symbolic refs."""
    return _refs_of(repository).read(name)


def read_head(repository: Repository) -> tuple[ObjectId | None, str | None]:
    """The commit that HEAD names, and the branch's short name; None for what there is not."""
    return _refs_of(repository).read_head()


def is_checked_out(repository: Repository, name: str) -> bool:
    """Whether the work tree's HEAD is a branch, by full name; refs in tables are not asked."""
    try:
        with open(os.path.join(repository.git_dir, "HEAD"), "rb", buffering=0) as file:
            return file.read(_HEAD_BYTES_MAX).strip() == b"ref: " + os.fsencode(name)
    except OSError:
        return False


def _refs_of(repository: Repository, lock: HeldLock | None = None) -> RefFiles | RefTables:
    if repository.has_ref_tables:
        return RefTables(repository, lock.descriptor if lock else None)
    return RefFiles(repository)


def list_refs(repository: Repository, *prefixes: str) -> dict[str, ObjectId]:
    """All refs to commits below some prefixes (each ending in '/'), by full name, sorted.

    One whose commit is missing or damaged is left out, with a warning: it must not hide the others.
    """
    if find_git() or repository.has_ref_tables:
        found = _list_by_git(repository, prefixes)
    else:
        found = _only_commits(repository, list_by_dulwich(repository, prefixes))
    return dict(sorted(found.items()))


def list_any_refs(repository: Repository, *prefixes: str) -> dict[str, ObjectId]:
    """All refs below some prefixes (each ending in '/'), whatever they name, by full name, sorted."""
    if not (find_git() or repository.has_ref_tables):
        return dict(sorted(list_by_dulwich(repository, prefixes).items()))
    told = run_git(repository.common_dir, "for-each-ref", "--format=%(objectname) %(refname)", *prefixes)
    return dict(sorted(_parse_refs(told).items()))


def may_have_refs(repository: Repository, prefix: str) -> bool:
    """Whether there may be a ref below a prefix, which ends in '/': far cheaper than to list none."""
    if repository.has_ref_tables or os.path.isdir(os.path.join(repository.common_dir, prefix)):
        return True
    try:
        with open(os.path.join(repository.common_dir, "packed-refs"), "rb") as file:
            return b" " + os.fsencode(prefix) in file.read()
    except OSError:
        return False


def _list_by_git(repository: Repository, prefixes: tuple[str, ...]) -> dict[str, ObjectId]:
    wanted = ["for-each-ref", "--format=%(objectname) %(objecttype) %(refname)", *prefixes]
    try:
        output = run_git(repository.common_dir, *wanted)
    except CommandError:  # it gives up at the first ref whose object is missing
        return _only_commits(repository, list_any_refs(repository, *prefixes))
    found = _parse_refs(output)
    return {name.removeprefix("commit "): tip for name, tip in found.items() if name.startswith("commit ")}


def _parse_refs(output: bytes) -> dict[str, ObjectId]:
    """What ``for-each-ref`` printed: an id, a blank, and what stands behind it in the line."""
    lines = output.decode(errors="surrogateescape").split("\n")[:-1]
    parts = (line.partition(" ") for line in lines)
    return {rest: ObjectId(object_id) for object_id, _, rest in parts}


def _only_commits(repository: Repository, refs: dict[str, ObjectId]) -> dict[str, ObjectId]:
    kept = {}
    with ObjectReader(repository) as reader:
        for name, tip in refs.items():
            try:
                if reader.read(tip)[0] == COMMIT:
                    kept[name] = tip
            except (NotFoundError, DamagedError) as error:
                _log.warning("gittrack cannot read the branch %s of %s: %s", name, repository.label, error.message)
    return kept
