"""Runs as a pandas DataFrame, with the columns that MLflow's ``search_runs`` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gittrack.store.search_rows import KeyColumn, RunColumns, read_param
from gittrack.tracking.entities import artifact_uri

if TYPE_CHECKING:
    import pandas as pd

# MLflow's own tags, made of what the record says: by the column that says it
_TOLD = {
    "mlflow.runName": "name",
    "mlflow.user": "user",
    "mlflow.note.content": "note",
    "mlflow.parentRunId": "parent",
    "mlflow.source.name": "source_name",
    "mlflow.source.type": "source_kind",
    "mlflow.source.git.commit": "code_commit",
    "mlflow.source.git.branch": "branch",
    "mlflow.source.git.repoURL": "remote",
}
_ALWAYS = ("mlflow.runName", "mlflow.user", "mlflow.source.name", "mlflow.source.type")  # even where it is empty

_MS_MAX = ((1 << 63) - 1) // 1_000_000
_NO_TIME = -(1 << 63)


def to_frame(columns: RunColumns, *, typed: bool = False) -> pd.DataFrame:
    """One row a run: ``run_id, experiment_id, status, artifact_uri, start_time, end_time``, then by key.

    ``metrics.*`` are float64, NaN where there is none; ``params.*`` and ``tags.*`` are text, None where there is
    none; with ``typed``, params have the types that they were logged with. Times are datetime64[ns, UTC].
    """
    import pandas as pd

    told = columns.attributes
    head: dict[str, Any] = {
        "run_id": told["id"],
        "experiment_id": told["experiment_id"],
        "status": told["status"],
        "artifact_uri": list(map(artifact_uri, told["id"])),
        "start_time": _times(told["started_at"]),
        "end_time": _times(told["ended_at"]),
    }
    found = {f"metrics.{key}": _floats(columns.metrics[key], columns.count) for key in sorted(columns.metrics)}
    for key in sorted(columns.params):
        values = columns.params[key]
        if typed:
            values = KeyColumn(values.at, list(map(read_param, columns.types[key], values.values)))
        found[f"params.{key}"] = _as_is(_objects(values, columns.count))
    tags = _all_tags(columns)
    found |= {f"tags.{key}": _as_is(tags[key]) for key in sorted(tags)}
    return pd.DataFrame({**head, **found}, copy=False)


def _times(times_ms: list[int | None]) -> Any:
    import numpy as np
    import pandas as pd

    # what is beyond the years that nanoseconds reach, 1677 to 2262, is no time there
    known = [_NO_TIME if at is None or abs(at) > _MS_MAX else at for at in times_ms]
    return pd.Series(np.array(known, "i8").view("M8[ms]").astype("M8[ns]")).dt.tz_localize("UTC")


def _floats(column: KeyColumn, count: int) -> Any:
    import numpy as np

    found = np.full(count, np.nan)
    found[column.at] = column.values
    return found


def _objects(column: KeyColumn, count: int) -> Any:
    import numpy as np

    found = np.full(count, None, dtype=object)
    found[column.at] = np.fromiter(column.values, dtype=object, count=len(column.values))
    return found


def _as_is(values: Any) -> Any:
    """A column of objects that stays one: pandas 3 would take it for a column of text, and None for NaN."""
    import pandas as pd

    return pd.Series(values, dtype=object, copy=False)


def _all_tags(columns: RunColumns) -> dict[str, Any]:
    """The tags that were set, and MLflow's own; one that was set has the last word."""
    import numpy as np

    tags: dict[str, Any] = {}
    for key, column in _TOLD.items():
        values = columns.attributes[column]
        if column not in ("name", "user"):
            is_told = columns.attributes["source_kind"] if key in _ALWAYS else values
            values = [value if told else None for value, told in zip(values, is_told, strict=True)]
        if any(value is not None for value in values):
            tags[key] = np.fromiter(values, dtype=object, count=columns.count)
    for key, found in columns.tags.items():
        if key in tags:
            tags[key][found.at] = np.fromiter(found.values, dtype=object, count=len(found.values))
        else:
            tags[key] = _objects(found, columns.count)
    return tags
