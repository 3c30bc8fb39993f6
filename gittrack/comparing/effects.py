"""What runs measure of one factor: the metric's difference between runs that differ in nothing else.

Pure. Runs that are equal in all other factors, seeds and hosts aside, are one *stratum*; where it holds runs
with both values, the difference of their means is one measurement (a *pair*). Grouping by a dict makes it all
linear in the runs. What equal runs differ by is the noise that an effect must exceed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from statistics import fmean, stdev

from gittrack.comparing.factors import FactorTable

_OTHER_PAIRS_MAX = 5000
_FREEDOM_MIN = 3  # fewer repeats on one host, and repeats elsewhere count too
# Student's t, two-sided, from its quantile function; between these it is taken from the next smaller. 99 %, since
# a question asks of several factors at once, and what chance gives to one of them must not be called a cause.
_T99 = {
    1: 63.66,
    2: 9.93,
    3: 5.84,
    4: 4.60,
    5: 4.03,
    6: 3.71,
    8: 3.36,
    10: 3.17,
    15: 2.95,
    20: 2.85,
    30: 2.75,
    60: 2.66,
}

Key = Callable[[tuple[int, ...]], Hashable]


@dataclass(frozen=True, slots=True)
class Noise:
    """What equal runs differ by: their standard deviation, in the metric's unit; None where no run is repeated."""

    deviation: float | None
    freedom: int = 0  # degrees of it: repeated runs less the groups that they make
    groups: int = 0
    is_across_hosts: bool = False

    def margin(self, weight: float) -> float | None:
        """What a difference may be by chance, 99 times of 100; ``weight`` is 1 over its variance in runs."""
        if self.deviation is None or weight <= 0:
            return None
        return t99(self.freedom) * self.deviation / math.sqrt(weight)


@dataclass(frozen=True, slots=True)
class Effect:
    """A measured difference of the metric.

    Attributes:
        mean: over the pairs, weighted by their runs; for ``is_other`` the root mean square, which has no sign.
        spread: standard deviation among the pairs; None for one pair.
        is_other: the pairs vary the factor between other values than the two asked about.
        margin: what chance alone may give; None where it is not known.
        elsewhere: the mean where the other factors have other values; None where it is not measured.
    """

    mean: float
    pairs: int
    spread: float | None
    is_other: bool = False
    margin: float | None = None
    elsewhere: float | None = None

    @property
    def is_within_noise(self) -> bool:
        return self.margin is not None and abs(self.mean) <= self.margin

    @property
    def varies(self) -> bool:
        """Whether the pairs disagree by more than chance gives them: the effect hangs on something else too."""
        if self.spread is None or self.margin is None:
            return False
        return self.spread > max(self.margin * math.sqrt(self.pairs), 1e-12)


def t99(freedom: int) -> float:
    """Student's t for a two-sided test at 99 %, never too small."""
    return _T99[max(at for at in _T99 if at <= max(freedom, 1))]


def key_of(places: Sequence[int]) -> Key:
    """What reads some places of a run's values, as something to group by."""
    if not places:
        return lambda values: ()
    return itemgetter(*places)


def measure_noise(table: FactorTable, outcomes: Sequence[float]) -> Noise:
    """What runs differ by that are equal in all but their seed; and their host, where there are few others."""
    on_one = [at for at, factor in enumerate(table.factors) if not factor.is_noise or factor.kind == "host"]
    found = _pool(table, outcomes, on_one)
    if found.freedom >= _FREEDOM_MIN or len(on_one) == len(_substance(table)):
        return found
    across = _pool(table, outcomes, _substance(table))
    return Noise(across.deviation, across.freedom, across.groups, across.freedom > found.freedom)


def measure_effect(
    table: FactorTable, outcomes: Sequence[float], place: int, one: int, other: int, noise: Noise
) -> Effect | None:
    """What the factor at a place does to the metric when it goes from run ``one``'s value to run ``other``'s.

    Pairs whose other factors stand as in one of the two runs come first; then pairs with the same two values
    elsewhere; then what it does between other values. None where no pair varies the factor alone.
    """
    kept = [at for at in _substance(table) if at != place]
    strata = _group(table, outcomes, key_of(kept), place)
    before, after = table.values[one][place], table.values[other][place]
    near_values = [{table.values[one][at], table.values[other][at]} for at in kept]
    near, far = list[tuple[float, float]](), list[tuple[float, float]]()
    for key, held in strata.items():
        if before in held and after in held:
            (near if _is_near(key, near_values) else far).append(_difference(held[before], held[after]))
    if near or far:
        return _sum_up(near or far, far if near else (), noise)
    return _measure_otherwise(strata, noise)


def _measure_otherwise(strata: dict[Hashable, dict[int, list[float]]], noise: Noise) -> Effect | None:
    squares, weights = list[float](), list[float]()
    for held in strata.values():
        means = list(held.values())
        for at in range(1, len(means)):  # against the first: as many pairs as there are values to compare
            difference, weight = _difference(means[0], means[at])
            squares.append(difference * difference)
            weights.append(weight)
        if len(squares) >= _OTHER_PAIRS_MAX:
            break
    if not squares:
        return None
    margin = noise.margin(fmean(weights))
    return Effect(math.sqrt(fmean(squares)), len(squares), None, is_other=True, margin=margin)


def _sum_up(used: Sequence[tuple[float, float]], rest: Sequence[tuple[float, float]], noise: Noise) -> Effect:
    total = sum(weight for _, weight in used)
    mean = sum(difference * weight for difference, weight in used) / total
    spread = stdev([difference for difference, _ in used]) if len(used) > 1 else None
    margin = noise.margin(total)
    if margin is None and spread is not None and len(used) > 2:
        margin = t99(len(used) - 1) * spread / math.sqrt(len(used))
    elsewhere = fmean([difference for difference, _ in rest]) if rest else None
    return Effect(mean, len(used), spread, margin=margin, elsewhere=elsewhere)


def _group(
    table: FactorTable, outcomes: Sequence[float], key: Key, place: int
) -> dict[Hashable, dict[int, list[float]]]:
    """By stratum and value of one factor: how many runs, and the sum of their outcomes."""
    strata: dict[Hashable, dict[int, list[float]]] = {}
    for values, outcome in zip(table.values, outcomes, strict=True):
        held = strata.setdefault(key(values), {}).setdefault(values[place], [0, 0.0])
        held[0] += 1
        held[1] += outcome
    return strata


def _pool(table: FactorTable, outcomes: Sequence[float], places: Sequence[int]) -> Noise:
    key = key_of(places)
    groups: dict[Hashable, list[float]] = {}
    for values, outcome in zip(table.values, outcomes, strict=True):
        groups.setdefault(key(values), []).append(outcome)
    repeated = [held for held in groups.values() if len(held) > 1]
    freedom = sum(len(held) - 1 for held in repeated)
    if not freedom:
        return Noise(None)
    squares = sum(sum((value - centre) ** 2 for value in held) for held in repeated for centre in (fmean(held),))
    return Noise(math.sqrt(squares / freedom), freedom, len(repeated))


def _difference(before: list[float], after: list[float]) -> tuple[float, float]:
    return after[1] / after[0] - before[1] / before[0], 1 / (1 / before[0] + 1 / after[0])


def _is_near(key: Hashable, values: Sequence[Collection[int]]) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return all(part in wanted for part, wanted in zip(parts, values, strict=True))


def _substance(table: FactorTable) -> list[int]:
    return [at for at, factor in enumerate(table.factors) if not factor.is_noise]
