"""Loose objects that others wrote are durable before a commit of ours names them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gittrack.git.loose import sync_young_objects
from gittrack.git.repository import Repository

from .making import find, git, make


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return find(make(tmp_path / "r"))


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    paths: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: paths.append(os.readlink(f"/proc/self/fd/{number}")))
    return paths


def write_object(repository: Repository, content: str) -> str:
    path = Path(repository.common_dir, "content")
    path.write_text(content)
    name = git(Path(repository.common_dir), "hash-object", "-w", str(path)).decode().strip()
    return os.path.join(repository.objects_dir, name[:2], name[2:])


def test_what_git_has_just_written_is_synced_once(repository: Repository, synced: list[str]) -> None:
    sync_young_objects(repository)
    synced.clear()
    path = write_object(repository, "new")
    sync_young_objects(repository)
    assert {path, os.path.dirname(path), repository.objects_dir} <= set(synced)


def test_what_is_old_is_left_alone(repository: Repository, synced: list[str]) -> None:
    path = write_object(repository, "old")
    os.utime(path, (1, 1))
    os.utime(os.path.dirname(path), (1, 1))
    sync_young_objects(repository)
    assert path not in synced


def test_a_repository_without_loose_objects_is_fine(repository: Repository, synced: list[str]) -> None:
    git(Path(repository.common_dir), "gc", "--quiet", "--prune=now")
    sync_young_objects(repository)
    assert [path for path in synced if path.endswith(".pack")] == []


def test_folders_that_git_takes_away_meanwhile_are_passed_over(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `git gc` does beside us: the objects go into a pack, then their folders go."""
    paths, fsync = [write_object(repository, str(number)) for number in range(3)], os.fsync

    def take_away(descriptor: int) -> None:
        fsync(descriptor)
        for path in paths:
            if os.path.exists(path):
                os.unlink(path)
                os.rmdir(os.path.dirname(path))

    monkeypatch.setattr(os, "fsync", take_away)
    sync_young_objects(repository)
    assert not any(os.path.exists(path) for path in paths)


def test_links_pipes_and_sockets_are_neither_followed_nor_waited_for(
    repository: Repository, synced: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_object(repository, "new")
    (tmp_path / "outside").write_text("not ours")
    monkeypatch.chdir(os.path.dirname(path))  # the path of a socket may have 107 bytes
    os.symlink(tmp_path / "outside", "1" * 38)
    os.mkfifo("2" * 38)
    os.mkdir("4" * 38)
    with socket.socket(socket.AF_UNIX) as planted:
        planted.bind("3" * 38)
        sync_young_objects(repository)
    folder = os.path.dirname(path)
    assert [found for found in synced if found.startswith((folder, str(tmp_path / "outside")))] == [path, folder]
