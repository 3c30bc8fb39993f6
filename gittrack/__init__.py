"""Experiment tracking whose database is a git repository.

The front door: the public names, each found in its module when it is first used, so that ``import gittrack`` costs
next to nothing. No logic lives here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_CURRENT = [
    "active_run",
    "delete_tag",
    "disable_system_metrics_logging",
    "enable_system_metrics_logging",
    "end_run",
    "flush_async_logging",
    "get_artifact_uri",
    "last_active_run",
    "log",
    "log_artifact",
    "log_artifacts",
    "log_dict",
    "log_figure",
    "log_image",
    "log_input",
    "log_inputs",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_stream",
    "log_table",
    "log_text",
    "set_system_metrics_samples_before_logging",
    "set_system_metrics_sampling_interval",
    "set_tag",
    "set_tags",
    "start_run",
]

_BY_ID = [
    "set_experiment",
    "create_experiment",
    "get_experiment",
    "get_experiment_by_name",
    "search_experiments",
    "list_experiments",
    "rename_experiment",
    "delete_experiment",
    "restore_experiment",
    "set_experiment_tag",
    "set_experiment_tags",
    "delete_experiment_tag",
    "get_run",
    "get_parent_run",
    "get_metric_history",
    "delete_run",
    "restore_run",
]

_WHERE = {
    **dict.fromkeys(_BY_ID, "gittrack.tracking.by_id"),
    **dict.fromkeys(_CURRENT, "gittrack.tracking.current"),
    **dict.fromkeys(("get_tracking_uri", "is_tracking_uri_set", "set_tracking_uri"), "gittrack.tracking.settings"),
    **dict.fromkeys(("Client", "MlflowClient"), "gittrack.tracking.client"),
    "search_runs": "gittrack.tracking.run_search",
    "ActiveRun": "gittrack.tracking.active",
    "metrics": "gittrack.tracking.histories",
    "plot": "gittrack.comparing.charts",
    "why": "gittrack.comparing.why",
    "importance": "gittrack.comparing.importance",
    "GittrackError": "gittrack.errors",
    "diff": "gittrack.comparing.diffing",
}
_MODULES = ("artifacts", "data", "entities", "errors", "tracking")

__all__ = ["__version__", *_MODULES, *_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        found = getattr(importlib.import_module(_WHERE[name]), name)
    elif name in _MODULES:
        found = importlib.import_module(f"gittrack.{name}")
    else:
        raise AttributeError(f"module 'gittrack' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from gittrack import artifacts as artifacts
    from gittrack import data as data
    from gittrack import entities as entities
    from gittrack.comparing.charts import plot as plot
    from gittrack.comparing.diffing import diff as diff
    from gittrack.comparing.importance import importance as importance
    from gittrack.comparing.why import why as why
    from gittrack.errors import GittrackError as GittrackError
    from gittrack.tracking.active import ActiveRun as ActiveRun
    from gittrack.tracking.by_id import *  # noqa: F403
    from gittrack.tracking.client import Client as Client
    from gittrack.tracking.client import MlflowClient as MlflowClient
    from gittrack.tracking.current import *  # noqa: F403
    from gittrack.tracking.histories import metrics as metrics
    from gittrack.tracking.run_search import search_runs as search_runs
    from gittrack.tracking.settings import get_tracking_uri as get_tracking_uri
    from gittrack.tracking.settings import is_tracking_uri_set as is_tracking_uri_set
    from gittrack.tracking.settings import set_tracking_uri as set_tracking_uri
