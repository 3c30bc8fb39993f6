"""The index's tables: what is kept of each run so that searching need not read git, and how it is put in.

A run has one row, each of its metrics, params and tags one more; all of it can be made again from git. A table is
clustered by run, so that building appends and a run's rows lie together; two indexes by key serve filters.
NaN has no form in SQLite: a metric whose row has NULL in ``last`` is NaN, one without a row was never logged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gittrack.schema.records import RunRecord, Scalar

if TYPE_CHECKING:
    import sqlite3  # whoever logs has no use for it

FORMAT = 2  # counted up whenever a table changes: an index of another number is built anew

METRIC, PARAM, TAG = "metric", "param", "tag"

TABLES = """
CREATE TABLE {schema}.key (
    no INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,         -- metric, param or tag
    name TEXT NOT NULL,
    UNIQUE (kind, name)
);
CREATE TABLE {schema}.run (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,    -- 32 hex digits
    commit_id TEXT,             -- of the revision that counts; NULL for a run in flight that has none yet
    revision INTEGER NOT NULL,
    committed_at INTEGER,       -- seconds since the epoch
    name TEXT NOT NULL,
    experiment_id TEXT NOT NULL,
    experiment TEXT NOT NULL,   -- the name it was made with
    status TEXT NOT NULL,
    lifecycle TEXT NOT NULL,
    started_at INTEGER NOT NULL,  -- milliseconds since the epoch, as ended_at
    ended_at INTEGER,
    user TEXT NOT NULL,
    host TEXT NOT NULL,
    parent TEXT,
    source_kind TEXT,           -- NULL, as all that follow, where nothing is known of the source
    source_name TEXT,
    code_commit TEXT,
    branch TEXT,
    remote TEXT,
    dirty INTEGER,
    python TEXT,
    platform TEXT,
    code TEXT,                  -- id of the tree `code/`
    environment TEXT,           -- id of the tree `environment/`; for a run in flight, of no object
    is_live INTEGER NOT NULL DEFAULT 0,
    command TEXT,
    note TEXT NOT NULL,
    error TEXT NOT NULL
);
CREATE TABLE {schema}.metric (
    run INTEGER NOT NULL, key INTEGER NOT NULL,
    last REAL, first REAL, min REAL, max REAL, last_step INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE TABLE {schema}.param (
    run INTEGER NOT NULL, key INTEGER NOT NULL,
    type TEXT NOT NULL,         -- str, int, float, bool or none
    number REAL,                -- what a number, or text that reads as one, is worth; NULL for all else
    text TEXT NOT NULL,         -- as MLflow shows it: str(value)
    PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE TABLE {schema}.tag (
    run INTEGER NOT NULL, key INTEGER NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE TABLE {schema}.dataset (
    run INTEGER NOT NULL, at INTEGER NOT NULL,
    name TEXT NOT NULL, digest TEXT NOT NULL, context TEXT NOT NULL, source TEXT NOT NULL,
    PRIMARY KEY (run, at)
) WITHOUT ROWID;
CREATE TABLE {schema}.package (
    environment TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL,  -- name as PEP 503 normalises it
    PRIMARY KEY (environment, name)
) WITHOUT ROWID;
CREATE TABLE {schema}.experiment (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, lifecycle TEXT NOT NULL,  -- those that have a record; the shown name
    commit_id TEXT NOT NULL, revision INTEGER NOT NULL, committed_at INTEGER NOT NULL
);
CREATE TABLE {schema}.tip (commit_id TEXT PRIMARY KEY);  -- all that is reachable from these is known
CREATE TABLE {schema}.older (
    commit_id TEXT PRIMARY KEY,  -- of a revision that does not count
    owner TEXT NOT NULL, revision INTEGER NOT NULL, committed_at INTEGER NOT NULL
);
CREATE TABLE {schema}.unread (
    owner TEXT PRIMARY KEY,      -- a run or experiment whose revision that counts could not be read
    commit_id TEXT NOT NULL, revision INTEGER NOT NULL, committed_at INTEGER NOT NULL,
    problem TEXT NOT NULL
);
CREATE TABLE {schema}.fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
# made when the tables have been filled: sorting once is cheaper than keeping them sorted
KEY_INDEXES = """
CREATE INDEX IF NOT EXISTS {schema}.metric_by_key ON metric (key, last);
CREATE INDEX IF NOT EXISTS {schema}.param_by_key ON param (key, number, text);
CREATE INDEX IF NOT EXISTS {schema}.tag_by_key ON tag (key, text);
CREATE INDEX IF NOT EXISTS {schema}.run_by_start ON run (started_at DESC, id);
CREATE INDEX IF NOT EXISTS {schema}.run_by_experiment ON run (experiment_id, started_at DESC, id);
"""


@dataclass(frozen=True, slots=True)
class IndexedRun:
    """What the index keeps of a run: its record, and what else its commit tells."""

    record: RunRecord
    commit_id: str | None = None
    committed_at_s: int | None = None
    code: str | None = None
    environment: str | None = None
    is_live: bool = False


def number_of(value: Scalar) -> float | None:
    """What a param is worth as a number: its value, or what its text reads as; None where it is none, or NaN."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond all floats
        return math.inf if int(value) > 0 else -math.inf
    except ValueError:
        return None
    return None if math.isnan(number) else number


class _Keys(dict[str, int]):
    """The numbers of the keys of one kind; one that is new is put into the table."""

    def __init__(self, connection: sqlite3.Connection, schema: str, kind: str) -> None:
        super().__init__(connection.execute(f"SELECT name, no FROM {schema}.key WHERE kind = ?", (kind,)))
        self._connection = connection
        self._schema = schema
        self._kind = kind

    def __missing__(self, name: str) -> int:
        put = f"INSERT INTO {self._schema}.key (kind, name) VALUES (?, ?)"
        no = self._connection.execute(put, (self._kind, name)).lastrowid
        assert no is not None
        self[name] = no
        return no


class TableWriter:
    """Puts runs into the tables of one schema of a connection; numbers keys and runs on from what stands there."""

    def __init__(self, connection: sqlite3.Connection, schema: str = "main") -> None:
        self._connection = connection
        self._schema = schema
        self._metrics, self._params, self._tags = (
            _Keys(connection, schema, kind) for kind in (METRIC, PARAM, TAG)
        )
        (self._last_run,) = connection.execute(f"SELECT coalesce(max(no), 0) FROM {schema}.run").fetchone()

    def put_runs(self, runs: Iterable[IndexedRun]) -> None:
        """Put runs in that are not there."""
        rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in ("run", METRIC, PARAM, TAG, "dataset")}
        for run in runs:
            self._last_run += 1
            self._add(run, self._last_run, rows)
        for table, found in rows.items():
            if found:
                places = ", ".join("?" * len(found[0]))
                self._connection.executemany(f"INSERT INTO {self._schema}.{table} VALUES ({places})", found)

    def put_packages(self, environment: str, packages: Mapping[str, str]) -> None:
        """Say what an environment holds: versions by normalised name."""
        self._connection.executemany(
            f"INSERT OR REPLACE INTO {self._schema}.package VALUES (?, ?, ?)",
            [(environment, name, version) for name, version in packages.items()],
        )

    def _add(self, run: IndexedRun, no: int, rows: dict[str, list[tuple[object, ...]]]) -> None:
        record, metrics, params, tags = run.record, self._metrics, self._params, self._tags
        rows["run"].append((no, *_run_row(run)))
        rows[METRIC] += [
            (no, metrics[name], one.last, one.first, one.min, one.max, one.last_step, one.count)
            for name, one in record.metrics.items()
        ]
        rows[PARAM] += [
            (no, params[name], _TYPES[type(value)], number_of(value), str(value))
            for name, value in record.params.items()
        ]
        rows[TAG] += [(no, tags[name], text) for name, text in record.tags.items()]
        rows["dataset"] += [
            (no, at, one.name, one.digest, one.context, one.source) for at, one in enumerate(record.inputs)
        ]


_TYPES = {str: "str", int: "int", float: "float", bool: "bool", type(None): "none"}
_NO_SOURCE = (None,) * 8


def _run_row(run: IndexedRun) -> tuple[object, ...]:
    record, source = run.record, run.record.source
    made = (
        _NO_SOURCE
        if source is None
        else (
            source.kind,
            source.name,
            source.commit,
            source.branch,
            source.remote,
            source.dirty,
            source.python,
            source.platform,
        )
    )
    return (
        record.id,
        run.commit_id,
        record.revision,
        run.committed_at_s,
        record.name,
        record.experiment_id,
        record.experiment,
        record.status,
        record.lifecycle,
        record.started_at,
        record.ended_at,
        record.user,
        record.host,
        record.parent,
        *made,
        run.code,
        run.environment,
        run.is_live,
        source.command if source else None,
        record.note,
        record.error,
    )
