"""What the tables hold of the runs that a search found: whole runs by row, or all of them by column."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gittrack.schema.records import MetricSummary, Scalar
from gittrack.store.opened_runs import OpenedRuns

_NAN = float("nan")
_READ: dict[str, Callable[[str], Scalar]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: text == "True",
    "none": lambda text: None,
}
_ROW_COLUMNS = (
    *("id", "commit_id", "name", "experiment_id", "experiment", "status", "lifecycle", "started_at", "ended_at"),
    *("user", "host", "parent", "is_live", "code", "code_commit", "dirty", "environment", "command"),
)
_TOLD_COLUMNS = ("note", "source_kind", "source_name", "branch", "remote")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run as the index knows it; times in milliseconds since the epoch, ids as hex digits.

    ``experiment`` is the name that the run's experiment was made with, ``experiment_name`` the one it has now;
    ``code`` is the id of the tree ``code/``, ``environment`` that of ``environment/``.
    """

    id: str
    commit_id: str | None
    name: str
    experiment_id: str
    experiment: str
    experiment_name: str
    status: str
    lifecycle: str
    started_at: int
    ended_at: int | None
    user: str
    host: str
    parent: str | None
    is_live: bool
    code: str | None
    code_commit: str | None
    dirty: bool | None
    environment: str | None
    command: str | None
    params: Mapping[str, Scalar]
    metrics: Mapping[str, MetricSummary]
    tags: Mapping[str, str]
    digests: tuple[tuple[str, str, str], ...]  # of each dataset: name, digest, context


@dataclass(slots=True)
class KeyColumn:
    """What the runs have under one key: where in the list of runs it stands, and what."""

    at: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunColumns:
    """Runs by column.

    Attributes:
        count: how many they are.
        attributes: a list of that length for each column of the table ``run`` that `Run` tells.
        metrics: last values, as floats. params: as text, as MLflow shows them. types: what each param's text was.
        tags: those that were set.
    """

    count: int
    attributes: dict[str, list[Any]]
    metrics: dict[str, KeyColumn]
    params: dict[str, KeyColumn]
    types: dict[str, list[str]]
    tags: dict[str, KeyColumn]


def read_param(kind: str, text: str) -> Scalar:
    """A param's value of its type (as the table ``param`` names it) and its text."""
    return _READ[kind](text)


def note_selected(runs: OpenedRuns, sql: str, values: Mapping[str, object]) -> int:
    """Note the runs that a statement selects by ``place`` and ``no``, in its order; returns how many."""
    _make_room(runs)
    put = f"INSERT INTO temp.hit (place, no) SELECT place, no FROM ({sql})"
    runs.connection.execute(put, values)
    return _count(runs)


def fetch_commits(runs: OpenedRuns) -> list[tuple[str, str | None]]:
    """The ids of the runs that were noted, in their order, each with its commit; None for one in flight."""
    found = sorted(_join_runs(runs, "run", "no", "id, commit_id, is_live"))
    return [(run_id, None if is_live else commit_id) for _, run_id, commit_id, is_live in found]


def fetch_rows(runs: OpenedRuns, count: int) -> list[RunRow]:
    """The runs that were noted, in their order."""
    params: defaultdict[int, dict[str, Scalar]] = defaultdict(dict)
    for at, key, kind, text in _join(runs, "param", "type, text"):
        params[at][key] = _READ[kind](text)
    metrics: defaultdict[int, dict[str, MetricSummary]] = defaultdict(dict)
    for at, key, *parts, step, points in _join(runs, "metric", "first, last, min, max, last_step, count"):
        first, last, low, high = (_NAN if value is None else value for value in parts)
        metrics[at][key] = MetricSummary(first=first, last=last, last_step=step, min=low, max=high, count=points)
    tags: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for at, key, text in _join(runs, "tag", "text"):
        tags[at][key] = text
    digests: defaultdict[int, list[tuple[str, str, str]]] = defaultdict(list)
    for at, *dataset in _join_runs(runs, "dataset", "run", "name, digest, context"):
        digests[at].append(tuple(dataset))
    names = dict(runs.connection.execute("SELECT id, name FROM main.experiment"))
    rows: list[RunRow | None] = [None] * count
    for at, *values in _join_runs(runs, "run", "no", ", ".join(_ROW_COLUMNS)):
        told: dict[str, Any] = dict(zip(_ROW_COLUMNS, values, strict=True))
        told["experiment_name"] = names.get(told["experiment_id"], told["experiment"])
        told["is_live"] = bool(told["is_live"])
        told["dirty"] = None if told["dirty"] is None else bool(told["dirty"])
        rows[at] = RunRow(
            **told, params=params[at], metrics=metrics[at], tags=tags[at], digests=tuple(digests[at])
        )
    return [row for row in rows if row is not None]


def fetch_columns(runs: OpenedRuns, count: int) -> RunColumns:
    """The runs that were noted by column, in their order."""
    names = (*_ROW_COLUMNS, *_TOLD_COLUMNS)
    found = sorted(_join_runs(runs, "run", "no", ", ".join(names)))
    columns = list(zip(*found, strict=True)) or [()] * (len(names) + 1)
    attributes = {name: list(column) for name, column in zip(names, columns[1:], strict=True)}
    metrics = _collect(
        (at, key, _NAN if last is None else last) for at, key, last in _join(runs, "metric", "last")
    )
    params, types = defaultdict[str, KeyColumn](KeyColumn), defaultdict[str, list[str]](list)
    for at, key, kind, text in _join(runs, "param", "type, text"):
        params[key].at.append(at)
        params[key].values.append(text)
        types[key].append(kind)
    tags = _collect(_join(runs, "tag", "text"))
    return RunColumns(count, attributes, metrics, params, types, tags)


def _collect(found: Iterator[tuple[int, str, Any]]) -> dict[str, KeyColumn]:
    columns: defaultdict[str, KeyColumn] = defaultdict(KeyColumn)
    for at, key, value in found:
        column = columns[key]
        column.at.append(at)
        column.values.append(value)
    return columns


def _count(runs: OpenedRuns) -> int:
    (count,) = runs.connection.execute("SELECT count(*) FROM temp.hit").fetchone()
    return int(count)


def _make_room(runs: OpenedRuns) -> None:
    """A table for the runs that are found, to join with what is known of them by their place, from 1."""
    runs.connection.execute("DROP TABLE IF EXISTS temp.hit")
    runs.connection.execute("CREATE TEMP TABLE hit (at INTEGER PRIMARY KEY, place TEXT, no INTEGER)")


def _join_runs(runs: OpenedRuns, table: str, number: str, columns: str) -> Iterator[tuple[Any, ...]]:
    for schema in runs.schemas:
        yield from runs.connection.execute(
            f"SELECT hit.at - 1, {columns} FROM temp.hit CROSS JOIN {schema}.{table} AS found "
            f"ON found.{number} = hit.no WHERE hit.place = ?",
            (schema,),
        )


def _join(runs: OpenedRuns, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """What a table by key has of the runs that were found: their place, the key's name, and columns."""
    for schema in runs.schemas:
        names = dict(runs.connection.execute(f"SELECT no, name FROM {schema}.key"))
        for at, key, *values in runs.connection.execute(
            f"SELECT hit.at - 1, key, {columns} FROM temp.hit CROSS JOIN {schema}.{table} AS found "
            "ON found.run = hit.no WHERE hit.place = ?",
            (schema,),
        ):
            yield at, names[key], *values
