"""Histories of bounded size keep the shape of a curve, and its end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gittrack.schema.events import PointBlock
from gittrack.schema.points import parse_rows
from gittrack.store.thinning import POINTS_MAX, ThinHistories


def block(first: int, count: int, key: str = "loss") -> PointBlock:
    steps = range(first, first + count)
    return PointBlock(key, list(steps), [float(step) for step in steps], [step / 2 for step in steps])


def steps_of(histories: ThinHistories, key: str = "loss") -> list[int]:
    return [point.step for point in parse_rows(histories.format()[key].decode().splitlines(), "here")]


def test_a_short_history_is_whole() -> None:
    histories = ThinHistories()
    histories.add(block(0, POINTS_MAX))
    assert steps_of(histories) == list(range(POINTS_MAX))


@given(st.lists(st.integers(1, 3 * POINTS_MAX), min_size=1, max_size=12))
def test_a_long_one_is_every_nth_point_and_the_last(sizes: list[int]) -> None:
    histories, total = ThinHistories(), 0
    for size in sizes:
        histories.add(block(total, size))
        total += size
    steps = steps_of(histories)
    stride = 1
    while len(range(0, total, stride)) > POINTS_MAX:
        stride *= 2
    expected = list(range(0, total, stride))
    assert steps == expected + ([total - 1] if (total - 1) % stride else [])


def test_many_metrics_share_the_room() -> None:
    histories = ThinHistories()
    for number in range(200):
        histories.add(block(0, 5000, f"m{number}"))
    assert sum(len(steps_of(histories, f"m{number}")) for number in range(200)) < 600_000
    assert len(steps_of(histories, "m199")) > 500
