"""The registry's tags by their names."""

from __future__ import annotations

import pytest

from gittrack.schema.tag_names import TagName, is_registry_tag, parse_tag_name


@pytest.mark.parametrize(
    ("name", "parsed", "following"),
    [
        ("digits@v3.0.0", TagName("digits", "@v", (3, 0, 0)), "digits@v4.0.0"),
        ("digits@v1.2.3", TagName("digits", "@v", (1, 2, 3)), "digits@v1.2.4"),
        ("digits@v1.0.0!#2", TagName("digits", "@v", (1, 0, 0), True, 2), "digits@v1.0.0!#3"),
        ("a/b-c#prod#9", TagName("a/b-c", "#prod", None, False, 9), "a/b-c#prod#10"),
        ("digits#prod!#1", TagName("digits", "#prod", None, True, 1), "digits#prod!#2"),
        ("digits@deprecated#1", TagName("digits", "@deprecated", None, False, 1), "digits@deprecated#2"),
    ],
)
def test_a_name_is_read_written_and_counted_on(name: str, parsed: TagName, following: str) -> None:
    assert parse_tag_name(name) == parsed
    assert str(parsed) == name
    assert str(parsed.next()) == following


@pytest.mark.parametrize(
    "name",
    [
        "v1.0.0",
        "digits@1.0.0",
        "digits@v1.0",
        "digits@v01.0.0",
        "digits#prod",
        "digits#prod#0",
        "#prod#1",
        "a b@v1.0.0",
    ],
)
def test_other_tags_are_not_the_registrys(name: str) -> None:
    assert not is_registry_tag(f"refs/tags/{name}")
