"""A bucket as a store, by fsspec: S3, Google Cloud Storage, Azure. Its package is loaded when it is used.

Who asks, and which host, is the backend's own affair: its environment variables and config files (of S3 as boto3
reads them, ``AWS_ENDPOINT_URL`` too). An object appears in a bucket whole or not at all: a multipart upload is
completed only once its bytes have been checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from gittrack.artifact_stores.moving import (
    CHUNK,
    ObjectError,
    move_all,
    open_object,
    read_checked,
    run_all,
    write_checked,
)
from gittrack.artifact_stores.transfers import Outcome, Told, Transfer
from gittrack.errors import GittrackError, MissingToolError, RemoteError
from gittrack.schema.names import one_line

if TYPE_CHECKING:
    from gittrack.artifact_stores.url_store import StoreUrl

_EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure"}  # the extras of ours that bring the backend
_SETTINGS = {
    "s3": "set up your credentials as for the AWS tools: AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_ENDPOINT_URL …",
    "gs": "set up your credentials: gcloud auth application-default login",
    "az": "set up your credentials: AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_AT_ONCE, _ASKED_AT_ONCE = 4, 16
_BLOCK = 8 << 20  # held in memory up to three times for each object that is moved
_PARTS_MAX = 9000  # S3 takes 10,000
_PAUSES_S = (0.5, 2.0)  # between tries; the backends try again by themselves too

_Answer = TypeVar("_Answer")


def open_file_system(found: StoreUrl) -> Any:
    """fsspec's file system of a bucket, with the user's own settings.

    Raises:
        MissingToolError: its package is not installed. RemoteError: it is not set up.
    """
    try:
        import fsspec

        fsspec.get_filesystem_class(found.kind)
    except ImportError as error:
        extra = _EXTRAS[found.kind]
        raise MissingToolError(
            f"artifacts at {found.text} need a package: {error}", f"install it: pip install 'gittrack[{extra}]'"
        ) from error
    with _explained(found):
        return fsspec.filesystem(found.kind, skip_instance_cache=True, use_listings_cache=False)


class CloudStore:
    """Objects in a bucket, several moved at a time."""

    def __init__(self, files: Any, found: StoreUrl) -> None:
        self._files = files
        self._found = found
        self._root = f"{found.place}/{found.path}".rstrip("/")

    @property
    def label(self) -> str:
        return self._found.text

    def find_absent(self, objects: Sequence[Transfer]) -> set[str]:
        wanted = list({one.oid: one for one in objects}.values())
        found = run_all(wanted, self._has, _ASKED_AT_ONCE)
        return {one.oid for one, is_there in zip(wanted, found, strict=True) if not is_there}

    def upload(self, transfers: Sequence[Transfer], told: Told) -> Outcome:
        absent = self.find_absent(transfers)
        outcome = move_all([one for one in transfers if one.oid in absent], self._put, told, _AT_ONCE)
        outcome.present = {one.oid for one in transfers} - absent
        return outcome

    def download(self, transfers: Sequence[Transfer], told: Told) -> Outcome:
        return move_all(transfers, self._get, told, _AT_ONCE)

    def _has(self, wanted: Transfer) -> bool:
        def ask(_: Told) -> bool:
            try:
                return int(self._files.info(self._key(wanted.oid))["size"]) == wanted.size_bytes
            except FileNotFoundError:
                return False

        return self._tried(ask)

    def _put(self, transfer: Transfer, told: Told) -> None:
        block = max(_BLOCK, -(-transfer.size_bytes // _PARTS_MAX // CHUNK) * CHUNK)

        def send(moved: Told) -> None:
            with open_object(transfer) as file:
                self._write(read_checked(file, transfer), transfer.oid, block, moved)

        self._tried(send, told)

    def _get(self, transfer: Transfer, told: Told) -> None:
        def fetch(moved: Told) -> None:
            try:
                file = self._files.open(self._key(transfer.oid), "rb", block_size=_BLOCK, cache_type="readahead")
            except FileNotFoundError as error:
                raise ObjectError("it is not there") from error
            with file:
                if file.size != transfer.size_bytes:
                    raise ObjectError(f"it has {file.size} bytes instead of {transfer.size_bytes}")
                write_checked(iter(lambda: file.read(CHUNK), b""), transfer, moved)

        self._tried(fetch, told)

    def _write(self, chunks: Iterator[bytes], oid: str, block: int, moved: Told) -> None:
        """Write an object; what breaks off is taken back, never completed."""
        file = self._files.open(self._key(oid), "wb", block_size=block)
        try:
            for chunk in chunks:
                file.write(chunk)
                moved(len(chunk))
        except BaseException:
            file.closed = True  # else it completes itself when it is collected
            if hasattr(file, "discard"):
                file.discard()
            raise
        file.close()

    def _tried(self, work: Callable[[Told], _Answer], told: Told | None = None) -> _Answer:
        """What work gives; tried again where the network may be at fault, with what it told taken back."""
        for pause_s in (*_PAUSES_S, None):
            count = 0

            def tell(size_bytes: int) -> None:
                nonlocal count
                count += size_bytes
                if told is not None:
                    told(size_bytes)

            try:
                with _explained(self._found):
                    return work(tell)
            except _TryAgainError as error:
                if pause_s is None:
                    raise RemoteError(error.message, error.hint) from error.__cause__
                if told is not None and count:
                    told(-count)
                time.sleep(pause_s)
        raise AssertionError

    def _key(self, oid: str) -> str:
        return f"{self._root}/{oid[:2]}/{oid[2:4]}/{oid}"


class _TryAgainError(RemoteError):
    """The store failed in a way that may pass."""


@contextmanager
def _explained(found: StoreUrl) -> Iterator[None]:
    """What a backend raises, as ours: each has a family of its own, and not all of them are OSErrors."""
    try:
        yield
    except (ObjectError, GittrackError):
        raise
    except PermissionError as error:
        raise RemoteError(f"{found.text}: access is denied ({_line(error)})", _SETTINGS[found.kind]) from error
    except FileNotFoundError as error:
        raise RemoteError(f"{found.text}: there is no such bucket ({_line(error)})", "check its name") from error
    except Exception as error:
        if "Credential" in type(error).__name__ or isinstance(error, ValueError):
            raise RemoteError(f"{found.text}: {_line(error)}", _SETTINGS[found.kind]) from error
        raise _TryAgainError(f"{found.text}: {_line(error)}", "try again when it can be reached") from error


def _line(error: Exception) -> str:
    return one_line(str(error) or type(error).__name__, 300)
