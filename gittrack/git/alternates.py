"""The other object folders that a repository borrows from: gitrepository-layout(5), "objects/info/alternates".

dulwich follows them without end where they name each other, and takes all for SHA-1.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gittrack.git.config import read_small_file
from gittrack.git.objects import ObjectFormat

if TYPE_CHECKING:
    from dulwich.object_store import BaseObjectStore, DiskObjectStore

_DEPTH_MAX = 5  # as git


def open_store(objects_dir: str, object_format: ObjectFormat) -> DiskObjectStore:
    """dulwich's store of an objects folder, with all that it borrows from, each folder once."""
    from dulwich.object_format import get_object_format
    from dulwich.object_store import DiskObjectStore

    kind = get_object_format(object_format)
    borrowed: list[BaseObjectStore] = []
    for folder in find_alternates(objects_dir):
        other = DiskObjectStore(folder, object_format=kind)
        other._alternates = []  # they stand in our list
        borrowed.append(other)
    store = DiskObjectStore(objects_dir, object_format=kind)
    store._alternates = borrowed
    return store


def find_alternates(objects_dir: str) -> list[str]:
    """The folders that an objects folder borrows from, directly or not, nearest first; at most 5 steps away."""
    found: list[str] = []
    nearest = [os.path.realpath(objects_dir)]
    seen = set(nearest)
    for _ in range(_DEPTH_MAX):
        further = [path for folder in nearest for path in _read(folder)]
        nearest = [path for path in dict.fromkeys(further) if path not in seen and os.path.isdir(path)]
        seen.update(nearest)
        found += nearest
    return found


def _read(objects_dir: str) -> list[str]:
    lines = read_small_file(os.path.join(objects_dir, "info", "alternates")).split(b"\n")
    named = [os.fsdecode(line) for line in lines if line and not line.startswith(b"#") and b"\0" not in line]
    return [os.path.realpath(os.path.join(objects_dir, path)) for path in named]
