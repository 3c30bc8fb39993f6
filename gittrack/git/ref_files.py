"""Refs as git has kept them from the beginning: a file each below ``refs``, and ``packed-refs``.

Source: gitrepository-layout(5). Reading is done here, 50 times as fast as by dulwich, which parses all of
packed-refs; moving a ref is dulwich's compare-and-swap under git's own ``<ref>.lock``, which is right beside
any git.
"""

from __future__ import annotations

import os
import re
from typing import Any

from gittrack.errors import DamagedError, RepositoryError
from gittrack.git.objects import ObjectId
from gittrack.git.packs import fsync_folder
from gittrack.git.repository import Repository
from gittrack.git.write_lock import Crash, RefLockedError

_SYMBOLIC_STEPS_MAX = 5  # as git
_REF_BYTES_MAX = 4096
_ID = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")


class RefFiles:
    """The refs of one repository whose refs are files; reading and changing by full name."""

    heal_after_s = 0.2  # git itself holds a ref's lock for a few milliseconds

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def read(self, name: str) -> ObjectId | None:
        """Where a ref points, or None; through at most 5 symbolic refs."""
        for _ in range(_SYMBOLIC_STEPS_MAX + 1):
            content = _read_loose_ref(self._path(name))
            if not content.startswith(b"ref:"):
                return _to_id(content) or _read_packed_ref(self._repository, name)
            name = os.fsdecode(content[4:].strip())
            if not name.startswith("refs/") or ".." in name:
                return None
        return None

    def read_head(self) -> tuple[ObjectId | None, str | None]:
        """The commit that HEAD names, and the branch's short name; None for what there is not."""
        content = _read_loose_ref(os.path.join(self._repository.git_dir, "HEAD"))
        if not content.startswith(b"ref:"):
            return _to_id(content), None
        name = content[4:].strip()
        branch = name.removeprefix(b"refs/heads/").decode("utf-8", "replace")
        return self.read(os.fsdecode(name)), branch

    def change(self, name: str, new: ObjectId | None, old: ObjectId | None) -> bool:
        """Move a ref from ``old`` to ``new``, None for there being none; False when it is not at ``old``.

        Durable when True.

        Raises:
            RefLockedError: somebody else holds its lock.
            RepositoryError: it is symbolic, or another ref is in its way.
            DamagedError: its file holds no id. FileNotFoundError: git takes its folder away just now: try again.
        """
        _refuse_odd_file(name, self._path(name))
        before = self._folder_of(name)
        try:
            moved = self._swap(os.fsencode(name), name, new, old)
        except (NotADirectoryError, IsADirectoryError) as error:
            raise in_its_way(name) from error
        except _locked_error() as error:
            raise RefLockedError(os.fsdecode(error.args[1])) from error
        if moved:
            self._fsync_folders(name, before)
        return moved

    def lock_paths(self, crash: Crash) -> list[str]:
        """The locks that a dead writer may have left: its ref's, and where it was removing that, packed-refs'."""
        own = self._path(crash.ref) + ".lock"
        return [own] if crash.new else [own, self._packed_lock]

    def is_left_by(self, crash: Crash, path: str, content: bytes) -> bool:
        """Whether a lock can be what a dead writer left, by its content: the noted value, or its beginning.

        Of packed-refs it is what dulwich writes, whose first line is shorter than git's own.
        """
        if path == self._packed_lock:
            return not content.startswith(b"# pack-refs with: peeled ")
        return f"{crash.new}\n".encode().startswith(content)

    def _swap(self, ref: bytes, name: str, new: ObjectId | None, old: ObjectId | None) -> bool:
        container = _container(self._repository)
        if new is None:
            return bool(container.remove_if_equals(ref, (old or "").encode()))
        if old is None:
            _make_way(self._repository, name, container)
            return bool(container.add_if_new(ref, new.encode()))
        return bool(container.set_if_equals(ref, old.encode(), new.encode()))

    @property
    def _packed_lock(self) -> str:
        return os.path.join(self._repository.common_dir, "packed-refs.lock")

    def _path(self, name: str) -> str:
        return os.path.join(self._repository.common_dir, name)

    def _folder_of(self, name: str) -> int:
        """Which folder the ref's file stands in, as the file system's own number; 0 where it is not there."""
        try:
            return os.stat(os.path.dirname(self._path(name))).st_ino
        except FileNotFoundError:
            return 0

    def _fsync_folders(self, name: str, before: int) -> None:
        """Make the ref's name durable, and that of its folder where it is not the one that stood there before.

        Where git pack-refs took the folder away meanwhile, the ref stands in a file of the common dir.
        """
        folder = os.path.dirname(self._path(name))
        for place in (folder, os.path.dirname(folder), self._repository.common_dir):
            try:
                fsync_folder(place)
            except FileNotFoundError:
                continue
            if place != folder or self._folder_of(name) == before:
                return


def list_by_dulwich(repository: Repository, prefixes: tuple[str, ...]) -> dict[str, ObjectId]:
    """All refs below some prefixes by full name, where there is no git to ask."""
    container, refs = _container(repository), {}
    for prefix in prefixes:
        for rest, object_id in container.as_dict(os.fsencode(prefix.rstrip("/"))).items():
            refs[prefix + rest.decode(errors="surrogateescape")] = ObjectId(object_id.decode())
    return refs


def in_its_way(name: str) -> RepositoryError:
    """What to raise where git cannot hold a ref beside those that are there."""
    return RepositoryError(f"{name} cannot be made: another branch is in its way", "rename that branch")


def is_symbolic(name: str) -> RepositoryError:
    """What to raise where a ref is only another one's name."""
    return RepositoryError(f"{name} is a symbolic ref; gittrack writes through none")


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
    return _to_id(content[content.rfind(b"\n", 0, at) + 1 : at]) if at > 0 else None


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
        raise in_its_way(name)
    for folder, _, _ in os.walk(os.path.join(repository.common_dir, name), topdown=False):
        try:
            os.rmdir(folder)  # git leaves empty folders, and takes them away when they are in the way
        except OSError as error:
            raise in_its_way(name) from error


def _refuse_odd_file(name: str, path: str) -> None:
    try:
        with open(path, "rb") as file:
            content = file.read(_REF_BYTES_MAX)
    except OSError:
        return  # packed, or not there
    if content.startswith(b"ref:"):
        raise is_symbolic(name)
    if _to_id(content.strip()) is None:
        raise DamagedError(name, f"{path} holds no commit id", "see what git knows of it: git reflog, git fsck")


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
