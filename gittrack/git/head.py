"""The commit and the trees that HEAD leads to, each read once a process: an id's bytes never change.

A run asks for the same few objects as the run before it, and dulwich opens the index of every pack to find one
(3 ms at 30 packs). So what was read is remembered, loose objects are read here, and only the rest asks dulwich.
"""

from __future__ import annotations

import os
import zlib

from gittrack.git.objects import COMMIT, KINDS, TREE, ObjectId, TreeEntry, has_id, parse_commit, parse_tree
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository

_REMEMBERED_MAX, _REMEMBERED_BYTES_MAX = 256, 64 << 10  # at most 16 MiB; a tree of 1,500 names still fits
_remembered: dict[tuple[str, int, ObjectId], bytes] = {}


class HeadReader:
    """Commits and trees of one repository; holds files open only within its ``with``."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._reader: ObjectReader | None = None

    def __enter__(self) -> HeadReader:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._reader is not None:
            self._reader.close()

    def read_commit_tree(self, commit: ObjectId) -> ObjectId:
        """The tree of a commit.

        Raises:
            NotFoundError: it is not there. DamagedError: it is, and cannot be read.
        """
        return parse_commit(commit, self._read(commit, COMMIT)).tree

    def read_tree(self, tree: ObjectId) -> list[TreeEntry]:
        """The entries of a tree; raises as `read_commit_tree`."""
        return parse_tree(tree, self._read(tree, TREE))

    def _read(self, object_id: ObjectId, kind: int) -> bytes:
        key = (self._repository.objects_dir, kind, object_id)
        data = _remembered.get(key)
        if data is None:
            data = _read_loose(self._repository, object_id, kind) or self._read_anywhere(object_id, kind)
            if len(data) <= _REMEMBERED_BYTES_MAX:
                if len(_remembered) >= _REMEMBERED_MAX:
                    _remembered.clear()
                _remembered[key] = data
        return data

    def _read_anywhere(self, object_id: ObjectId, kind: int) -> bytes:
        if self._reader is None:
            self._reader = ObjectReader(self._repository)
        return self._reader.read_kind(object_id, kind)


def _read_loose(repository: Repository, object_id: ObjectId, kind: int) -> bytes | None:
    """A small loose object's bytes; None where there is none of the kind, or it is not whole."""
    try:
        with open(os.path.join(repository.objects_dir, object_id[:2], object_id[2:]), "rb", buffering=0) as file:
            content = zlib.decompressobj().decompress(file.read(), _REMEMBERED_BYTES_MAX)
    except (OSError, zlib.error):
        return None
    header, _, data = content.partition(b"\0")
    return data if header == b"%s %d" % (KINDS[kind], len(data)) and has_id(object_id, kind, data) else None
