"""The journal: what a call acknowledged is there, exactly once; what it refused is not there at all."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gittrack.errors import InvalidValueError, RunStateError
from gittrack.schema.events import Event, PointBlock
from gittrack.store import journal as journal_module
from gittrack.store.journal import Journal, is_open_here
from gittrack.store.shared_journal import SharedJournal
from gittrack.store.streams import Stream
from tests.harness import fill_up, in_fork, in_threads, mounted, wait_for

Row = tuple[str, int, float]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "live").mkdir()
    return str(tmp_path / "live")


def open_journal(folder: str, **options: bool) -> Journal:
    return Journal(folder, lambda: {"pid": os.getpid()}, **options)


def read_rows(path: str, after: int = 0) -> list[Row]:
    """Every point of a stream as key, step, value."""
    rows: list[Row] = []
    for item in Stream(path).read(after):
        if isinstance(item, PointBlock):
            rows += zip([item.key] * len(item.steps), item.steps, item.values, strict=True)
    return rows


def read_events(path: str) -> list[tuple[str, Any]]:
    return [(item.kind, item.fields) for item in Stream(path).read() if isinstance(item, Event)]


def read_all(folder: str) -> list[Row]:
    return [row for name in os.listdir(folder) for row in read_rows(os.path.join(folder, name))]


class Torchlike:
    """A scalar tensor: ``item`` and ``size`` are methods."""

    def __init__(self, value: float) -> None:
        self.value = value

    def size(self) -> tuple[int, ...]:
        return ()

    def item(self) -> float:
        return self.value

    def __float__(self) -> float:
        return self.value


# -- values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (1, 1.0),
        (True, 1.0),
        (0.1, 0.1),
        (-0.0, -0.0),
        (5e-324, 5e-324),
        (2**63 + 1, float(2**63 + 1)),
        (math.nan, math.nan),
        (-math.inf, -math.inf),
        ("1.5", 1.5),
        ("nan", math.nan),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float64(0.1), 0.1),
        (np.int64(7), 7.0),
        (np.bool_(True), 1.0),
        (np.array(2.5), 2.5),
        (np.array([2.5]), 2.5),
        (np.array([[2.5]]), 2.5),
        (Torchlike(3.25), 3.25),
        (Decimal("0.1"), 0.1),
        (Fraction(1, 4), 0.25),
    ],
    ids=repr,
)
def test_a_value_comes_back_to_the_last_bit_on_the_first_call_and_on_the_fast_one(
    folder: str, given: Any, kept: float
) -> None:
    journal = open_journal(folder)
    journal.append({"loss": given}, 1)
    journal.append({"loss": given}, 2)
    journal.append({"loss": given, "other": given}, 3)
    journal.append({"loss": given, "other": given}, 4)
    journal.close()
    expected = [("loss", step, repr(kept)) for step in (1, 2, 3, 4)] + [
        ("other", step, repr(kept)) for step in (3, 4)
    ]
    assert sorted((key, step, repr(value)) for key, step, value in read_rows(journal.path)) == expected


class Explosive:
    def __float__(self) -> float:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "metrics",
    [
        {"loss": 0.5, "bad": "text"},
        {"loss": 0.5, "bad": None},
        {"loss": 0.5, "bad": 1j},
        {"loss": 0.5, "bad": [1.0]},
        {"loss": 0.5, "bad": np.zeros(2)},
        {"loss": 0.5, "bad": Explosive()},
        {"loss": 0.5, "../up": 1.0},
        {"loss": 0.5, "": 1.0},
        {"loss": 0.5, 7: 1.0},
        {"loss": 0.5, "k" * 251: 1.0},
        {"loss": 0.5, "a//b": 1.0},
        [("loss", 0.5)],
        ["loss"],
        "loss",
        7,
        None,
    ],
    ids=lambda metrics: repr(metrics)[:40],
)
def test_what_is_no_metric_raises_one_clear_error_and_logs_nothing_of_the_call(folder: str, metrics: Any) -> None:
    journal = open_journal(folder)
    journal.append({"loss": 0.5}, 0)
    for step in (1, None):
        with pytest.raises(InvalidValueError):
            journal.append(metrics, step)
    journal.append({"loss": 1.5}, 9)
    journal.close()
    assert read_rows(journal.path) == [("loss", 0, 0.5), ("loss", 9, 1.5)]


def test_a_bad_value_of_a_known_shape_leaves_a_gap_that_readers_step_over(folder: str) -> None:
    journal = open_journal(folder)
    expected = []
    for step in range(200):
        journal.append({"a": step, "b": -step}, step)
        with pytest.raises(InvalidValueError):
            journal.append({"a": step, "b": "text"}, step)
        expected += [("a", step, float(step)), ("b", step, float(-step))]
    journal.close()
    assert sorted(read_rows(journal.path)) == sorted(expected)


@pytest.mark.parametrize(
    ("step", "kept"), [(0, 0), (-5, -5), (3.0, 3), ("7", 7), (np.int32(4), 4), (2**63 - 1, 2**63 - 1)]
)
def test_steps_that_are_whole_numbers_are_taken(folder: str, step: Any, kept: int) -> None:
    journal = open_journal(folder)
    journal.append({"a": 1.0}, step)
    journal.append({"a": 1.0}, step)
    journal.close()
    assert read_rows(journal.path) == [("a", kept, 1.0)] * 2


@pytest.mark.parametrize(
    "step",
    ["x", 1.5, Decimal("0.5"), 2**63, -(2**63) - 1, -(10**5000), math.nan, math.inf, [1], object()],
    ids=type,
)
def test_other_steps_raise_and_log_nothing(folder: str, step: Any) -> None:
    journal = open_journal(folder)
    journal.append({"a": 1.0}, 0)
    with pytest.raises(InvalidValueError, match="step"):
        journal.append({"a": 1.0}, step)
    journal.close()
    assert read_rows(journal.path) == [("a", 0, 1.0)]


@pytest.mark.parametrize("time_s", [math.nan, math.inf, 1e18, -1e12, "x", None.__class__])
def test_a_time_that_no_calendar_shows_raises(folder: str, time_s: Any) -> None:
    journal = open_journal(folder)
    with pytest.raises(InvalidValueError, match="timestamp"):
        journal.append_points({"a": 1.0}, 0, time_s)
    journal.close()
    assert read_rows(journal.path) == []


# -- steps that are not given --------------------------------------------------------------------------------


def test_steps_count_up_for_each_set_of_keys(folder: str) -> None:
    journal = open_journal(folder)
    for _ in range(3):
        journal.append({"a": 1.0})
        journal.append({"a": 1.0, "b": 2.0})
    journal.append({"a": 1.0}, 100)
    journal.append({"a": 1.0})
    journal.append({})
    journal.close()
    steps = [step for key, step, _ in read_rows(journal.path) if key == "a"]
    assert steps == [0, 0, 1, 1, 2, 2, 100, 3]


def test_a_refused_call_takes_no_step(folder: str) -> None:
    journal = open_journal(folder)
    journal.append({"a": 1.0})
    with pytest.raises(InvalidValueError):
        journal.append({"a": "text"})
    journal.append({"a": 2.0})
    journal.close()
    assert read_rows(journal.path) == [("a", 0, 1.0), ("a", 1, 2.0)]


@pytest.mark.parametrize("kind", [Journal, SharedJournal])
def test_steps_of_a_resumed_run_go_on_after_all_of_their_keys(folder: str, kind: Any) -> None:
    journal = kind(folder, lambda: {"pid": os.getpid()})
    journal.count_steps_from({"a": 4, "b": 9})
    for metrics in ({"a": 1.0}, {"a": 1.0, "b": 1.0}, {"b": 1.0, "c": 1.0}, {"c": 1.0}):
        journal.append(metrics)
    journal.close()
    first = {}
    for key, step, _ in read_rows(journal.path):
        first.setdefault(key, step)
    assert (first["a"], first["b"]) == (5, 10)


def test_a_point_without_a_step_leaves_no_gap(folder: str) -> None:
    journal = open_journal(folder)
    for _ in range(1000):
        journal.append({"a": 1.0})
    journal.close()
    stream = Stream(journal.path)
    assert len(list(stream.read())) < 20  # whole blocks, not a thousand single records
    assert stream.consumed < 1000 * 40


# -- threads and forks ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_eight_threads_of_different_shapes_lose_and_double_nothing(folder: str) -> None:
    journal = open_journal(folder)
    shapes = [tuple(f"k{number}" for number in range(width)) for width in (1, 2, 3, 5)]
    count = 20_000

    def work(thread: int) -> None:
        append = journal.append
        for step in range(count):
            keys = shapes[(step + thread) % len(shapes)]
            append(dict.fromkeys(keys, thread), step)

    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        in_threads(8, work)
    finally:
        sys.setswitchinterval(former)
    journal.close()
    expected = Counter(
        (key, step, float(thread))
        for thread in range(8)
        for step in range(count)
        for key in shapes[(step + thread) % len(shapes)]
    )
    assert Counter(read_rows(journal.path)) == expected


def test_threads_without_steps_never_share_one(folder: str) -> None:
    journal = open_journal(folder)
    in_threads(6, lambda number: [journal.append({"a": number}) for _ in range(500)] and None)
    journal.close()
    assert sorted(step for _, step, _ in read_rows(journal.path)) == list(range(3000))


def test_a_forked_child_logs_to_a_stream_of_its_own(folder: str) -> None:
    journal = open_journal(folder)
    for step in range(100):
        journal.append({"a": 0.0, "b": 1.0}, step)

    def child() -> None:
        for step in range(100, 300):
            journal.append({"a": 0.0, "b": 1.0}, step)
        journal.append_event("tag", {"tags": {"who": "child"}})

    assert in_fork(child) == 0
    for step in range(300, 400):
        journal.append({"a": 0.0, "b": 1.0}, step)
    journal.close()
    assert len(os.listdir(folder)) == 2
    assert sorted(step for key, step, _ in read_all(folder) if key == "a") == list(range(400))


def test_a_child_that_only_tags_has_a_readable_stream(folder: str) -> None:
    journal = open_journal(folder)
    assert in_fork(lambda: journal.append_event("tag", {"tags": {"a": "b"}})) == 0
    journal.close()
    other = next(name for name in os.listdir(folder) if name != os.path.basename(journal.path))
    assert read_events(os.path.join(folder, other)) == [("tag", {"tags": {"a": "b"}})]


def test_threads_of_a_child_open_one_stream_among_them(folder: str) -> None:
    journal = open_journal(folder)
    journal.append({"a": 1.0}, 0)

    def child() -> None:
        in_threads(8, lambda number: [journal.append({f"k{number}": 1.0}, step) for step in range(200)] and None)

    assert in_fork(child) == 0
    journal.close()
    assert len(os.listdir(folder)) == 2
    assert len(read_all(folder)) == 1601


def test_a_child_of_a_child_logs_too(folder: str) -> None:
    journal = open_journal(folder)

    def child() -> None:
        journal.append({"a": 1.0}, 1)
        assert in_fork(lambda: journal.append({"a": 1.0}, 2)) == 0
        journal.append({"a": 1.0}, 3)

    assert in_fork(child) == 0
    journal.append({"a": 1.0}, 4)
    journal.close()
    assert sorted(step for _, step, _ in read_all(folder)) == [1, 2, 3, 4]


def test_a_child_whose_folder_is_gone_makes_it_again(folder: str) -> None:
    journal = open_journal(folder)
    journal.append({"a": 1.0}, 0)
    os.unlink(journal.path)
    os.rmdir(folder)
    assert in_fork(lambda: journal.append({"a": 1.0}, 7)) == 0
    assert read_all(folder) == [("a", 7, 1.0)]
    journal.close()


# -- windows -------------------------------------------------------------------------------------------------


def test_records_larger_than_a_window_and_small_ones_between_are_whole(folder: str) -> None:
    journal = open_journal(folder)
    expected: list[tuple[str, Any]] = []
    for number, size in enumerate([10, 200_000, 3, 70_000, 9_000_000, 5, 65_536, 65_500, 1]):
        journal.append({"a": number}, number)
        journal.append_event("set", {"note": "x" * size})
        expected.append(("set", {"note": "x" * size}))
    journal.close()
    assert read_events(journal.path) == expected
    assert read_rows(journal.path) == [("a", number, float(number)) for number in range(9)]


def test_ten_thousand_keys_in_one_record(folder: str) -> None:
    journal = open_journal(folder)
    metrics = {f"layer/{number}": number / 7 for number in range(10_000)}
    for step in range(3):
        journal.append(metrics, step)
    journal.close()
    assert sorted(read_rows(journal.path)) == sorted((key, s, v) for s in range(3) for key, v in metrics.items())


def test_an_event_too_long_to_be_read_back_raises(folder: str) -> None:
    journal = open_journal(folder)
    with pytest.raises(InvalidValueError, match="too many"):
        journal.append_event("set", {"note": "x" * (65 << 20)})
    journal.append({"a": 1.0}, 0)
    journal.close()
    assert read_rows(journal.path) == [("a", 0, 1.0)]


# -- other ways to the disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sync", "append"])
def test_without_a_mapping_every_record_is_in_the_file_when_its_call_returns(
    folder: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "may_map", lambda folder: way == "sync")
    journal = open_journal(folder, sync=way == "sync")
    assert not journal._mapped
    for step in range(300):
        journal.append({"a": step}, step)
        if step % 100 == 99:
            assert [found for _, found, _ in read_rows(journal.path)] == list(range(step + 1))
    journal.append_event("tag", {"tags": {"a": "b"}})
    assert os.path.getsize(journal.path) < 20_000  # nothing preallocated
    journal.close()
    assert read_events(journal.path) == [("tag", {"tags": {"a": "b"}})]


def test_only_sync_mode_pays_for_a_sync_at_each_record(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "may_map", lambda folder: False)
    calls: list[int] = []
    monkeypatch.setattr(os, "fdatasync", calls.append)
    plain, synced = open_journal(folder), open_journal(folder, sync=True)
    calls.clear()
    for step in range(10):
        plain.append({"a": 1.0}, step)
    assert calls == []
    for step in range(10):
        synced.append({"a": 1.0}, step)
    assert len(calls) == 11  # the shape's telling too
    plain.close()
    synced.close()


def test_the_flusher_syncs_what_is_new_and_only_that(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for may_map in (True, False):
        monkeypatch.setattr(journal_module, "may_map", lambda folder, may_map=may_map: may_map)
        journal = open_journal(folder)
        calls: list[int] = []
        monkeypatch.setattr(os, "fdatasync", calls.append)
        journal.append({"a": 1.0}, 0)
        journal.sync()
        journal.sync()  # once more: a place may have been claimed before the first, and filled after it
        journal.sync()
        assert len(calls) == 2
        journal.append({"a": 1.0}, 1)
        journal.sync()
        assert len(calls) == 3
        journal.close()
        journal.sync()
        assert len(calls) == 3


def test_a_process_that_forks_all_the_time_syncs_all_the_same(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_SYNC_EVERY_S", 0.2)
    calls: list[int] = []
    journal = open_journal(folder)
    journal.append({"a": 1.0}, 0)
    monkeypatch.setattr(os, "fdatasync", calls.append)
    begun = time.monotonic()
    while not calls:
        assert time.monotonic() - begun < 30
        assert in_fork(lambda: None) == 0
    journal.close()


@pytest.mark.parametrize("sync", [True, False])
def test_a_kept_file_is_synced_with_the_records(folder: str, sync: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal(folder, sync=sync)
    path = Path(folder, "artifact")
    path.write_bytes(b"x")
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    journal.keep_file(str(path))
    if not sync:
        wait_for(lambda: folder in synced, "the thread that syncs")
    assert synced[:2] == [str(path), folder]
    journal.close()


def test_a_settled_stream_is_durable_though_nobody_has_it_open(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(folder)
    journal.append({"a": 1.0}, 0)
    journal.close()
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    journal.settle()
    assert synced == [journal.path, folder]
    os.unlink(journal.path)
    journal.settle()  # its run was committed


@pytest.mark.parametrize("way", ["mapped", "append", "sync"])
def test_a_full_disk_warns_once_and_everything_is_there_once_it_has_room(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal_module, "may_map", lambda folder: way != "append")
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as small:
        live = small / "live"
        live.mkdir()
        journal = open_journal(str(live), sync=way == "sync")
        journal.append({"a": 0.0}, 0)
        ballast = small / "ballast"
        fill_up(ballast)
        for step in range(1, 30_000):
            journal.append({"a": step, "b": -step}, step)
            if step % 1000 == 0:
                journal.append({f"new{step}": 1.0}, step)
        with caplog.at_level(logging.WARNING):
            journal.sync()
        ballast.unlink()
        for step in range(30_000, 31_000):
            journal.append({"a": step, "b": -step}, step)
        journal.sync()
        journal.append({"a": 31_000.0}, 31_000)
        journal.close()
        rows = Counter(read_rows(journal.path))
    expected = Counter(("a", step, float(step)) for step in range(31_001))
    expected.update(("b", step, float(-step)) for step in range(1, 31_000))
    expected.update((f"new{step}", step, 1.0) for step in range(1000, 30_000, 1000))
    assert rows == expected
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert journal.dropped == 0


def test_a_journal_begun_on_a_full_disk_has_its_header_first(tmp_path: Path) -> None:
    for sync in (False, True):
        with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=64k,nr_inodes=20", "tmpfs") as small:
            live = small / "live"
            live.mkdir()
            ballast = small / "ballast"
            fill_up(ballast)
            journal = open_journal(str(live), sync=sync)
            for step in range(50):
                journal.append({"a": step}, step)
            ballast.unlink()
            subprocess.run(["mount", "-o", "remount,size=4m", str(small)], check=True)
            for step in range(50, 100):
                journal.append({"a": step}, step)
            journal.close()
            assert read_rows(journal.path) == [("a", step, float(step)) for step in range(100)]


def test_points_logged_while_the_backlog_goes_to_disk_are_not_lost(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread logs while the sync thread writes: between its copy and its end lies a wide window."""
    journal = open_journal(folder)
    journal.append({"a": 0.0}, 0)
    full = OSError(28, "No space left on device")

    def refuse(*arguments: Any) -> None:
        raise full

    real_allocate, real_write = os.posix_fallocate, os.pwrite
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    for step in range(1, 5000):
        journal.append({"a": step}, step)
    assert journal._backlog
    monkeypatch.setattr(os, "posix_fallocate", real_allocate)
    stop, logged = [], [4999]

    def slow_write(*arguments: Any) -> int:
        for _ in range(3):
            time.sleep(0.002)  # lets go of the interpreter, as a real write does
        return real_write(*arguments)

    monkeypatch.setattr(os, "pwrite", slow_write)

    def work(number: int) -> None:
        if number:
            journal.sync()
            stop.append(True)
            return
        while not stop:
            logged[0] += 1
            journal.append({"a": logged[0]}, logged[0])

    in_threads(2, work)
    journal.close()
    assert read_rows(journal.path) == [("a", step, float(step)) for step in range(logged[0] + 1)]


def test_a_place_claimed_before_the_backlog_went_to_disk_is_written_late(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(folder)
    journal.append({"a": 0.0}, 0)
    real = os.posix_fallocate
    monkeypatch.setattr(os, "posix_fallocate", lambda *arguments: (_ for _ in ()).throw(OSError(28, "full")))
    for step in range(1, 5000):
        journal.append({"a": step}, step)
    monkeypatch.setattr(os, "posix_fallocate", real)

    class Slow:
        """Its conversion happens between claiming the place and filling it."""

        def __float__(self) -> float:
            for _ in range(3):
                journal.sync()
            return -1.0

    assert journal._backlog
    journal.append({"a": Slow()}, 5000)
    assert not journal._backlog
    journal.close()
    assert read_rows(journal.path)[-1] == ("a", 5000, -1.0)


def test_what_finds_no_room_until_the_end_is_counted(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal(folder)
    monkeypatch.setattr(os, "posix_fallocate", lambda *arguments: (_ for _ in ()).throw(OSError(28, "full")))
    for step in range(5000):
        journal.append({"a": step}, step)
    kept = len(read_rows(journal.path))
    journal.close()
    assert journal.dropped == 5000 - kept > 0


def test_a_full_memory_drops_the_newest_and_tells_their_shapes_again(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_BACKLOG_MAX", 128 << 10)
    journal = open_journal(folder)
    real = os.posix_fallocate
    monkeypatch.setattr(os, "posix_fallocate", lambda *arguments: (_ for _ in ()).throw(OSError(28, "full")))
    for step in range(20_000):
        journal.append({"a": step}, step)
    journal.append({"late": 1.0}, 0)
    assert journal.dropped > 0
    monkeypatch.setattr(os, "posix_fallocate", real)
    journal.append({"late": 2.0}, 1)
    journal.append({"late": 3.0}, 2)
    journal.close()
    rows = read_rows(journal.path)
    assert [row for row in rows if row[0] == "late"] == [("late", 1, 2.0), ("late", 2, 3.0)]
    assert [row for row in rows if row[0] == "a"] == [("a", step, float(step)) for step in range(len(rows) - 2)]


def test_a_stream_removed_under_our_hands_is_back_when_it_is_closed(folder: str) -> None:
    journal = open_journal(folder)
    for step in range(3000):
        journal.append({"a": step}, step)
    os.unlink(journal.path)
    os.rmdir(folder)
    for step in range(3000, 6000):
        journal.append({"a": step}, step)
    journal.close()
    assert journal.was_removed
    assert read_rows(journal.path) == [("a", step, float(step)) for step in range(6000)]


# -- the end -------------------------------------------------------------------------------------------------


def test_after_the_end_every_call_raises_and_closing_again_does_nothing(folder: str) -> None:
    journal = open_journal(folder)
    journal.append({"a": 1.0}, 0)
    assert is_open_here(journal.nonce)
    journal.close()
    journal.close()
    assert not is_open_here(journal.nonce)
    for call in (
        lambda: journal.append({"a": 1.0}, 1),
        lambda: journal.append({"a": 1.0}),
        lambda: journal.append({"b": 1.0}, 1),
        lambda: journal.append_event("tag", {}),
    ):
        with pytest.raises(RunStateError, match="ended"):
            call()
    assert read_rows(journal.path) == [("a", 0, 1.0)]


def test_opening_and_closing_beside_the_flusher_never_troubles_it(
    folder: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal_module, "_SYNC_EVERY_S", 0.0001)
    journal_module._flusher._pause()
    journal_module._flusher._resume()

    def work(number: int) -> None:
        for _ in range(100):
            journal = open_journal(folder)
            journal.append({"a": 1.0}, 0)
            journal.close()

    in_threads(4, work)
    assert len(read_all(folder)) == 400
    assert caplog.records == []
    journal_module._flusher._pause()
