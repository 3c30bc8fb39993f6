"""Reading refs, and moving one by compare-and-swap under a lock that heals after a crash.

One flock per repository makes our own writers wait instead of colliding; git's own ``<ref>.lock`` is
the guard against everybody else. A writer that is killed between the two leaves a ``.lock``
that would block the branch for ever: it is removed only when our own note of the dead writer tells it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from gittrack.errors import BusyError, CommandError, DamagedError, NotFoundError, RepositoryError
from gittrack.git.command import find_git, run_git
from gittrack.git.objects import COMMIT, ObjectId
from gittrack.git.packs import fsync_folder, sweep_leftovers
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository

_WAIT_S = 30.0  # eight writers of 4 ms each finish long before this
_HEAL_AFTER_S = 0.2  # git itself holds a ref's lock for a few milliseconds
_REF_WAIT_S = 5.0
_NOTE_BYTES = 1024
_SYMBOLIC_STEPS_MAX = 5  # as git
_REF_BYTES_MAX = 4096
_ID = re.compile(rb"[0-9a-f]{40}")
_log = logging.getLogger("gittrack")
_held: dict[int, tuple[str, int]] = {}  # the locks that this process holds: descriptor, path and thread


class _Crash(NamedTuple):
    """What the writer noted that died before us: the ref, its new value, when (``noted_at_ns``), and when we came.

    Times are in nanoseconds, by the file system's own clock.
    """

    ref: str
    new: str
    noted_at_ns: int
    found_at_ns: int


class WriteLock:
    """The held write lock of one repository; what `write_lock` yields."""

    def __init__(self, repository: Repository, descriptor: int, crash: _Crash | None) -> None:
        self.repository = repository
        self._descriptor = descriptor
        self._crash = crash

    def move_ref(self, name: str, new: ObjectId, old: ObjectId | None) -> bool:
        """Move a full ref name from ``old`` to ``new``, or create it where ``old`` is None; durable when True.

        Returns False when the ref is not at ``old`` (any more).

        Raises:
            BusyError: somebody else holds the ref's lock for too long.
            RepositoryError: the ref is symbolic, or another ref is in its way. DamagedError: its file holds no id.
        """
        container = _container(self.repository)
        before = self._folder_of(name)
        if old is None:
            _make_way(self.repository, name, container)
            moved = self._swap(name, new, lambda ref: container.add_if_new(ref, new.encode()))
        else:
            expected = old.encode()
            moved = self._swap(name, new, lambda ref: container.set_if_equals(ref, expected, new.encode()))
        if moved:
            self._fsync_ref_folders(name, before)
        return moved

    def delete_ref(self, name: str, old: ObjectId) -> bool:
        """Remove a ref that is at ``old``; False when it is not. Raises as `move_ref`."""
        container = _container(self.repository)
        before = self._folder_of(name)
        gone = self._swap(name, "", lambda ref: container.remove_if_equals(ref, old.encode()))
        if gone:
            self._fsync_ref_folders(name, before)
        return gone

    def heal(self) -> None:
        """Remove the ref lock that a dead writer left, if one did."""
        if self._crash is not None:
            self._heal(self._crash.ref)

    def _swap(self, name: str, new: str, swap: Callable[[bytes], bool]) -> bool:
        """Let dulwich change a ref under git's own lock of it; waits while somebody else holds that."""
        _refuse_odd_file(self.repository, name)
        self._note(name, new)
        deadline = time.monotonic() + _REF_WAIT_S
        while True:
            try:
                return bool(swap(os.fsencode(name)))
            except _locked_error() as error:
                self._heal(name)
                if time.monotonic() > deadline:
                    self._note("")  # it is not ours: the next writer must not take it for what we left
                    raise BusyError(
                        f"{name} is locked by another program",
                        f"if none is running, remove {os.fsdecode(error.args[1])}",
                    ) from None
                time.sleep(0.02)
            except FileNotFoundError:
                if time.monotonic() > deadline:  # git pack-refs took the folder away meanwhile: try again
                    raise
            except (NotADirectoryError, IsADirectoryError) as error:
                raise _in_its_way(name) from error

    def _note(self, ref: str, new: str = "") -> None:
        """Write down which ref is about to be locked, and its new value, for whoever finds us dead."""
        note = json.dumps({"pid": os.getpid(), "ref": ref, "new": new})
        os.pwrite(self._descriptor, note.encode().ljust(_NOTE_BYTES), 0)

    def _heal(self, name: str) -> None:
        """Remove the ref's lock file when the writer that died before us left it.

        Such a file holds the value that was noted, or its beginning, and was made after the note and before we
        came. What differs, or changes while we look, is another program's.
        """
        crash = self._crash
        if crash is None or crash.ref != name:
            return
        self._crash = None
        path = os.path.join(self.repository.common_dir, name + ".lock")
        try:
            before = os.stat(path)
            if not crash.noted_at_ns <= before.st_mtime_ns <= crash.found_at_ns:
                return
            if not f"{crash.new}\n".encode().startswith(_read_start(path)):
                return
            time.sleep(_HEAL_AFTER_S)
            after = os.stat(path)
            if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
                os.unlink(path)
        except FileNotFoundError:
            pass

    def _folder_of(self, name: str) -> int:
        """Which folder the ref's file stands in, as the file system's own number; 0 where it is not there."""
        try:
            return os.stat(os.path.dirname(os.path.join(self.repository.common_dir, name))).st_ino
        except FileNotFoundError:
            return 0

    def _fsync_ref_folders(self, name: str, before: int) -> None:
        """Make the ref's name durable, and that of its folder where it is not the one that stood there before.

        Where git pack-refs took the folder away meanwhile, the ref stands in a file of the common dir.
        """
        folder = os.path.dirname(os.path.join(self.repository.common_dir, name))
        for place in (folder, os.path.dirname(folder), self.repository.common_dir):
            try:
                fsync_folder(place)
            except FileNotFoundError:
                continue
            if place != folder or self._folder_of(name) == before:
                return


@contextmanager
def write_lock(repository: Repository, wait_s: float = _WAIT_S) -> Iterator[WriteLock]:
    """Hold the one write lock of a repository; waits for other processes, and heals what a dead one left.

    Raises:
        BusyError: it is not to be had within ``wait_s``.
        OSError: the repository cannot be written.
    """
    os.makedirs(repository.state_dir, exist_ok=True)
    path = os.path.join(repository.state_dir, "lock")
    if (path, threading.get_ident()) in _held.values():  # a signal handler, say: waiting would be for itself
        raise BusyError(f"this thread is writing to {repository.label} already")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _flock(descriptor, repository, wait_s)
        _held[descriptor] = path, threading.get_ident()
        crash = _read_note(descriptor)
        if crash is not None:
            sweep_leftovers(repository)
        yield WriteLock(repository, descriptor, crash)
        os.ftruncate(descriptor, 0)
    finally:
        _release(descriptor)


def heal_after_crash(repository: Repository) -> None:
    """Clear away what a writer left that died holding the lock; nothing to do where none did or one works."""
    try:
        if os.stat(os.path.join(repository.state_dir, "lock")).st_size == 0:
            return
        with write_lock(repository, wait_s=0.0) as lock:
            lock.heal()
    except (OSError, BusyError):
        return


def read_ref(repository: Repository, name: str) -> ObjectId | None:
    """Where a full ref name points, or None; through at most 5 symbolic refs."""
    for _ in range(_SYMBOLIC_STEPS_MAX + 1):
        content = _read_loose_ref(os.path.join(repository.common_dir, name))
        if not content.startswith(b"ref:"):
            return _to_id(content) or _read_packed_ref(repository, name)
        name = os.fsdecode(content[4:].strip())
        if not name.startswith("refs/") or ".." in name:
            return None
    return None


def read_head(repository: Repository) -> tuple[ObjectId | None, str | None]:
    """The commit that HEAD names, and the branch's short name; None for what there is not."""
    content = _read_loose_ref(os.path.join(repository.git_dir, "HEAD"))
    if not content.startswith(b"ref:"):
        return _to_id(content), None
    name = content[4:].strip()
    branch = name.removeprefix(b"refs/heads/").decode("utf-8", "replace")
    return read_ref(repository, os.fsdecode(name)), branch


def list_refs(repository: Repository, *prefixes: str) -> dict[str, ObjectId]:
    """All refs to commits below some prefixes (each ending in '/'), by full name, sorted.

    One whose commit is missing or damaged is left out, with a warning: it must not hide the others.
    """
    found = (_list_by_git if find_git() else _list_by_dulwich)(repository, prefixes)
    return dict(sorted(found.items()))


def _list_by_git(repository: Repository, prefixes: tuple[str, ...]) -> dict[str, ObjectId]:
    wanted = ["for-each-ref", "--format=%(objectname) %(objecttype) %(refname)", *prefixes]
    try:
        output = run_git(repository.common_dir, *wanted)
    except CommandError:  # it gives up at the first ref whose object is missing
        wanted[1] = "--format=%(objectname) %(refname)"
        return _only_commits(repository, _parse_refs(run_git(repository.common_dir, *wanted)))
    found = _parse_refs(output)
    return {name.removeprefix("commit "): tip for name, tip in found.items() if name.startswith("commit ")}


def _parse_refs(output: bytes) -> dict[str, ObjectId]:
    """What ``for-each-ref`` printed: an id, a blank, and what stands behind it in the line."""
    lines = output.decode(errors="surrogateescape").split("\n")[:-1]
    return {line[41:]: ObjectId(line[:40]) for line in lines}


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


def _list_by_dulwich(repository: Repository, prefixes: tuple[str, ...]) -> dict[str, ObjectId]:
    container, refs = _container(repository), {}
    for prefix in prefixes:
        for rest, object_id in container.as_dict(os.fsencode(prefix.rstrip("/"))).items():
            refs[prefix + rest.decode(errors="surrogateescape")] = ObjectId(object_id.decode())
    return _only_commits(repository, refs)


def _read_loose_ref(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(_REF_BYTES_MAX).strip()
    except (OSError, ValueError):  # ValueError: a NUL in the name, from a damaged ref
        return b""


def _read_packed_ref(repository: Repository, name: str) -> ObjectId | None:
    """The line of a ref in ``packed-refs``: gitrepository-layout(5). 50 times as fast as parsing the file."""
    try:
        with open(os.path.join(repository.common_dir, "packed-refs"), "rb", buffering=0) as file:
            content = b"\n" + file.read()
    except OSError:
        return None
    at = content.find(b" " + os.fsencode(name) + b"\n")
    return _to_id(content[at - 40 : at]) if at > 40 and content[at - 41 : at - 40] == b"\n" else None


def _to_id(content: bytes) -> ObjectId | None:
    return ObjectId(content.decode("ascii")) if _ID.fullmatch(content) else None


def _make_way(repository: Repository, name: str, container: Any) -> None:
    """See that git can hold a new ref beside those that are there: no name may be a folder in another's.

    Raises:
        RepositoryError: one would be; of packed refs dulwich would not say so.
    """
    ref, packed = os.fsencode(name), container.get_packed_refs()
    above = [ref[:at] for at, byte in enumerate(ref) if byte == ord("/")]
    if any(folder in packed for folder in above) or any(other.startswith(ref + b"/") for other in packed):
        raise _in_its_way(name)
    for folder, _, _ in os.walk(os.path.join(repository.common_dir, name), topdown=False):
        try:
            os.rmdir(folder)  # git leaves empty folders, and takes them away when they are in the way
        except OSError as error:
            raise _in_its_way(name) from error


def _in_its_way(name: str) -> RepositoryError:
    return RepositoryError(f"{name} cannot be made: another branch is in its way", "rename that branch")


def _refuse_odd_file(repository: Repository, name: str) -> None:
    path = os.path.join(repository.common_dir, name)
    try:
        content = _read_start(path)
    except OSError:
        return  # packed, or not there
    if content.startswith(b"ref:"):
        raise RepositoryError(f"{name} is a symbolic ref; gittrack writes through none")
    if _to_id(content.strip()) is None:
        raise DamagedError(name, f"{path} holds no commit id", "see what git knows of it: git reflog, git fsck")


def _read_start(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(64)


def _container(repository: Repository) -> Any:
    """dulwich's refs of the common dir: branches live there for every work tree."""
    from dulwich.refs import DiskRefsContainer

    container = DiskRefsContainer(repository.common_dir)
    try:
        container.get_packed_refs()
    except StopIteration as error:  # dulwich does not take an empty file, which git does
        path = os.path.join(repository.common_dir, "packed-refs")
        raise DamagedError(path, "it is empty", "where git for-each-ref misses no branch, remove it") from error
    return container


def _locked_error() -> type[Exception]:
    from dulwich.file import FileLocked

    return FileLocked


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
                "see which holds it: fuser " + os.path.join(repository.state_dir, "lock"),
            )
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.01)


def _read_note(descriptor: int) -> _Crash | None:
    """What the last writer noted and did not clear, its ref '' where it had none yet; None when it ended well.

    Leaves a note of ours in its place.
    """
    content, noted_at_ns = os.pread(descriptor, _NOTE_BYTES, 0).strip(), os.fstat(descriptor).st_mtime_ns
    os.pwrite(descriptor, json.dumps({"pid": os.getpid()}).encode().ljust(_NOTE_BYTES), 0)
    if not content:
        return None
    try:
        note = dict(json.loads(content))
    except (ValueError, TypeError):
        note = {}
    return _Crash(note.get("ref", ""), note.get("new", ""), noted_at_ns, os.fstat(descriptor).st_mtime_ns)


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
