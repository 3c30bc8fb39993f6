"""Metric histories of bounded size: as a run goes on, fewer and fewer of its points are held, evenly spread.

For showing a run in flight to others, again and again: what is held, sent and kept must not grow with the run.
"""

from __future__ import annotations

from gittrack.schema.events import PointBlock
from gittrack.schema.points import CSV_HEADER, format_rows

POINTS_MAX = 8192  # of one metric; a chart shows no more
_POINTS_MAX_ALL = 262_144  # of all of them, some 10 MB of memory


class ThinHistories:
    """Takes blocks of points, keeps every n-th of a metric (n a power of two) and the last; a `PointSink`."""

    def __init__(self) -> None:
        self._curves: dict[str, _Curve] = {}

    def add(self, block: PointBlock) -> None:
        curve = self._curves.get(block.key)
        if curve is None:
            curve = self._curves[block.key] = _Curve()
        curve.add(block)
        share = max(16, min(POINTS_MAX, _POINTS_MAX_ALL // len(self._curves)))
        while len(curve.steps) > share:
            curve.halve()

    def format(self) -> dict[str, bytes]:
        """The CSV of each metric."""
        return {key: curve.format() for key, curve in self._curves.items()}


class _Curve:
    """Some of one metric's points, in parallel columns."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._times_s: list[float] = []
        self._values: list[float] = []
        self._stride = 1
        self._count = 0  # of all points that came
        self._last: tuple[int, float, float] | None = None  # where it is not among those that are held

    def add(self, block: PointBlock) -> None:
        first = -self._count % self._stride
        self.steps += block.steps[first :: self._stride]
        self._times_s += block.times_s[first :: self._stride]
        self._values += block.values[first :: self._stride]
        self._count += len(block.steps)
        self._last = (block.steps[-1], block.times_s[-1], block.values[-1])

    def halve(self) -> None:
        self.steps, self._times_s, self._values = self.steps[::2], self._times_s[::2], self._values[::2]
        self._stride *= 2

    def format(self) -> bytes:
        text = CSV_HEADER + format_rows(self.steps, self._times_s, self._values)
        if self._last is not None and (self._count - 1) % self._stride:
            step, time_s, value = self._last
            text += format_rows([step], [time_s], [value])
        return text.encode()
