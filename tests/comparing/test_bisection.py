"""The search for a turn: it is found in the fewest judgements, whatever is skipped, and known runs count."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gittrack.comparing.bisection import Bisection, Turn, Verdict


def search(
    count: int, first_bad: int, skipped: set[int], known: dict[int, Verdict] | None = None
) -> tuple[Bisection, int]:
    """A search to its end, and how many commits it had judged."""
    bisection, judged = Bisection(count, known), 0
    while (at := bisection.next()) is not None:
        assert at not in bisection.verdicts
        bisection.judge(at, "skipped" if at in skipped else "bad" if at >= first_bad else "good")
        judged += 1
    return bisection, judged


@given(st.data(), st.integers(1, 300))
def test_the_first_bad_commit_is_found_in_log2_and_one_judgements(data: st.DataObject, count: int) -> None:
    first_bad = data.draw(st.integers(0, count - 1))
    bisection, judged = search(count, first_bad, set())
    assert bisection.answer() == Turn(first_bad, first_bad, first_bad > 0)
    assert judged <= math.ceil(math.log2(count)) + 1


@given(st.data(), st.integers(2, 300))
def test_with_both_ends_given_log2_judgements_are_enough(data: st.DataObject, count: int) -> None:
    first_bad = data.draw(st.integers(1, count - 1))
    bisection, judged = search(count, first_bad, set(), {0: "good", count - 1: "bad"})
    assert bisection.answer() == Turn(first_bad, first_bad, True)
    assert judged <= math.ceil(math.log2(count))


@given(st.data(), st.integers(2, 60))
def test_skipped_commits_leave_a_range_that_holds_the_first_bad_one(data: st.DataObject, count: int) -> None:
    first_bad = data.draw(st.integers(1, count - 1))
    skipped = data.draw(st.sets(st.integers(1, count - 1)))
    bisection, _ = search(count, first_bad, skipped, {0: "good"})
    turn = bisection.answer()
    if turn is None:
        assert skipped >= set(range(first_bad, count))
        return
    assert turn.first <= first_bad <= turn.last
    assert all(at in skipped for at in range(turn.first, turn.last))
    assert turn.is_found == (turn.first == turn.last)


@given(st.data(), st.integers(1, 60))
def test_what_contradicts_one_turn_still_ends_at_a_bad_commit_after_a_good_one(
    data: st.DataObject, count: int
) -> None:
    truth = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    bisection = Bisection(count)
    while (at := bisection.next()) is not None:
        bisection.judge(at, "bad" if truth[at] else "good")
    turn = bisection.answer()
    if turn is not None and turn.has_good:
        assert turn.is_found
        assert truth[turn.last]
        assert not truth[turn.last - 1]


def test_nothing_is_found_where_the_newest_is_good() -> None:
    bisection, judged = search(16, 99, set())
    assert bisection.answer() is None
    assert judged == 1


def test_bad_runs_before_a_good_one_are_told() -> None:
    bisection = Bisection(6, {0: "good", 1: "bad", 3: "good", 5: "bad"})
    assert bisection.list_earlier_turns() == [1]
    assert bisection.next() == 4
