"""The stream that one process appends to while its run lives; safe from ``kill -9`` when a call returns.

Records are packed straight into a preallocated, memory-mapped file: the kernel keeps the pages when the process
dies, and no system call is made in the loop. Each record ends with the stream's own 64-bit seal, written
last, so that a torn one is seen and the next is found again. Layout, little-endian::

    header   'GTJ1', u32 version, u64 seal
    points   u32 shape (>= 16), i64 step, f64 time, f64 value × n, u64 seal
    event    u32 1, u32 length, u32 crc32, JSON in UTF-8, u64 seal

A shape is a tuple of metric keys, told once by an event before its first use. Times are seconds since
the epoch. On network file systems, where a mapping is not safe, the same records go through ``write``.

Against power cuts, one thread a process syncs what is new twice a second, so that a second is the most that
is lost where a sync takes less than half of one; ``sync=True`` syncs each record before its call returns.
"""

from __future__ import annotations

import errno
import itertools
import json
import logging
import mmap
import os
import struct
import sys
import threading
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, time
from typing import Any

from gittrack.errors import InvalidValueError, RunStateError
from gittrack.schema.values import check_metrics, check_step, check_time
from gittrack.store.mounts import may_map
from gittrack.store.syncing import PAGE, LateFiles, copy_stream, dirty_again, sync_file, write_whole

MAGIC, VERSION = b"GTJ1", 1
HEADER = struct.Struct("<4sIQ")
EVENT_HEAD = struct.Struct("<III")
SEAL = struct.Struct("<Q")
EVENT_KIND, FIRST_SHAPE = 1, 16
EVENT_BYTES_MAX = 64 << 20

_WINDOW_MIN, _WINDOW_MAX = 64 << 10, 4 << 20
_DRAINED_KEPT = 2  # windows
_BACKLOG_MAX = 256 << 20  # points kept in memory while a disk fails
_SYNC_EVERY_S = 0.5
_BEAT_TICKS = 60
_NOWHERE = bytearray(0)  # too small for any record: sends an append the slow way
_log = logging.getLogger("gittrack")


def shape_struct(count: int) -> struct.Struct:
    """The record of ``count`` values: shape, step, time, the values, seal."""
    return struct.Struct(f"<Iq{count + 1}dQ")


class Journal:
    """An open stream. `append` is the hot path; everything else may take its time.

    Threads may append at once. A forked child that appends gets a stream of its own beside it.

    Args:
        folder: the live run's folder, which exists.
        describe: tells who writes, for the stream's first event: `live.describe_writer`.
        sync: sync every record to disk before its call returns.
        spare: makes a folder on another disk, for a stream that finds no room at its end; returns its path.
    """

    __slots__ = (
        "__weakref__", "_backlog", "_buffer", "_closed", "_describe", "_descriptor", "_drained", "_file_end",
        "_files", "_folder", "_last_steps", "_lock", "_mapped", "_next", "_next_steps", "_seal", "_shape_ids",
        "_shape_numbers", "_shapes", "_spare", "_sync_each", "_synced", "_warned", "dropped", "path", "spared_to",
        "was_removed",
    )  # fmt: skip

    _backlog: list[bytearray]
    _buffer: mmap.mmap | bytearray
    _descriptor: int | None
    _drained: list[tuple[int, bytearray, int]]
    _next: int
    _seal: int
    _lock: Any
    _shape_ids: dict[tuple[str, ...], int]
    _shapes: dict[tuple[str, ...], tuple[Any, int, int, bool]]
    _synced: tuple[int, int, bool] | None
    path: str

    def __init__(
        self,
        folder: str,
        describe: Callable[[], dict[str, Any]],
        *,
        sync: bool = False,
        spare: Callable[[], str] | None = None,
    ) -> None:
        self._folder = folder
        self._describe = describe
        self._spare = spare
        self._sync_each = sync
        self._mapped = not sync and _has_gil() and os.path.isdir(folder) and may_map(folder)
        self._closed = False
        self._warned = False
        self._files = LateFiles()
        self._next_steps: dict[tuple[str, ...], int] = {}
        self._last_steps: dict[str, int] = {}
        self._lock = threading.RLock()
        self.dropped = 0
        self.was_removed = False
        self.spared_to = ""
        with self._lock:
            self._open()

    @property
    def nonce(self) -> str:
        """The stream's name in the commit that takes it in: 16 hex digits."""
        return f"{self._seal:016x}"

    def append(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append one record of metric values at a step, timed now. Threads may call at once.

        The two attribute reads and the write that claim a place run without a point at which CPython could
        switch threads; a claimed place that is never filled is a gap, which readers step over.
        """
        if step is None:  # counting is not for many threads at once
            self.append_points(metrics)
            return
        try:
            pack, size, shape, is_single = self._shapes[tuple(metrics)]
            buffer = self._buffer
            start = self._next
            self._next = start + size
            if is_single:
                (value,) = metrics.values()
                pack(buffer, start, shape, step, time(), value, self._seal)
            else:
                pack(buffer, start, shape, step, time(), *metrics.values(), self._seal)
        except Exception:  # a value's own __float__ may raise anything; the slow way says what is wrong
            self.append_points(metrics, step)

    def append_points(
        self, metrics: Mapping[str, Any], step: int | None = None, time_s: float | None = None
    ) -> None:
        """As `append`, with every check, a time of the caller's, and steps that count up where none is given.

        Raises:
            InvalidValueError: a key, value or step is not taken; then nothing of the call was logged.
            RunStateError: the run has ended.
        """
        values = check_metrics(metrics)
        keys = tuple(metrics)
        number = None if step is None else check_step(step)
        moment = time() if time_s is None else check_time(time_s)
        with self._lock:
            if not keys:
                return
            shape = self._define_shape(keys)
            step = self._count_step(keys) if number is None else number
            self._emit(shape_struct(len(keys)).pack(shape, step, moment, *values, self._seal))

    def append_event(self, kind: str, fields: Mapping[str, Any], time_s: float | None = None) -> None:
        """Append anything else: its kind and its fields, which JSON can hold.

        Raises:
            RunStateError: the run has ended. InvalidValueError: it is longer than 64 MiB.
        """
        moment = time() if time_s is None else time_s
        payload = json.dumps({"e": kind, "t": moment, **fields}, separators=(",", ":")).encode()
        if len(payload) > EVENT_BYTES_MAX:
            raise InvalidValueError(
                f"{len(payload)} bytes are too many for one call", "log it in several, or as an artifact"
            )
        with self._lock:
            head = EVENT_HEAD.pack(EVENT_KIND, len(payload), zlib.crc32(payload))
            self._emit(head + payload + SEAL.pack(self._seal))

    def append_events(self, events: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Append several events."""
        for kind, fields in events:
            self.append_event(kind, fields)

    def count_steps_from(self, last_steps: Mapping[str, int]) -> None:
        """Let steps that are not given go on after those of a resumed run."""
        self._last_steps.update(last_steps)

    def keep_file(self, path: str) -> None:
        """Let a file reach the disk that a record names, or is about to: as soon as the records do.

        Raises:
            OSError: each record is synced before its call returns, and the disk failed.
        """
        if self._sync_each:
            sync_file(path)
        else:
            self._files.add(path)

    def sync(self) -> None:
        """Make all that was appended durable, where there is something new.

        What was new is synced once more at the next call: another thread may have claimed its place, and filled it
        while the first sync was under way.

        Raises:
            OSError: the disk failed.
        """
        with self._lock:
            self._write_late()
            if self._backlog:
                self._drain()
            last, mark = self._synced, (self._file_end, self._next)
            if self._descriptor is None or last == (*mark, True):
                return
            descriptor = os.dup(self._descriptor)  # another thread may close the stream meanwhile
        try:
            os.fdatasync(descriptor)
            self._synced = (*mark, last == (*mark, False))
        except OSError:
            with self._lock:
                start = max(0, (last or (0,))[0] - 2 * EVENT_BYTES_MAX) // PAGE * PAGE
                dirty_again(descriptor, start, self._file_end, mapped=self._mapped)
            raise
        finally:
            os.close(descriptor)

    def sync_files(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Make the kept files durable, until that is over.

        Raises:
            OSError: the disk failed.
        """
        if self._files:
            self._files.sync(is_over)

    def settle(self) -> None:
        """Make durable what a closed stream holds; nothing to do where its run has been committed.

        Raises:
            OSError: the disk failed.
        """
        try:
            self.sync_files()
            sync_file(self.path)
        except FileNotFoundError:
            pass

    def touch(self) -> None:
        """Let other machines see that this process lives, though nothing may have been logged for long."""
        try:
            os.utime(self.path)
        except FileNotFoundError:
            pass  # removed under our hands, or not made yet: closing puts it back

    def close(self) -> None:
        """End the stream: later appends raise. What waits in memory is tried once more; idempotent.

        Where even then the disk has no room, the whole stream goes to the spare folder, ``spared_to``; what finds
        no room there is counted in ``dropped``.
        """
        with self._lock:
            if self._closed:
                return
            if self._backlog:
                self._drain()
            if self._backlog:
                self._save_elsewhere()
            self._buffer, self._next, self._backlog = _NOWHERE, 0, []
            self._closed = True
            _flusher.forget(self)
            if self._descriptor is not None:
                self._finish_file(self._descriptor)
                os.close(self._descriptor)
                self._descriptor = None

    def reopen_in_child(self) -> None:
        """In a forked child: let go of the parent's stream; the first append opens one of the child's own."""
        self._lock = threading.RLock()
        self._buffer, self._next = _NOWHERE, 0
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._backlog, self._drained = [], []
        self._shapes, self._shape_ids = {}, {}
        self._files = LateFiles()  # the parent syncs them
        self._seal = 0

    # -- the slow way ------------------------------------------------------------------------------------

    def _open(self) -> None:
        writer = self._describe()  # before the file: one without it says nothing about who is alive
        self._seal = int.from_bytes(os.urandom(8), "little") | 1
        self._shapes = {}
        self._shape_ids = {}
        self._shape_numbers = itertools.count(FIRST_SHAPE)
        self._backlog, self._drained = [], []
        self._buffer = _NOWHERE
        self._next = 0
        self._file_end = 0
        self._synced = None
        self._descriptor = None
        self.path = os.path.join(self._folder, f"{self.nonce}.log")
        _flusher.watch(self)  # before the file is there: nobody may take it for a dead one's
        try:
            self._descriptor = self._create_file()
        except OSError as error:
            self._fail(error)
        self._emit(HEADER.pack(MAGIC, VERSION, self._seal))
        self.append_event("writer", writer)

    def _create_file(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self.path, flags, 0o644)
        except FileNotFoundError:  # the run was committed meanwhile: what is logged now is taken in later
            os.makedirs(self._folder, exist_ok=True)
            return os.open(self.path, flags, 0o644)

    def _count_step(self, keys: tuple[str, ...]) -> int:
        """The step after the last that was counted for these very keys; after all of theirs in a resumed run."""
        step = self._next_steps.get(keys)
        if step is None:
            step = max(self._last_steps.get(key, -1) for key in keys) + 1
        self._next_steps[keys] = step + 1
        return step

    def _define_shape(self, keys: tuple[str, ...]) -> int:
        if self._seal == 0:
            self._open()  # first append of a forked child
        known = self._shape_ids.get(keys)
        if known is not None:
            return known
        shape, dropped = next(self._shape_numbers), self.dropped
        self.append_event("shape", {"id": shape, "keys": keys})
        if self.dropped != dropped:
            return shape  # it is to be told again when there is room
        self._shape_ids[keys] = shape
        record = shape_struct(len(keys))
        self._shapes[keys] = (record.pack_into, record.size, shape, len(keys) == 1)
        return shape

    def _emit(self, record: bytes) -> None:
        """Put one whole record into the stream; the caller holds the lock."""
        if self._closed:
            raise RunStateError("the run has ended", "start another, or resume it: start_run(run_id=…)")
        if self._seal == 0:
            self._open()
            record = record[:-8] + SEAL.pack(self._seal)
        if not self._mapped and (self._descriptor is not None or not self._backlog):
            try:
                self._drain_or_raise()  # in the order of the file, what waits comes first
                self._write(record)
                return
            except OSError as error:
                self._fail(error)
        size = len(record)
        while True:
            buffer = self._buffer
            start = self._next
            self._next = start + size
            if self._next <= len(buffer):
                break
            if not self._grow(size):
                self.dropped += 1
                return
        # the seal goes last, in a store of its own: a copy may write its end before its middle
        buffer[start : start + size - 8] = record[:-8]
        buffer[start + size - 8 : start + size] = record[-8:]

    def _write(self, record: bytes) -> None:
        """Write one record behind the last, without a mapping."""
        assert self._descriptor is not None
        try:
            if os.pwrite(self._descriptor, record, self._file_end) < len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._sync_each:
                os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._file_end)
            raise
        self._file_end += len(record)

    def _grow(self, size: int) -> bool:
        """Give the stream a new window with room for ``size`` bytes; False when nothing more can be kept."""
        last = len(self._buffer)
        length = max(_WINDOW_MIN, min(_WINDOW_MAX, last * 2))
        while length < size:
            length *= 2
        if self._descriptor is not None and self._mapped:
            try:
                self._drain_or_raise()
                window = self._map_window(length)
                self._buffer, self._next = window, 0
                return True
            except OSError as error:
                self._fail(error)
        if sum(map(len, self._backlog)) + length > _BACKLOG_MAX:
            self._buffer, self._next = _NOWHERE, 0
            return False
        memory = bytearray(length)
        self._backlog.append(memory)
        self._buffer, self._next = memory, 0
        return True

    def _map_window(self, length: int) -> mmap.mmap:
        assert self._descriptor is not None
        # blocks are reserved first: a store into a mapped hole of a full disk would kill the process
        os.posix_fallocate(self._descriptor, self._file_end, length)
        window = mmap.mmap(self._descriptor, length, offset=self._file_end)
        self._file_end += length
        return window

    def _drain(self) -> None:
        """Try to bring what waits in memory to the disk; on success go on in the file."""
        try:
            self._drain_or_raise()
        except OSError:
            pass

    def _drain_or_raise(self) -> None:
        if self._descriptor is None:
            self._descriptor = self._create_file()
        if not self._backlog:
            return
        os.posix_fallocate(self._descriptor, self._file_end, sum(map(len, self._backlog)))
        # nobody may claim a place any more in what is being written
        held = self._buffer, self._next
        self._buffer, self._next = _NOWHERE, 0
        try:
            while self._backlog:
                window = self._backlog[0]
                checksum = zlib.crc32(window)
                write_whole(self._descriptor, window, self._file_end)
                self._drained.append((self._file_end, window, checksum))
                self._file_end += len(window)
                self._backlog.pop(0)
        except OSError:
            self._buffer, self._next = held
            raise

    def _write_late(self) -> None:
        """Write drained windows again that have changed: a thread may have filled the place it had claimed before.

        It may take its time: a value that is computed on a GPU is waited for. So the last windows are kept.
        """
        for number, (place, window, written) in enumerate(self._drained):
            checksum = zlib.crc32(window)
            if checksum != written:
                assert self._descriptor is not None
                write_whole(self._descriptor, window, place)
                self._drained[number] = place, window, checksum
        del self._drained[:-_DRAINED_KEPT]

    def _finish_file(self, descriptor: int) -> None:
        """What is left to do for a file that is being closed; it may have been removed under our hands."""
        try:
            self._write_late()
            if os.fstat(descriptor).st_nlink == 0:
                self.was_removed = True
                self._bring_back(descriptor)
        except OSError as error:
            self._fail(error)

    def _save_elsewhere(self) -> None:
        try:
            if self._spare is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            folder = self._spare()
            copy = os.open(os.path.join(folder, os.path.basename(self.path)), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                place = copy_stream(self._descriptor, copy, self._file_end)
                for window in self._backlog:
                    write_whole(copy, window, place)
                    place += len(window)
            finally:
                os.close(copy)
            self.spared_to = folder
        except OSError:
            self.dropped += sum(window.count(SEAL.pack(self._seal)) for window in self._backlog)

    def _bring_back(self, descriptor: int) -> None:
        """Put a removed stream back in its place, whole: what a commit took of it already is not taken twice."""
        copy = self._create_file()
        try:
            copy_stream(descriptor, copy, self._file_end)
        finally:
            os.close(copy)

    def _fail(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "gittrack cannot write to %s (%s): values are kept in memory and tried again; training goes on",
                self._folder,
                error.strerror or error,
            )


class _Flusher:
    """The one thread of a process that syncs its journals; it steps aside while the process forks."""

    def __init__(self) -> None:
        self._journals: weakref.WeakSet[Journal] = weakref.WeakSet()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()  # a signal handler may end a run while its thread holds it
        self._registered = False
        self._next_at = 0.0
        self._ticks = 0

    def watch(self, journal: Journal) -> None:
        with self._lock:
            if not self._registered:
                os.register_at_fork(
                    before=self._pause, after_in_parent=self._resume, after_in_child=self._restart_in_child
                )
                self._registered = True
            self._journals.add(journal)
            self._start()

    def forget(self, journal: Journal) -> None:
        with self._lock:
            self._journals.discard(journal)

    def list_open(self) -> list[Journal]:
        with self._lock:
            return list(self._journals)

    def _start(self) -> None:
        if self._thread is None:
            self._wake.clear()
            self._thread = threading.Thread(target=self._run, name="gittrack-sync", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        """Sync in a fixed rhythm, which goes on where a fork has interrupted it."""
        now = monotonic()
        if not now < self._next_at < now + _SYNC_EVERY_S:
            self._next_at = now + _SYNC_EVERY_S
        while not self._wake.wait(max(0.0, self._next_at - monotonic())):
            self._ticks += 1
            begun = monotonic()
            journals = self.list_open()
            for journal in journals:
                try:
                    journal.sync()
                    if self._ticks % _BEAT_TICKS == 0:
                        journal.touch()
                except OSError as error:
                    journal._fail(error)
            self._next_at = begun + _SYNC_EVERY_S  # not from now on: what a sync takes is not waited for again
            self._sync_files(journals)

    def _sync_files(self, journals: list[Journal]) -> None:
        """Use the time until the next sync for files; a fork interrupts it."""
        for journal in journals:
            try:
                journal.sync_files(lambda: self._wake.is_set() or monotonic() >= self._next_at)
            except OSError as error:
                journal._fail(error)

    def _pause(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            self._wake.set()
            thread.join()

    def _resume(self) -> None:
        if self._journals:
            self._start()

    def _restart_in_child(self) -> None:
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._thread = None
        for journal in list(self._journals):
            journal.reopen_in_child()
        self._journals = weakref.WeakSet()


def is_open_here(nonce: str) -> bool:
    """Whether this very process has the stream of that name open."""
    return any(journal.nonce == nonce for journal in _flusher.list_open())


def _has_gil() -> bool:
    """Whether claiming a place in the buffer needs no lock; a free-threaded build goes the slow way."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


_flusher = _Flusher()
