"""`RunList`: what a search hands out, a list that a notebook shows as a table of what matters and what differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gittrack.schema.records import RunRecord
from gittrack.tracking import html
from gittrack.tracking.entities import Run

_KEYS_MAX = 12


class RunList(list[Run]):
    """Runs in the order they were found; as MLflow's ``PagedList`` it knows where the next page begins.

    Attributes:
        token: what asks for the next page; None where this is the last one.
    """

    def __init__(self, runs: Iterable[Run] = (), token: str | None = None) -> None:
        super().__init__(runs)
        self.token = token

    def to_list(self) -> list[Run]:
        """The runs as a plain list."""
        return list(self)

    def _repr_html_(self) -> str:
        records = [run.record for run in self]
        metrics, params = shared_metrics(records)[:_KEYS_MAX], differing_params(records)[:_KEYS_MAX]
        rows = [
            [
                record.id[:8],
                record.name,
                record.status,
                *(record.metrics[key].last if key in record.metrics else None for key in metrics),
                *(record.params.get(key) for key in params),
                html.moment(record.started_at),
            ]
            for record in records
        ]
        count = "1 run" if len(records) == 1 else f"{len(records)} runs"
        title = html.heading(count, "more by its token" if self.token else "")
        columns = ["run", "name", "status", *metrics, *params, "started"]
        return f"<div>{title}{html.table(columns, rows) if rows else ''}</div>"


def shared_metrics(records: Sequence[RunRecord]) -> list[str]:
    """The metrics of runs, those that most of them have first; the system's own are left out."""
    counts: dict[str, int] = {}
    for record in records:
        for key in record.metrics:
            if not key.startswith("system/"):
                counts[key] = counts.get(key, 0) + 1
    return sorted(counts, key=lambda key: -counts[key])


def differing_params(records: Sequence[RunRecord]) -> list[str]:
    """The params that not all runs have with one value of one type; of a single run all."""
    keys = dict.fromkeys(key for record in records for key in record.params)
    if len(records) < 2:
        return list(keys)
    absent = object()
    return [key for key in keys if len({repr(record.params.get(key, absent)) for record in records}) > 1]
