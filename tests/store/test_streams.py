"""Reading streams: torn records and gaps are stepped over, what was taken is not given again."""

from __future__ import annotations

import math
import os
import random
import struct
import time
import zlib
from collections import Counter
from pathlib import Path

import pytest

from gittrack.schema.events import Event, PointBlock
from gittrack.store import streams as streams_module
from gittrack.store.journal import EVENT_HEAD, HEADER, SEAL, Journal, shape_struct
from gittrack.store.shared_journal import SharedJournal
from gittrack.store.streams import Item, Stream, merge_items

Row = tuple[str, int, float]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "live").mkdir()
    return str(tmp_path / "live")


def open_journal(folder: str) -> Journal:
    return Journal(folder, lambda: {"pid": os.getpid(), "host": "here"})


def rows_of(items: list[Item]) -> list[Row]:
    return [
        row
        for item in items
        if isinstance(item, PointBlock)
        for row in zip([item.key] * len(item.steps), item.steps, item.values, strict=True)
    ]


def read_rows(path: str | Path, after: int = 0) -> list[Row]:
    return rows_of(list(Stream(str(path)).read(after)))


def write_mixed(folder: str, count: int) -> tuple[str, list[Row]]:
    """A stream of several shapes with events between; its path and its points."""
    journal, rows = open_journal(folder), []
    for step in range(count):
        if step % 7 == 3:
            journal.append_event("tag", {"tags": {"at": str(step)}})
        keys = ("a",) if step % 3 else ("a", "b", "c")
        if step % 50 < 20:
            keys = ("only",)
        journal.append(dict.fromkeys(keys, float(step)), step)
        rows += [(key, step, float(step)) for key in keys]
    journal.close()
    return journal.path, rows


def test_points_come_in_blocks_and_in_their_order(folder: str) -> None:
    journal = open_journal(folder)
    for step in range(50_000):
        journal.append({"a": step}, step)
    journal.close()
    items = list(Stream(journal.path).read())
    assert rows_of(items) == [("a", step, float(step)) for step in range(50_000)]
    assert len(items) < 60


@pytest.mark.parametrize("chunk", [64, 1000, 4096, 1 << 20])
def test_chunk_borders_cut_nothing(folder: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rows = write_mixed(folder, 1500)
    monkeypatch.setattr(streams_module, "_CHUNK", chunk)
    assert Counter(read_rows(path)) == Counter(rows)


def test_what_lies_before_the_byte_that_was_taken_is_not_given_again(folder: str) -> None:
    """A fold may have ended anywhere: in the midst of what would be one block, too."""
    journal = open_journal(folder)
    expected: list[Row] = []
    ends = []
    for step in range(700):
        journal.append({"a": step}, step)
        expected.append(("a", step, float(step)))
        if step % 37 == 0:
            stream = Stream(journal.path)
            for _ in stream.read():
                pass
            ends.append((stream.consumed, len(expected)))
    journal.close()
    for after, count in ends:
        assert read_rows(journal.path, after) == expected[count:]


def test_every_place_a_fold_can_end_at_splits_the_stream_in_two(folder: str) -> None:
    path, _ = write_mixed(folder, 120)
    whole = list(Stream(path).read())
    data = Path(path).read_bytes()
    for cut in range(HEADER.size, min(len(data), 6000), 13):
        first = Path(folder) / "cut"
        first.write_bytes(data[:cut])
        stream = Stream(str(first))
        begun = list(stream.read())
        rest = list(Stream(path).read(stream.consumed))
        assert Counter(rows_of(begun)) + Counter(rows_of(rest)) == Counter(rows_of(whole))
        events = [item for item in begun + rest if isinstance(item, Event)]
        assert events == [item for item in whole if isinstance(item, Event)]


@pytest.mark.parametrize("filling", ["zeros", "noise", "ones"])
def test_damage_costs_only_the_records_it_lies_in(folder: str, filling: str) -> None:
    """Every record but the damaged ones comes through, and no other."""
    path, rows = write_mixed(folder, 3000)
    data = Path(path).read_bytes()
    source = random.Random(11)
    lost_most = 0
    for _ in range(60):
        start = source.randrange(2000, len(data) - 5000)  # behind the telling of the shapes
        length = source.choice([1, 3, 8, 40, 500, 4096])
        patch = {"zeros": bytes(length), "ones": b"\1\0\0\0" * length, "noise": source.randbytes(length)}[filling]
        damaged = Path(folder) / "damaged"
        damaged.write_bytes(data[:start] + patch[:length] + data[start + length :])
        found = Counter(read_rows(damaged))
        wrong = found - Counter(rows)
        assert len(wrong) <= 3  # a value's own bytes may be hit: nothing seals those
        missing = sum((Counter(rows) - found).values())
        lost_most = max(lost_most, missing)
        assert missing <= length / 8 + 12
    assert lost_most > 0  # the damage was felt


def test_an_event_with_a_wrong_checksum_is_stepped_over_and_does_not_hang(folder: str) -> None:
    journal = open_journal(folder)
    journal.append_event("tag", {"tags": {"first": "x" * 100}})
    journal.append({"a": 1.0}, 1)
    journal.append_event("tag", {"tags": {"second": "y"}})
    journal.close()
    data = bytearray(Path(journal.path).read_bytes())
    data[data.index(b"xxxx")] ^= 1
    Path(journal.path).write_bytes(bytes(data))
    items = list(Stream(journal.path).read())
    assert rows_of(items) == [("a", 1, 1.0)]
    assert [item.fields for item in items if isinstance(item, Event)] == [{"tags": {"second": "y"}}]


def test_records_of_a_shape_whose_telling_is_lost_cost_no_more_than_reading(folder: str) -> None:
    journal = open_journal(folder)
    for step in range(150_000):
        journal.append({"lost": 1.0}, step)
    journal.append({"kept": 1.0}, 0)
    journal.close()
    data = bytearray(Path(journal.path).read_bytes())
    telling = data.index(b'"lost"')
    data[telling : telling + 6] = bytes(6)
    Path(journal.path).write_bytes(bytes(data))
    before = time.monotonic()
    assert read_rows(journal.path) == [("kept", 0, 1.0)]
    assert time.monotonic() - before < 10  # it took hours


def test_a_gap_longer_than_any_record_does_not_shift_what_follows(folder: str) -> None:
    journal = open_journal(folder)
    journal.append({"a": 1.0}, 1)
    journal.close()
    head = Path(journal.path).read_bytes().rstrip(b"\0")
    stream = Stream(journal.path)
    first = list(stream.read())
    record = head[len(head) - 36 :]
    assert stream.consumed >= len(head)
    path = Path(folder) / "holes.log"
    with open(path, "wb") as file:
        file.write(head.ljust(stream.consumed, b"\0"))
        for _ in range(2):
            file.seek(150 << 20, os.SEEK_CUR)
            file.write(record.ljust(36, b"\0"))
    found = Stream(str(path))
    assert rows_of(list(found.read())) == rows_of(first) * 3
    assert found.consumed == os.path.getsize(path)
    assert read_rows(path, found.consumed - 36) == rows_of(first)


def test_a_file_that_is_no_stream_gives_nothing(folder: str) -> None:
    for content in (b"", b"GTJ1", b"\0" * 100, b"something else entirely, and long enough to be a header"):
        path = Path(folder) / "x.log"
        path.write_bytes(content)
        stream = Stream(str(path))
        assert (list(stream.read()), stream.nonce, stream.writer, stream.has_more(0)) == ([], "", {}, False)
    assert list(Stream(str(Path(folder) / "not-there")).read()) == []


def test_a_stream_cut_behind_its_header_has_no_writer(folder: str) -> None:
    journal = open_journal(folder)
    journal.close()
    path = Path(journal.path)
    path.write_bytes(path.read_bytes()[: HEADER.size + EVENT_HEAD.size + 5])
    stream = Stream(str(path))
    assert stream.writer == {}
    assert list(stream.read()) == []
    assert stream.consumed == HEADER.size


def test_growth_is_seen_and_only_growth(folder: str) -> None:
    journal = open_journal(folder)
    journal.append({"a": 1.0}, 1)
    stream = Stream(journal.path)
    list(stream.read())
    assert not stream.has_more(stream.consumed)
    journal.append({"a": 1.0}, 2)
    assert stream.has_more(stream.consumed)
    list(stream.read())
    journal._next += 3 << 20  # a gap, and something far behind it
    journal.append({"a": 1.0}, 3)
    assert stream.has_more(stream.consumed)
    journal.close()


def test_several_streams_merge_by_time_and_each_keeps_its_own_order(folder: str) -> None:
    one, two = open_journal(folder), open_journal(folder)
    for step in range(0, 100, 2):
        one.append_points({"a": step}, step, 1000 + step)
        two.append_points({"a": step + 1}, step + 1, 1001 + step)
    one.append_points({"a": -1}, 100, 500)  # its clock went back
    one.append_points({"a": -2}, 101, 2000)
    one.close()
    two.close()
    streams = [Stream(one.path), Stream(two.path)]
    rows = rows_of(list(merge_items(streams, {})))
    assert [step for _, step, _ in rows] == [*range(99), 100, 99, 101]
    taken = {stream.nonce: stream.consumed for stream in streams}
    assert list(merge_items(streams, taken)) == []


def test_merging_needs_no_more_than_a_few_seconds_for_a_hundred_thousand_points(folder: str) -> None:
    journals = [open_journal(folder) for _ in range(4)]
    for step in range(25_000):
        for journal in journals:
            journal.append({"a": step}, step)
    for journal in journals:
        journal.close()
    before = time.monotonic()
    items = list(merge_items([Stream(journal.path) for journal in journals], {}))
    assert len(rows_of(items)) == 100_000
    assert time.monotonic() - before < 10


def test_a_shared_stream_reads_like_any_other(folder: str) -> None:
    for step in range(5):
        shared = SharedJournal(folder, lambda: {"detached": True})
        shared.append({"a": step, "b": -step}, step)
        shared.close()
    path = os.path.join(folder, "shared.log")
    stream = Stream(path)
    rows = rows_of(list(stream.read()))
    assert rows == [row for s in range(5) for row in (("a", s, float(s)), ("b", s, float(-s)))]
    assert stream.writer["detached"]
    assert stream.consumed == os.path.getsize(path)


def test_a_seal_in_a_value_is_no_seal_of_a_record(folder: str) -> None:
    journal = open_journal(folder)
    journal.append({"a": 1.0, "b": 2.0}, 1)
    (as_value,) = __import__("struct").unpack("<d", SEAL.pack(journal._seal))
    journal.append({"a": as_value, "b": as_value}, 2)
    journal.append({"a": 3.0, "b": 4.0}, 3)
    journal.close()
    assert [step for key, step, _ in read_rows(journal.path) if key == "a"] == [1, 2, 3]


def append_raw(path: str | Path, payload: bytes) -> None:
    """A whole record with any payload at the end of a stream."""
    data = Path(path).read_bytes()
    seal = data[HEADER.size - SEAL.size : HEADER.size]
    head = EVENT_HEAD.pack(1, len(payload), zlib.crc32(payload))
    Path(path).write_bytes(data + head + payload + seal)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xfe",
        b"[1]",
        b"{}",
        b'{"e":5,"t":1}',
        b'{"e":"tag","t":"x"}',
        b'{"e":"tag","t":1e308}',
        b'{"e":"tag","t":' + b"9" * 10_000 + b"}",
        b'{"e":"tag","t":1,"tags":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"e":"tag","t":1,"tags":[' + b"{}," * 20_000 + b"{}]}",
        b'{"e":"shape","t":1,"id":1,"keys":["a"]}',
        b'{"e":"shape","t":1,"id":99,"keys":["../../x"]}',
        b'{"e":"points","t":1,"step":0,"values":{"../x":1.0}}',
        b'{"e":"points","t":1,"step":"y","values":{"a":1.0}}',
        b'{"e":"points","t":1,"step":0,"values":[1]}',
    ],
)
def test_a_whole_record_that_is_none_of_ours_costs_only_itself(folder: str, payload: bytes) -> None:
    path, rows = write_mixed(folder, 20)
    append_raw(path, payload)
    append_raw(path, b'{"e":"tag","t":1,"tags":{"at":"the end"}}')
    items = list(Stream(path).read())
    assert rows_of(items) == rows
    assert items[-1] == Event("tag", 1, {"tags": {"at": "the end"}})


def test_brackets_in_a_long_text_are_no_bomb(folder: str) -> None:
    journal = open_journal(folder)
    journal.append_event("set", {"note": '["\\' * 50_000})
    journal.close()
    (event,) = Stream(journal.path).read()
    assert isinstance(event, Event)
    assert event.fields == {"note": '["\\' * 50_000}


def test_points_at_no_time_are_kept_with_the_least(folder: str) -> None:
    journal = open_journal(folder)
    journal.append({"a": 1.0}, 1)
    journal.close()
    data = bytearray(Path(journal.path).read_bytes())
    seal = data[HEADER.size - SEAL.size : HEADER.size]
    at = data.rfind(seal) + SEAL.size - shape_struct(1).size
    struct.pack_into("<d", data, at + 12, math.nan)
    Path(journal.path).write_bytes(data)
    assert list(Stream(journal.path).read()) == [PointBlock("a", (1,), [0.0], (1.0,))]


def test_a_journal_that_seems_a_terabyte_long_is_read_at_once(folder: str) -> None:
    path, rows = write_mixed(folder, 50)
    os.truncate(path, 1 << 40)
    started = time.process_time()
    assert sorted(read_rows(path)) == sorted(rows)
    assert not Stream(path).has_more(os.stat(path).st_size >> 1)
    assert time.process_time() - started < 5


def test_what_is_behind_a_hole_is_read(folder: str) -> None:
    path, rows = write_mixed(folder, 50)
    seal = Path(path).read_bytes()[HEADER.size - SEAL.size : HEADER.size]
    payload = b'{"e":"tag","t":1,"tags":{"at":"the end"}}'
    with open(path, "r+b") as file:
        file.seek((64 << 20) + 5)
        file.write(EVENT_HEAD.pack(1, len(payload), zlib.crc32(payload)) + payload + seal)
    items = list(Stream(path).read())
    assert sorted(rows_of(items)) == sorted(rows)
    assert items[-1] == Event("tag", 1, {"tags": {"at": "the end"}})


def test_a_pipe_or_a_link_in_the_place_of_a_journal_is_none(folder: str, tmp_path: Path) -> None:
    path, _ = write_mixed(folder, 5)
    (tmp_path / "link.log").symlink_to(path)
    os.mkfifo(tmp_path / "pipe.log")
    for name in ("link.log", "pipe.log"):
        stream = Stream(str(tmp_path / name))
        assert (stream.writer, list(stream.read())) == ({}, [])
