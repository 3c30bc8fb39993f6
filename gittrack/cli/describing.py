"""A run as JSON: all that its record says, whatever later version wrote it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gittrack.store.runs import StoredRun


def run_json(stored: StoredRun) -> dict[str, Any]:
    """The fields of a run; times as ISO 8601 in UTC."""
    from gittrack.schema.codec import format_time

    record = stored.record
    fields = asdict(record)
    for part in (fields, *fields["metrics"].values(), *fields["inputs"], fields["source"] or {}):
        part |= part.pop("extra", {})  # what a later version wrote stands beside what this one knows
    fields["started_at"] = format_time(record.started_at)
    fields["ended_at"] = format_time(record.ended_at) if record.ended_at is not None else None
    fields["commit"] = stored.commit.id if stored.commit else None
    fields["live"] = stored.is_live
    fields["heard_at"] = format_time(stored.heard_at) if stored.heard_at is not None else None
    return fields
