"""Metric histories of any length on their way into a commit: rows in memory while few, on disk when many."""

from __future__ import annotations

import os
from collections.abc import Iterable

from gittrack.schema.events import PointBlock
from gittrack.schema.points import CSV_HEADER, format_rows
from gittrack.store.artifacts import INLINE_BYTES_MAX

_MEMORY_MAX = 16 << 20


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
        self._spilled: dict[str, str] = {}

    def begin(self, key: str, chunks: Iterable[bytes]) -> None:
        """Let a metric's CSV begin with what an earlier revision holds, its header included."""
        for chunk in chunks:
            self._append(key, chunk.decode())

    def add(self, block: PointBlock) -> None:
        if block.key not in self._rows:
            self._append(block.key, CSV_HEADER)
        self._append(block.key, format_rows(block.steps, block.times_s, block.values))

    def finish(self) -> dict[str, bytes | str]:
        """By metric: the CSV's bytes where it is small, else the path of the file that holds it."""
        done: dict[str, bytes | str] = {}
        for key in self._rows:
            if key in self._spilled or self._sizes[key] > INLINE_BYTES_MAX:
                self._spill(key)
                done[key] = self._spilled[key]
            else:
                done[key] = "".join(self._rows[key]).encode()
        return done

    def _append(self, key: str, text: str) -> None:
        self._rows.setdefault(key, []).append(text)
        self._sizes[key] = self._sizes.get(key, 0) + len(text)
        self._held += len(text)
        if self._held > _MEMORY_MAX:
            for spilling in self._rows:
                self._spill(spilling)
            self._held = 0

    def _spill(self, key: str) -> None:
        path = self._spilled.get(key)
        if path is None:
            os.makedirs(self._folder, exist_ok=True)
            path = self._spilled[key] = os.path.join(self._folder, f"{len(self._spilled)}.csv")
            open(path, "wb").close()
        with open(path, "ab") as file:
            file.write("".join(self._rows[key]).encode())
        self._rows[key] = []
