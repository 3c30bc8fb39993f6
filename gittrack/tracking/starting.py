"""What every new run begins with: its record, its id, and what made it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from typing import Any

from gittrack.schema.names import RunId, check_key, check_name
from gittrack.schema.records import RunRecord
from gittrack.store.identity import login_name
from gittrack.store.store import Store
from gittrack.tracking import session, settings
from gittrack.tracking.provenance import ProvenanceReading
from gittrack.tracking.words import random_name

HEAD_TAGS = frozenset({"mlflow.runName", "mlflow.parentRunId"})  # what the record itself says


def new_record(
    store: Store, experiment_id: str | None, run_name: str | None, tags: Mapping[str, Any] | None = None
) -> RunRecord:
    """The record of a run that begins now.

    Raises:
        InvalidValueError: a name or tag is not taken. NotFoundError: no such experiment.
        RepositoryError: the repository's storage format is not written.
    """
    store.repository.require_known_format()
    experiment = settings.current_experiment(store, experiment_id)
    name = run_name or (tags or {}).get("mlflow.runName") or random_name()
    for key, value in (tags or {}).items():
        session.to_tag(check_key("tag", key), value)
    return RunRecord(
        id=new_run_id(),
        name=check_name("run", name),
        experiment=experiment.made_as,
        experiment_id=experiment.id,
        status="RUNNING",
        started_at=int(time.time() * 1000),
        user=login_name(),
        host=platform.node(),
    )


def new_run_id() -> RunId:
    """A random run id: a version 4 UUID (RFC 9562) as 32 hex digits."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return RunId(raw.hex())


def read_provenance() -> ProvenanceReading:
    """What makes a run that begins now, as git begins to look at it.

    A working directory that is gone holds no code.
    """
    try:
        return ProvenanceReading(os.getcwd())
    except FileNotFoundError:
        return ProvenanceReading("/")
