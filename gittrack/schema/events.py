"""What a journal says, and the one fold that makes a run of it.

A live page, finishing and recovery all fold the same way. Events come in the order of their times, over
all writers; of a param logged twice the first counts, of a tag the last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from gittrack.schema.names import ExperimentId, RunId, experiment_id
from gittrack.schema.points import Summary
from gittrack.schema.records import Artifact, DatasetInput, RunRecord, Scalar, Source, is_same_value


class PointBlock(NamedTuple):
    """Points of one metric in parallel columns; times in seconds since the epoch."""

    key: str
    steps: Sequence[int]
    times_s: Sequence[float]
    values: Sequence[float]


class Event(NamedTuple):
    """Anything else that was logged: its kind, its time in seconds since the epoch, its fields."""

    kind: str
    time_s: float
    fields: Mapping[str, Any]


class PointSink(Protocol):
    """Where a fold puts the points themselves, beside their summaries."""

    def add(self, block: PointBlock) -> None: ...


class RunFold:
    """A run in the making: fed events and points, gives the record they make.

    Args:
        run_id: whose they are.
        base: the run's newest revision where it is resumed or edited, else None.
        sink: takes the points; None where only summaries are wanted.
    """

    def __init__(self, run_id: RunId, base: RunRecord | None = None, sink: PointSink | None = None) -> None:
        self._run_id = run_id
        self._base = base
        self._sink = sink
        self._head: dict[str, Any] = {}
        self._params: dict[str, Scalar] = dict(base.params) if base else {}
        self._tags: dict[str, str] = dict(base.tags) if base else {}
        self._inputs: list[DatasetInput] = list(base.inputs) if base else []
        self._summaries = {key: Summary(found) for key, found in base.metrics.items()} if base else {}
        self._latest_s = 0.0
        self.artifacts: dict[str, Artifact] = {}
        self._folders: set[str] = set()
        self.environment = ""
        self.code_tree: str | None = None

    @property
    def latest_at(self) -> int:
        """When the last thing was logged, in milliseconds since the epoch; 0 when nothing was."""
        return round(self._latest_s * 1000)

    def add_points(self, block: PointBlock) -> None:
        summary = self._summaries.get(block.key)
        if summary is None:
            summary = self._summaries[block.key] = Summary()
        summary.add(block.steps, block.times_s, block.values)
        latest_s = max(block.times_s)
        if math.isfinite(latest_s):
            self._latest_s = max(self._latest_s, latest_s)
        if self._sink is not None:
            self._sink.add(block)

    def add_event(self, event: Event) -> None:
        """Take in one event; kinds of a later version are passed over."""
        self._latest_s = max(self._latest_s, event.time_s)
        handler = getattr(self, f"_on_{event.kind}", None)
        if handler is not None:
            handler(event.fields)

    def freeze(self) -> RunRecord:
        """The record as it stands; its revision is the base's."""
        base = self._base or _unstarted(self._run_id, self.latest_at)
        return replace(
            base,
            params=self._params,
            tags=self._tags,
            inputs=tuple(self._inputs),
            metrics={key: summary.freeze() for key, summary in self._summaries.items()},
            **self._head,
        )

    def _on_start(self, fields: Mapping[str, Any]) -> None:
        if "experiment" in self._head or self._base is not None:
            return  # a second process joined the run
        for name in ("name", "experiment", "started_at", "user", "host", "parent"):
            if name in fields:
                self._head[name] = fields[name]
        self._head["experiment_id"] = experiment_id(fields["experiment"])
        self._head.setdefault("status", "RUNNING")

    def _on_resume(self, fields: Mapping[str, Any]) -> None:
        self._head["status"] = "RUNNING"
        self._head["ended_at"] = None
        self._head["error"] = ""  # what made it fail then is told by the revision before

    def _on_end(self, fields: Mapping[str, Any]) -> None:
        self._head["status"] = fields["status"]
        self._head["ended_at"] = fields["ended_at"]
        if fields.get("error"):
            self._head["error"] = fields["error"]

    def _on_source(self, fields: Mapping[str, Any]) -> None:
        self._head["source"] = Source(**_fields_of(Source, fields["source"]))
        self.environment = fields.get("requirements", "")
        self.code_tree = fields.get("tree")

    def _on_param(self, fields: Mapping[str, Any]) -> None:
        for key, value in fields["params"].items():
            if key not in self._params:
                self._params[key] = value
            elif not is_same_value(self._params[key], value):
                # two processes that could not know of each other: keep both, and let it be seen
                self._tags[f"gittrack.conflict.{key}"] = str(value)

    def _on_tag(self, fields: Mapping[str, Any]) -> None:
        self._tags.update(fields["tags"])

    def _on_untag(self, fields: Mapping[str, Any]) -> None:
        self._tags.pop(fields["key"], None)

    def _on_set(self, fields: Mapping[str, Any]) -> None:
        """Name, note, lifecycle or status of the run, set by whoever edits it."""
        for name in ("name", "note", "lifecycle", "status", "ended_at"):
            if name in fields:
                self._head[name] = fields[name]

    def _on_input(self, fields: Mapping[str, Any]) -> None:
        dataset = DatasetInput(**_fields_of(DatasetInput, fields["dataset"]))
        if dataset not in self._inputs:
            self._inputs.append(dataset)

    def _on_artifact(self, fields: Mapping[str, Any]) -> None:
        artifact = Artifact(**_fields_of(Artifact, fields))
        put_artifact(artifact, self.artifacts, self._folders)


def put_artifact(artifact: Artifact, artifacts: dict[str, Artifact], folders: set[str]) -> None:
    """Put an artifact last among others by their paths: what was logged last stands.

    A file takes the place of a folder of its name with all in it, and of files that stand where it needs folders.
    ``folders`` holds every path that has been a folder; begin with an empty one.
    """
    path = artifact.path
    above = [path[:at] for at, char in enumerate(path) if char == "/"]
    for stale in (path, *above):
        artifacts.pop(stale, None)
    if path in folders:
        for other in [other for other in artifacts if other.startswith(path + "/")]:
            del artifacts[other]
    artifacts[path] = artifact
    folders.update(above)


def _fields_of(record: type, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a record has; those of a later version's journal are passed over."""
    return {name: fields[name] for name in record.__slots__ if name in fields}  # type: ignore[attr-defined]


def _unstarted(run_id: RunId, at: int) -> RunRecord:
    """A run whose start is not in the journal (cut off by a power failure): what was logged is kept."""
    return RunRecord(
        id=run_id,
        name=f"recovered-{run_id[:8]}",
        experiment="Default",
        experiment_id=ExperimentId("0"),
        status="RUNNING",
        started_at=at,
    )
