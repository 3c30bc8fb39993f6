"""Why a metric differs between two runs of a repository: `causes`, with the names of files and packages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gittrack.comparing.asking import open_existing_store, read_rows, run_id_of
from gittrack.comparing.causes import explain
from gittrack.comparing.explanation import Explanation
from gittrack.errors import CommandError, InvalidValueError, RepositoryError
from gittrack.git.bulk import read_blobs
from gittrack.git.lineage import list_changes
from gittrack.git.repository import Repository
from gittrack.schema.packages import parse_packages
from gittrack.store.search_rows import RunRow
from gittrack.store.store import Store
from gittrack.store.trees import REQUIREMENTS_FILE

_NAMED_MAX = 5


def why(a: Any, b: Any, metric: str | None = None) -> Explanation:
    """What can explain the change of a metric from run ``a`` to run ``b``, by all runs of their experiments.

    Args:
        a, b: runs, their ids or names.
        metric: its last values are compared; by default the one that changed most for its spread among runs.

    Raises:
        NotFoundError: there is no such run, or one has no such metric. InvalidValueError: both are the same run.
    """
    return explain_runs(open_existing_store(), a, b, metric)


def explain_runs(store: Store, a: Any, b: Any, metric: str | None) -> Explanation:
    """`why`, of one store."""
    one_id, other_id = run_id_of(store, a), run_id_of(store, b)
    if one_id == other_id:
        raise InvalidValueError(f"both name run {one_id[:8]}", "give two runs")
    ids = {str(store.get_run(run_id).record.experiment_id) for run_id in (one_id, other_id)}
    rows = read_rows(store, tuple(sorted(ids)), deleted=True)
    rows = [row for row in rows if row.lifecycle == "active" or row.id in (one_id, other_id)]
    by_id = {row.id: row for row in rows}
    one, other = by_id[one_id], by_id[other_id]
    packages = _read_packages(store.repository, one, other) if one.environment != other.environment else [{}, {}]
    details = {"code": _tell_code(store.repository, one, other), "environment": _few(_diff_packages(*packages))}
    return explain(rows, one_id, other_id, metric, details, _pin(*packages))


def _tell_code(repository: Repository, one: RunRow, other: RunRow) -> str:
    """The files that differ, in a few words; empty where that cannot be told."""
    if not one.code or not other.code or one.code == other.code:
        return ""
    try:
        return _few([str(change) for change in list_changes(repository, one.code, other.code)])
    except (CommandError, RepositoryError):  # code of a run in flight is not in git yet
        return ""


def _pin(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The packages of the other run that differ, as pip takes them."""
    changed = [(name, version) for name, version in sorted(after.items()) if before.get(name) != version]
    return [f"{name} {version}" if version.startswith("@") else f"{name}=={version}" for name, version in changed]


def _read_packages(repository: Repository, *rows: RunRow) -> list[dict[str, str]]:
    specs = [f"{row.commit_id}:{REQUIREMENTS_FILE}" for row in rows if row.commit_id]
    blobs = list(read_blobs(repository, specs)) if len(specs) == len(rows) else [None] * len(rows)
    return [parse_packages((blob or b"").decode(errors="replace")) for blob in blobs]


def _diff_packages(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    lines = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            lines.append(f"{name} {old or '(none)'} → {new or '(none)'}")
    return lines


def _few(lines: list[str]) -> str:
    more = f" and {len(lines) - _NAMED_MAX} more" if len(lines) > _NAMED_MAX else ""
    return ", ".join(lines[:_NAMED_MAX]) + more
