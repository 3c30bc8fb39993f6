"""Searching experiments by MLflow's small filter."""

from __future__ import annotations

import pytest

from gittrack.errors import InvalidValueError
from gittrack.schema.names import ExperimentId
from gittrack.schema.records import ExperimentRecord
from gittrack.tracking.entities import ViewType
from gittrack.tracking.experiment_search import search


def record(name: str, at: int, **tags: str) -> ExperimentRecord:
    return ExperimentRecord(
        id=ExperimentId(name), name=name, made_as=name, created_at=at, updated_at=100 - at, tags=tags
    )


RECORDS = [
    record("cnn-1", 1, team="vision", note="a and b"),
    record("cnn_2", 2, team="vision"),
    record("RNN", 3, team="audio's", odd__key="x"),
    record("100%", 4),
]


def names(filter_string: str, *order_by: str) -> list[str]:
    return [found.name for found in search(RECORDS, ViewType.ALL, filter_string, order_by or ("creation_time",))]


@pytest.mark.parametrize(
    ("filter_string", "expected"),
    [
        ("", ["cnn-1", "cnn_2", "RNN", "100%"]),
        ("name = 'RNN'", ["RNN"]),
        ("attribute.name != 'RNN'", ["cnn-1", "cnn_2", "100%"]),
        ("name LIKE 'cnn%'", ["cnn-1", "cnn_2"]),
        ("name like 'CNN%'", []),
        ("name ILIKE 'CNN%'", ["cnn-1", "cnn_2"]),
        ("name LIKE 'cnn__'", ["cnn-1", "cnn_2"]),
        ("name LIKE '%nn%'", ["cnn-1", "cnn_2"]),
        ("name = 'cnn.1'", []),
        ("name LIKE 'cnn.1'", []),
        ("creation_time > 2", ["RNN", "100%"]),
        ("creation_time >= 2 AND last_update_time > 96", ["cnn_2", "RNN"]),
        ("tags.team = 'vision' and name = 'cnn_2'", ["cnn_2"]),
        ("tags.note = 'a and b'", ["cnn-1"]),
        ("tags.note = 'a and b' and tags.team = 'vision'", ["cnn-1"]),
        ('tags.team = "audio\'s"', ["RNN"]),
        ("tags.`odd__key` = 'x'", ["RNN"]),
        ('tag."odd__key" = "x"', ["RNN"]),
        ("tags.team != 'vision'", ["RNN"]),
        ("tags.none = ''", []),
        ("  name='RNN'  ", ["RNN"]),
    ],
)
def test_a_filter_finds_what_it_says(filter_string: str, expected: list[str]) -> None:
    assert names(filter_string) == expected


@pytest.mark.parametrize(
    "filter_string",
    ["name", "name =", "= 'x'", "name = 'x' OR name = 'y'", "name = x", "size = 1", "creation_time > 'x'",
     "name > 1", "name = 'x", "(name = 'x')", "name = 'x'; drop", "and", "name = 'x' and"],
)  # fmt: skip
def test_what_cannot_be_read_is_one_clear_error(filter_string: str) -> None:
    with pytest.raises(InvalidValueError):
        names(filter_string)


def test_orders() -> None:
    assert names("", "name") == ["100%", "RNN", "cnn-1", "cnn_2"]
    assert names("", "name desc") == ["cnn_2", "cnn-1", "RNN", "100%"]
    assert names("", "attributes.last_update_time ASC") == ["100%", "RNN", "cnn_2", "cnn-1"]
    assert [found.name for found in search(RECORDS, ViewType.ALL, "", ())] == ["cnn-1", "cnn_2", "RNN", "100%"]
    for bad in ("size", "name sideways", ""):
        with pytest.raises(InvalidValueError):
            names("", bad)


def test_a_long_hostile_filter_costs_no_time() -> None:
    with pytest.raises(InvalidValueError):
        names("name = '" + "a and " * 2000)
