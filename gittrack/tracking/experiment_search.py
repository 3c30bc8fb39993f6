"""Searching experiments by MLflow's small filter: comparisons of name, times and tags, joined by AND."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gittrack.errors import InvalidValueError
from gittrack.schema.records import ExperimentRecord
from gittrack.tracking.entities import ViewType

_FIELDS: dict[str, Callable[[ExperimentRecord], Any]] = {
    "name": lambda record: record.name,
    "experiment_id": lambda record: record.id,
    "creation_time": lambda record: record.created_at,
    "last_update_time": lambda record: record.updated_at,
}
_CLAUSE = re.compile(
    r"""\s*(?:(?P<tags>tags?)\.)?(?:`(?P<back>[^`]+)`|"(?P<quoted>[^"]+)"|(?P<plain>[\w.]+))\s*
    (?P<operator>!=|>=|<=|=|>|<|(?i:LIKE|ILIKE))\s*(?:'(?P<text>[^']*)'|"(?P<text2>[^"]*)"|(?P<number>-?\d+))\s*""",
    re.VERBOSE,
)


def search(
    records: Iterable[ExperimentRecord], view_type: int, filter_string: str, order_by: Sequence[str]
) -> list[ExperimentRecord]:
    """The records that fit a view and a filter, in the order asked; the latest change first by default.

    Raises:
        InvalidValueError: the filter or the order cannot be read.
    """
    tests = [_parse_clause(part) for part in _split(filter_string)]
    found = [
        record for record in records if _is_in_view(record, view_type) and all(test(record) for test in tests)
    ]
    for order in reversed(order_by or ("last_update_time DESC",)):
        key, reverse = _parse_order(order)
        found.sort(key=key, reverse=reverse)
    return found


def _is_in_view(record: ExperimentRecord, view_type: int) -> bool:
    if view_type == ViewType.ALL:
        return True
    return (record.lifecycle == "active") == (view_type == ViewType.ACTIVE_ONLY)


def _split(text: str) -> list[str]:
    if not text.strip():
        return []
    return re.split(r"(?i)\s+and\s+(?=(?:[^'\"]*['\"][^'\"]*['\"])*[^'\"]*$)", text.strip())


def _parse_clause(text: str) -> Callable[[ExperimentRecord], bool]:
    match = _CLAUSE.fullmatch(text)
    if match is None:
        raise InvalidValueError(
            f"cannot read the filter {text!r}", "as in: name LIKE 'cnn%' and tags.team = 'vision'"
        )
    key = match["back"] or match["quoted"] or match["plain"]
    key = key.removeprefix("attribute.").removeprefix("attributes.")
    if not match["tags"] and key not in _FIELDS:
        raise InvalidValueError(
            f"experiments have no field {key!r}", f"they have {', '.join(_FIELDS)} and tags.<key>"
        )
    read = (lambda record: record.tags.get(key)) if match["tags"] else _FIELDS[key]
    wanted: Any = int(match["number"]) if match["number"] else match["text"] or match["text2"] or ""
    compare = _comparison(match["operator"].upper(), wanted)
    return lambda record: _holds(compare, read(record))


def _holds(compare: Callable[[Any], bool], value: Any) -> bool:
    if value is None:
        return False
    try:
        return compare(value)
    except TypeError as error:
        raise InvalidValueError("the filter compares text with a number", "put text in quotes") from error


def _comparison(operator: str, wanted: Any) -> Callable[[Any], bool]:
    if operator in ("LIKE", "ILIKE"):
        pattern = re.escape(str(wanted)).replace("%", ".*").replace("_", ".")
        flags = re.DOTALL | (re.IGNORECASE if operator == "ILIKE" else 0)
        return lambda value: re.fullmatch(pattern, str(value), flags) is not None
    table: dict[str, Callable[[Any], bool]] = {
        "=": lambda value: bool(value == wanted),
        "!=": lambda value: bool(value != wanted),
        ">": lambda value: bool(value > wanted),
        ">=": lambda value: bool(value >= wanted),
        "<": lambda value: bool(value < wanted),
        "<=": lambda value: bool(value <= wanted),
    }
    return table[operator]


def _parse_order(text: str) -> tuple[Callable[[ExperimentRecord], Any], bool]:
    key, _, direction = text.strip().partition(" ")
    key = key.removeprefix("attribute.").removeprefix("attributes.")
    if key not in _FIELDS or direction.strip().upper() not in ("", "ASC", "DESC"):
        raise InvalidValueError(
            f"cannot order experiments by {text!r}", f"fields: {', '.join(_FIELDS)}; ASC or DESC"
        )
    return _FIELDS[key], direction.strip().upper() == "DESC"
