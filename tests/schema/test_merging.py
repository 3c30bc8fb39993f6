"""Tags that two sides changed, as one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gittrack.schema.merging import unite_tags

TAGS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("123"))


@pytest.mark.parametrize(
    ("base", "winner", "other", "united"),
    [
        ({}, {"a": "1"}, {"b": "2"}, {"a": "1", "b": "2"}),
        ({"a": "1"}, {"a": "2"}, {"a": "3"}, {"a": "2"}),
        ({"a": "1"}, {"a": "1"}, {"a": "3"}, {"a": "3"}),
        ({"a": "1"}, {"a": "1"}, {}, {}),
        ({"a": "1"}, {"a": "2"}, {}, {"a": "2"}),
        ({"a": "1"}, {}, {"a": "2"}, {}),
    ],
)
def test_what_one_side_changed_stands(
    base: dict[str, str], winner: dict[str, str], other: dict[str, str], united: dict[str, str]
) -> None:
    assert unite_tags(base, winner, other) == united


@given(TAGS, TAGS)
def test_a_side_that_changed_nothing_has_no_say(base: dict[str, str], changed: dict[str, str]) -> None:
    assert unite_tags(base, changed, base) == unite_tags(base, base, changed) == changed


@given(TAGS, TAGS, TAGS)
def test_once_united_nothing_is_left_to_unite(
    base: dict[str, str], winner: dict[str, str], other: dict[str, str]
) -> None:
    united = unite_tags(base, winner, other)
    assert unite_tags(other, united, other) == united
    assert list(united) == sorted(united)
