"""A store that is a folder: another repository's on this machine or a mounted disk, or one named by itself.

Objects stand at ``aa/bb/<oid>``, as Git LFS keeps them (git-lfs, ``fs/fs.go``): in ``lfs/objects`` of the other
repository's common folder, where git-lfs's own adapter for ``file://`` remotes looks and puts them too.
Copies are never links: each repository owns its bytes.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from urllib.parse import unquote, urlsplit

from gittrack.artifact_stores.moving import (
    ObjectError,
    move_all,
    open_object,
    read_checked,
    unlink_if_there,
    write_checked,
)
from gittrack.artifact_stores.transfers import Outcome, Told, Transfer
from gittrack.errors import RemoteError, RepositoryError
from gittrack.git.config import parse_settings
from gittrack.git.packs import fsync_folder
from gittrack.git.remotes import is_url
from gittrack.git.repository import Repository, open_repository

_AT_ONCE = 2  # a disk gains by more than one, which waits for it, and little by many
_STALE_S = 24 * 3600.0
_SHARED = frozenset(("group", "true", "1", "all", "world", "everybody", "2", "0660", "0664", "0666"))


class FolderStore:
    """Objects below a folder, which may be used by other programs and processes meanwhile.

    Args:
        objects_folder: where they are; made at the first upload. label: what a person calls the store.
        above: the folder that must be there already: one that is gone is a disk that is not mounted.
        mode: of the files; folders are to be entered by whoever may read them.
    """

    def __init__(self, objects_folder: str, label: str, *, above: str = "", mode: int = 0o644) -> None:
        self._objects = objects_folder
        self._label = label
        self._above = above or objects_folder
        self._mode = mode

    @property
    def label(self) -> str:
        return self._label

    def find_absent(self, objects: Sequence[Transfer]) -> set[str]:
        self._require_there()
        return {wanted.oid for wanted in objects if not self._has(wanted)}

    def upload(self, transfers: Sequence[Transfer], told: Told) -> Outcome:
        absent = self.find_absent(transfers)
        if absent:
            self._make_folder(os.path.join(self._objects, "tmp"))
            self._sweep()
        outcome = move_all([one for one in transfers if one.oid in absent], self._put, told, _AT_ONCE)
        outcome.present = {one.oid for one in transfers} - absent
        return outcome

    def download(self, transfers: Sequence[Transfer], told: Told) -> Outcome:
        self._require_there()
        return move_all(transfers, self._get, told, _AT_ONCE)

    def _put(self, transfer: Transfer, told: Told) -> None:
        target = self._path(transfer.oid)
        temporary = os.path.join(self._objects, "tmp", f"gittrack-{os.urandom(8).hex()}")
        with open_object(transfer) as file:
            try:
                self._write(temporary, read_checked(file, transfer), told)
                self._make_folder(os.path.dirname(target))
                os.replace(temporary, target)
                fsync_folder(os.path.dirname(target))
            except OSError as error:
                raise ObjectError(f"{self._objects} cannot be written: {error.strerror}") from error
            finally:
                unlink_if_there(temporary)

    def _get(self, transfer: Transfer, told: Told) -> None:
        found = Transfer(transfer.oid, transfer.size_bytes, self._path(transfer.oid))
        if not self._has(found):
            raise ObjectError("it is not there")
        with open_object(found) as file:
            write_checked(read_checked(file, found), transfer, told)

    def _write(self, path: str, chunks: Iterator[bytes], told: Told) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, self._mode)
        try:
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    view = view[os.write(descriptor, view) :]
                told(len(chunk))
            if self._mode & stat.S_IWGRP:
                os.fchmod(descriptor, self._mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _has(self, wanted: Transfer) -> bool:
        """Whether an object stands there whole; one of another size is what an interrupted copy has left."""
        try:
            found = os.lstat(self._path(wanted.oid))
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == wanted.size_bytes

    def _path(self, oid: str) -> str:
        return os.path.join(self._objects, oid[:2], oid[2:4], oid)

    def _require_there(self) -> None:
        if not os.path.isdir(self._above):
            raise RemoteError(
                f"{self.label}: there is no folder {self._above}",
                "is its disk mounted? make the folder where it is",
            )
        if not os.access(self._above, os.R_OK | os.X_OK):
            raise RemoteError(f"{self.label}: {self._above} cannot be read", "ask its owner for access")

    def _make_folder(self, folder: str) -> None:
        """Make a folder below the one that must be there, so that it is durable itself."""
        if os.path.isdir(folder):
            return
        above = os.path.dirname(folder)
        if len(above) > len(self._above):
            self._make_folder(above)
        try:
            os.mkdir(folder)
            if self._mode & stat.S_IWGRP:  # as git does: what is made in it belongs to the same group
                os.chmod(folder, 0o2775)
        except FileExistsError:
            pass  # another process was quicker
        except OSError as error:
            raise RemoteError(f"{self.label}: {folder} cannot be made: {error.strerror}") from error
        fsync_folder(above)

    def _sweep(self) -> None:
        """Remove what copies left that were killed a day ago or more."""
        with os.scandir(os.path.join(self._objects, "tmp")) as entries:
            for entry in entries:
                try:
                    is_stale = time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE_S
                    if entry.name.startswith("gittrack-") and is_stale:
                        os.unlink(entry.path)
                except OSError:
                    pass  # another process was quicker


def find_remote_path(url: str) -> str | None:
    """The folder of a remote that is a plain path or a ``file:`` URL; None where it is neither."""
    if url.startswith("file://"):
        parts = urlsplit(url)
        return unquote(parts.path) if parts.netloc in ("", "localhost") else None
    return None if is_url(url) else url


def open_remote_folder(path: str, label: str) -> FolderStore:
    """The LFS store of the repository at a path: bare, a work tree, or a linked one.

    Raises:
        RemoteError: there is no repository.
    """
    real = os.path.realpath(path if os.path.isdir(path) else f"{path}.git")  # as git looks for it
    try:
        repository = open_repository(real)
        if real not in (repository.git_dir, repository.common_dir, repository.work_tree):
            raise RepositoryError(f"{real} only lies in a repository")
    except RepositoryError as error:
        raise RemoteError(f"{label}: there is no repository", "check the URL: git remote -v") from error
    return FolderStore(
        repository.lfs_objects_dir, label, above=repository.common_dir, mode=_shared_mode(repository)
    )


def _shared_mode(repository: Repository) -> int:
    """The mode of its files: git-config(1), ``core.sharedRepository``."""
    for item in reversed(parse_settings(repository.read_config())):
        if (item.section, item.subsection, item.key) == ("core", "", "sharedrepository"):
            return 0o664 if item.value.lower() in _SHARED else 0o644
    return 0o644
