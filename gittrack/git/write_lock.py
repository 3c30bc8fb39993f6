"""One writer at a time in a repository: an flock, and a note in it of which ref is being moved.

The note is for whoever finds the writer dead: git's own lock of that ref would block the branch for ever, and only
the note tells that it was ours. It is durable before anything that it tells of can be: else a power cut leaves
the lock, the ``.keep`` and temp files, and takes the note. Whether another program's lock is in the way, and what
to do then, is `refs`'s.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from gittrack.errors import BusyError
from gittrack.git.packs import has_leftovers, sweep_leftovers
from gittrack.git.repository import Repository

WAIT_S = 30.0  # eight writers of 4 ms each finish long before this
_NOTE_BYTES = 1024
_held: dict[int, tuple[str, int]] = {}  # the locks that this process holds: descriptor, path and thread


class Crash(NamedTuple):
    """What the writer noted that died before us: the ref, its new value, when (``noted_at_ns``), and when we came.

    Times are in nanoseconds, by the file system's own clock.
    """

    ref: str
    new: str
    noted_at_ns: int
    found_at_ns: int


class RefLockedError(Exception):
    """Git's own lock of a ref is held by somebody; ``path`` is its file."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class HeldLock:
    """The lock while it is held; ``crash`` is what the last writer left, until somebody has cleared it away."""

    def __init__(self, descriptor: int, crash: Crash | None) -> None:
        self.crash = crash
        self.descriptor = descriptor
        self._noted = ("", "")

    def note(self, ref: str, new: str = "") -> None:
        """Write down durably which ref is about to be locked, and its new value, for whoever finds us dead."""
        if (ref, new) == self._noted:
            return
        note = json.dumps({"pid": os.getpid(), "ref": ref, "new": new})
        os.pwrite(self.descriptor, note.encode().ljust(_NOTE_BYTES), 0)
        os.fdatasync(self.descriptor)
        self._noted = ref, new


@contextmanager
def hold_lock(repository: Repository, wait_s: float = WAIT_S) -> Iterator[HeldLock]:
    """Hold the one write lock of a repository; waits for other processes, and sweeps up after a dead one.

    Raises:
        BusyError: it is not to be had within ``wait_s``.
        OSError: the repository cannot be written.
    """
    os.makedirs(repository.state_dir, exist_ok=True)
    path = _path(repository)
    if (path, threading.get_ident()) in _held.values():  # a signal handler, say: waiting would be for itself
        raise BusyError(f"this thread is writing to {repository.label} already")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        _flock(descriptor, repository, wait_s)
        _held[descriptor] = path, threading.get_ident()
        crash = _read_note(descriptor)
        if crash is not None:
            sweep_leftovers(repository)
        yield HeldLock(descriptor, crash)
        if not has_leftovers(repository):  # a .keep that could not be removed: whoever comes next tries again
            os.ftruncate(descriptor, 0)
    finally:
        _release(descriptor)


def has_crashed(repository: Repository) -> bool:
    """Whether a writer works just now, or died at it."""
    try:
        return os.stat(_path(repository)).st_size > 0
    except OSError:
        return False


def _path(repository: Repository) -> str:
    return os.path.join(repository.state_dir, "lock")


def _flock(descriptor: int, repository: Repository, wait_s: float) -> None:
    deadline, pause_s = time.monotonic() + wait_s, 0.0005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
                raise
        if time.monotonic() >= deadline:
            raise BusyError(
                f"another process has been writing to {repository.label} for {wait_s:.0f} s",
                "see which holds it: fuser " + _path(repository),
            )
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.01)


def _read_note(descriptor: int) -> Crash | None:
    """What the last writer noted and did not clear, its ref '' where it had none yet; None when it ended well.

    Leaves a note of ours in its place.
    """
    content, noted_at_ns = os.pread(descriptor, _NOTE_BYTES, 0).strip(), os.fstat(descriptor).st_mtime_ns
    os.pwrite(descriptor, json.dumps({"pid": os.getpid()}).encode().ljust(_NOTE_BYTES), 0)
    if not content:
        return None
    try:
        note = dict(json.loads(content))
    except (ValueError, TypeError, RecursionError):
        note = {}
    ref, new = (note.get(key, "") if isinstance(note.get(key), str) else "" for key in ("ref", "new"))
    if not ref.startswith("refs/") or ".." in ref or "\0" in ref:  # nothing that we ever lock
        ref = ""
    return Crash(ref, new, noted_at_ns, os.fstat(descriptor).st_mtime_ns)


def _release(descriptor: int) -> None:
    """Let go of the lock, also for a child that was forked meanwhile and has the same open file."""
    _held.pop(descriptor, None)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _close_in_child() -> None:
    """A forked child must not hold the lock on when its parent is killed."""
    while _held:
        os.close(_held.popitem()[0])


os.register_at_fork(after_in_child=_close_in_child)
