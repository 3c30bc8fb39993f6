"""After a failed fsync the kernel takes the pages for written: what is only in its cache is not to be trusted."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gittrack.store.artifacts import object_path, place_object, stage_chunks
from gittrack.store.journal import Journal
from gittrack.store.live import describe_writer
from gittrack.store.syncing import LateFiles
from tests.harness import Repo, mounted


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that counts what is to be written to it, which one in memory does not."""
    image = tmp_path / "disk.img"
    with open(image, "wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as folder:
        yield folder


def fail_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the next call of os.fsync or os.fdatasync fail."""
    real = getattr(os, name)
    failures = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def sync(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        real(descriptor)

    monkeypatch.setattr(os, name, sync)


def dirtied_bytes() -> int:
    """How much this process has given the kernel to write: proc(5), ``/proc/pid/io``."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes:")).split()[1])


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "written"])
def test_what_a_journal_could_not_sync_is_written_again(
    disk: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    monkeypatch.setattr("gittrack.store.journal.may_map", lambda folder: mapped)
    journal = Journal(str(disk), describe_writer)
    for step in range(3000):
        journal.append({"loss": step, "acc": -step}, step)
    journal.sync()
    journal.append({"loss": 0.5}, 3000)
    os.sync()  # as the kernel that has tried: all pages are clean now
    fail_once(monkeypatch, "fdatasync")
    before = dirtied_bytes()
    with pytest.raises(OSError, match="Input/output error"):
        journal.sync()
    assert dirtied_bytes() - before >= 3000 * 44
    journal.sync()
    journal.close()


def test_an_artifact_that_could_not_be_synced_is_another_file_at_the_next_attempt(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = stage_chunks([b"\0weights" * 1000], str(tmp_path / "staged"))
    staged = tmp_path / "staged" / content.oid
    before, inode = staged.read_bytes(), staged.stat().st_ino
    fail_once(monkeypatch, "fsync")
    # the folders above are synced first
    os.makedirs(os.path.dirname(object_path(repo.repository, content.oid)))
    with pytest.raises(OSError, match="Input/output error"):
        place_object(repo.repository, str(staged), content)
    assert staged.stat().st_ino != inode
    assert os.listdir(tmp_path / "staged") == [content.oid]
    place_object(repo.repository, str(staged), content)
    assert Path(object_path(repo.repository, content.oid)).read_bytes() == before


def test_an_object_that_stood_there_and_could_not_be_synced_is_another_file_at_the_next_attempt(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = stage_chunks([b"\0weights" * 1000], str(tmp_path / "staged"))
    staged, target = tmp_path / "staged" / content.oid, Path(object_path(repo.repository, content.oid))
    place_object(repo.repository, str(staged), content)
    inode = target.stat().st_ino
    fail_once(monkeypatch, "fsync")
    with pytest.raises(OSError, match="Input/output error"):
        place_object(repo.repository, str(staged), content)
    assert target.stat().st_ino != inode
    assert target.read_bytes() == staged.read_bytes()
    assert os.listdir(target.parent) == [content.oid]


def test_a_staged_file_that_could_not_be_synced_in_the_background_is_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged, late = tmp_path / "staged", LateFiles()
    staged.write_bytes(b"weights")
    inode = staged.stat().st_ino
    late.add(str(staged))
    fail_once(monkeypatch, "fsync")
    with pytest.raises(OSError, match="Input/output error"):
        late.sync()
    assert staged.stat().st_ino != inode
    assert staged.read_bytes() == b"weights"
    assert not late
