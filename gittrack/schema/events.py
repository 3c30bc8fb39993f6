"""What a journal says, and the one fold that makes a run of it.

A live page, finishing and recovery all fold the same way. Events come in the order of their times, over
all writers; of a param logged twice the first counts, of a tag the last.
What does not fit an event's fields (a damaged journal, a stranger's) is passed over, and costs only itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from gittrack.errors import GittrackError
from gittrack.schema.names import ExperimentId, RunId, check_artifact_path, experiment_id
from gittrack.schema.points import Summary
from gittrack.schema.records import (
    LIFECYCLES,
    STATUSES,
    Artifact,
    DatasetInput,
    RunRecord,
    Scalar,
    Source,
    is_same_value,
)

_SCALARS = (str, int, float, bool, type(None))
_TEXT, _MAYBE_TEXT, _MAYBE_INT = (str,), (str, type(None)), (int, type(None))
_INT_MAX = 1 << 63
_HEAD_TYPES = {
    "name": _TEXT,
    "experiment": _TEXT,
    "started_at": (int,),
    "user": _TEXT,
    "host": _TEXT,
    "parent": _MAYBE_TEXT,
    "note": _TEXT,
    "ended_at": _MAYBE_INT,
    "error": _TEXT,
}
_SOURCE_TYPES = {
    **dict.fromkeys(("kind", "name", "command", "python", "platform"), _TEXT),
    **dict.fromkeys(("commit", "branch", "remote"), _MAYBE_TEXT),
    "dirty": (bool, type(None)),
    "left_out": (int,),
}
_INPUT_TYPES = {
    **dict.fromkeys(("name", "digest", "source", "source_type", "schema", "profile", "context"), _TEXT),
    "rows": _MAYBE_INT,
}
_ARTIFACT_TYPES = {"path": _TEXT, "oid": _TEXT, "size_bytes": (int,), "mode": (int,), "inline": (bool,)}
_ARTIFACT_MODES = (0o100644, 0o100755, 0o120000)
_OID = re.compile(r"[0-9a-f]{64}")
_TREE_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


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
        self.left_out = 0  # events whose fields do not fit
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
        if handler is None:
            return
        try:
            handler(event.fields)
        except (KeyError, TypeError, ValueError, AttributeError, GittrackError):
            self.left_out += 1

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
        head = _typed(fields, _HEAD_TYPES, "name", "experiment", "started_at", "user", "host", "parent")
        head["experiment_id"] = experiment_id(head["experiment"])
        self._head |= head
        self._head.setdefault("status", "RUNNING")

    def _on_resume(self, fields: Mapping[str, Any]) -> None:
        self._head["status"] = "RUNNING"
        self._head["ended_at"] = None
        self._head["error"] = ""  # what made it fail then is told by the revision before

    def _on_end(self, fields: Mapping[str, Any]) -> None:
        head = _typed(fields, _HEAD_TYPES, "ended_at", "error")
        if not head.get("error"):
            head.pop("error", None)
        self._head |= {"status": _one_of(fields["status"], STATUSES), "ended_at": head["ended_at"], **head}

    def _on_source(self, fields: Mapping[str, Any]) -> None:
        source = Source(**_typed(fields["source"], _SOURCE_TYPES))
        environment, tree = fields.get("requirements", ""), fields.get("tree")
        if not isinstance(environment, str) or (tree is not None and not _TREE_ID.fullmatch(tree)):
            raise TypeError("requirements are text, a tree is an id")
        self._head["source"], self.environment, self.code_tree = source, environment, tree

    def _on_param(self, fields: Mapping[str, Any]) -> None:
        params = fields["params"]
        if not all(isinstance(value, _SCALARS) for value in params.values()):
            raise TypeError("a param is a scalar")
        for key, value in params.items():
            if key not in self._params:
                self._params[key] = value
            elif not is_same_value(self._params[key], value):
                # two processes that could not know of each other: keep both, and let it be seen
                self._tags[f"gittrack.conflict.{key}"] = str(value)

    def _on_tag(self, fields: Mapping[str, Any]) -> None:
        self._tags.update(_texts(fields["tags"]))

    def _on_untag(self, fields: Mapping[str, Any]) -> None:
        self._tags.pop(fields["key"], None)

    def _on_set(self, fields: Mapping[str, Any]) -> None:
        """Name, note, lifecycle or status of the run, set by whoever edits it."""
        head = _typed(fields, _HEAD_TYPES, "name", "note", "ended_at")
        for name, choices in (("lifecycle", LIFECYCLES), ("status", STATUSES)):
            if name in fields:
                head[name] = _one_of(fields[name], choices)
        self._head |= head

    def _on_input(self, fields: Mapping[str, Any]) -> None:
        told = fields["dataset"]
        dataset = DatasetInput(**_typed(told, _INPUT_TYPES), tags=_texts(told.get("tags", {})))
        if dataset not in self._inputs:
            self._inputs.append(dataset)

    def _on_artifact(self, fields: Mapping[str, Any]) -> None:
        artifact = Artifact(**_typed(fields, _ARTIFACT_TYPES))
        check_artifact_path(artifact.path)
        if not _OID.fullmatch(artifact.oid) or artifact.size_bytes < 0 or artifact.mode not in _ARTIFACT_MODES:
            raise ValueError(f"{artifact} is no artifact")
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


def _typed(fields: Mapping[str, Any], types: Mapping[str, tuple[type, ...]], *names: str) -> dict[str, Any]:
    """The fields of a table (or only some of them) that are told; those of a later version are passed over.

    Raises:
        TypeError: one is of another type. ValueError: a number has more than 64 bits.
    """
    found = {name: fields[name] for name in names or types if name in fields}
    for name, value in found.items():
        if not isinstance(value, types[name]) or (isinstance(value, bool) and bool not in types[name]):
            raise TypeError(f"{name} is no {types[name][0].__name__}")
        if isinstance(value, int) and not -_INT_MAX <= value < _INT_MAX:
            raise ValueError(f"{name} is out of range")
    return found


def _texts(mapping: Mapping[str, Any]) -> Mapping[str, str]:
    if not all(isinstance(value, str) for value in mapping.values()):
        raise TypeError("a tag is text")
    return mapping


def _one_of(value: object, choices: Sequence[Any]) -> Any:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {choices}")
    return value


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
