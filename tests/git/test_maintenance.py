"""Folding packs: few are left, nothing is lost, and never two at once."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gittrack.git import maintenance
from gittrack.git.command import find_git
from gittrack.git.maintenance import fold_packs_in_background, folding_held_off, wait_for_folding
from gittrack.git.objects import ObjectId, ObjectSet, Signature
from gittrack.git.packs import KeptPack, write_pack
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository

from .making import find, git, make

ADA = Signature("Ada", "ada@example.org", 1_700_000_000)


@pytest.fixture(autouse=True)
def no_folding_left() -> Iterator[None]:
    yield
    wait_for_folding()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = find(make(tmp_path / "r"))
    os.makedirs(made.state_dir)
    return made


def add_packs(repository: Repository, count: int) -> list[ObjectId]:
    """Commits on top of each other, each a pack of its own."""
    made: list[ObjectId] = []
    for number in range(count):
        objects = ObjectSet("sha1")
        objects.add_blob(str(number).encode())
        made.append(objects.add_commit(objects.add_files({}), made[-1:], ADA, ADA, f"{number}\n"))
        with write_pack(repository, objects):
            git(Path(repository.git_dir), "update-ref", "refs/heads/gittrack/x", made[-1])
    return made


def packs(repository: Repository) -> set[str]:
    return {name for name in os.listdir(os.path.join(repository.objects_dir, "pack")) if name.endswith(".pack")}


def test_fifty_packs_become_few_and_every_object_is_still_there(repository: Repository) -> None:
    made = add_packs(repository, 50)
    assert fold_packs_in_background(repository)
    wait_for_folding()
    assert len(packs(repository)) < 5
    with ObjectReader(repository) as reader:
        for number, commit in enumerate(made):
            assert reader.read_commit(commit).message == f"{number}\n"
    git(Path(repository.git_dir), "fsck", "--strict", "--full", "--no-dangling")
    assert not fold_packs_in_background(repository)


def test_few_packs_are_left_alone(repository: Repository) -> None:
    add_packs(repository, 49)
    assert not fold_packs_in_background(repository)
    assert len(packs(repository)) == 49


def test_a_reader_that_is_open_meanwhile_goes_on(repository: Repository) -> None:
    made = add_packs(repository, 60)
    with ObjectReader(repository) as reader:
        assert reader.read_commit(made[0]).message == "0\n"
        assert fold_packs_in_background(repository)
        wait_for_folding()
        assert [reader.read_commit(commit).message for commit in made] == [f"{n}\n" for n in range(60)]


def test_kept_packs_are_neither_folded_nor_counted(repository: Repository) -> None:
    kept: list[KeptPack] = []
    for number in range(55):
        objects = ObjectSet("sha1")
        objects.add_blob(f"kept {number}".encode())
        kept.append(write_pack(repository, objects))
    before = packs(repository)
    assert not fold_packs_in_background(repository)
    add_packs(repository, 50)
    assert fold_packs_in_background(repository)
    wait_for_folding()
    assert before <= packs(repository)
    assert len(packs(repository)) < 60


def test_only_one_folds_at_a_time_and_git_holds_the_lock_to_its_end(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_packs(repository, 50)
    gate, real = tmp_path / "gate", find_git()
    os.mkfifo(gate)
    slow = tmp_path / "bin/git"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\nread line <"{gate}"\nexec {real} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{os.environ['PATH']}")
    find_git.cache_clear()
    assert fold_packs_in_background(repository)
    assert not fold_packs_in_background(repository)
    with open(os.path.join(repository.state_dir, "folding")) as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        gate.write_text("go\n")
        wait_for_folding()
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert len(packs(repository)) < 5


def test_nothing_is_folded_while_it_is_held_off(repository: Repository) -> None:
    add_packs(repository, 50)
    before = packs(repository)
    with folding_held_off(repository):
        assert not fold_packs_in_background(repository)
        assert packs(repository) == before
    assert fold_packs_in_background(repository)


def test_nothing_starts_without_git(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_packs(repository, 50)
    monkeypatch.setenv("PATH", str(tmp_path / "home"))
    find_git.cache_clear()
    assert not fold_packs_in_background(repository)


def test_a_repository_that_cannot_be_folded_is_no_error(repository: Repository) -> None:
    assert not fold_packs_in_background(Repository("/no/such", "/no/such", None))
    add_packs(repository, 50)
    os.mkdir(os.path.join(repository.state_dir, "folding"))
    assert not fold_packs_in_background(repository)


def test_what_has_ended_is_collected_from_any_thread(repository: Repository) -> None:
    add_packs(repository, 50)
    assert fold_packs_in_background(repository)
    (pid,) = maintenance._running
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has collected it
    errors: list[BaseException] = []

    def reap() -> None:
        try:
            fold_packs_in_background(repository)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=reap) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert maintenance._running == set()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


def test_a_child_that_somebody_else_collected_is_no_error(repository: Repository) -> None:
    add_packs(repository, 50)
    assert fold_packs_in_background(repository)
    os.wait()
    assert not fold_packs_in_background(repository)
    wait_for_folding()
