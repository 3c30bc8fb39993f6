"""What is handed out: runs, experiments and their parts in the shape that MLflow's scripts read.

Times are milliseconds since the epoch, params are text, as there; `Run.params`, `.metrics` and `.tags` hold the
same with their own types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gittrack.schema.records import DatasetInput as DatasetRecord
from gittrack.schema.records import ExperimentRecord, RunRecord, Scalar
from gittrack.tracking import html


class ViewType:
    """Which runs or experiments a search gives: those in use, those deleted, or both."""

    ACTIVE_ONLY, DELETED_ONLY, ALL = 1, 2, 3


class RunStatus:
    """The states of a run."""

    RUNNING, SCHEDULED, FINISHED, FAILED, KILLED = "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"


class LifecycleStage:
    """Whether a run or an experiment is in use or deleted."""

    ACTIVE, DELETED = "active", "deleted"


@dataclass(frozen=True, slots=True)
class Metric:
    """One value of a metric at a time and a step."""

    key: str
    value: float
    timestamp: int
    step: int
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Param:
    """A param as text."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class RunTag:
    """A tag of a run."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class ExperimentTag:
    """A tag of an experiment."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file or folder among a run's artifacts; ``file_size`` in bytes, None for a folder."""

    path: str
    is_dir: bool
    file_size: int | None


@dataclass(frozen=True, slots=True)
class InputTag:
    """A tag of a dataset input; ``mlflow.data.context`` says what it was used for."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class DatasetEntity:
    """A dataset as a run recorded it; schema and profile are JSON."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str
    profile: str


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A dataset and the tags it was logged with."""

    dataset: DatasetEntity
    tags: list[InputTag]


@dataclass(frozen=True, slots=True)
class RunInputs:
    """The datasets that a run read."""

    dataset_inputs: list[DatasetInput] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Who and when of a run; times in milliseconds since the epoch, ``end_time`` None while it runs."""

    run_id: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None
    artifact_uri: str
    lifecycle_stage: str

    @property
    def run_uuid(self) -> str:
        return self.run_id


@dataclass(frozen=True, slots=True)
class RunData:
    """What a run logged: last values of metrics, params as text, tags."""

    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]


class Run:
    """A run as it stood when it was read."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record

    @property
    def record(self) -> RunRecord:
        """All that is stored of the run."""
        return self._record

    @property
    def info(self) -> RunInfo:
        return run_info(self.record)

    @property
    def data(self) -> RunData:
        return run_data(self.record)

    @property
    def inputs(self) -> RunInputs:
        return RunInputs([_dataset_input(dataset) for dataset in self.record.inputs])

    @property
    def params(self) -> dict[str, Scalar]:
        """Params with the types they were logged with."""
        return dict(self.record.params)

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return {key: summary.last for key, summary in self.record.metrics.items()}

    @property
    def tags(self) -> dict[str, str]:
        """The tags that were set, without those that say what the record says."""
        return dict(self.record.tags)

    def to_dictionary(self) -> dict[str, Any]:
        """Info, data and inputs as plain dicts."""
        info = {name: getattr(self.info, name) for name in RunInfo.__dataclass_fields__}
        data = {"metrics": self.data.metrics, "params": self.data.params, "tags": self.data.tags}
        return {"info": info, "data": data}

    def __repr__(self) -> str:
        return f"<Run {self.record.name!r} {self.record.id} {self.record.status}>"

    def _repr_html_(self) -> str:
        return html.run_block(self.record)


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment; times in milliseconds since the epoch, None where nothing was ever set about it."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    tags: dict[str, str]
    creation_time: int | None
    last_update_time: int | None
    description: str = ""

    def _repr_html_(self) -> str:
        state = self.lifecycle_stage if self.lifecycle_stage != LifecycleStage.ACTIVE else ""
        facts = (self.experiment_id, state, html.moment(self.creation_time), self.description)
        tags = html.folded(f"tags ({len(self.tags)})", html.pairs(("tag", "value"), self.tags))
        return f"<div>{html.heading(self.name, *facts)}{tags}</div>"


def to_experiment(record: ExperimentRecord) -> Experiment:
    """The experiment that a record tells of."""
    return Experiment(
        experiment_id=record.id,
        name=record.name,
        artifact_location="",
        lifecycle_stage=record.lifecycle,
        tags=dict(record.tags),
        creation_time=record.created_at or None,
        last_update_time=record.updated_at or None,
        description=record.description,
    )


def run_info(record: RunRecord) -> RunInfo:
    """The info that a record holds."""
    return RunInfo(
        run_id=record.id,
        run_name=record.name,
        experiment_id=record.experiment_id,
        user_id=record.user,
        status=record.status,
        start_time=record.started_at,
        end_time=record.ended_at,
        artifact_uri=artifact_uri(record.id),
        lifecycle_stage=record.lifecycle,
    )


def run_data(record: RunRecord) -> RunData:
    """The data that a record holds, with MLflow's own tags made of its fields."""
    return RunData(
        metrics={key: summary.last for key, summary in record.metrics.items()},
        params={key: str(value) for key, value in record.params.items()},
        tags={**_told_tags(record), **record.tags},
    )


def artifact_uri(run_id: str, path: str | None = None) -> str:
    """The URI of a run's artifacts, or of one below them: the same on every machine."""
    return f"runs:/{run_id}/{path}" if path else f"runs:/{run_id}"


def _told_tags(record: RunRecord) -> dict[str, str]:
    tags = {"mlflow.runName": record.name, "mlflow.user": record.user}
    if record.note:
        tags["mlflow.note.content"] = record.note
    if record.parent:
        tags["mlflow.parentRunId"] = record.parent
    if record.source is not None:
        tags["mlflow.source.name"] = record.source.name
        tags["mlflow.source.type"] = record.source.kind
        facts: Mapping[str, str | None] = {
            "mlflow.source.git.commit": record.source.commit,
            "mlflow.source.git.branch": record.source.branch,
            "mlflow.source.git.repoURL": record.source.remote,
        }
        tags |= {key: value for key, value in facts.items() if value}
    return tags


def _dataset_input(record: DatasetRecord) -> DatasetInput:
    dataset = DatasetEntity(
        record.name, record.digest, record.source_type, record.source, record.schema, record.profile
    )
    tags = [InputTag(key, value) for key, value in record.tags.items()]
    if record.context:
        tags.append(InputTag("mlflow.data.context", record.context))
    return DatasetInput(dataset, tags)
