"""What differs between runs: their params, metrics, tags, files, packages, data, and how they were made. Pure.

What is not recorded on a side (the work tree has no metrics; an old run no packages) is never a difference. Values
are compared with their types. What differs between any two runs (id, name, times, the name of the commit) heads
the table and counts as no difference: what the code was is told by its files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from gittrack.schema.differences import (
    SYSTEM_PREFIX,
    Change,
    FileFact,
    FilePart,
    FileRow,
    MetricRow,
    Missing,
    Part,
    Row,
    RunDiff,
    RunFacts,
    Verdict,
)
from gittrack.schema.directions import Goal, find_goal
from gittrack.schema.records import (
    Artifact,
    DatasetInput,
    MetricSummary,
    RunRecord,
    Scalar,
    Source,
    is_same_value,
)


def compare_runs(runs: Sequence[RunFacts]) -> RunDiff:
    """What differs between two or more sides; no file has its ``patch`` yet."""
    metrics = _compare_metrics(runs)
    return RunDiff(
        runs=tuple(runs),
        params=_by_name([side.record.params if side.record else None for side in runs]),
        metrics=Part(tuple(row for row in metrics if not row.name.startswith(SYSTEM_PREFIX))),
        tags=_by_name([side.record.tags if side.record else None for side in runs]),
        artifacts=_compare_files([side.artifacts for side in runs]),
        code=_compare_code([side.code for side in runs]),
        environment=_compare_environment(runs),
        data=_compare_data([side.record.inputs if side.record else None for side in runs]),
        source=_by_name([_made_by(side) for side in runs]),
        attributes=_by_name([_attributes(side.record) for side in runs]),
        system=Part(tuple(row for row in metrics if row.name.startswith(SYSTEM_PREFIX))),
    )


def file_facts(artifacts: Sequence[Artifact]) -> dict[str, FileFact]:
    """What is compared of a run's artifacts, by path."""
    return {found.path: FileFact(found.mode, found.oid, found.size_bytes) for found in artifacts}


T = TypeVar("T")


def _names(sides: Sequence[Mapping[str, object] | None]) -> list[str]:
    """All names, in the order of the first side that has them."""
    return list(dict.fromkeys(name for side in sides if side is not None for name in side))


def _values(sides: Sequence[Mapping[str, T] | None], name: str) -> tuple[T | Missing, ...]:
    return tuple(Missing.UNRECORDED if side is None else side.get(name, Missing.ABSENT) for side in sides)


def _differ(values: Sequence[T | Missing], is_same: Callable[[T, T], bool]) -> bool:
    known = [value for value in values if value is not Missing.UNRECORDED]
    if not known:
        return False
    first, *rest = known
    if isinstance(first, Missing):
        return any(not isinstance(value, Missing) for value in rest)
    return any(isinstance(value, Missing) or not is_same(first, value) for value in rest)


def _by_name(sides: Sequence[Mapping[str, Scalar | Missing] | None]) -> Part[Row]:
    rows = []
    for name in _names(sides):
        values = _values(sides, name)
        rows.append(Row(name, values, _differ(values, is_same_value)))
    return Part(tuple(rows))


def _compare_environment(runs: Sequence[RunFacts]) -> Part[Row]:
    """Python and the platform first: with capitals, which no package's normalised name has."""
    interpreter = _by_name([_interpreter(side.source) for side in runs])
    return Part(interpreter.rows + _by_name([side.packages for side in runs]).rows)


def _interpreter(source: Source | None) -> dict[str, Scalar | Missing] | None:
    if source is None:
        return None
    return {"Python": source.python or Missing.UNRECORDED, "Platform": source.platform or Missing.UNRECORDED}


def _made_by(side: RunFacts) -> dict[str, Scalar | Missing] | None:
    source = side.source
    if source is None:
        return None
    # the work tree as it is now was started by nobody
    command = {"kind": source.kind, "script": source.name, "command": source.command}
    shown: dict[str, Scalar | Missing] = (
        {**command} if side.record is not None else dict.fromkeys(command, Missing.UNRECORDED)
    )
    shown["remote"] = Missing.ABSENT if source.remote is None else source.remote
    return shown


def _attributes(record: RunRecord | None) -> dict[str, Scalar | Missing] | None:
    if record is None:
        return None
    texts: dict[str, str | None] = {
        "experiment": record.experiment,
        "status": record.status,
        "lifecycle": record.lifecycle,
        "user": record.user,
        "host": record.host,
        "parent": record.parent,
        "note": record.note,
        "error": record.error,
    }
    return {name: text or Missing.ABSENT for name, text in texts.items()}


def _compare_data(sides: Sequence[Sequence[DatasetInput] | None]) -> Part[Row]:
    named = [None if side is None else _name_inputs(side) for side in sides]
    rows = []
    for name in _names(named):
        found = _values(named, name)
        values = tuple(one if isinstance(one, Missing) else one.digest for one in found)
        known = [one for one in found if not isinstance(one, Missing)]
        also = tuple(
            field
            for field in ("source", "source_type", "schema", "profile", "rows", "tags")
            if any(getattr(one, field) != getattr(known[0], field) for one in known[1:])
        )
        rows.append(Row(name, values, bool(also) or _differ(values, is_same_value), also))
    return Part(tuple(rows))


def _name_inputs(inputs: Sequence[DatasetInput]) -> dict[str, DatasetInput]:
    found: dict[str, DatasetInput] = {}
    counts: dict[str, int] = {}
    for one in inputs:
        name = f"{one.name} ({one.context})" if one.context else one.name
        counts[name] = counts.get(name, 0) + 1
        found[name if counts[name] == 1 else f"{name} #{counts[name]}"] = one
    return found


def _compare_metrics(runs: Sequence[RunFacts]) -> list[MetricRow]:
    sides = [side.record.metrics if side.record else None for side in runs]
    tags = [side.record.tags for side in runs if side.record] + [side.experiment_tags or {} for side in runs]
    return [_compare_metric(name, _values(sides, name), find_goal(name, *tags)) for name in _names(sides)]


def _compare_metric(name: str, found: Sequence[MetricSummary | Missing], goal: Goal | None) -> MetricRow:
    values = tuple(one if isinstance(one, Missing) else one.last for one in found)
    summaries = tuple(None if isinstance(one, Missing) else one for one in found)
    known = [one for one in summaries if one is not None]
    also = tuple(
        field
        for field in ("first", "min", "max", "last_step", "count")
        if any(not is_same_value(getattr(one, field), getattr(known[0], field)) for one in known[1:])
    )
    differs = bool(also) or _differ(values, is_same_value)
    best = _find_best(values, goal)
    if len(values) != 2 or any(isinstance(value, Missing) for value in values):
        return MetricRow(name, values, differs, also, summaries, goal, best)
    one, other = (value for value in values if not isinstance(value, Missing))
    delta = other - one
    relative = delta / abs(one) if one and math.isfinite(one) and math.isfinite(delta) else None
    return MetricRow(
        name, values, differs, also, summaries, goal, best, delta, relative, judge(one, other, goal)
    )  # fmt: skip


def judge(one: float, other: float, goal: Goal | None) -> Verdict:
    """Whether the second value is better than the first: a number is better than NaN."""
    if is_same_value(one, other) or one == other:
        return "same"
    if goal is None:
        return "unknown"
    if math.isnan(one) or math.isnan(other):
        return "better" if math.isnan(one) else "worse"
    return "better" if (other > one) == (goal == "max") else "worse"


def _find_best(values: Sequence[float | Missing], goal: Goal | None) -> int | None:
    known = [(value, at) for at, value in enumerate(values) if not isinstance(value, Missing) and value == value]
    if goal is None or len(known) < 2:
        return None
    best = (max if goal == "max" else min)(value for value, _ in known)
    where = [at for value, at in known if value == best]
    return where[0] if len(where) == 1 else None


def _compare_files(sides: Sequence[Mapping[str, FileFact] | None]) -> FilePart:
    rows = []
    for path in sorted(_names(sides)):
        values = _values(sides, path)
        differs = _differ(values, lambda one, other: (one.mode, one.id) == (other.mode, other.id))
        rows.append(FileRow(path, values, differs, _change(values) if differs else "same"))
    return FilePart(tuple(rows))


def _compare_code(sides: Sequence[Mapping[str, FileFact] | None]) -> FilePart:
    part = _compare_files(sides)
    return FilePart(_pair_renames(part.rows)) if len(sides) == 2 else part


def _change(values: Sequence[FileFact | Missing]) -> Change:
    if isinstance(values[0], Missing):
        return "added"
    return "removed" if all(isinstance(value, Missing) for value in values[1:]) else "changed"


_EMPTY_BLOBS = frozenset(
    (
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
    )
)


def _pair_renames(rows: Sequence[FileRow]) -> tuple[FileRow, ...]:
    """A file gone here and the same bytes come there are one file renamed; of several, one of the same base name.

    Empty files are alike by chance.
    """
    gone: dict[str, list[FileRow]] = {}
    for row in rows:
        fact = row.values[0]
        if row.change == "removed" and isinstance(fact, FileFact) and fact.id not in _EMPTY_BLOBS:
            gone.setdefault(f"{fact.mode & 0o170000:o} {fact.id}", []).append(row)
    told, taken = list[FileRow](), set[str]()
    for row in rows:
        fact = row.values[1]
        if row.change != "added" or not isinstance(fact, FileFact):
            told.append(row)
            continue
        candidates = gone.get(f"{fact.mode & 0o170000:o} {fact.id}", [])
        if not candidates:
            told.append(row)
            continue
        base = row.name.rpartition("/")[2]
        old = next((one for one in candidates if one.name.rpartition("/")[2] == base), candidates[0])
        candidates.remove(old)
        taken.add(old.name)
        told.append(FileRow(row.name, (old.values[0], fact), True, "renamed", old.name))
    return tuple(row for row in told if row.change != "removed" or row.name not in taken)
