"""A comparison as dicts, lists and scalars, for JSON: complete, nothing cut or escaped."""

from __future__ import annotations

from typing import Any

from gittrack.schema.codec import format_time
from gittrack.schema.differences import PARTS, FileFact, FileRow, MetricRow, Missing, Row, RunDiff, RunFacts


def diff_data(found: RunDiff, *, everything: bool = False) -> dict[str, Any]:
    """``runs``, ``differs``, and a list of rows for each part: those that differ, or all of them.

    A row's ``values`` are in the order of the runs; where one is null, ``missing`` says whether it is ``absent``
    or ``not recorded`` there.
    """
    told: dict[str, Any] = {"runs": [_run_data(side) for side in found.runs], "differs": bool(found)}
    for name in PARTS:
        part = getattr(found, name)
        told[name] = [_row_data(row) for row in (part.rows if everything else part)]
    return told


def _run_data(side: RunFacts) -> dict[str, Any]:
    record, source = side.record, side.source
    told: dict[str, Any] = {"title": side.title, "id": None, "commit": side.commit, "live": side.is_live}
    if record is not None:
        told |= {
            "id": record.id,
            "name": record.name,
            "experiment": record.experiment,
            "experiment_id": record.experiment_id,
            "status": record.status,
            "lifecycle": record.lifecycle,
            "started_at": format_time(record.started_at),
            "ended_at": None if record.ended_at is None else format_time(record.ended_at),
        }
    told["code"] = {
        "tree": side.code_tree,
        "commit": source.commit if source else None,
        "branch": source.branch if source else None,
        "dirty": source.dirty if source else None,
        "left_out": source.left_out if source else 0,
    }
    return told


def _row_data(row: Row | MetricRow | FileRow) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": row.name,
        "differs": row.differs,
        "values": [_value(value) for value in row.values],
        "missing": [value.value if isinstance(value, Missing) else None for value in row.values],
    }
    if isinstance(row, Row):
        return {**told, "also": list(row.also)} if row.also else told
    if isinstance(row, MetricRow):
        fields = ("first", "last", "last_step", "min", "max", "count")
        summaries = [one and {name: getattr(one, name) for name in fields} for one in row.summaries]
        return {
            **told,
            "delta": row.delta,
            "relative": row.relative,
            "goal": row.goal,
            "best": row.best,
            "verdict": row.verdict,
            "summaries": summaries,
        }
    patch = row.patch
    return {
        **told,
        "change": row.change,
        "renamed_from": row.renamed_from,
        "patch": patch
        and {"text": patch.text, "added": patch.added, "removed": patch.removed, "note": patch.note},
    }


def _value(value: Any) -> Any:
    if isinstance(value, Missing):
        return None
    if isinstance(value, FileFact):
        return {"mode": f"{value.mode:06o}", "id": value.id, "size_bytes": value.size_bytes}
    return value
