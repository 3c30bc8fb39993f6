"""What runs and experiments are handed out as: the names that scripts import from here."""

from gittrack.tracking.entities import (
    DatasetInput,
    Experiment,
    ExperimentTag,
    FileInfo,
    InputTag,
    LifecycleStage,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunStatus,
    RunTag,
    ViewType,
)
from gittrack.tracking.run_lists import RunList

__all__ = [
    "DatasetInput",
    "Experiment",
    "ExperimentTag",
    "FileInfo",
    "InputTag",
    "LifecycleStage",
    "Metric",
    "Param",
    "Run",
    "RunData",
    "RunInfo",
    "RunInputs",
    "RunList",
    "RunStatus",
    "RunTag",
    "ViewType",
]
