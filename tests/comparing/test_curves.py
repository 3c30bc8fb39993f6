"""Curves made ready to draw: smoothed as defined, thinned out without losing a peak, with marks that fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gittrack.comparing.curves import (
    Axis,
    Curve,
    count_strange,
    find_axes,
    format_number,
    labels,
    smooth,
    thin_out,
    to_log,
)

FINITE = st.floats(-1e6, 1e6)
ANY = st.one_of(st.floats(), FINITE)


def curve(y: Any, x: Any = None) -> Curve:
    values = np.array(y, "f8")
    return Curve(
        "a" * 32, "run", "loss", np.arange(len(values), dtype="f8") if x is None else np.array(x, "f8"), values
    )


@given(values=st.lists(FINITE, min_size=1, max_size=30), weight=st.floats(0.01, 0.99), gap=st.integers(1, 1000))
def test_smoothing_even_steps_is_the_debiased_average_whatever_their_distance(
    values: list[float], weight: float, gap: int
) -> None:
    average, expected = 0.0, []
    for number, value in enumerate(values, 1):
        average = weight * average + (1 - weight) * value
        expected.append(average / (1 - weight**number))
    found = smooth(np.arange(len(values)) * float(gap), np.array(values), weight)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_smoothing_forgets_over_a_distance_and_not_over_points() -> None:
    x, y = np.array([0.0, 1, 2, 3, 13]), np.array([1.0, 1, 1, 1, 0])
    weights = [0.5 ** (13 - at) for at in x]
    assert smooth(x, y, 0.5)[-1] == pytest.approx(sum(weights[:-1]) / sum(weights))


def test_smoothing_leaves_what_is_no_number_where_it_is() -> None:
    found = smooth(np.arange(4.0), np.array([1.0, math.nan, math.inf, 3.0]), 0.5)
    assert found[0] == 1.0
    assert math.isnan(found[1])
    assert found[2] == math.inf
    assert found[3] == pytest.approx((3 + 0.125) / 1.125)
    assert smooth(np.zeros(3), np.array([1.0, 2.0, 3.0]), 0.5) == pytest.approx([1.0, 5 / 3, 17 / 7])
    assert smooth(np.empty(0), np.empty(0), 0.5).tolist() == []


@given(y=st.lists(ANY, min_size=1, max_size=400), buckets=st.integers(1, 20))
def test_thinning_out_keeps_ends_and_peaks_of_every_column(y: list[float], buckets: int) -> None:
    whole = curve(y)
    axes = find_axes([whole])
    if axes is None:
        return
    thin = thin_out(whole, axes[0].place(whole.x), buckets)
    assert len(thin.x) <= max(4 * buckets, 4 * (buckets + 1))
    kept = {(x, repr(value)) for x, value in zip(thin.x, thin.y, strict=True)}
    assert kept <= {(x, repr(value)) for x, value in zip(whole.x, whole.y, strict=True)}
    finite = whole.y[np.isfinite(whole.y)]
    assert np.nanmin(thin.y[np.isfinite(thin.y)]) == finite.min()
    assert thin.y[np.isfinite(thin.y)].max() == finite.max()
    assert thin.y[np.isfinite(thin.y)][-1] == finite[-1]
    assert np.all(np.diff(thin.x) > 0)


def test_one_spike_in_a_million_points_is_kept_and_a_wide_gap_too() -> None:
    y = np.zeros(1_000_000)
    y[765_432] = 9.0
    y[200_000:300_000] = math.nan
    thin = thin_out(curve(y), np.linspace(0, 1, len(y)), 160)
    assert 765_432 in thin.x
    assert len(thin.x) < 700
    assert np.isnan(thin.y).sum() >= 10


def test_a_log_scale_leaves_out_what_is_not_above_zero_and_counts_it() -> None:
    whole = curve([100.0, 0.0, -5.0, math.nan, 0.1, -math.inf], x=[0, 1, 10, 100, 1000, 1001])
    along_y, left_out = to_log(whole, x=False, y=True)
    assert (along_y.x.tolist(), left_out) == ([0.0, 100.0, 1000.0], 2)
    assert along_y.y == pytest.approx([2.0, math.nan, -1.0], nan_ok=True)
    along_x, left_out = to_log(whole, x=True, y=False)
    assert along_x.x == pytest.approx([0.0, 1.0, 2.0, 3.0, math.log10(1001)])
    assert left_out == 1
    assert count_strange([whole, whole]) == 4


def test_runs_of_one_name_are_told_apart_by_their_ids() -> None:
    other = Curve("b" * 32, "other", "loss", np.zeros(1), np.zeros(1))
    again = Curve("c" * 32, "run", "loss", np.zeros(1), np.zeros(1))
    assert labels([curve([1.0]), other, again]) == ["run aaaaaaaa", "other", "run cccccccc"]


def test_nothing_finite_has_no_axes_and_one_value_gets_room() -> None:
    assert find_axes([]) is None
    assert find_axes([curve([math.nan, math.inf])]) is None
    assert find_axes([curve([5.0, 5.0])]) == (Axis(0, 1), Axis(4.5, 5.5))
    assert find_axes([curve([0.0])]) == (Axis(-1, 1), Axis(-1, 1))
    assert find_axes([curve([1.0, math.nan]), curve([-2.0, 3.0])]) == (Axis(0, 1), Axis(-2, 3))


@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5), n=st.integers(1, 12)
)
def test_every_finite_value_has_a_place_and_marks_lie_within(values: list[float], n: int) -> None:
    axes = find_axes([curve(values)])
    assert axes is not None
    axis = axes[1]
    assert axis.low < axis.high
    places = axis.place(np.array(values))
    assert np.all((places >= 0) & (places <= 1))
    ticks = axis.ticks(n)
    assert all(-1e-6 <= place <= 1 + 1e-6 for place, _ in ticks)
    assert len(ticks) <= 2 * n + 2
    assert [place for place, _ in axis.ends()] == [0.0, 1.0]


def test_marks_are_round_numbers() -> None:
    assert [text for _, text in Axis(0.03, 1.09).ticks(7)] == ["0.2", "0.4", "0.6", "0.8", "1"]
    assert [text for _, text in Axis(0, 300).ticks(4)] == ["0", "100", "200", "300"]
    assert [text for _, text in Axis(-3.2, 2.1, is_log=True).ticks(9)] == [
        "0.001",
        "0.01",
        "0.1",
        "1",
        "10",
        "100",
    ]
    assert Axis(1.0, math.nextafter(1.0, 2)).ticks(5) == []
    assert Axis(-1.7e308, 1.7e308).ends() == [(0.0, "-1.7e+308"), (1.0, "1.7e+308")]


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (-3.0, "-3"), (123456.0, "123456"), (1e7, "1e+07"), (0.1 + 0.2, "0.3")]
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert format_number(value) == shown
