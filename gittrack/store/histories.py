"""Metric histories of any length on their way into a commit: rows in memory while few, on disk when many."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from gittrack.schema.events import PointBlock
from gittrack.schema.names import INLINE_BYTES_MAX
from gittrack.schema.points import CSV_HEADER, format_rows
from gittrack.store.artifacts import Content

_MEMORY_MAX = 16 << 20


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """A CSV too large for git itself: the file that holds it, and its content's hash and size."""

    path: str
    content: Content


class HistoryWriter:
    """Takes blocks of points and gives each metric's CSV; a `PointSink`.

    Args:
        folder: where CSVs that outgrow memory are spilled; made when needed.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._rows: dict[str, list[str]] = {}
        self._sizes: dict[str, int] = {}
        self._held = 0
        self._spills: dict[str, _Spill] = {}

    def begin(self, key: str, chunks: Iterable[bytes]) -> None:
        """Let a metric's CSV begin with what an earlier revision holds, its header included."""
        for chunk in chunks:
            self._append(key, chunk.decode())

    def add(self, block: PointBlock) -> None:
        if block.key not in self._rows:
            self._append(block.key, CSV_HEADER)
        self._append(block.key, format_rows(block.steps, block.times_s, block.values))

    def finish(self) -> dict[str, bytes | HistoryFile]:
        """By metric: the CSV's bytes where it is small, else the file that holds it."""
        done: dict[str, bytes | HistoryFile] = {}
        for key, size in self._sizes.items():
            if size > INLINE_BYTES_MAX:
                self._spill(key)
                done[key] = self._spills[key].finish(size)
            else:
                spilled = self._spills[key].read() if key in self._spills else b""
                done[key] = spilled + "".join(self._rows[key]).encode()
        return done

    def _append(self, key: str, text: str) -> None:
        self._rows.setdefault(key, []).append(text)
        self._sizes[key] = self._sizes.get(key, 0) + len(text)  # a CSV is ASCII
        self._held += len(text)
        if self._held > _MEMORY_MAX:
            for spilling in self._rows:
                self._spill(spilling)
            self._held = 0

    def _spill(self, key: str) -> None:
        spill = self._spills.get(key)
        if spill is None:
            os.makedirs(self._folder, exist_ok=True)
            spill = self._spills[key] = _Spill(os.path.join(self._folder, f"{len(self._spills)}.csv"))
        spill.write("".join(self._rows[key]).encode())
        self._rows[key] = []


class _Spill:
    """A file that grows; hashed as it is written, so that it need not be read again."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        open(path, "wb").close()

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        with open(self._path, "ab") as file:
            file.write(data)

    def read(self) -> bytes:
        with open(self._path, "rb") as file:
            return file.read()

    def finish(self, size_bytes: int) -> HistoryFile:
        return HistoryFile(self._path, Content(self._digest.hexdigest(), size_bytes, False))
