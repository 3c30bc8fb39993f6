"""Rows of the index, for what is told of many runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gittrack.schema.records import MetricSummary, Scalar
from gittrack.store.search_rows import RunRow


def make_row(number: int, params: Mapping[str, Scalar] | None = None, **fields: Any) -> RunRow:
    """A finished run; ``acc`` or other metrics by name, all else as RunRow has it."""
    metrics = fields.pop("metrics", {})
    row: dict[str, Any] = {
        "id": f"{number:032x}",
        "commit_id": f"{number:040x}",
        "name": f"run-{number}",
        "experiment_id": "1",
        "experiment": "digits",
        "experiment_name": "digits",
        "status": "FINISHED",
        "lifecycle": "active",
        "started_at": 1_700_000_000_000 + number * 1000,
        "ended_at": 1_700_000_000_500 + number * 1000,
        "user": "ada",
        "host": "one",
        "parent": None,
        "is_live": False,
        "code": "c" * 40,
        "code_commit": "a" * 40,
        "dirty": False,
        "environment": "e" * 40,
        "command": None,
        "params": dict(params or {}),
        "tags": {},
        "digests": (),
        "metrics": {key: make_summary(value) for key, value in metrics.items()},
    }
    return RunRow(**{**row, **fields})


def make_summary(value: float) -> MetricSummary:
    return MetricSummary(first=value, last=value, last_step=0, min=value, max=value, count=1)
