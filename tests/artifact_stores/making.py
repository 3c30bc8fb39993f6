"""Objects to move: files named by their hash, and what is told of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gittrack.artifact_stores.transfers import Transfer


def make_object(folder: Path, data: bytes) -> Transfer:
    """A local file that holds an object."""
    folder.mkdir(parents=True, exist_ok=True)
    oid = hashlib.sha256(data).hexdigest()
    (folder / oid).write_bytes(data)
    return Transfer(oid, len(data), str(folder / oid))


def to_fetch(sent: Transfer, folder: Path) -> Transfer:
    """The same object, to be fetched into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return Transfer(sent.oid, sent.size_bytes, str(folder / sent.oid))


class Told:
    """How many bytes a store has told of."""

    def __init__(self) -> None:
        self.size_bytes = 0

    def __call__(self, size_bytes: int) -> None:
        self.size_bytes += size_bytes
