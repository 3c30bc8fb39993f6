"""Metric histories: the CSV that keeps them, and the summary that tables read.

Columns ``step,timestamp,value``: step an integer, timestamp in milliseconds since the epoch UTC, value
a float64 as Python's `repr` (the shortest text that gives the same bits back; ``nan``, ``inf``, ``-inf``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gittrack.errors import DamagedError
from gittrack.schema.records import MetricSummary

CSV_HEADER = "step,timestamp,value\n"


class Point(NamedTuple):
    """One value of a metric: its step, its time in milliseconds since the epoch, the value."""

    step: int
    timestamp: int
    value: float


def format_rows(steps: Sequence[int], times_s: Sequence[float], values: Sequence[float]) -> str:
    """CSV rows of parallel columns; times in seconds since the epoch."""
    rows, last, text = [], None, ""
    for step, time_s, value in zip(steps, times_s, values, strict=True):
        timestamp = round(time_s * 1e3)
        if timestamp != last:  # a fast loop logs a thousand points in one millisecond
            last, text = timestamp, f",{timestamp},"
        rows.append(f"{step}{text}{value!r}\n")
    return "".join(rows)


def parse_rows(lines: Iterable[str], where: str) -> Iterator[Point]:
    """The points of a CSV's lines, header or not.

    Raises:
        DamagedError: a line is no point.
    """
    for number, line in enumerate(lines, 1):
        if number == 1 and line.startswith("step,"):
            continue
        try:
            step, timestamp, value = line.rstrip("\n").split(",")
            yield Point(int(step), int(timestamp), float(value))
        except ValueError as error:
            raise DamagedError(where, f"line {number} is no metric point: {line[:60]!r}") from error


class Summary:
    """A `MetricSummary` in the making: fed blocks of points in the order they were logged."""

    __slots__ = ("count", "extra", "first", "last", "last_step", "last_time_s", "max", "min")

    def __init__(self, base: MetricSummary | None = None) -> None:
        self.count = base.count if base else 0
        self.first = base.first if base else math.nan
        self.last = base.last if base else math.nan
        self.last_step = base.last_step if base else -(1 << 63)
        self.last_time_s = -math.inf
        self.min = base.min if base else math.nan
        self.max = base.max if base else math.nan
        self.extra = base.extra if base else {}  # of a later version; true until a point is added

    def add(self, steps: Sequence[int], times_s: Sequence[float], values: Sequence[float]) -> None:
        """Take in parallel columns, not empty; times in seconds since the epoch."""
        if not self.count:
            self.first = values[0]
        self.count += len(values)
        self.extra = {}
        self._add_extremes(values)
        step = max(steps)
        if step < self.last_step:
            return
        at = _last_index(steps, times_s, step)
        if step > self.last_step or times_s[at] >= self.last_time_s:
            self.last_step, self.last_time_s, self.last = step, times_s[at], values[at]

    def freeze(self) -> MetricSummary:
        return MetricSummary(
            first=self.first,
            last=self.last,
            last_step=self.last_step,
            min=self.min,
            max=self.max,
            count=self.count,
            extra=self.extra,
        )

    def _add_extremes(self, values: Sequence[float]) -> None:
        # a sum is NaN when any value is (or when infinities meet): only then look at each
        if math.isnan(sum(values)):
            values = [value for value in values if not math.isnan(value)]
            if not values:
                return
        least, greatest = min(values), max(values)
        if not self.min <= least:  # true too while it is NaN
            self.min = least
        if not self.max >= greatest:
            self.max = greatest


def _last_index(steps: Sequence[int], times_s: Sequence[float], step: int) -> int:
    """Where the greatest step stands: of several, the latest in time, then the later logged."""
    if steps[-1] == step and steps.count(step) == 1:
        return len(steps) - 1
    places = [at for at, found in enumerate(steps) if found == step]
    return max(places, key=lambda at: (times_s[at], at))
