"""A folder as a store: what git-lfs puts in another repository is found there, and it finds ours."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gittrack.artifact_stores.folders import FolderStore, find_remote_path, open_remote_folder
from gittrack.artifact_stores.transfers import Outcome, Transfer
from gittrack.errors import RemoteError
from tests.artifact_stores.making import Told, make_object, to_fetch
from tests.harness import Repo, fill_up, make_repo, mounted


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    (tmp_path / "store").mkdir()
    return FolderStore(str(tmp_path / "store"), "store")


def place_of(folder: Path, oid: str) -> Path:
    return folder / oid[:2] / oid[2:4] / oid


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_is_sent_is_what_is_fetched_and_sent_only_once(tmp_path: Path, store: FolderStore) -> None:
    objects = [make_object(tmp_path / "here", data) for data in (b"", b"weights", bytes(3_000_000))]
    oids = {one.oid for one in objects}
    told = Told()
    assert store.find_absent(objects) == oids
    assert store.upload(objects, told) == Outcome(moved=oids)
    assert told.size_bytes == 3_000_007
    assert store.upload(objects, told) == Outcome(present=oids)
    assert store.find_absent(objects) == set()
    wanted = [to_fetch(one, tmp_path / "there") for one in objects]
    assert store.download(wanted, told) == Outcome(moved=oids)
    for one, other in zip(objects, wanted, strict=True):
        assert Path(other.path).read_bytes() == Path(one.path).read_bytes()
        stored = place_of(tmp_path / "store", one.oid).stat()
        assert (stored.st_mode & 0o777, stored.st_nlink) == (0o644, 1)


def test_an_object_that_was_cut_counts_as_absent_and_is_sent_again(tmp_path: Path, store: FolderStore) -> None:
    one = make_object(tmp_path / "here", b"weights")
    store.upload([one], Told())
    place_of(tmp_path / "store", one.oid).write_bytes(b"weig")
    assert store.find_absent([one]) == {one.oid}
    assert store.upload([one], Told()).moved == {one.oid}
    assert place_of(tmp_path / "store", one.oid).read_bytes() == b"weights"


def test_bytes_that_are_not_what_the_hash_says_go_nowhere(tmp_path: Path, store: FolderStore) -> None:
    good, bad = (make_object(tmp_path / "here", data) for data in (b"good", b"evil"))
    Path(bad.path).write_bytes(b"EVIL")
    outcome = store.upload([good, bad], Told())
    assert outcome == Outcome(moved={good.oid}, failed={bad.oid: "it holds other bytes than its hash says"})
    assert files_in(tmp_path / "store") == [good.oid]
    place_of(tmp_path / "store", good.oid).write_bytes(b"GOOD")
    wanted = [to_fetch(one, tmp_path / "there") for one in (good, bad)]
    assert store.download(wanted, Told()).failed == {
        good.oid: "it holds other bytes than its hash says",
        bad.oid: "it is not there",
    }
    assert files_in(tmp_path / "there") == []


def test_a_link_in_a_store_is_no_object(tmp_path: Path, store: FolderStore) -> None:
    one = make_object(tmp_path / "here", b"weights")
    place = place_of(tmp_path / "store", one.oid)
    place.parent.mkdir(parents=True)
    place.symlink_to(one.path)
    assert store.find_absent([one]) == {one.oid}


def test_a_full_disk_there_fails_that_object_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=256k", "tmpfs") as small:
        one = make_object(tmp_path / "here", bytes(1_000_000))
        store = FolderStore(str(small), "small")
        assert store.upload([one], Told()).failed == {
            one.oid: f"{small} cannot be written: No space left on device"
        }
        assert files_in(small) == []


def test_a_full_disk_here_fails_that_object_and_leaves_nothing_half_written(
    tmp_path: Path, store: FolderStore
) -> None:
    one = make_object(tmp_path / "here", bytes(1_000_000))
    store.upload([one], Told())
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=256k", "tmpfs") as small:
        fill_up(small / "ballast")
        wanted = to_fetch(one, small)
        assert "No space left on device" in store.download([wanted], Told()).failed[one.oid]
        assert files_in(small) == ["ballast"]


def test_a_store_whose_folder_is_gone_says_so(tmp_path: Path, store: FolderStore) -> None:
    (tmp_path / "store").rmdir()
    with pytest.raises(RemoteError, match=f"there is no folder {tmp_path}/store"):
        store.find_absent([])


def test_what_a_killed_copy_left_is_removed_a_day_later(tmp_path: Path, store: FolderStore) -> None:
    folder = tmp_path / "store/tmp"
    folder.mkdir()
    for name, age_s in (("gittrack-old", 100_000), ("gittrack-new", 10), ("other", 100_000)):
        (folder / name).touch()
        os.utime(folder / name, (os.stat(folder / name).st_mtime - age_s,) * 2)
    store.upload([make_object(tmp_path / "here", b"weights")], Told())
    assert files_in(folder) == ["gittrack-new", "other"]


# -- the LFS store of a remote on disk -------------------------------------------------------------------------


def lfs_repo(path: Path, remote: str) -> Repo:
    made = make_repo(path)
    made.git("lfs", "install", "--local")
    made.git("remote", "add", "origin", remote)
    return made


def commit_weights(repo: Repo, data: bytes) -> Transfer:
    repo.git("lfs", "track", "*.bin")
    (repo.path / "w.bin").write_bytes(data)
    repo.commit("weights")
    made = make_object(repo.path.parent / "made", data)
    return Transfer(made.oid, made.size_bytes, str(place_of(Path(repo.repository.lfs_objects_dir), made.oid)))


@pytest.mark.parametrize("shape", ["bare", "work tree", "linked", "separate"])
def test_git_lfs_and_we_use_the_same_place_in_a_remote_on_disk(tmp_path: Path, shape: str) -> None:
    remote = tmp_path / "there"
    if shape == "bare":
        subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)
    elif shape == "separate":
        make_repo(remote, f"--separate-git-dir={tmp_path}/apart.git")
    else:
        there = make_repo(tmp_path / "main" if shape == "linked" else remote)
        if shape == "linked":
            there.git("worktree", "add", "-q", str(remote))
    repo = lfs_repo(tmp_path / "mine", f"file://{remote}")
    one = commit_weights(repo, b"weights \0" * 1000)
    store = open_remote_folder(str(remote), "origin")
    assert store.find_absent([one]) == {one.oid}
    repo.git("lfs", "push", "--all", "origin")
    assert store.find_absent([one]) == set()
    two = commit_weights(repo, b"others \0" * 1000)
    assert store.upload([two], Told()).moved == {two.oid}
    os.unlink(two.path)
    repo.git("lfs", "fetch", "origin", "main")
    assert Path(two.path).read_bytes() == b"others \0" * 1000


def test_a_shared_repository_keeps_its_objects_shared(tmp_path: Path) -> None:
    remote = tmp_path / "there.git"
    subprocess.run(["git", "init", "-q", "--bare", "--shared=group", str(remote)], check=True)
    one = make_object(tmp_path / "here", b"weights")
    open_remote_folder(str(remote), "origin").upload([one], Told())
    place = place_of(remote / "lfs/objects", one.oid)
    assert place.stat().st_mode & 0o7777 == 0o664
    assert {folder.stat().st_mode & 0o7777 for folder in list(place.parents)[:4]} == {0o2775}


def test_a_remote_is_found_as_git_finds_it_and_nowhere_above(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "runs.git")], check=True)
    assert open_remote_folder(str(tmp_path / "runs"), "origin").find_absent([]) == set()
    around = make_repo(tmp_path / "around")
    (around.path / "inside").mkdir()
    for path in (around.path / "inside", tmp_path / "none"):
        with pytest.raises(RemoteError, match="origin: there is no repository"):
            open_remote_folder(str(path), "origin")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/srv/runs.git", "/srv/runs.git"),
        ("../runs.git", "../runs.git"),
        ("file:///srv/my%20runs.git", "/srv/my runs.git"),
        ("file://localhost/srv/runs.git", "/srv/runs.git"),
        ("file://elsewhere/srv/runs.git", None),
        ("https://example.org/runs.git", None),
        ("git@example.org:runs.git", None),
        ("ssh://example.org/runs.git", None),
    ],
)
def test_a_remote_on_disk_is_a_path_or_a_file_url(url: str, path: str | None) -> None:
    assert find_remote_path(url) == path
