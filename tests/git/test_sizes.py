"""How large an object is, told before it is unpacked: loose, packed, and as what a chain of deltas makes."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path

import pytest
from dulwich.object_store import DiskObjectStore

from gittrack.git.sizes import is_larger

from .making import git, make


def ask(top: Path, object_id: str, limit: int) -> bool:
    objects = str(top / ".git/objects")
    store = DiskObjectStore(objects)
    try:
        return is_larger(store, objects, object_id, limit)
    finally:
        store.close()


def add(top: Path, data: bytes) -> str:
    return git(top, "hash-object", "-w", "--stdin", stdin=data).decode().strip()


@pytest.mark.parametrize("is_packed", [False, True])
def test_the_size_is_told_to_the_byte(tmp_path: Path, is_packed: bool) -> None:
    top = make(tmp_path / "r")
    texts = [os.urandom(2000), b"", b"x" * 100_000]
    texts += [texts[0] + b"more" * number for number in range(50)]  # which git keeps as deltas
    ids = [add(top, text) for text in texts]
    if is_packed:
        git(top, "pack-objects", "-q", str(top / ".git/objects/pack/pack"), stdin="\n".join(ids).encode() + b"\n")
        git(top, "prune-packed")
        assert (
            "chain length"
            in git(top, "verify-pack", "-sv", *map(str, top.glob(".git/objects/pack/*.idx"))).decode()
        )
    for text, object_id in zip(texts, ids, strict=True):
        assert not ask(top, object_id, max(2300, len(text)))
        if text:
            assert ask(top, object_id, len(text) - 1)


def test_a_loose_object_that_lies_of_its_size_is_measured(tmp_path: Path) -> None:
    top = make(tmp_path / "r")
    place = top / ".git/objects/66" / ("6" * 38)
    place.parent.mkdir()
    place.write_bytes(zlib.compress(b"blob 7\0" + bytes(1 << 20)))
    assert ask(top, "6" * 40, 1000)
    assert not ask(top, "6" * 40, 2 << 20)


def test_what_is_in_an_alternate_is_found_and_what_is_nowhere_is_not_large(tmp_path: Path) -> None:
    other, top = make(tmp_path / "other"), make(tmp_path / "r")
    object_id = add(other, b"x" * 1000)
    (top / ".git/objects/info").mkdir(exist_ok=True)
    (top / ".git/objects/info/alternates").write_text(f"{other / '.git/objects'}\n")
    assert ask(top, object_id, 999)
    assert not ask(top, hashlib.sha1(b"nowhere").hexdigest(), 0)
