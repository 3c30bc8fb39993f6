"""Metric histories: exact numbers, and summaries that a naive count confirms."""

from __future__ import annotations

import math
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gittrack.errors import DamagedError
from gittrack.schema.points import CSV_HEADER, Point, Summary, format_rows, parse_rows
from gittrack.schema.records import MetricSummary

from .making import floats

steps = st.sampled_from([-(2**63), 2**63 - 1]) | st.integers(-3, 3)
points = st.tuples(steps, st.integers(0, 5).map(float), floats)
histories = st.lists(points, min_size=1, max_size=30)


def bits(value: float) -> object:
    return "nan" if math.isnan(value) else struct.pack(">d", value)


def columns(found: list[tuple[int, float, float]]) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    step, time_s, value = zip(*found, strict=True)
    return step, time_s, value


@given(histories)
def test_a_history_comes_back_bit_for_bit(history: list[tuple[int, float, float]]) -> None:
    text = CSV_HEADER + format_rows(*columns(history))
    found = list(parse_rows(text.splitlines(keepends=True), "m"))
    assert [(point.step, point.timestamp, bits(point.value)) for point in found] == [
        (step, round(time_s * 1000), bits(value)) for step, time_s, value in history
    ]


@given(st.integers(0, 2**43))
def test_a_time_in_milliseconds_comes_back(time_ms: int) -> None:
    (found,) = parse_rows([format_rows([0], [time_ms / 1000], [0.0])], "m")
    assert found.timestamp == time_ms


def test_rows_are_read_with_and_without_header_and_line_ends() -> None:
    expected = [Point(1, 2, 0.5), Point(2, 3, -math.inf)]
    assert list(parse_rows([CSV_HEADER, "1,2,0.5\n", "2,3,-inf"], "m")) == expected
    assert list(parse_rows(["1,2,0.5", "2,3,-inf"], "m")) == expected


@pytest.mark.parametrize(
    "line", ["", "1", "1,2", "1,2,", ",2,3", "1,2,3,4", "1.5,2,3", "a,b,c", "1,2,x", "9" * 5000 + ",1,1"]
)
def test_a_line_that_is_no_point_is_damage_with_its_number(line: str) -> None:
    with pytest.raises(DamagedError, match="run 7: line 3"):
        list(parse_rows([CSV_HEADER, "1,2,0.5\n", line + "\n"], "run 7"))


def naive(history: list[tuple[int, float, float]]) -> MetricSummary:
    """The definition: of the greatest step the latest, of those the last logged."""
    (last_step, _, _, last) = max((step, time_s, at, value) for at, (step, time_s, value) in enumerate(history))
    numbers = [value for _, _, value in history if not math.isnan(value)] or [math.nan]
    return MetricSummary(
        first=history[0][2], last=last, last_step=last_step, min=min(numbers), max=max(numbers), count=len(history)
    )


def plain(summary: MetricSummary) -> tuple[object, ...]:
    """As text; -0.0 and 0.0 are the same extreme."""
    return (
        repr(summary.first), repr(summary.last), summary.last_step, repr(summary.min + 0.0),
        repr(summary.max + 0.0),
        summary.count,
    )  # fmt: skip


@given(histories, st.lists(st.integers(1, 30), max_size=5))
def test_a_summary_is_what_a_naive_count_gives_however_it_is_cut(
    history: list[tuple[int, float, float]], cuts: list[int]
) -> None:
    summary, bounds = Summary(), sorted({0, len(history), *(cut for cut in cuts if cut < len(history))})
    for start, end in pairwise(bounds):
        summary.add(*columns(history[start:end]))
    assert plain(summary.freeze()) == plain(naive(history))


@given(histories, histories)
def test_a_summary_that_goes_on_counts_what_came_before(
    before: list[tuple[int, float, float]], after: list[tuple[int, float, float]]
) -> None:
    later = [(step, time_s + 10, value) for step, time_s, value in after]
    summary = Summary(naive(before))
    summary.add(*columns(later))
    assert plain(summary.freeze()) == plain(naive(before + later))


def test_a_summary_without_points_is_nan_and_goes_on_unchanged() -> None:
    assert plain(Summary().freeze()) == ("nan", "nan", -(2**63), "nan", "nan", 0)
    base = MetricSummary(first=1.0, last=2.0, last_step=3, min=0.0, max=4.0, count=5, extra={"mean": 2.0})
    assert Summary(base).freeze() == base


def test_a_statistic_of_a_later_version_goes_when_it_is_no_longer_true() -> None:
    base = MetricSummary(first=1.0, last=2.0, last_step=3, min=0.0, max=4.0, count=5, extra={"mean": 2.0})
    summary = Summary(base)
    summary.add([4], [0.0], [1.0])
    assert summary.freeze().extra == {}


def test_infinities_that_meet_are_not_taken_for_nan() -> None:
    summary = Summary()
    summary.add([0, 1, 2], [0.0, 1.0, 2.0], [math.inf, -math.inf, 1.0])
    assert plain(summary.freeze())[3:5] == ("-inf", "inf")
