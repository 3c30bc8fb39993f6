"""Bombs: what is small on the disk and huge when it is read is refused before it is unpacked."""

from __future__ import annotations

import hashlib
import tracemalloc
import zlib
from pathlib import Path

import pytest

from gittrack.errors import DamagedError
from gittrack.git.bulk import read_blobs
from gittrack.git.objects import BLOB, ObjectId
from gittrack.git.reading import ObjectReader

from .making import find, git, make

SIZE = 128 << 20


def place(top: Path, object_id: str, head: bytes) -> ObjectId:
    """A loose object of a head, and 128 MiB of zeros."""
    packer = zlib.compressobj(1)
    parts = [packer.compress(head), *(packer.compress(bytes(1 << 20)) for _ in range(SIZE >> 20)), packer.flush()]
    path = top / ".git/objects" / object_id[:2] / object_id[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(parts))
    return ObjectId(object_id)


def name(head: bytes) -> str:
    digest = hashlib.sha1(head)
    for _ in range(SIZE >> 20):
        digest.update(bytes(1 << 20))
    return digest.hexdigest()


@pytest.mark.parametrize("lies", [False, True])
def test_a_bomb_is_refused_and_what_comes_after_it_is_read(tmp_path: Path, lies: bool) -> None:
    top = make(tmp_path / "r")
    head = b"blob 7\0" if lies else b"blob %d\0" % SIZE
    bomb = place(top, name(head), head)
    plain = ObjectId(git(top, "hash-object", "-w", "--stdin", stdin=b"plain").decode().strip())
    tracemalloc.start()
    try:
        with ObjectReader(find(top)) as reader, pytest.raises(DamagedError, match="too many to be read"):
            reader.read_kind(bomb, BLOB)
        assert list(read_blobs(find(top), [plain, bomb, bomb, plain])) == [b"plain", None, None, b"plain"]
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_pack_is_no_place_to_hide_a_bomb(tmp_path: Path) -> None:
    top = make(tmp_path / "r")
    bomb = git(top, "hash-object", "-w", "--stdin", stdin=bytes(SIZE)).decode().strip()
    git(top, "pack-objects", "-q", str(top / ".git/objects/pack/pack"), stdin=bomb.encode() + b"\n")
    git(top, "prune-packed")
    with ObjectReader(find(top)) as reader, pytest.raises(DamagedError, match="too many to be read"):
        reader.read_kind(ObjectId(bomb), BLOB)
    assert list(read_blobs(find(top), [bomb])) == [None]
