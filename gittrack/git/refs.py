"""Reading refs, and moving one by compare-and-swap under a lock that heals after a crash.

One flock per repository makes our own writers wait instead of colliding; git's own ``<ref>.lock`` is
the guard against everybody else. A writer that is killed between the two leaves a ``.lock``
that would block the branch for ever: it is removed only when our own note of the dead writer names it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gittrack.errors import BusyError, RepositoryError
from gittrack.git.command import find_git, run_git
from gittrack.git.objects import ObjectId
from gittrack.git.packs import fsync_folder, sweep_leftovers
from gittrack.git.repository import Repository

_WAIT_S = 30.0  # eight writers of 4 ms each finish long before this
_HEAL_AFTER_S = 0.2  # git itself holds a ref's lock for a few milliseconds
_REF_WAIT_S = 5.0
_SYMBOLIC_STEPS_MAX = 5  # as git
_REF_BYTES_MAX = 4096
_ID = re.compile(rb"[0-9a-f]{40}")


class WriteLock:
    """The held write lock of one repository; what `write_lock` yields."""

    def __init__(self, repository: Repository, descriptor: int, crashed_ref: str | None) -> None:
        self.repository = repository
        self._descriptor = descriptor
        self._crashed_ref = crashed_ref

    def move_ref(self, name: str, new: ObjectId, old: ObjectId | None) -> bool:
        """Move a full ref name from ``old`` to ``new``, or create it where ``old`` is None; durable when True.

        Returns False when the ref is not at ``old`` (any more).

        Raises:
            BusyError: somebody else holds the ref's lock for too long.
            RepositoryError: the ref is symbolic, or another ref is in its way.
        """
        container = _container(self.repository)
        ref = os.fsencode(name)
        raw = container.read_ref(ref)
        if raw is not None and raw.startswith(b"ref:"):
            raise RepositoryError(f"{name} is a symbolic ref; gittrack writes through none")
        self._note(name)
        deadline = time.monotonic() + _REF_WAIT_S
        while True:
            try:
                if old is None:
                    moved = container.add_if_new(ref, new.encode())
                else:
                    moved = container.set_if_equals(ref, old.encode(), new.encode())
                break
            except _locked_error():
                self._heal(name)
                if time.monotonic() > deadline:
                    path = os.path.join(self.repository.common_dir, name + ".lock")
                    raise BusyError(
                        f"{name} is locked by another program", f"if none is running, remove {path}"
                    ) from None
                time.sleep(0.02)
            except FileNotFoundError:
                if time.monotonic() > deadline:  # git pack-refs took the folder away meanwhile: try again
                    raise
            except (NotADirectoryError, IsADirectoryError) as error:
                raise RepositoryError(
                    f"{name} cannot be made: another branch is in its way", "rename that branch"
                ) from error
        if moved:
            self._fsync_ref_folders(name)
        return bool(moved)

    def delete_ref(self, name: str, old: ObjectId) -> bool:
        """Remove a ref that is at ``old``; False when it is not."""
        self._note(name)
        return bool(_container(self.repository).remove_if_equals(os.fsencode(name), old.encode()))

    def heal(self) -> None:
        """Remove the ref lock that a dead writer left, if one did."""
        if self._crashed_ref:
            self._heal(self._crashed_ref)

    def _note(self, ref: str) -> None:
        """Write down which ref is about to be locked, for whoever finds us dead."""
        os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "ref": ref}).encode().ljust(1024), 0)

    def _heal(self, name: str) -> None:
        """Remove the ref's lock file when the writer that died before us left it."""
        if self._crashed_ref != name:
            return
        path = os.path.join(self.repository.common_dir, name + ".lock")
        try:
            before = os.stat(path)
            time.sleep(_HEAL_AFTER_S)
            after = os.stat(path)
            if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
                os.unlink(path)
        except FileNotFoundError:
            pass
        self._crashed_ref = None

    def _fsync_ref_folders(self, name: str) -> None:
        folder = os.path.dirname(os.path.join(self.repository.common_dir, name))
        fsync_folder(folder)
        # a folder that was just made must be durable in its parent, up to what git init made
        above = os.path.dirname(folder)
        if not os.path.samefile(above, self.repository.common_dir):
            fsync_folder(above)


@contextmanager
def write_lock(repository: Repository, wait_s: float = _WAIT_S) -> Iterator[WriteLock]:
    """Hold the one write lock of a repository; waits for other processes, and heals what a dead one left.

    Raises:
        BusyError: it is not to be had within ``wait_s``.
        OSError: the repository cannot be written.
    """
    os.makedirs(repository.state_dir, exist_ok=True)
    descriptor = os.open(os.path.join(repository.state_dir, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _flock(descriptor, repository, wait_s)
        crashed_ref = _read_note(descriptor)
        if crashed_ref is not None:
            sweep_leftovers(repository)
        lock = WriteLock(repository, descriptor, crashed_ref)
        lock._note("")
        yield lock
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


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
    """All refs below some prefixes (each ending in '/'), by full name, sorted."""
    found = (_list_by_git if find_git() else _list_by_dulwich)(repository, prefixes)
    return dict(sorted(found.items()))


def _list_by_git(repository: Repository, prefixes: tuple[str, ...]) -> dict[str, ObjectId]:
    output = run_git(
        repository.common_dir, "for-each-ref", "--format=%(objectname) %(objecttype) %(refname)", *prefixes
    )
    refs = {}
    for line in output.decode(errors="surrogateescape").splitlines():
        object_id, kind, name = line.split(" ", 2)
        if kind == "commit":
            refs[name] = ObjectId(object_id)
    return refs


def _list_by_dulwich(repository: Repository, prefixes: tuple[str, ...]) -> dict[str, ObjectId]:
    container, refs = _container(repository), {}
    for prefix in prefixes:
        for rest, object_id in container.as_dict(os.fsencode(prefix.rstrip("/"))).items():
            refs[f"{prefix}{os.fsdecode(rest)}"] = ObjectId(object_id.decode())
    return refs


def _read_loose_ref(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(_REF_BYTES_MAX).strip()
    except OSError:
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


def _container(repository: Repository) -> Any:
    """dulwich's refs of the common dir: branches live there for every work tree."""
    from dulwich.refs import DiskRefsContainer

    return DiskRefsContainer(repository.common_dir)


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


def _read_note(descriptor: int) -> str | None:
    """The ref that the last writer noted and did not clear, '' where it had none yet; None when it ended well."""
    content = os.pread(descriptor, 1024, 0).strip()
    if not content:
        return None
    try:
        return str(json.loads(content)["ref"])
    except (ValueError, KeyError, TypeError):
        return ""
