"""Whether an object is there is asked of the indexes themselves, and never wrongly denied."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gittrack.git.objects import BLOB, ObjectId, hash_object
from gittrack.git.packs import is_packed
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository, open_repository


def git(folder: Path, *words: str) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT")}
    identity = {f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**kept, **identity, "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *words], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def packed(tmp_path: Path) -> Repository:
    """A repository with 300 blobs in two packs, so that every first byte occurs."""
    git(tmp_path, "init", "-q")
    for number in range(300):
        (tmp_path / f"{number}.txt").write_text(f"{number}\n")
        if number in (100, 299):
            git(tmp_path, "add", ".")
            git(tmp_path, "commit", "-qm", "x")
            git(tmp_path, "repack", "-dq")
    return open_repository(str(tmp_path))


def test_every_packed_object_is_found_and_no_other(packed: Repository) -> None:
    listed = git(Path(packed.label), "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    assert len(listed) > 300
    assert all(is_packed(packed, ObjectId(name)) for name in listed)
    absent = [hash_object(BLOB, f"absent {number}".encode(), "sha1") for number in range(300)]
    assert not any(is_packed(packed, name) for name in absent)
    with ObjectReader(packed) as reader:
        assert all(ObjectId(name) in reader for name in listed)
        assert not any(name in reader for name in absent)


def test_an_object_of_an_alternate_is_found(packed: Repository, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--shared", packed.label, str(clone))
    with ObjectReader(open_repository(str(clone))) as reader:
        assert hash_object(BLOB, b"7\n", "sha1") in reader


def test_a_damaged_index_denies_nothing_by_a_crash(packed: Repository) -> None:
    for name in os.listdir(os.path.join(packed.objects_dir, "pack")):
        if name.endswith(".idx"):
            path = Path(packed.objects_dir, "pack", name)
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:700])
    assert not is_packed(packed, hash_object(BLOB, b"7\n", "sha1"))
