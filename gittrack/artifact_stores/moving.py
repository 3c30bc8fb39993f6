"""Several transfers at a time, each by one function, and the bytes of a file checked as they go by."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader, FileIO
from typing import TypeVar

from gittrack.artifact_stores.transfers import Outcome, Told, Transfer

CHUNK = 1 << 20

_Answer = TypeVar("_Answer")

Move = Callable[[Transfer, Told], None]  # raises ObjectError for what concerns this object alone


class ObjectError(Exception):
    """Why one object was not moved, in a line."""


def move_all(transfers: Sequence[Transfer], move: Move, told: Told, at_once: int) -> Outcome:
    """Move every object by ``move``, so many at a time; what it raises other than `ObjectError` ends it all.

    An object that comes twice is moved once.
    """
    outcome = Outcome()
    wanted = list({transfer.oid: transfer for transfer in transfers}.values())

    def try_one(transfer: Transfer) -> str:
        try:
            move(transfer, told)
        except ObjectError as error:
            return str(error) or "it failed"
        return ""

    for transfer, reason in zip(wanted, run_all(wanted, try_one, at_once), strict=True):
        if reason:
            outcome.failed[transfer.oid] = reason
        else:
            outcome.moved.add(transfer.oid)
    return outcome


def run_all(transfers: Sequence[Transfer], ask: Callable[[Transfer], _Answer], at_once: int) -> Iterator[_Answer]:
    """What a function gives for each transfer, in their order; an error in one drops those not begun."""
    if len(transfers) < 2 or at_once < 2:
        yield from map(ask, transfers)
        return
    with ThreadPoolExecutor(min(at_once, len(transfers)), "gittrack-move") as pool:
        try:
            yield from pool.map(ask, transfers)
        finally:
            pool.shutdown(cancel_futures=True)


def read_checked(file: BufferedReader, transfer: Transfer) -> Iterator[bytes]:
    """The chunks of an open file that is to hold an object.

    Raises:
        ObjectError: it does not, which is known only after the last chunk; or it cannot be read.
    """
    check = Check(transfer)
    while True:
        try:
            chunk = file.read(CHUNK)
        except OSError as error:
            raise ObjectError(f"{transfer.path} cannot be read: {error.strerror}") from error
        if not chunk:
            break
        check.add(chunk)
        yield chunk
    check.finish()


def open_object(transfer: Transfer) -> BufferedReader:
    """The local file of an object, of the right size.

    Raises:
        ObjectError: it is not there, or has another size.
    """
    try:
        file = open(transfer.path, "rb")  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise ObjectError(f"{transfer.path} cannot be read: {error.strerror}") from error
    if os.fstat(file.fileno()).st_size != transfer.size_bytes:
        file.close()
        raise ObjectError(f"{transfer.path} is damaged: it has another size")
    return file


class Check:
    """The hash and the size of bytes that go by, against what they should be."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._digest = hashlib.sha256()
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Take the next bytes; more than there should be is refused at once."""
        self._size += len(chunk)
        if self._size > self._transfer.size_bytes:
            raise ObjectError("it holds more bytes than it should")
        self._digest.update(chunk)

    def finish(self) -> None:
        """See that they were all, and the right ones."""
        if self._size != self._transfer.size_bytes:
            raise ObjectError(f"it ends after {self._size} of {self._transfer.size_bytes} bytes")
        if self._digest.hexdigest() != self._transfer.oid:
            raise ObjectError("it holds other bytes than its hash says")


def write_checked(chunks: Iterator[bytes], transfer: Transfer, told: Told) -> None:
    """Make the local file of an object from chunks; it has its name only once it has been checked.

    Raises:
        ObjectError: the bytes are wrong, or cannot be written here. Others: what the chunks raise.
    """
    temporary, check = f"{transfer.path}.{os.urandom(4).hex()}.part", Check(transfer)
    try:
        with _open_new(temporary) as file:
            for chunk in chunks:
                check.add(chunk)
                _write(file.fileno(), chunk, temporary)
                told(len(chunk))
        check.finish()
        os.replace(temporary, transfer.path)
    except BaseException:
        unlink_if_there(temporary)
        raise


def unlink_if_there(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _open_new(path: str) -> FileIO:
    try:
        return open(path, "xb", buffering=0)
    except OSError as error:
        raise ObjectError(f"{path} cannot be written: {error.strerror}") from error


def _write(descriptor: int, chunk: bytes, path: str) -> None:
    view = memoryview(chunk)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise ObjectError(f"{path} cannot be written: {error.strerror}") from error
