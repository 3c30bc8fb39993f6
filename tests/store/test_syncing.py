"""Files reach the disk a piece at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gittrack.store import syncing
from gittrack.store.syncing import LateFiles, sync_file


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were synced whole, in their order."""
    paths: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: paths.append(os.readlink(f"/proc/self/fd/{number}")))
    return paths


def make(folder: Path, name: str, size_bytes: int = 1) -> str:
    (folder / name).write_bytes(bytes(size_bytes))
    return str(folder / name)


def test_files_are_synced_in_their_order_and_their_folder_once(tmp_path: Path, synced: list[str]) -> None:
    files = LateFiles()
    paths = [make(tmp_path, name) for name in ("b", "a")]
    for path in paths:
        files.add(path)
    assert files
    files.sync()
    assert synced == [*paths, str(tmp_path)]
    assert not files


def test_a_file_that_is_gone_is_done(tmp_path: Path, synced: list[str]) -> None:
    files = LateFiles()
    files.add(str(tmp_path / "gone"))
    files.add(make(tmp_path, "there"))
    files.sync()
    assert synced == [str(tmp_path / "there"), str(tmp_path)]
    assert not files


def test_a_large_file_is_gone_on_with_where_its_time_was_over(
    tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[tuple[int, int]] = []
    monkeypatch.setattr(syncing, "_PIECE", 10)
    monkeypatch.setattr(syncing, "_write_back", lambda number, place, length: pieces.append((place, length)))
    files = LateFiles()
    files.add(make(tmp_path, "large", 25))
    answers = iter([False, True])
    files.sync(lambda: next(answers))
    assert (pieces, synced) == ([(0, 10)], [])
    files.sync()
    assert pieces == [(0, 10), (10, 10)]
    assert synced == [str(tmp_path / "large"), str(tmp_path)]


def test_pieces_are_written_back_by_the_kernel_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "_PIECE", 4096)
    files = LateFiles()
    files.add(make(tmp_path, "large", 20_000))
    files.sync()
    assert not files
    assert syncing._sync_file_range() is not None


def test_a_file_that_the_disk_fails_for_does_not_hold_up_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        raise OSError(5, "Input/output error")

    files = LateFiles()
    for name in ("a", "b"):
        files.add(make(tmp_path, name))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            files.sync()
    files.sync()
    assert not files


def test_a_file_is_synced_with_its_name(tmp_path: Path, synced: list[str]) -> None:
    sync_file(make(tmp_path, "a"))
    assert synced == [str(tmp_path / "a"), str(tmp_path)]
