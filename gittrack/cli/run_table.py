"""The columns of a list of runs: those asked for, or else the metrics most have and the params that differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gittrack.cli import output
from gittrack.errors import InvalidValueError

if TYPE_CHECKING:
    from gittrack.store.search_rows import RunRow

_METRICS_SHOWN = 6
_PARAMS_SHOWN = 6
_ATTRIBUTES: dict[str, Callable[[RunRow], Any]] = {
    "run": lambda row: row.id,
    "name": lambda row: row.name,
    "experiment": lambda row: row.experiment_name,
    "status": lambda row: row.status,
    "started": lambda row: row.started_at,
    "ended": lambda row: row.ended_at,
    "took": lambda row: None if row.ended_at is None else max(0, row.ended_at - row.started_at) / 1000,
    "user": lambda row: row.user,
    "host": lambda row: row.host,
    "parent": lambda row: row.parent,
    "commit": lambda row: row.commit_id,
    "code": lambda row: row.code_commit,
    "command": lambda row: row.command,
    "data": lambda row: " ".join(f"{name}@{digest}" for name, digest, _ in row.digests),
}
_ALIASES = {"id": "run", "run_id": "run", "duration": "took", "start_time": "started", "end_time": "ended"}
_SECONDS = "took_s"
_PARTS = ("last", "min", "max", "first", "count", "last_step")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, and a run's plain value there: text, number, milliseconds for a time, None."""

    title: str
    read: Callable[[RunRow], Any]
    form: str = ""  # "time" of milliseconds, "took" of seconds, "id" of a run, "status"

    def show(self, row: RunRow) -> Any:
        """The value for a table: short on a terminal, whole in a pipe."""
        value = self.read(row)
        if self.form == "time":
            return output.format_moment(value)
        if self.form == "took":
            return None if value is None else output.duration_cell(0, round(value * 1000))
        if self.form == "status":  # one that said so elsewhere, and has not been heard of since
            return f"{value}?" if value == "RUNNING" and not row.is_live else value
        return value[:8] if self.form == "id" and output.is_terminal() else value

    @property
    def file_title(self) -> str:
        """The title in a file, the same wherever it is written from."""
        return _SECONDS if self.form == "took" else self.title

    def export(self, row: RunRow) -> Any:
        """The value for a file: times as ISO 8601 in UTC, durations in seconds."""
        from gittrack.schema.codec import format_time

        value = self.read(row)
        return format_time(value) if self.form == "time" and value is not None else value


def parse_columns(text: str) -> list[Column]:
    """The columns that a person names, separated by commas.

    Raises:
        InvalidValueError: there is no such column.
    """
    words = dict.fromkeys(word.strip() for word in text.split(","))
    return [_parse_column(word) for word in words if word]


def choose_columns(rows: Sequence[RunRow]) -> list[Column]:
    """The columns that tell these runs apart: metrics that most have, params that not all have with one value."""
    several = len({row.experiment_id for row in rows}) > 1
    return [
        _attribute("run"),
        _attribute("name"),
        *([_attribute("experiment")] if several else []),
        _attribute("status"),
        *(_metric(key, key) for key in _common_metrics(rows)),
        *(_param(key, key) for key in _differing_params(rows)),
        _attribute("started"),
        _attribute("took"),
    ]


def all_columns(rows: Sequence[RunRow]) -> list[Column]:
    """Every column that a file wants: whoever reads it picks for himself."""
    metrics = sorted({key for row in rows for key in row.metrics})
    params = sorted({key for row in rows for key in row.params})
    tags = sorted({key for row in rows for key in row.tags})
    head = ("run", "name", "experiment", "status", "started", "ended", "took", "user", "host", "commit", "code")
    return [
        *map(_attribute, head),
        *(_metric(f"metrics.{key}", key) for key in metrics),
        *(_param(f"params.{key}", key) for key in params),
        *(_tag(f"tags.{key}", key) for key in tags),
    ]


def read_metric(row: RunRow, key: str) -> Any:
    """A metric's last value; behind another dot min, max, first or count of it, where no metric is called so."""
    if key in row.metrics:
        return row.metrics[key].last
    base, _, part = key.rpartition(".")
    return getattr(row.metrics[base], part) if part in _PARTS and base in row.metrics else None


def group_rows(
    rows: Sequence[RunRow],
    by: Sequence[Column],
    show: Callable[[Column, RunRow], Any] = Column.show,
    chosen: Sequence[Column] | None = None,
) -> tuple[list[str], list[list[Any]]]:
    """One row a group: what it has in common, how many runs, and mean and deviation of the metrics most have.

    The deviation is that of a sample (n - 1); NaN and infinities take no part in either, as a run without the
    metric.

    Args:
        show: gives what a run has in a column: `Column.show` for a table, `Column.export` for a file.
        chosen: columns of numbers to have the mean and deviation of, rather than of the metrics most have.
    """
    groups: dict[tuple[str, ...], list[RunRow]] = {}
    for row in rows:
        groups.setdefault(tuple(repr(column.read(row)) for column in by), []).append(row)
    columns = [_metric(key, key) for key in _common_metrics(rows)] if chosen is None else chosen
    titles = [column.title for column in by] + ["runs"]
    for column in columns:
        titles += [f"{column.title} mean", f"{column.title} std"]
    cells = []
    for members in sorted(groups.values(), key=lambda members: -len(members)):
        found = [show(column, members[0]) for column in by] + [len(members)]
        for column in columns:
            found += _mean_and_deviation([column.read(row) for row in members])
        cells.append(found)
    return titles, cells


def _mean_and_deviation(values: Sequence[Any]) -> list[float | None]:
    numbers = [value for value in values if isinstance(value, float | int) and not isinstance(value, bool)]
    known = [float(value) for value in numbers if math.isfinite(value)]
    if not known:
        return [None, None]
    # brought below 1 by a power of two, which loses nothing: neither sums nor squares leave the range of floats
    exponent = max(math.frexp(value)[1] for value in known)
    known = [math.ldexp(value, -exponent) for value in known]
    mean = math.fsum(known) / len(known)
    if len(known) < 2:
        return [_grown(mean, exponent), None]
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (len(known) - 1))
    return [_grown(mean, exponent), _grown(deviation, exponent)]


def _grown(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)


def _parse_column(word: str) -> Column:
    kind, dot, key = word.partition(".")
    if dot and kind in ("metrics", "metric"):
        return _metric(word, key)
    if dot and kind in ("params", "param"):
        return _param(word, key)
    if dot and kind in ("tags", "tag"):
        return _tag(word, key)
    name = _ALIASES.get(word.lower(), word.lower())
    if name not in _ATTRIBUTES:
        raise InvalidValueError(
            f"there is no column {word!r}",
            f"what was logged is named whole, as metrics.{word}, params.{word} or tags.{word}; "
            f"the others are {', '.join(_ATTRIBUTES)}",
        )
    return _attribute(name)


def _attribute(name: str) -> Column:
    form = {"run": "id", "started": "time", "ended": "time", "took": "took", "status": "status"}.get(name, "")
    title = _SECONDS if name == "took" and not output.is_terminal() else name
    return Column(title, _ATTRIBUTES[name], form)


def _metric(title: str, key: str) -> Column:
    return Column(title, lambda row: read_metric(row, key))


def _param(title: str, key: str) -> Column:
    return Column(title, lambda row: row.params.get(key))


def _tag(title: str, key: str) -> Column:
    return Column(title, lambda row: row.tags.get(key))


def _common_metrics(rows: Sequence[RunRow]) -> list[str]:
    counts: dict[str, int] = {}
    for row in rows:
        for key in row.metrics:
            if not key.startswith("system/"):
                counts[key] = counts.get(key, 0) + 1
    chosen = sorted(counts, key=lambda key: -counts[key])
    return chosen[:_METRICS_SHOWN] if output.is_terminal() else chosen


def _differing_params(rows: Sequence[RunRow]) -> list[str]:
    """Params that not all runs have with one value; all of them for a single run or a pipe."""
    keys = list(dict.fromkeys(key for row in rows for key in row.params))
    if not output.is_terminal():
        return keys
    if len(rows) < 2:
        return keys[:_PARAMS_SHOWN]
    absent = object()
    differing = [key for key in keys if len({repr(row.params.get(key, absent)) for row in rows}) > 1]
    return differing[:_PARAMS_SHOWN]
