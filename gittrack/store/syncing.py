"""Files that are to reach the disk soon though nobody waits for them, a piece at a time.

A checkpoint of gigabytes must hold up neither the call that logs it nor the points that are synced by the same
thread, nor a fork, for which that thread steps aside.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable

from gittrack.git.packs import fsync_folder

PAGE = mmap.ALLOCATIONGRANULARITY
_PIECE = 8 << 20
_WAIT_WRITE_WAIT = 7  # sync_file_range(2): SYNC_FILE_RANGE_WAIT_BEFORE | _WRITE | _WAIT_AFTER


class LateFiles:
    """Files still to be synced; threads may add and sync at once."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._place = 0  # bytes of the first one that are written back
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, path: str) -> None:
        """Let a whole file be synced later; its folder with it."""
        self._waiting.append(path)

    def sync(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Sync what waits, in its order, until that is over; a file that is gone is done.

        Raises:
            OSError: the disk failed; the file that it failed for is not tried again.
        """
        with self._lock:
            folders: set[str] = set()
            try:
                while self._waiting and not is_over():
                    if not self._sync_first(folders, is_over):
                        break
                    self._waiting.popleft()
                    self._place = 0
            finally:
                for folder in folders:
                    _fsync_folder_if_there(folder)

    def _sync_first(self, folders: set[str], is_over: Callable[[], bool]) -> bool:
        """Sync the file whose turn it is; False when its time was over before its end."""
        path = self._waiting[0]
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            size_bytes = os.fstat(descriptor).st_size
            while size_bytes - self._place > _PIECE:  # the rest is fsync's
                _write_back(descriptor, self._place, _PIECE)
                self._place += _PIECE
                if is_over():
                    return False
            os.fsync(descriptor)
        except OSError:
            self._waiting.popleft()
            self._place = 0
            write_anew(path)
            raise
        finally:
            os.close(descriptor)
        folders.add(os.path.dirname(path))
        return True


def sync_file(path: str) -> None:
    """Make a file and its name durable now.

    Raises:
        OSError: the disk failed, or the file is not there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fsync_folder(os.path.dirname(path))


def write_anew(path: str) -> None:
    """Put a copy in the place of a file that could not be synced, so that the next attempt writes it all.

    After a failed fsync the kernel takes the pages for written: syncing the same file again would find nothing to
    do, and succeed. See <https://wiki.postgresql.org/wiki/Fsync_Errors>.
    """
    temporary = os.path.join(os.path.dirname(path), f"tmp-{os.urandom(8).hex()}")
    try:
        shutil.copy(path, temporary)
        os.replace(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass


def dirty_again(descriptor: int, start: int, end: int, *, mapped: bool) -> None:
    """As `write_anew` for a file that is being written: let the next sync write some bytes once more.

    Args:
        start: a multiple of the page size. mapped: others store into the file meanwhile, by a mapping.
    """
    if not mapped:
        for place in range(start, end, _PIECE):
            write_whole(descriptor, os.pread(descriptor, min(_PIECE, end - place), place), place)
    elif start < end:
        with mmap.mmap(descriptor, end - start, offset=start) as pages:
            # between reading a byte and storing it CPython has no point at which another thread could come
            for at in range(0, end - start, PAGE):
                pages[at : at + 1] = pages[at : at + 1]


def copy_stream(source: int | None, target: int, length: int) -> int:
    """Copy the first bytes of a stream; returns how many there were."""
    place = 0
    while source is not None and place < length:
        chunk = os.pread(source, min(_PIECE, length - place), place)
        if not chunk:
            break
        write_whole(target, chunk, place)
        place += len(chunk)
    return length


def write_whole(descriptor: int, data: bytes | bytearray, place: int) -> None:
    """Write all of some bytes at a place."""
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view, place)
        view, place = view[done:], place + done


def _fsync_folder_if_there(folder: str) -> None:
    try:
        fsync_folder(folder)
    except FileNotFoundError:
        pass  # the run has been committed meanwhile


def _write_back(descriptor: int, place: int, length: int) -> None:
    """Let the kernel write some bytes of a file and wait for it; where that cannot be asked, fsync does it all."""
    call = _sync_file_range()
    if call is not None:
        call(descriptor, place, length, _WAIT_WRITE_WAIT)


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    try:
        found = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):
        return None
    found.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return found
