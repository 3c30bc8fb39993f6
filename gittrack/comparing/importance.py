"""Which params matter for a metric over many runs: permutation importance of a forest, and rank correlation.

The forest's out-of-bag score says how well params explain the metric at all; where that is poor, its ranking is
not to be believed, and the answer says so. From scikit-learn: `RandomForestRegressor`, `permutation_importance`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gittrack.comparing.asking import open_existing_store, read_rows, require_metric, run_id_of
from gittrack.comparing.factors import value_key
from gittrack.schema.names import one_line
from gittrack.schema.records import Scalar
from gittrack.store.experiments import resolve_experiment
from gittrack.store.search_rows import RunRow
from gittrack.tracking import html

if TYPE_CHECKING:
    import numpy as np

_RUNS_MIN, _RUNS_MAX = 10, 10_000
_PARAMS_MAX = 200  # those that the most runs have; a forest over more would take minutes
_TREES, _LEAF, _REPEATS, _FOLDS, _FEW = 100, 2, 5, 5, 1000
_WORK_MAX = 2_000_000  # trees x runs
_BELIEVED_AT = 0.3  # out-of-bag R²: below it the forest has not found what moves the metric
_CORRELATED_AT = 0.8  # of ranks: the forest may use either, and the importance is split among them
_SEED = 0


@dataclass(frozen=True, slots=True)
class ParamImportance:
    """One param's part.

    Attributes:
        importance: how much a forest's R² drops, on runs that it was not fitted to, when the param is shuffled;
            None without a forest.
        deviation: of that, among the shuffles.
        correlation: Spearman's rank correlation with the metric, -1 to 1, over the ``runs`` that have the param;
            None for text, or for fewer than 3 of them.
        correlated_with: params that say nearly the same; the importance is split among them.
    """

    param: str
    importance: float | None
    deviation: float | None
    correlation: float | None
    runs: int
    values: int
    correlated_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """Which params matter for a metric; ``str`` of it is a page.

    Attributes:
        table: the params, the most important first.
        score: the forest's out-of-bag R²; 1 is perfect, 0 as good as the mean; None where there was no forest.
        constant: params that are the same in all runs. dropped_nan: runs without a finite value of the metric.
    """

    metric: str
    table: tuple[ParamImportance, ...]
    score: float | None
    runs: int
    runs_found: int
    dropped_nan: int
    constant: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @property
    def is_believable(self) -> bool:
        return self.score is not None and self.score >= _BELIEVED_AT

    @property
    def verdict(self) -> str:
        """One sentence: what matters most, or why that cannot be told."""
        if self.runs < _RUNS_MIN:
            return f"{self.runs} runs are too few for a forest ({_RUNS_MIN} at least): rank correlations only"
        if not self.table or self.score is None:
            return "no param varies, or the metric does not: nothing to rank"
        if not self.is_believable:
            return (
                f"params explain {self.metric} poorly (out-of-bag R² {self.score:.2f}, below {_BELIEVED_AT}):"
                " do not believe the ranking"
            )
        return f"{self.table[0].param} matters most (out-of-bag R² {self.score:.2f})"

    def notes(self) -> list[str]:
        """What else must be said, a line each."""
        lines = []
        if self.runs < self.runs_found - self.dropped_nan:
            lines.append(f"{self.runs} of {self.runs_found - self.dropped_nan} runs were taken, by chance")
        if self.dropped_nan:
            lines.append(f"{self.dropped_nan} runs were left out: their {self.metric} is no finite number")
        if self.constant:
            lines.append(f"the same in all runs: {', '.join(self.constant)}")
        if self.left_out:
            lines.append(f"left out, as too few runs have them: {', '.join(self.left_out)}")
        if any(row.correlated_with for row in self.table):
            lines.append("params that go together share their importance: neither can be told from the other")
        return lines

    def cells(self) -> list[tuple[str, str, str, str, str]]:
        """The table as text: param, importance, rank correlation, runs, what it goes together with."""
        return [
            (
                row.param,
                "" if row.importance is None else f"{row.importance:.3f} ± {row.deviation:.3f}",
                "" if row.correlation is None else f"{row.correlation:+.2f}",
                str(row.runs),
                ", ".join(row.correlated_with),
            )
            for row in self.table
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **asdict(self), "verdict": self.verdict, "is_believable": self.is_believable,
            "table": [asdict(row) for row in self.table],
        }  # fmt: skip

    def __str__(self) -> str:
        rows = [tuple(one_line(cell, 60) for cell in row) for row in (_HEAD, *self.cells())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        return "\n".join([one_line(f"{self.metric}: {self.verdict}", 2000), "", *lines, "", *self._shown_notes()])

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.text(line)}</li>" for line in self.notes())
        table = html.table(_HEAD, self.cells())
        return f"<div>{html.heading(self.metric, self.verdict)}{table}<ul>{notes}</ul></div>"

    def _shown_notes(self) -> list[str]:
        return [one_line(line, 2000) for line in self.notes()]


_HEAD = ("param", "importance", "rank correlation", "runs", "goes with")


def importance(
    metric: str,
    runs: Iterable[Any] | None = None,
    *,
    experiment: str | None = None,
    filter_string: str = "",
    statuses: Sequence[str] = ("FINISHED",),
) -> Importance:
    """Which params matter for a metric's last value, over some runs or an experiment's.

    Args:
        runs: runs, ids or names; by default those of ``experiment``, or all, that fit ``filter_string``.
        statuses: only runs that ended so.

    Raises:
        NotFoundError: there is no such run or experiment, or no run has the metric.
        InvalidValueError: the filter cannot be read.
    """
    store = open_existing_store()
    ids = (resolve_experiment(store.repository, experiment).id,) if experiment is not None else None
    rows = read_rows(store, ids, filter_string)
    if runs is not None:
        wanted = {run_id_of(store, run) for run in runs}
        rows = [row for row in rows if row.id in wanted]
    require_metric(rows, metric)
    return rank_params([row for row in rows if row.status in statuses], metric)


def rank_params(rows: Sequence[RunRow], metric: str) -> Importance:
    """Which params matter for a metric over these rows; the same rows give the same answer."""
    found = sorted((row for row in rows if metric in row.metrics), key=lambda row: row.id)
    finite = [row for row in found if math.isfinite(row.metrics[metric].last)]
    taken = random.Random(_SEED).sample(finite, _RUNS_MAX) if len(finite) > _RUNS_MAX else finite
    counts: dict[str, int] = {}
    for row in taken:
        for key in row.params:
            counts[key] = counts.get(key, 0) + 1
    varying = {key for key in counts if _count_values(taken, key) > 1}
    chosen = sorted(varying, key=lambda key: (-counts[key], key))[:_PARAMS_MAX]
    score, table = _rank(taken, sorted(chosen), [row.metrics[metric].last for row in taken])
    return Importance(
        metric=metric, table=tuple(table), score=score, runs=len(taken), runs_found=len(found),
        dropped_nan=len(found) - len(finite), constant=tuple(sorted(counts.keys() - varying)),
        left_out=tuple(sorted(varying - set(chosen))),
    )  # fmt: skip


def _rank(
    rows: Sequence[RunRow], params: Sequence[str], outcomes: Sequence[float]
) -> tuple[float | None, list[ParamImportance]]:
    if not params or len(rows) < 2:
        return None, []
    import numpy as np

    columns = [_encode([row.params.get(key, _MISSING) for row in rows]) for key in params]
    features, target = np.column_stack(columns), np.array(outcomes)
    score, means, deviations = None, [None] * len(params), [None] * len(params)
    if len(rows) >= _RUNS_MIN and np.ptp(target) > 0:
        score, means, deviations = _fit(features, target)
    groups = _find_correlated(features, params)
    table = []
    for at, key in enumerate(params):
        correlation, count = _correlate([row.params.get(key, _MISSING) for row in rows], outcomes)
        table.append(
            ParamImportance(
                key, means[at], deviations[at], correlation, count, _count_values(rows, key), groups.get(key, ())
            )
        )
    table.sort(key=lambda row: (-(row.importance or 0.0), -abs(row.correlation or 0.0), row.param))
    return score, table


def _fit(features: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> tuple[float, list[Any], list[Any]]:
    """The out-of-bag R² of a forest, and each feature's importance: mean and standard deviation."""
    import warnings

    import numpy as np
    from sklearn.ensemble import RandomForestRegressor  # type: ignore[import-untyped]
    from sklearn.inspection import permutation_importance  # type: ignore[import-untyped]
    from sklearn.model_selection import KFold  # type: ignore[import-untyped]

    trees = max(50, min(_TREES, _WORK_MAX // len(target)))
    forest = RandomForestRegressor(
        n_estimators=trees, min_samples_leaf=_LEAF, oob_score=True, random_state=_SEED, n_jobs=1
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # a run that is in every tree's bag has no score; few have none
        score = float(forest.fit(features, target).oob_score_)
    folds = KFold(_FOLDS if len(target) <= _FEW else 2, shuffle=True, random_state=_SEED)
    drops = []
    for fitted, held in folds.split(features):
        one = RandomForestRegressor(trees, min_samples_leaf=_LEAF, random_state=_SEED, n_jobs=1)
        one.fit(features[fitted], target[fitted])
        some = held[: _FEW // 2]  # shuffled by the folds
        # centred by all runs: a fold of two or three has no R² of its own
        found = permutation_importance(
            one, features[some], target[some], n_repeats=_REPEATS, random_state=_SEED, n_jobs=1,
            scoring="neg_mean_squared_error",
        )  # fmt: skip
        drops.append(found["importances"] / np.var(target))
    together = np.concatenate(drops, axis=1)
    return score, together.mean(axis=1).tolist(), together.std(axis=1).tolist()


class _Missing:
    """A param that a run does not have."""


_MISSING = _Missing()


def _encode(values: Sequence[Scalar | _Missing]) -> list[float]:
    """One column of numbers: numbers as they are, or their logarithms; text by frequency; missing below all."""
    numbers = [_number_of(value) for value in values]
    known = [number for number in numbers if number is not None]
    if len(known) == sum(not isinstance(value, _Missing) for value in values):
        is_log = min(known) > 0 and max(known) / min(known) >= 100
        scaled = [None if number is None else math.log10(number) if is_log else number for number in numbers]
        least = min(number for number in scaled if number is not None)
        greatest = max(number for number in scaled if number is not None)
        below = least - max(greatest - least, 1.0)
        return [below if number is None else number for number in scaled]
    return _encode_categories(values)


def _encode_categories(values: Sequence[Scalar | _Missing]) -> list[float]:
    """Each category its own number, the most frequent first: nothing of the metric leaks into it."""
    counts: dict[Hashable, int] = {}
    for value in values:
        if not isinstance(value, _Missing):
            key = value_key(value)
            counts[key] = counts.get(key, 0) + 1
    order = sorted(counts, key=lambda key: (-counts[key], str(key)))
    places = {key: float(at) for at, key in enumerate(order)}
    return [-1.0 if isinstance(value, _Missing) else places[value_key(value)] for value in values]


def _number_of(value: Scalar | _Missing) -> float | None:
    """A param as a number, text that reads as one too; None for all else, and for what is not finite."""
    if value is None or isinstance(value, _Missing):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) < 1e300 else None


def _correlate(values: Sequence[Scalar | _Missing], outcomes: Sequence[float]) -> tuple[float | None, int]:
    """Spearman's rank correlation over the runs that have the param as a number, and how many they are."""
    pairs = [
        (number, outcome)
        for value, outcome in zip(values, outcomes, strict=True)
        if (number := _number_of(value)) is not None
    ]
    given = sum(not isinstance(value, _Missing) for value in values)
    if len(pairs) < max(3, given):  # some of it is text
        return None, given
    left, right = zip(*pairs, strict=True)
    return _rank_correlation(left, right), len(pairs)


def _rank_correlation(left: Sequence[float], right: Sequence[float]) -> float | None:
    import numpy as np
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    ranks = rankdata(left), rankdata(right)
    if np.ptp(ranks[0]) == 0 or np.ptp(ranks[1]) == 0:
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _find_correlated(features: np.ndarray[Any, Any], params: Sequence[str]) -> dict[str, tuple[str, ...]]:
    import numpy as np
    from scipy.stats import rankdata

    if len(params) < 2 or len(features) < _RUNS_MIN:
        return {}
    matrix = np.corrcoef(rankdata(features, axis=0), rowvar=False)
    found = {}
    for at, key in enumerate(params):
        others = [params[to] for to in range(len(params)) if to != at and abs(matrix[at, to]) >= _CORRELATED_AT]
        if others:
            found[key] = tuple(others)
    return found


def _count_values(rows: Sequence[RunRow], key: str) -> int:
    return len({value_key(row.params[key]) if key in row.params else _MISSING for row in rows})
