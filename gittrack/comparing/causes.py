"""What can explain that a metric differs between two runs: what differs, with what other runs measure of it.

Pure: rows of the index in, an `Explanation` out; `why` does the same from a repository.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, quantiles, stdev

from gittrack.comparing.design import Span, find_missing
from gittrack.comparing.effects import Effect, Noise, key_of, measure_effect, measure_noise
from gittrack.comparing.explanation import Cause, Explanation, Interaction
from gittrack.comparing.factors import PRIOR, Factor, FactorTable, read_factors
from gittrack.comparing.trials import plan_trial, repeat_trial
from gittrack.errors import InvalidValueError, NotFoundError
from gittrack.store.search_rows import RunRow

_DESIGN_FACTORS_MAX = 60
_INTERACTING_MAX = 12  # factors among which pairs are looked for
_CORNERS_MAX = 4096
_INTERACTION_MIN = 0.02  # of the change: less is nobody's question


@dataclass(frozen=True, slots=True)
class _Corners:
    """Runs that have one of the two runs' values in all that differs: by the rest, then a bit a factor."""

    places: list[int]
    strata: dict[Hashable, dict[int, tuple[int, float]]]


def explain(
    rows: Sequence[RunRow],
    one_id: str,
    other_id: str,
    metric: str | None = None,
    details: Mapping[str, str] | None = None,
    pins: Sequence[str] = (),
) -> Explanation:
    """What can explain the change of a metric from one run to another, both among the rows.

    Args:
        metric: its last values are compared; where None, the one that changed most for its spread among runs.
        details: by a factor's name, what changed in it (files of the code, packages).
        pins: the other run's packages that differ, as pip takes them.

    Raises:
        NotFoundError: one of the runs has no such metric. InvalidValueError: they have none in common.
    """
    by_id = {row.id: row for row in rows}
    one, other = by_id[one_id], by_id[other_id]
    key = metric or choose_metric(rows, one, other)
    for row in (one, other):
        if key not in row.metrics:
            known = ", ".join(row.metrics) or "none"
            raise NotFoundError(f"run {row.id[:8]} has no metric {key!r}", f"it has: {known}")
    return _explain(rows, one, other, key, details or {}, pins, is_chosen=metric is None)


def choose_metric(rows: Sequence[RunRow], one: RunRow, other: RunRow) -> str:
    """The metric both runs have that changed most, measured by the quartiles of all runs' values.

    Raises:
        InvalidValueError: they have none in common.
    """
    common = [key for key in one.metrics if key in other.metrics and not key.startswith("system/")]
    if not common:
        raise InvalidValueError(
            f"runs {one.id[:8]} and {other.id[:8]} have no metric in common", "log one in both"
        )
    return max(common, key=lambda key: _relative_change(rows, one.metrics[key].last, other.metrics[key].last, key))


def _relative_change(rows: Sequence[RunRow], before: float, after: float, key: str) -> float:
    if math.isfinite(before) != math.isfinite(after):
        return math.inf
    change = abs(after - before)
    if not change > 0:
        return 0.0
    values = [row.metrics[key].last for row in rows if key in row.metrics]
    values = [value for value in values if math.isfinite(value)]
    low, _, high = quantiles(values, n=4) if len(values) > 3 else (0.0, 0.0, 0.0)
    spread = high - low or (stdev(values) if len(values) > 3 else 0.0)
    return change / (spread or max(abs(before), abs(after)))


def _explain(
    rows: Sequence[RunRow],
    one: RunRow,
    other: RunRow,
    key: str,
    details: Mapping[str, str],
    pins: Sequence[str],
    *,
    is_chosen: bool,
) -> Explanation:
    before, after = one.metrics[key].last, other.metrics[key].last
    asks_finite = not (math.isfinite(before) and math.isfinite(after))
    known = [
        row for row in rows if key in row.metrics and (row.status != "RUNNING" or row.id in (one.id, other.id))
    ]
    if asks_finite:  # a loss that became NaN: what decides whether it is a number
        outcomes = [float(math.isfinite(row.metrics[key].last)) for row in known]
    else:
        known = [row for row in known if math.isfinite(row.metrics[key].last)]
        outcomes = [row.metrics[key].last for row in known]
    table = read_factors(known)
    at_one = next(at for at, row in enumerate(known) if row.id == one.id)
    at_other = next(at for at, row in enumerate(known) if row.id == other.id)
    change = outcomes[at_other] - outcomes[at_one]
    noise = measure_noise(table, outcomes)
    differing = table.differing(at_one, at_other)
    causes = {
        place: _cause_of(table.factors[place], one, other, details, effect)
        for place in differing
        for effect in (measure_effect(table, outcomes, place, at_one, at_other, noise),)
    }
    design = [place for place in differing if not table.factors[place].is_noise] or [
        place for place in differing if table.factors[place].kind != "label"
    ]
    corners = _find_corners(table, outcomes, design[:_DESIGN_FACTORS_MAX], at_one, at_other)
    span = _span_of(corners)
    causes = {**causes, **_derive(causes, corners, span)}
    order = sorted(design, key=lambda place: PRIOR.index(table.factors[place].kind))
    likely_first = [corners.places.index(place) for place in order if place in corners.places]
    missing = find_missing(span, likely_first, len(corners.places))
    trials = [plan_trial(table.factors[corners.places[at]], one, other, pins) for at in missing] if change else []
    return Explanation(
        one=one.id, other=other.id, one_name=one.name, other_name=other.name, metric=key,
        before=before, after=after,
        is_chosen=is_chosen, change=change, asks_finite=asks_finite, runs=len(known), noise=noise,
        causes=tuple(sorted(causes.values(), key=lambda cause: cause.rank(change))),
        interactions=tuple(_find_interactions(table, corners, change, noise)),
        trials=tuple(trials),
        repeat=repeat_trial(one) if noise.deviation is None and change else None,
        complete_runs=_count_untried(corners),
    )  # fmt: skip


def _cause_of(
    factor: Factor, one: RunRow, other: RunRow, details: Mapping[str, str], effect: Effect | None
) -> Cause:
    before, after = describe_value(factor, one), describe_value(factor, other)
    return Cause(factor, before, after, details.get(factor.name, ""), effect)


def describe_value(factor: Factor, row: RunRow) -> str:
    """A factor's value in a run, as a person reads it."""
    if factor.kind in ("param", "seed", "label"):
        return str(row.params[factor.name]) if factor.name in row.params else "(not set)"
    if factor.kind == "code":
        place = f"{row.code_commit[:10]}{' + changes' if row.dirty else ''}" if row.code_commit else ""
        return place or (row.code or "(none)")[:10]
    if factor.kind == "data":
        named = [
            digest for name, digest, context in row.digests
            if factor.name in (name, f"{name} ({context})")
        ]  # fmt: skip
        return ", ".join(named) or "(not read)"
    if factor.kind == "environment":
        return (row.environment or "(not recorded)")[:10]
    return (row.host if factor.kind == "host" else row.command) or "(not recorded)"


def _find_corners(
    table: FactorTable, outcomes: Sequence[float], places: list[int], one: int, other: int
) -> _Corners:
    rest = [at for at, factor in enumerate(table.factors) if at not in places and not factor.is_noise]
    key, before, after = key_of(rest), table.values[one], table.values[other]
    sums: dict[Hashable, dict[int, list[float]]] = {}
    for values, outcome in zip(table.values, outcomes, strict=True):
        mask = 0
        for bit, place in enumerate(places):
            if values[place] == after[place]:
                mask |= 1 << bit
            elif values[place] != before[place]:
                break
        else:
            held = sums.setdefault(key(values), {}).setdefault(mask, [0, 0.0])
            held[0] += 1
            held[1] += outcome
    strata = {
        stratum: {mask: (int(count), total / count) for mask, (count, total) in held.items()}
        for stratum, held in sums.items()
    }
    return _Corners(places, strata)


def _span_of(corners: _Corners) -> Span:
    width = len(corners.places)
    span, seen = Span(width), set[tuple[int, int]]()
    for held in corners.strata.values():
        first, *others = held
        for mask in others:
            if span.rank == width:
                return span
            if (first, mask) not in seen:
                seen.add((first, mask))
                span.add(_vector(first, mask, width))
    return span


def _vector(first: int, mask: int, width: int) -> list[int]:
    return [(mask >> bit & 1) - (first >> bit & 1) for bit in range(width)]


def _derive(causes: Mapping[int, Cause], corners: _Corners, span: Span) -> dict[int, Cause]:
    """Effects that no pair shows alone and that several pairs determine together, if effects add."""
    wanted = [
        at
        for at, place in enumerate(corners.places)
        if (effect := causes[place].effect) is None or effect.is_other
        if span.determines(at)
    ]
    if not wanted:
        return {}
    import numpy as np

    width = len(corners.places)
    equations, results = list[list[float]](), list[float]()
    for held in corners.strata.values():
        (first, (count, mean)), *others = held.items()
        for mask, (runs, value) in others[:_CORNERS_MAX]:
            weight = math.sqrt(1 / (1 / count + 1 / runs))
            equations.append([part * weight for part in _vector(first, mask, width)])
            results.append((value - mean) * weight)
    solved = np.linalg.lstsq(np.array(equations), np.array(results), rcond=None)[0]
    found = {}
    for at in wanted:
        cause = causes[corners.places[at]]
        effect = Effect(float(solved[at]), len(equations), None)
        found[corners.places[at]] = Cause(cause.factor, cause.before, cause.after, cause.detail, effect, True)
    return found


def _find_interactions(table: FactorTable, corners: _Corners, change: float, noise: Noise) -> list[Interaction]:
    """Pairs of factors that together do another thing than each alone, where all four combinations were run."""
    found = []
    for one, other in combinations(range(min(len(corners.places), _INTERACTING_MAX)), 2):
        both, extras, variances = 1 << one | 1 << other, list[float](), list[float]()
        for held in corners.strata.values():
            for mask in list(held)[:_CORNERS_MAX]:
                four = [held.get(mask | part) for part in (0, 1 << one, 1 << other, both)]
                if mask & both or None in four:
                    continue
                (n00, y00), (n10, y10), (n01, y01), (n11, y11) = (part for part in four if part is not None)
                extras.append(y11 - y10 - y01 + y00)
                variances.append(1 / n00 + 1 / n10 + 1 / n01 + 1 / n11)
        if not extras:
            continue
        extra = fmean(extras)
        margin = noise.margin(len(extras) ** 2 / sum(variances))
        if abs(extra) > max(margin or 0.0, _INTERACTION_MIN * abs(change)):
            names = (table.factors[corners.places[one]].title, table.factors[corners.places[other]].title)
            found.append(Interaction(*names, extra, len(extras), margin))
    return sorted(found, key=lambda interaction: -abs(interaction.extra))


def _count_untried(corners: _Corners) -> int:
    """How many combinations of the differing factors no run has tried, with all else as in the two runs."""
    tried = max((set(held) for held in corners.strata.values()), key=len, default=set())
    return (1 << min(len(corners.places), _DESIGN_FACTORS_MAX)) - len(tried)
