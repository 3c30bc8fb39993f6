"""Histories of any length: the same bytes whether they stayed in memory or went through the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.schema.events import PointBlock
from gittrack.store import histories as module
from gittrack.store.artifacts import INLINE_BYTES_MAX
from gittrack.store.histories import HistoryFile, HistoryWriter


def fill(writer: HistoryWriter) -> dict[str, bytes]:
    writer.begin("a", [b"step,timestamp,value\n0,1,0.5\n1,2", b",0.25\n"])
    for step in range(2, 2000):
        writer.add(PointBlock("a", (step,), (step / 1000,), (step / 3,)))
        if step % 2:
            writer.add(PointBlock("deep/b", (step, step), (1.0, 2.0), (float("nan"), float("-inf"))))
    return {
        key: csv if isinstance(csv, bytes) else Path(csv.path).read_bytes() for key, csv in writer.finish().items()
    }


def test_spilled_and_kept_rows_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = fill(HistoryWriter(str(tmp_path / "kept")))
    assert not (tmp_path / "kept").exists()
    monkeypatch.setattr(module, "_MEMORY_MAX", 1000)
    assert fill(HistoryWriter(str(tmp_path / "spilled"))) == kept
    assert kept["a"].startswith(b"step,timestamp,value\n0,1,0.5\n1,2,0.25\n2,2,")
    assert kept["deep/b"].startswith(b"step,timestamp,value\n3,1000,nan\n3,2000,-inf\n")


def test_a_history_is_inline_up_to_the_very_limit(tmp_path: Path) -> None:
    header = b"step,timestamp,value\n"
    for size, kind in ((INLINE_BYTES_MAX, bytes), (INLINE_BYTES_MAX + 1, HistoryFile)):
        writer = HistoryWriter(str(tmp_path))
        writer.begin("a", [header, b"x" * (size - len(header))])
        assert type(writer.finish()["a"]) is kind


def test_a_metric_without_points_has_no_history(tmp_path: Path) -> None:
    assert HistoryWriter(str(tmp_path)).finish() == {}
