"""Packs: git agrees with every byte, nothing half-written is seen, and what the dead left is swept."""

from __future__ import annotations

import os
import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gittrack.git.objects import FILE_MODE, ObjectSet, Signature
from gittrack.git.packs import sweep_leftovers, write_pack
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository

from .making import find, git, make

ADA = Signature("Ada", "ada@example.org", 1_700_000_000)
SIZES = [0, 1, 15, 16, 2047, 2048, 4096, 16_384, 16_385, 65_535, 65_536, 65_537, 262_143, 262_144, 1_000_000]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return find(make(tmp_path / "r"))


def make_objects(sizes: list[int], *, seed: int = 7) -> ObjectSet:
    """Blobs of these sizes, half of what compresses and half of what does not, in a commit."""
    source, objects = random.Random(seed), ObjectSet("sha1")
    blobs = [source.randbytes(size) for size in sizes] + [b"a" * size for size in sizes]
    files = {f"{number}": (FILE_MODE, objects.add_blob(data)) for number, data in enumerate(blobs)}
    objects.add_commit(objects.add_files(files), [], ADA, ADA, "m\n")
    return objects


def list_packs(repository: Repository) -> list[str]:
    return sorted(os.listdir(os.path.join(repository.objects_dir, "pack")))


def list_temporary(repository: Repository) -> list[str]:
    folder = os.path.join(repository.state_dir, "tmp")
    return os.listdir(folder) if os.path.isdir(folder) else []


def test_git_agrees_with_every_object_of_every_size(repository: Repository) -> None:
    objects, top = make_objects(SIZES), Path(repository.git_dir)
    with write_pack(repository, objects):
        commit = list(objects)[-1][0]
        git(top, "update-ref", "refs/heads/main", commit)
    git(top, "fsck", "--strict", "--full", "--no-dangling")
    (pack,) = (name for name in list_packs(repository) if name.endswith(".pack"))
    path = os.path.join(repository.objects_dir, "pack", pack)
    git(top, "verify-pack", path)
    with open(path[:-5] + ".idx", "rb") as file:
        ours = file.read()
    git(top, "index-pack", "--index-version=2", "-o", str(top / "theirs.idx"), path)
    assert (top / "theirs.idx").read_bytes() == ours
    with ObjectReader(repository) as reader:
        for object_id, kind, data in objects:
            assert reader.read(object_id) == (kind, data)
            assert git(top, "cat-file", "-s", object_id) == b"%d\n" % len(data)


def test_the_pack_is_kept_until_it_is_let_go(repository: Repository) -> None:
    with write_pack(repository, make_objects([10])):
        assert [name.rpartition(".")[2] for name in list_packs(repository)] == ["idx", "keep", "pack"]
    assert [name.rpartition(".")[2] for name in list_packs(repository)] == ["idx", "pack"]
    assert list_temporary(repository) == []


def test_git_gc_takes_nothing_away_while_the_pack_is_kept(repository: Repository) -> None:
    objects, top = make_objects([10, 5000]), Path(repository.git_dir)
    with write_pack(repository, objects):
        git(top, "gc", "--quiet", "--prune=now")
        git(top, "repack", "-adq")
        git(top, "prune", "--expire=now")
        git(top, "update-ref", "refs/heads/main", list(objects)[-1][0])
    git(top, "fsck", "--strict", "--full")


def test_the_same_objects_written_twice_lie_in_two_packs(repository: Repository) -> None:
    objects = make_objects([10])
    with write_pack(repository, objects), write_pack(repository, objects):
        assert sum(name.endswith(".pack") for name in list_packs(repository)) == 2


def test_files_are_as_git_makes_them(repository: Repository) -> None:
    with write_pack(repository, make_objects([10])):
        pass
    folder = Path(repository.objects_dir, "pack")
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Writing past a size fails meanwhile (EFBIG), as on a full disk."""
    former, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("place", ["pack", "index"])
@pytest.mark.parametrize("missing", [1, 1000])
def test_a_write_that_fails_leaves_nothing(repository: Repository, place: str, missing: int) -> None:
    objects = make_objects([2000] if place == "pack" else [])
    with write_pack(repository, objects):  # to see how large it is
        sizes = {path.suffix: path.stat().st_size for path in Path(repository.objects_dir, "pack").iterdir()}
    assert (sizes[".pack"] > sizes[".idx"]) == (place == "pack")
    before = list_packs(repository)
    with file_size_limit(max(sizes.values()) - missing), pytest.raises(OSError, match="large"):
        write_pack(repository, objects)
    assert list_packs(repository) == before
    assert list_temporary(repository) == []


def test_a_pack_folder_that_is_in_the_way_leaves_nothing(repository: Repository) -> None:
    folder = os.path.join(repository.objects_dir, "pack")
    os.rmdir(folder)
    Path(folder).write_text("")
    with pytest.raises(FileExistsError):
        write_pack(repository, make_objects([1]))
    assert list_temporary(repository) == []


def test_what_the_dead_left_is_swept_and_what_is_others_stays(repository: Repository) -> None:
    kept = write_pack(repository, make_objects([10]))  # never let go: its writer died
    folder, temporary = Path(repository.objects_dir, "pack"), Path(repository.state_dir, "tmp")
    theirs = folder / f"pack-{'1' * 40}.keep"
    theirs.write_text("receive-pack 1234 on host\n")
    (folder / f"pack-{'2' * 40}.keep").write_text("")
    for suffix in ("pack", "idx", "keep"):
        (temporary / f"{'3' * 40}.{suffix}").write_bytes(b"half")
    assert sweep_leftovers(repository) == 4
    assert [name for name in list_packs(repository) if name.endswith(".keep")] == [
        f"pack-{'1' * 40}.keep",
        f"pack-{'2' * 40}.keep",
    ]
    assert list_temporary(repository) == []
    assert sum(name.endswith(".pack") for name in list_packs(repository)) == 1
    with kept:
        pass  # the .keep is gone already: no error


def test_there_is_nothing_to_sweep_in_a_new_repository(repository: Repository) -> None:
    assert sweep_leftovers(repository) == 0


def test_an_empty_set_does_no_harm(repository: Repository) -> None:
    with write_pack(repository, ObjectSet("sha1")):
        git(Path(repository.git_dir), "fsck", "--strict", "--full")


def test_a_keep_is_known_as_ours_after_a_power_cut(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are durable before its name is: of the first by a sync, of the others as links to it."""
    synced: set[int] = set()
    sync = os.fsync

    def note_sync(number: int) -> None:
        sync(number)
        synced.add(os.fstat(number).st_ino)

    monkeypatch.setattr(os, "fsync", note_sync)
    for _ in range(2):
        with write_pack(repository, make_objects([1])):
            (keep,) = Path(repository.objects_dir, "pack").glob("*.keep")
            assert keep.read_bytes() == b"gittrack-\n"
            assert keep.stat().st_ino in synced
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", lambda source, target: os.open(source, os.O_RDONLY | os.O_DIRECTORY))  # fails
        with write_pack(repository, make_objects([1])):
            (keep,) = Path(repository.objects_dir, "pack").glob("*.keep")
            assert keep.stat().st_ino in synced
    assert sweep_leftovers(repository) == 0
