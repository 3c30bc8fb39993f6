"""Metric histories made ready to draw: what lies along x, smoothed, thinned out, with round marks for the axes.

NumPy arrays in and out; but for `read_curves`, which reads a store, all is pure. `charts` draws curves to files
and figures, the command line to the terminal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from gittrack.errors import InvalidValueError
from gittrack.store.runs import StoredRun
from gittrack.store.store import Store
from gittrack.tracking.histories import Columns, choose_keys, read_columns
from gittrack.tracking.run_lists import shared_metrics

if TYPE_CHECKING:
    import numpy as np

Along = Literal["step", "time", "relative"]
ALONG: tuple[Along, ...] = ("step", "time", "relative")
SMOOTH_MAX = 0.99
_SHARED_KEYS = 3
_YEAR_2_S, _YEAR_9998_S = -62_104_060_800, 253_339_228_800  # a day of any zone fits in around them


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one run: float64 arrays of one length, sorted by x.

    Attributes:
        x: steps, or seconds: since the epoch (``time``) or since the run began (``relative``).
        y: values; some may be NaN or infinite.
    """

    run_id: str
    name: str
    key: str
    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Axis:
    """A range that is shown, low < high, both finite; ``is_log`` says that both are exponents of ten."""

    low: float
    high: float
    is_log: bool = False

    def place(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Where values lie, 0 at the low end and 1 at the high one; halves first, since a range may overflow."""
        return (values / 2 - self.low / 2) / (self.high / 2 - self.low / 2)

    def ends(self) -> list[tuple[float, str]]:
        """The ends themselves: where each lies between 0 and 1, and what it says."""
        return [(0.0, self._show(self.low, 4)), (1.0, self._show(self.high, 4))]

    def ticks(self, count: int) -> list[tuple[float, str]]:
        """About ``count`` round marks, or none in too narrow a range: where each lies, and what it says."""
        import numpy as np

        make = _log_marks if self.is_log else _round_marks
        values = make(self.low, self.high, count)
        return list(zip(self.place(np.array(values, "f8")).tolist(), map(self._show, values), strict=True))

    def _show(self, value: float, digits: int = 6) -> str:
        return format_number(10.0 ** min(value, 308.25) if self.is_log else value, digits)


def read_curves(
    store: Store,
    runs: Iterable[StoredRun],
    keys: str | Iterable[str] | None,
    along: Along = "step",
    smoothing: float = 0.0,
) -> list[Curve]:
    """The curves of runs, by run, then key; what a run lacks is left out. Raises as `gittrack.metrics`."""
    if not 0 <= smoothing <= SMOOTH_MAX:
        raise InvalidValueError(f"smoothing is a number from 0 to {SMOOTH_MAX}, not {smoothing}")
    if along not in ALONG:
        raise InvalidValueError(f"no x axis is called {along!r}", f"it is one of {', '.join(ALONG)}")
    wanted = keys if keys is None or isinstance(keys, str) else list(keys)
    curves = []
    for stored in runs:
        chosen = choose_keys(stored.record.metrics, wanted)
        for key, columns in read_columns(store, stored, chosen).items():
            curve = make_curve(stored, key, columns, along)
            curves.append(replace(curve, y=smooth(curve.x, curve.y, smoothing)) if smoothing else curve)
    return curves


def make_curve(stored: StoredRun, key: str, columns: Columns, along: Along) -> Curve:
    """The curve of a metric's points; what was logged at one x stays in its order.

    Raises:
        InvalidValueError: along ``time``, where a point's time is none that a calendar shows.
    """
    import numpy as np

    if along == "step":
        x = columns.steps.astype("f8")
    else:
        x = (columns.timestamps.astype("f8") - (stored.record.started_at if along == "relative" else 0)) / 1000
    order = np.argsort(x, kind="stable")
    if along == "time" and len(x) and not _YEAR_2_S <= x[order[0]] <= x[order[-1]] <= _YEAR_9998_S:
        raise InvalidValueError(
            f"run {stored.record.id[:8]} has {key} at times that no calendar shows", "plot it along its steps"
        )
    return Curve(stored.record.id, stored.record.name, key, x[order], columns.values[order])


def shared_keys(runs: Iterable[StoredRun]) -> list[str]:
    """The few metrics that most runs have, the system's own aside: what to draw where nobody says."""
    return shared_metrics([stored.record for stored in runs])[:_SHARED_KEYS]


def smooth(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], weight: float) -> np.ndarray[Any, Any]:
    """An exponential moving average, without bias to its beginning, weighted by distance along x.

    With d the distance to the point before, in units of the median distance, and w the weight::

        S = w^d · S + y        N = w^d · N + 1        smoothed = S / N

    At even distances that is the average with the correction for bias of Kingma and Ba (Adam, 2015, section 3), as
    TensorBoard smooths; w^d is the weighting by time of Weights & Biases. Points that are no finite number stay as
    they are, and count for nothing.
    """
    import numpy as np

    gaps = np.diff(x, prepend=x[:1])
    apart = gaps[gaps > 0]
    decays = weight ** (gaps / np.median(apart)) if len(apart) else np.full(len(x), weight)
    total = count = 0.0
    smoothed = []
    for decay, value in zip(decays.tolist(), y.tolist(), strict=True):
        total, count = total * decay, count * decay
        if math.isfinite(value):
            total, count = total + value, count + 1
            value = total / count
        smoothed.append(value)
    return np.array(smoothed, "f8")


def to_log(curve: Curve, *, x: bool, y: bool) -> tuple[Curve, int]:
    """The curve in exponents of ten along x, y or both, and how many finite points have none and are left out."""
    import numpy as np

    keep = np.ones(len(curve.x), bool)
    if x:
        keep &= curve.x > 0
    if y:
        keep &= (curve.y > 0) | np.isnan(curve.y)
    left_out = int(np.count_nonzero(~keep & np.isfinite(curve.y)))
    xs, ys = curve.x[keep], curve.y[keep]
    return replace(curve, x=np.log10(xs) if x else xs, y=np.log10(ys) if y else ys), left_out


def thin_out(curve: Curve, places: np.ndarray[Any, Any], buckets: int) -> Curve:
    """The curve with at most 4 points a bucket: the first, the least, the greatest and the last.

    Drawn in as many columns it is the same picture, peaks and all: M4, Jugel et al., VLDB 2014. A bucket without a
    finite value keeps one that is none: a gap.

    Args:
        places: where each point lies along x, from 0 to 1; see `Axis.place`.
    """
    import numpy as np

    if len(curve.x) <= 4 * buckets:
        return curve
    edges = np.searchsorted(places, np.arange(buckets + 1) / buckets)
    edges[0], edges[-1] = 0, len(curve.x)
    kept = [at for begin, end in pairwise(edges) for at in _extremes(curve.y, begin, end)]
    return replace(curve, x=curve.x[kept], y=curve.y[kept])


def find_axes(curves: Iterable[Curve], *, log_x: bool = False, log_y: bool = False) -> tuple[Axis, Axis] | None:
    """The ranges that hold every finite point; None where there is none. A single value gets room around it."""
    import numpy as np

    spans = []
    for curve in curves:
        finite = np.isfinite(curve.y) & np.isfinite(curve.x)
        if finite.any():
            x, y = curve.x[finite], curve.y[finite]
            spans.append((x.min(), x.max(), y.min(), y.max()))
    if not spans:
        return None
    x_low, x_high, y_low, y_high = (
        float(choose(column))
        for choose, column in zip((min, max, min, max), zip(*spans, strict=True), strict=True)
    )
    return Axis(*_with_room(x_low, x_high), log_x), Axis(*_with_room(y_low, y_high), log_y)


def count_strange(curves: Iterable[Curve]) -> int:
    """How many points are NaN or infinite, and so are not drawn."""
    import numpy as np

    return sum(int(np.count_nonzero(~np.isfinite(curve.y))) for curve in curves)


def labels(curves: Sequence[Curve]) -> list[str]:
    """What each run is called in a legend: its name, and the beginning of its id where names are alike."""
    names = [curve.name for curve in curves]
    return [f"{curve.name} {curve.run_id[:8]}" if names.count(curve.name) > 1 else curve.name for curve in curves]


def format_number(value: float, digits: int = 6) -> str:
    """A finite number for an axis, short; one that is whole with all its digits up to a million."""
    return f"{int(value)}" if value == int(value) and abs(value) < 1e6 else f"{value:.{digits}g}"


def _extremes(y: np.ndarray[Any, Any], begin: int, end: int) -> Iterator[int]:
    import numpy as np

    if begin == end:
        return
    finite = begin + np.flatnonzero(np.isfinite(y[begin:end]))
    if not len(finite):
        yield begin
        return
    values = y[finite]
    chosen = {finite[0], finite[values.argmin()], finite[values.argmax()], finite[-1]}
    yield from sorted(int(at) for at in chosen)


def _with_room(low: float, high: float) -> tuple[float, float]:
    if low < high:
        return low, high
    room = abs(low) / 10 or 1.0
    wide = low - room, low + room
    return wide if all(map(math.isfinite, wide)) and wide[0] < wide[1] else (min(low, 0.0), max(low, 0.0))


def _round_marks(low: float, high: float, count: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten: Heckbert, Nice numbers for graph labels, 1990."""
    rough = (high / 2 - low / 2) / max(1, count - 1) * 2
    if not 1e-300 < rough < 1e300:
        return []
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if first == last or abs(first) > 1e15:  # too narrow a range, far from zero, for round numbers
        return []
    return [round(number * step, 12 - math.floor(math.log10(step))) for number in range(first, last + 1)]


def _log_marks(low: float, high: float, count: int) -> list[float]:
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    return [float(exponent) for exponent in range(first, last + 1, max(1, math.ceil((last - first + 1) / count)))]
