"""A folder on another machine as a store, over SFTP by paramiko, which is loaded when it is used.

The host's key must stand in the user's known_hosts: one that is not known is refused, never added. Who asks is the
ssh agent's and the user's own keys' affair; there are no passwords. An object has its name once it is whole: it is
written beside, and renamed by OpenSSH's ``posix-rename@openssh.com``.
"""

from __future__ import annotations

import getpass
import os
import posixpath
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gittrack.artifact_stores.moving import CHUNK, ObjectError, move_all, open_object, read_checked, write_checked
from gittrack.artifact_stores.transfers import Outcome, Told, Transfer
from gittrack.errors import GittrackError, MissingToolError, RemoteError
from gittrack.schema.names import one_line

if TYPE_CHECKING:
    from gittrack.artifact_stores.url_store import StoreUrl

_WAIT_S = 20.0
_AHEAD = 64  # requests of 32 KiB that are under way while an object is read


class SftpStore:
    """Objects below a folder that must be there; one is moved at a time, over one connection for each batch."""

    def __init__(self, found: StoreUrl) -> None:
        try:
            import paramiko  # noqa: F401
        except ImportError as error:
            raise MissingToolError(
                f"artifacts at {found.text} need a package: {error}", "install it: pip install 'gittrack[sftp]'"
            ) from error
        self._found = found

    @property
    def label(self) -> str:
        return self._found.text

    def find_absent(self, objects: Sequence[Transfer]) -> set[str]:
        with self._connected() as files:
            return {one.oid for one in objects if not self._has(files, one)}

    def upload(self, transfers: Sequence[Transfer], told: Told) -> Outcome:
        with self._connected() as files:
            absent = [one for one in transfers if not self._has(files, one)]
            outcome = move_all(absent, self._with(files, self._put), told, 1)
        outcome.present = {one.oid for one in transfers} - {one.oid for one in absent}
        return outcome

    def download(self, transfers: Sequence[Transfer], told: Told) -> Outcome:
        with self._connected() as files:
            return move_all(transfers, self._with(files, self._get), told, 1)

    def _with(self, files: Any, move: Callable[[Any, Transfer, Told], None]) -> Callable[[Transfer, Told], None]:
        return lambda transfer, told: move(files, transfer, told)

    def _has(self, files: Any, wanted: Transfer) -> bool:
        try:
            found = files.lstat(self._path(wanted.oid))
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == wanted.size_bytes

    def _put(self, files: Any, transfer: Transfer, told: Told) -> None:
        target = self._path(transfer.oid)
        temporary = f"{posixpath.dirname(target)}/tmp-{os.urandom(8).hex()}"
        with open_object(transfer) as source:
            self._make_folders(files, transfer.oid)
            try:
                with files.open(temporary, "wb") as file:
                    file.set_pipelined(True)
                    for chunk in read_checked(source, transfer):
                        file.write(chunk)
                        told(len(chunk))
                files.posix_rename(temporary, target)
            except BaseException:
                self._remove(files, temporary)
                raise

    def _get(self, files: Any, transfer: Transfer, told: Told) -> None:
        if not self._has(files, transfer):
            raise ObjectError("it is not there")
        with files.open(self._path(transfer.oid), "rb") as file:
            file.prefetch(transfer.size_bytes, _AHEAD)
            write_checked(iter(lambda: file.read(CHUNK), b""), transfer, told)

    def _make_folders(self, files: Any, oid: str) -> None:
        for folder in (f"{self._found.path}/{oid[:2]}", f"{self._found.path}/{oid[:2]}/{oid[2:4]}"):
            try:
                files.stat(folder)
            except FileNotFoundError:
                try:
                    files.mkdir(folder)
                except OSError:
                    files.stat(folder)  # another was quicker

    def _remove(self, files: Any, path: str) -> None:
        try:
            files.remove(path)
        except Exception:  # the connection may be what has broken
            pass

    def _path(self, oid: str) -> str:
        return f"{self._found.path}/{oid[:2]}/{oid[2:4]}/{oid}"

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """paramiko's client in the store's folder."""
        import paramiko

        user, _, host = self._found.place.rpartition("@")
        host, _, port = host.partition(":")
        client = paramiko.SSHClient()
        try:
            client.load_system_host_keys()
            client.set_missing_host_key_policy(paramiko.RejectPolicy())
            client.connect(
                host, int(port or 22), user or getpass.getuser(), timeout=_WAIT_S, banner_timeout=_WAIT_S
            )
            with client.open_sftp() as files:
                files.get_channel().settimeout(_WAIT_S)
                files.stat(self._found.path)  # it must be there: else a typing mistake makes a store
                yield files
        except (ObjectError, GittrackError):
            raise
        except Exception as error:  # paramiko's, the socket's, the server's
            raise self._explain(error) from error
        finally:
            client.close()

    def _explain(self, error: Exception) -> RemoteError:
        line = one_line(str(error) or type(error).__name__, 300)
        host = self._found.place.rpartition("@")[2].partition(":")[0]
        if "known_hosts" in line or type(error).__name__ == "BadHostKeyException":
            return RemoteError(f"{self.label}: its host key is not the one that is known", f"try: ssh {host}")
        if isinstance(error, FileNotFoundError):
            return RemoteError(f"{self.label}: there is no such folder", f"make it: ssh {host} mkdir -p …")
        return RemoteError(f"{self.label}: {line}", f"see whether it lets you in: sftp {self._found.place}")
