"""What fails a gate, as a person writes it: ``metrics.acc drops 0.5%``, ``metrics.loss > 1``, ``params.opt !=
adam``.

A key with spaces or signs stands in backquotes or double quotes: ``metrics."val acc" worsens 1%``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gittrack.errors import InvalidValueError
from gittrack.schema.directions import GOAL_TAG, Goal
from gittrack.schema.records import RunRecord, Scalar
from gittrack.store.index_tables import number_of

Move: TypeAlias = Literal["drops", "rises", "changes", "worsens"]

_KEY = r"(?P<kind>metrics?|params?)\.(?:`(?P<back>[^`]+)`|\"(?P<quoted>[^\"]+)\"|(?P<plain>[^\s<>=!\"`]+))"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_MOVED = re.compile(
    _KEY + rf"\s+(?P<move>drops|rises|changes|worsens)(?:\s+(?:by\s+)?(?P<amount>{_NUMBER})\s*(?P<share>%)?)?"
)
_BOUNDED = re.compile(_KEY + r"\s*(?P<sign><=|>=|!=|==|=|<|>)\s*(?P<value>\S.*?)")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "=": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
}
_HINT = "as in 'metrics.acc drops 0.5%', 'metrics.loss worsens by 0.1', 'metrics.acc < 0.9', 'params.opt != adam'"
_ROUNDING = 1e-9  # 0.9 to 0.8955 drops 0.5 %, whatever binary fractions make of it


@dataclass(frozen=True, slots=True)
class Moved:
    """A metric went from its baseline by so much or more; any amount where 0.

    ``is_share``: the amount is a share of the baseline's size.
    """

    text: str
    metric: str
    move: Move
    amount: float
    is_share: bool


@dataclass(frozen=True, slots=True)
class Bounded:
    """A metric or a param of the candidate itself stands so to a value."""

    text: str
    key: str
    is_metric: bool
    sign: str
    value: str | float


Condition: TypeAlias = Moved | Bounded


@dataclass(frozen=True, slots=True)
class Check:
    """What became of a condition: ``fails`` where it holds, or cannot be told; ``why`` has the numbers."""

    condition: Condition
    fails: bool
    why: str


def parse_condition(text: str) -> Condition:
    """A condition as it was written.

    Raises:
        InvalidValueError: it is none.
    """
    moved = _MOVED.fullmatch(text.strip())
    if moved is not None and moved["kind"].startswith("metric"):
        amount = float(moved["amount"] or 0)
        if amount < 0 or not math.isfinite(amount):
            raise InvalidValueError(f"{text!r}: {moved['amount']} is no amount", "give how far, without a sign")
        share = bool(moved["share"])
        move: Move = moved["move"]  # type: ignore[assignment]
        return Moved(text.strip(), _key(moved), move, amount / 100 if share else amount, share)
    bounded = _BOUNDED.fullmatch(text.strip())
    if bounded is None:
        raise InvalidValueError(f"{text!r} is no condition", _HINT)
    is_metric = bounded["kind"].startswith("metric")
    sign, value = bounded["sign"].replace("==", "="), _literal(bounded["value"])
    if isinstance(value, str) and (is_metric or sign not in ("=", "!=")):
        raise InvalidValueError(f"{text!r}: {bounded['value']!r} is no number", _HINT)
    return Bounded(text.strip(), _key(bounded), is_metric, sign, value)


def check_condition(
    condition: Condition, candidate: RunRecord, baseline: RunRecord | None, goal: Callable[[str], Goal | None]
) -> Check:
    """Whether a condition holds; what cannot be told (no baseline, a missing metric, NaN) fails.

    Raises:
        InvalidValueError: a metric is to worsen of which nobody says which way it is better.
    """
    if isinstance(condition, Bounded):
        return _check_bound(condition, candidate)
    signs = {"drops": (-1,), "rises": (1,), "changes": (-1, 1)}.get(condition.move)
    if signs is None:
        way = goal(condition.metric)
        if way is None:
            raise InvalidValueError(
                f"{condition.text!r}: nobody says which way metric {condition.metric!r} is better",
                f"set the tag {GOAL_TAG}{condition.metric} to max or min, or write drops or rises",
            )
        signs = (-1,) if way == "max" else (1,)
    if baseline is None:
        return Check(condition, True, "there is no baseline")
    return _check_move(condition, signs, candidate, baseline)


def _check_move(condition: Moved, signs: tuple[int, ...], candidate: RunRecord, baseline: RunRecord) -> Check:
    sides = [run.metrics.get(condition.metric) for run in (baseline, candidate)]
    for side, name in zip(sides, ("baseline", "candidate"), strict=True):
        if side is None:
            return Check(condition, True, f"the {name} has no such metric")
        if not math.isfinite(side.last):
            return Check(condition, True, f"the {name} has {side.last!r}")
    before, after = (side.last for side in sides if side is not None)
    delta = after - before
    size = abs(delta)
    if condition.is_share:
        size = math.inf if before == 0 and delta else abs(delta / before) if before else 0.0
    is_that_way = delta != 0 and (1 if delta > 0 else -1) in signs
    fails = is_that_way and size >= condition.amount * (1 - _ROUNDING)
    share = f", {delta / abs(before):+.3%}" if before else ""
    return Check(condition, fails, f"{before!r} to {after!r} ({delta:+.6g}{share})")


def _check_bound(condition: Bounded, candidate: RunRecord) -> Check:
    found: Scalar = None
    if condition.is_metric:
        summary = candidate.metrics.get(condition.key)
        if summary is None:
            return Check(condition, True, "the candidate has no such metric")
        found = summary.last
        if math.isnan(found):
            return Check(condition, True, "the candidate has nan")
    elif condition.key not in candidate.params:
        return Check(condition, True, "the candidate has no such param")
    else:
        found = candidate.params[condition.key]
    if isinstance(condition.value, str):
        text = str(found).lower() if isinstance(found, bool) else str(found)
        return Check(condition, (text == condition.value) == (condition.sign == "="), f"it is {found!r}")
    number = number_of(found)
    if number is None:
        return Check(condition, True, f"it is {found!r}, no number")
    return Check(condition, _COMPARE[condition.sign](number, condition.value), f"it is {found!r}")


def _key(match: re.Match[str]) -> str:
    return match["back"] or match["quoted"] or match["plain"]


def _literal(text: str) -> str | float:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    try:
        return float(text)
    except ValueError:
        return text
