"""Reading journal streams, whole or while they grow: events and blocks of points, torn records stepped over.

Read in chunks, so that memory stays flat however long a run was; runs of like records are unpacked
thousands at a time. The layout is told in `gittrack.store.journal`.
"""

from __future__ import annotations

import errno
import heapq
import json
import math
import os
import re
import struct
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from gittrack.errors import InvalidValueError
from gittrack.schema.events import Event, PointBlock
from gittrack.schema.names import check_key
from gittrack.schema.values import METRICS_MAX, check_step
from gittrack.store.journal import (
    EVENT_BYTES_MAX,
    EVENT_HEAD,
    EVENT_KIND,
    FIRST_SHAPE,
    HEADER,
    MAGIC,
    SEAL,
    shape_struct,
)
from gittrack.store.planted import open_plain

Item = Event | PointBlock
# items with the offset at which their record ends; returns the bytes that were used
_Decoded = Generator[tuple[int, Item | None], None, int]

_CHUNK = 1 << 20
_CONTAINERS_MAX = 10_000
_TEXT_OR_CONTAINER = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]', re.DOTALL)
_TIME_MIN_S, _TIME_MAX_S = -62_135_596_800.0, 253_402_300_799.0  # years 1 to 9999
_BLOCK_MAX, _HOPE_MIN = 8192, 8
_NO_POINT = (0, 0.0, 0.0)
_NUMPY_FROM = 8192  # a smaller block never pays for the import
_PAYLOAD = b'{"e":"'  # what an event's JSON begins with; nowhere else in it, where quotes are escaped
_TAIL = 256 << 10  # more than an event that ends a run takes, its traceback included


class Stream:
    """One journal file as read.

    Attributes:
        path: the file. nonce: its name in commits, 16 hex digits; empty where its header is torn.
        writer: the fields of its first event: who writes it; empty where that is torn.
        consumed: bytes up to the end of the last whole record that `read` has given.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.consumed = 0
        self.nonce = ""
        self.writer: dict[str, Any] = {}
        self._seal = 0
        self._head_end = HEADER.size
        self._open_head()

    def read(self, after: int = 0, *, in_order: bool = False) -> Iterator[Item]:
        """What was logged; what ends at or before byte ``after`` is left out.

        Each metric's points, and all events, come in the order of the file; with ``in_order`` all points do, at
        the cost of blocks of one where several metrics alternate.
        """
        if not self._seal:
            return
        decoder = _Decoder(self._seal, after, in_order)
        for end, item in decoder.decode(self.path):
            self.consumed = end
            if end > after and item is not None:
                yield item if isinstance(item, Event) else _with_true_times(item)

    def has_more(self, after: int) -> bool:
        """Whether something readable was logged behind byte ``after``.

        A power cut may take the page that tells of a shape, and leave points of it that nobody can read any more.
        """
        return self._has_seal(after) and next(self.read(after), None) is not None

    def _has_seal(self, after: int) -> bool:
        """Whether a record ends behind byte ``after``; reads only what lies there."""
        if not self._seal:
            return False
        mark, tail = SEAL.pack(self._seal), b""
        with open_plain(self.path) as file:
            file.seek(after)
            while chunk := file.read(_CHUNK):
                if mark in tail + chunk:
                    return True
                tail = chunk[-7:]
                if _skip_hole(file, chunk):
                    tail = b""
        return False

    def has_begun(self) -> bool:
        """Whether anything stands behind the record that tells who writes."""
        return self._head_end > HEADER.size and self.has_more(self._head_end)

    def is_ended(self) -> bool:
        """Whether its last record ends the run; for streams without preallocated space."""
        if not self._seal:
            return False
        with open(self.path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            tail = file.read()
        last = tail.rfind(_PAYLOAD)
        return last >= 0 and tail.startswith(_PAYLOAD + b'end"', last) and tail.endswith(SEAL.pack(self._seal))

    def _open_head(self) -> None:
        try:
            with open_plain(self.path) as file:
                head = file.read(HEADER.size + EVENT_HEAD.size)
                if len(head) < HEADER.size:
                    return
                magic, _, seal = HEADER.unpack_from(head)
                if magic != MAGIC:
                    return
                self._seal, self.nonce = seal, f"{seal:016x}"
                self.consumed = HEADER.size
                if len(head) == HEADER.size + EVENT_HEAD.size:
                    _, length, _ = EVENT_HEAD.unpack_from(head, HEADER.size)
                    payload = file.read(min(length, 1 << 16))
                    writer = dict(json.loads(payload))
                    if isinstance(writer.get("t", 0.0), int | float):
                        self.writer = writer
                    self._head_end += EVENT_HEAD.size + length + SEAL.size
        except (OSError, ValueError, TypeError, RecursionError):
            return


def merge_items(streams: Sequence[Stream], taken: dict[str, int]) -> Iterator[Item]:
    """The items of several streams, each metric's points in the order of their times, and events in theirs.

    Args:
        taken: bytes to leave out, by the stream's nonce.
    """
    if len(streams) == 1:
        yield from streams[0].read(taken.get(streams[0].nonce, 0))
        return
    sources = [
        _timed(stream.read(taken.get(stream.nonce, 0), in_order=True), number)
        for number, stream in enumerate(streams)
    ]
    columns: dict[str, tuple[list[int], list[float], list[float]]] = {}
    for _, _, _, item, point in heapq.merge(*sources):
        if isinstance(item, Event):
            yield item
            continue
        steps, times_s, values = columns.setdefault(item, ([], [], []))
        steps.append(point[0])
        times_s.append(point[1])
        values.append(point[2])
        if len(steps) == _BLOCK_MAX:
            yield PointBlock(item, *columns.pop(item))
    for key, column in columns.items():
        yield PointBlock(key, *column)


def _timed(
    source: Iterator[Item], number: int
) -> Iterator[tuple[float, int, int, Event | str, tuple[int, float, float]]]:
    """Events and points with what they are ordered by: a stream keeps its order where its clock goes back."""
    latest, count = 0.0, 0
    for item in source:
        if isinstance(item, Event):
            latest, count = max(latest, item.time_s), count + 1
            yield latest, number, count, item, _NO_POINT
            continue
        for point in zip(item.steps, item.times_s, item.values, strict=True):
            if point[1] > latest:
                latest = point[1]
            count += 1
            yield latest, number, count, item.key, point


def _unpack_columns(record: struct.Struct, data: memoryview) -> list[Sequence[Any]]:
    """The fields of like records as columns. NumPy makes no tuples, which the garbage collector counts."""
    if len(data) < _NUMPY_FROM * record.size:
        return list(zip(*record.iter_unpack(data), strict=True))
    import numpy as np

    values = [(f"v{at}", "<f8") for at in range((record.size - shape_struct(0).size) // 8)]
    fields = [("shape", "<u4"), ("step", "<i8"), ("time", "<f8"), *values, ("seal", "<u8")]
    rows = np.frombuffer(data, dtype=np.dtype(fields))
    return [rows[name].tolist() for name, _ in fields]


def _with_true_times(block: PointBlock) -> PointBlock:
    """A block whose every time is one that a calendar can show; what was written always is."""
    times_s = block.times_s
    if min(times_s) >= _TIME_MIN_S and max(times_s) <= _TIME_MAX_S and not math.isnan(sum(times_s)):
        return block
    true = [time_s if _TIME_MIN_S <= time_s <= _TIME_MAX_S else 0.0 for time_s in times_s]
    return PointBlock(block.key, block.steps, true, block.values)


def _is_bomb(payload: bytes) -> bool:
    """Whether JSON holds far more lists and mappings than an event has: each takes some sixty bytes of memory."""
    if payload.count(b"[") + payload.count(b"{") <= _CONTAINERS_MAX:
        return False
    outside = (match for match in _TEXT_OR_CONTAINER.finditer(payload) if match[0] in (b"[", b"{"))
    return any(number > _CONTAINERS_MAX for number, _ in enumerate(outside, 1))


def _skip_hole(file: BinaryIO, chunk: bytes) -> int:
    """Step over a hole of the file that its last chunk lies in; returns how many bytes, 0 where there is none.

    A journal is longer than what is written in it; one that a stranger made may seem a terabyte long.
    """
    if len(chunk) < _CHUNK or chunk.count(0) < _CHUNK:
        return 0
    at, descriptor = file.tell(), file.fileno()
    buffered_to = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        data_at = os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError as error:  # nothing but a hole up to the end; or a file system that does not tell
        data_at = os.fstat(descriptor).st_size if error.errno == errno.ENXIO else at
    os.lseek(descriptor, buffered_to, os.SEEK_SET)  # what the reader has buffered ends here
    file.seek(data_at)
    return data_at - at


class _Decoder:
    """Turns a stream's bytes into items; keeps what it has learned of shapes.

    No block of points spans the byte ``after``, the end of some record: what lies before it was taken already.
    """

    def __init__(self, seal: int, after: int, in_order: bool) -> None:
        self._seal = seal
        self._after = after
        self._in_order = in_order
        self._seal_bytes = SEAL.pack(seal)
        self._keys: dict[int, tuple[str, ...]] = {}
        self._structs: dict[int, struct.Struct] = {}
        self._hope = 64  # how many like records to try at once; less than _HOPE_MIN: they alternate

    def decode(self, path: str) -> Iterator[tuple[int, Item | None]]:
        """Every item with the file offset at which its record ends."""
        with open_plain(path) as file:
            base, data = 0, b""
            file.seek(HEADER.size)
            base = HEADER.size
            while True:
                chunk = file.read(_CHUNK)
                skipped = _skip_hole(file, chunk)
                if skipped:
                    base, data = base + len(data) + len(chunk) + skipped, b""
                    continue
                data += chunk
                used = yield from self._decode_chunk(data, base, is_last=not chunk)
                data = data[used:]
                base += used
                if not chunk:
                    return
                if len(data) > EVENT_BYTES_MAX + _CHUNK:  # a gap without end; no record is as long
                    base += len(data) - _CHUNK
                    data = data[-_CHUNK:]

    def _decode_chunk(self, data: bytes, base: int, *, is_last: bool) -> _Decoded:
        at = 0
        while at + 12 <= len(data):
            kind = int.from_bytes(data[at : at + 4], "little")
            if kind in self._structs:
                taken = yield from self._points(data, at, base)
            elif kind == EVENT_KIND:
                taken = yield from self._event(data, at, base)
            else:
                taken = 0
            if taken:
                at += taken
                continue
            skipped = self._next_record(data, at + 1)
            if skipped is None:
                rest = data[at:]  # a record's first four bytes are not all zero: long holes need not be kept
                at += max(0, len(rest) - len(rest.lstrip(b"\0")) - 3)
                break
            at = skipped
        return at if not is_last else len(data)

    def _points(self, data: bytes, at: int, base: int) -> _Decoded:
        """Decode a block of like records; returns the bytes they take, 0 where there is no whole one."""
        shape = int.from_bytes(data[at : at + 4], "little")
        record = self._structs[shape]
        if self._hope < _HOPE_MIN and not self._in_order:
            return (yield from self._mixed_points(data, at, base))
        count = min((len(data) - at) // record.size, self._hope)
        before = self._after - base - at
        if before > 0:
            count = min(count, max(1, before // record.size))
        if not count:
            return 0
        columns = _unpack_columns(record, memoryview(data)[at : at + count * record.size])
        good = self._good_prefix(columns[0], columns[-1], record.size)
        self._hope = min(self._hope * 2, _BLOCK_MAX) if good == count else good
        if not good:
            return 0
        if good < count:
            columns = [column[:good] for column in columns]
        end = base + at + good * record.size
        for block in self._blocks(columns):
            yield end, block
        return good * record.size

    def _mixed_points(self, data: bytes, at: int, base: int) -> _Decoded:
        """As `_points` where shapes of several sizes alternate: one by one, then grouped."""
        rows: list[tuple[Any, ...]] = []
        start, border, seal = at, self._after - base, self._seal
        for _ in range(_BLOCK_MAX):
            shape = int.from_bytes(data[at : at + 4], "little")
            record = self._structs.get(shape)
            if record is None or at + record.size > len(data) or at == border > start:
                break
            row = record.unpack_from(data, at)
            if row[-1] != seal:
                break
            rows.append(row)
            at += record.size
        if len({row[0] for row in rows}) == 1:
            self._hope = _HOPE_MIN  # they have stopped alternating
        for block in self._by_key(rows):
            yield base + at, block
        return at - start

    def _by_key(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[PointBlock]:
        """Records of several shapes as one block a metric, which keeps its order though it be in more than one."""
        columns: dict[str, tuple[list[int], list[float], list[float]]] = {}
        for shape, step, time_s, *values, _ in rows:
            for key, value in zip(self._keys[shape], values, strict=True):
                column = columns.get(key)
                if column is None:
                    column = columns[key] = ([], [], [])
                column[0].append(step)
                column[1].append(time_s)
                column[2].append(value)
        for key, (steps, times_s, found) in columns.items():
            yield PointBlock(key, steps, times_s, found)

    def _good_prefix(self, shapes: Sequence[int], seals: Sequence[int], size: int) -> int:
        """How many records from the first on are whole and of shapes with that size."""
        if seals.count(self._seal) == len(seals):
            found = set(shapes)
            if all(shape in self._structs and self._structs[shape].size == size for shape in found):
                return len(shapes)
        for number, (shape, seal) in enumerate(zip(shapes, seals, strict=True)):
            known = self._structs.get(shape)
            if seal != self._seal or known is None or known.size != size:
                return number
        return len(shapes)

    def _blocks(self, columns: list[Sequence[Any]]) -> Iterator[PointBlock]:
        shapes, steps, times = columns[:3]
        found = set(shapes)
        if len(found) == 1:
            for key, values in zip(self._keys[shapes[0]], columns[3:-1], strict=True):
                yield PointBlock(key, steps, times, values)
            return
        if self._in_order:
            for shape, step, time_s, *row, _ in zip(*columns, strict=True):
                for key, value in zip(self._keys[shape], row, strict=True):
                    yield PointBlock(key, (step,), (time_s,), (value,))
            return
        yield from self._by_key(zip(*columns, strict=True))

    def _event(self, data: bytes, at: int, base: int) -> _Decoded:
        """Decode one event; returns the bytes it takes, 0 where it is torn or not all there yet."""
        _, length, crc = EVENT_HEAD.unpack_from(data, at)
        start = at + EVENT_HEAD.size
        end = start + length + SEAL.size
        if length > EVENT_BYTES_MAX or end > len(data) or data[end - SEAL.size : end] != self._seal_bytes:
            return 0
        payload = data[start : start + length]
        if zlib.crc32(payload) != crc:
            return 0
        try:
            items = self._items(payload)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidValueError):
            items = [None]  # whole, and yet none of ours: passed over
        for item in items:
            yield base + end, item
        return int(end - at)

    def _items(self, payload: bytes) -> Sequence[Item | None]:
        """What an event's JSON says.

        Raises:
            ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidValueError: it is no event.
        """
        if _is_bomb(payload):
            raise ValueError("it nests more than any event does")
        fields = json.loads(payload)
        kind, time_s = fields.pop("e"), fields.pop("t")
        if kind == "writer":
            return [None]
        if kind == "shape":
            self._learn(fields["id"], fields["keys"])
            return [None]
        if not isinstance(kind, str) or not _TIME_MIN_S <= time_s <= _TIME_MAX_S:
            raise ValueError("an event has a kind and a time")
        if kind != "points":
            return [Event(kind, time_s, fields)]
        step = check_step(fields["step"])
        values = {check_key("metric", key): float(value) for key, value in fields["values"].items()}
        return [PointBlock(key, (step,), (time_s,), (value,)) for key, value in values.items()]

    def _learn(self, shape: int, keys: Sequence[str]) -> None:
        """Take in a shape; one that is known already keeps its keys."""
        if not FIRST_SHAPE <= shape < 1 << 32:
            raise ValueError(f"{shape} is no shape's number")
        if len(keys) > METRICS_MAX:
            raise ValueError(f"a shape of {len(keys)} keys")
        checked = tuple(check_key("metric", key) for key in keys)
        self._keys[shape] = checked
        self._structs[shape] = shape_struct(len(checked))

    def _next_record(self, data: bytes, at: int) -> int | None:
        """Where the next whole record may start after a gap or a torn one; None where none is in sight."""
        seal_at = data.find(self._seal_bytes, at)
        while seal_at >= 0:
            end = seal_at + SEAL.size
            for shape, record in self._structs.items():
                start = end - record.size
                if start >= at and int.from_bytes(data[start : start + 4], "little") == shape:
                    return start
            event_at = self._find_event(data, at, seal_at)
            if event_at is not None:
                return event_at
            at = end  # of a shape whose telling is lost, or torn itself
            seal_at = data.find(self._seal_bytes, at)
        return None

    def _find_event(self, data: bytes, at: int, seal_at: int) -> int | None:
        mark = EVENT_KIND.to_bytes(4, "little")
        start = data.find(mark, at, seal_at)
        while start >= 0:
            if start + EVENT_HEAD.size <= seal_at:
                _, length, _ = EVENT_HEAD.unpack_from(data, start)
                if start + EVENT_HEAD.size + length == seal_at:
                    return start
            start = data.find(mark, start + 1, seal_at)
        return None
