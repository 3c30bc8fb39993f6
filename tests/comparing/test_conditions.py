"""Conditions of a gate: what is taken, what holds, and that what cannot be told fails."""

from __future__ import annotations

import math

import pytest

from gittrack.comparing.conditions import Bounded, Check, Moved, check_condition, parse_condition
from gittrack.errors import InvalidValueError
from gittrack.schema.directions import find_goal
from gittrack.schema.records import RunRecord
from tests.schema.making import make_run, make_summary


def run(**metrics: float) -> RunRecord:
    params = {"opt": "adam", "lr": 0.1, "text": "5", "flag": True}
    return make_run(metrics={key: make_summary(value) for key, value in metrics.items()}, params=params)


def check(text: str, before: RunRecord | None, after: RunRecord) -> Check:
    return check_condition(parse_condition(text), after, before, find_goal)


def test_conditions_are_read_as_they_are_written() -> None:
    assert parse_condition("metrics.acc drops 0.5%") == Moved(
        "metrics.acc drops 0.5%", "acc", "drops", 0.005, True
    )
    assert parse_condition("metric.`val acc` worsens by .1") == Moved(
        "metric.`val acc` worsens by .1", "val acc", "worsens", 0.1, False
    )
    assert parse_condition('metrics."a/b c" rises') == Moved('metrics."a/b c" rises', "a/b c", "rises", 0.0, False)
    assert parse_condition("metrics.val/acc.x < 0.9") == Bounded(
        "metrics.val/acc.x < 0.9", "val/acc.x", True, "<", 0.9
    )
    assert parse_condition("params.opt != 'sgd'") == Bounded("params.opt != 'sgd'", "opt", False, "!=", "sgd")
    assert parse_condition("params.lr==1e-3") == Bounded("params.lr==1e-3", "lr", False, "=", 0.001)


@pytest.mark.parametrize(
    "text",
    ["", "acc drops 1%", "metrics.acc", "metrics.acc falls 1%", "metrics.acc drops much", "metrics.acc drops -1%",
     "metrics.acc < high", "params.opt < adam", "params.lr drops 1%", "metrics.acc drops 1% 2%"],
)  # fmt: skip
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError):
        parse_condition(text)


@pytest.mark.parametrize(
    ("text", "before", "after", "fails"),
    [
        ("metrics.acc drops 0.5%", 0.9, 0.8955, True),  # exactly so much, but for binary fractions
        ("metrics.acc drops 0.5%", 0.9, 0.8956, False),
        ("metrics.acc drops 0.5%", 0.9, 0.95, False),
        ("metrics.acc drops by 0.1", 0.9, 0.8, True),
        ("metrics.acc drops", 0.9, 0.9, False),
        ("metrics.acc drops 0%", 0.9, 0.9, False),
        ("metrics.acc rises 10%", 1.0, 1.2, True),
        ("metrics.acc changes 10%", 1.0, 0.5, True),
        ("metrics.acc changes 10%", -1.0, -1.05, False),
        ("metrics.acc worsens 1%", 0.9, 0.8, True),
        ("metrics.acc worsens 1%", 0.8, 0.9, False),
        ("metrics.acc rises 50%", 0.0, 1e-9, True),  # of nothing, anything is more than any share
        ("metrics.acc drops 10%", -1.0, -2.0, True),
    ],
)
def test_a_metric_that_moved_so_far_fails(text: str, before: float, after: float, fails: bool) -> None:
    assert check(text, run(acc=before), run(acc=after)).fails is fails


def test_of_a_loss_greater_is_worse_and_an_unknown_direction_is_an_error() -> None:
    assert check("metrics.loss worsens 1%", run(loss=1.0), run(loss=1.1)).fails
    with pytest.raises(InvalidValueError, match=r"set the tag gittrack\.goal\.x to max or min"):
        check("metrics.x worsens 1%", run(x=1.0), run(x=1.0))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (None, run(acc=1.0), "there is no baseline"),
        (run(), run(acc=1.0), "the baseline has no such metric"),
        (run(acc=1.0), run(), "the candidate has no such metric"),
        (run(acc=1.0), run(acc=math.nan), "the candidate has nan"),
        (run(acc=math.inf), run(acc=1.0), "the baseline has inf"),
    ],
)
def test_what_cannot_be_told_fails(before: RunRecord | None, after: RunRecord, why: str) -> None:
    told = check("metrics.acc drops 1%", before, after)
    assert (told.fails, told.why) == (True, why)


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("metrics.acc < 0.9", True),
        ("metrics.acc >= 0.9", False),
        ("metrics.none < 0.9", True),
        ("metrics.nan > 0", True),
        ("params.opt != adam", False),
        ("params.opt = 'adam'", True),
        ("params.lr > 0.05", True),
        ("params.text = 5", True),
        ("params.text > 5", False),
        ("params.opt > 5", True),
        ("params.flag = true", True),
        ("params.none = 1", True),
    ],
)
def test_bounds_are_of_the_candidate_alone(text: str, fails: bool) -> None:
    assert check(text, None, run(acc=0.8, nan=math.nan)).fails is fails
