"""The records: a run, an experiment, and their parts, as frozen data that refuses bad values.

Times are milliseconds since the epoch, UTC; durations are not stored. ``extra`` keeps the fields that a
later version wrote, so that an edit by this one loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from gittrack.errors import InvalidValueError
from gittrack.schema.names import ExperimentId, RunId

Scalar: TypeAlias = str | int | float | bool | None
Status: TypeAlias = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
Lifecycle: TypeAlias = Literal["active", "deleted"]

STATUSES: tuple[Status, ...] = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
LIFECYCLES: tuple[Lifecycle, ...] = ("active", "deleted")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """What tables read of one metric: NaN is never the least or the greatest; both are NaN when all values are.

    ``last`` is the value at the greatest step, the later one in time where a step comes twice.
    """

    first: float
    last: float
    last_step: int
    min: float
    max: float
    count: int
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file of a run: its path below ``artifacts/``, the sha256 of its content (64 hex digits), its size.

    ``mode`` is git's: 0o100644, 0o100755, or 0o120000 for a symlink, whose content is its target.
    ``inline`` says that the bytes stand in git itself rather than behind a pointer.
    """

    path: str
    oid: str
    size_bytes: int
    mode: int = 0o100644
    inline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInput:
    """A dataset that a run read: what it was, where from, and for what (``context``: training, test …)."""

    name: str
    digest: str
    source: str = ""
    source_type: str = ""
    schema: str = ""
    profile: str = ""
    rows: int | None = None
    context: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What made a run: kind (LOCAL, NOTEBOOK, JOB), entry script, command line, and the code's place in git."""

    kind: str = "LOCAL"
    name: str = ""
    command: str = ""
    commit: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    remote: str | None = None
    left_out: int = 0
    python: str = ""
    platform: str = ""
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One revision of one run, whole but for its histories, artifacts and code, which are files."""

    id: RunId
    name: str
    experiment: str
    experiment_id: ExperimentId
    status: Status
    started_at: int
    ended_at: int | None = None
    revision: int = 1
    lifecycle: Lifecycle = "active"
    user: str = ""
    host: str = ""
    parent: str | None = None
    note: str = ""
    error: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    source: Source | None = None
    inputs: tuple[DatasetInput, ...] = ()
    params: Mapping[str, Scalar] = field(default_factory=dict)
    metrics: Mapping[str, MetricSummary] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_choice("status", self.status, STATUSES)
        _check_choice("lifecycle", self.lifecycle, LIFECYCLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRecord:
    """One revision of an experiment: its shown name, and the name it was made with, which names its branch.

    ``artifact_stores`` are URLs, without credentials: new artifacts go to the first, and are looked for in all.
    """

    id: ExperimentId
    name: str
    made_as: str
    created_at: int
    updated_at: int
    revision: int = 1
    lifecycle: Lifecycle = "active"
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    artifact_stores: tuple[str, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_choice("lifecycle", self.lifecycle, LIFECYCLES)


def is_same_value(one: Scalar, other: Scalar) -> bool:
    """Whether two param values are the same in type and value; NaN is the same as NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return one == other


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidValueError(f"{what} is {value!r}", f"it is one of {', '.join(choices)}")
