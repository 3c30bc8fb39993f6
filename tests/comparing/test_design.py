"""Which effects some runs tell apart, and the fewest that are missing: against linear algebra by brute force."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gittrack.comparing.design import Span, find_missing

vectors = st.integers(1, 5).flatmap(
    lambda width: st.tuples(
        st.just(width), st.lists(st.lists(st.integers(-1, 1), min_size=width, max_size=width), max_size=6)
    )
)


def rank(rows: list[list[int]]) -> int:
    return int(np.linalg.matrix_rank(np.array(rows))) if rows else 0


def unit(at: int, width: int) -> list[int]:
    return [int(at == place) for place in range(width)]


@given(vectors)
def test_it_knows_the_rank_and_what_is_determined(given_: tuple[int, list[list[int]]]) -> None:
    width, rows = given_
    span = Span(width)
    for row in rows:
        before = span.rank
        assert span.add(row) == (span.rank > before)
    assert span.rank == rank(rows)
    for at in range(width):
        assert span.determines(at) == (rank([*rows, unit(at, width)]) == rank(rows))


@given(vectors)
def test_the_missing_runs_are_as_few_as_any_that_determine_everything(given_: tuple[int, list[list[int]]]) -> None:
    width, rows = given_
    span = Span(width)
    for row in rows:
        span.add(row)
    missing = find_missing(span, list(range(width)), width)
    assert span.rank == width
    fewest = next(
        count
        for count in range(width + 1)
        for chosen in itertools.combinations(range(width), count)
        if rank([*rows, *(unit(at, width) for at in chosen)]) == width
    )
    assert len(missing) == fewest


def test_with_nothing_known_but_their_sum_one_less_than_the_factors_is_enough() -> None:
    span = Span(4)
    span.add([1, 1, 1, 1])
    assert find_missing(span, [2, 0, 1, 3], 4) == [2, 0, 1]
