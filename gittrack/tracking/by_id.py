"""The module-level calls for experiments, and for runs by their id: what `Client` does, where runs go now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gittrack.tracking import entities, settings
from gittrack.tracking.client import Client


def set_experiment(experiment_name: str | None = None, experiment_id: str | None = None) -> entities.Experiment:
    """Make an experiment the one that runs go to; a name that is new is created.

    Raises:
        InvalidValueError: not exactly one of both is given. NotFoundError: no such id. RunStateError: deleted.
    """
    return entities.to_experiment(settings.set_experiment(experiment_name, experiment_id))


def create_experiment(
    name: str, artifact_location: str | None = None, tags: Mapping[str, Any] | None = None
) -> str:
    """Make an experiment; returns its id. Artifacts go with the runs: ``artifact_location`` is not used.

    Raises:
        InvalidValueError: the name is taken, or not taken as a name.
    """
    return Client().create_experiment(name, artifact_location, tags)


def get_experiment(experiment_id: str) -> entities.Experiment:
    """The experiment with an id.

    Raises:
        NotFoundError: there is none.
    """
    return Client().get_experiment(experiment_id)


def get_experiment_by_name(name: str) -> entities.Experiment | None:
    """The experiment with a name, or None."""
    return Client().get_experiment_by_name(name)


def search_experiments(
    view_type: int = entities.ViewType.ACTIVE_ONLY,
    max_results: int | None = None,
    filter_string: str | None = None,
    order_by: list[str] | None = None,
) -> list[entities.Experiment]:
    """Experiments, newest change first unless ``order_by`` says otherwise; see `Client.search_experiments`."""
    return Client().search_experiments(view_type, max_results, filter_string, order_by)


def list_experiments(view_type: int = entities.ViewType.ACTIVE_ONLY) -> list[entities.Experiment]:
    """Experiments sorted by name."""
    return Client().search_experiments(view_type, order_by=["name ASC"])


def rename_experiment(experiment_id: str, new_name: str) -> None:
    """Give an experiment another shown name; its branch and id stay."""
    Client().rename_experiment(experiment_id, new_name)


def delete_experiment(experiment_id: str) -> None:
    """Mark an experiment as deleted; it can be restored."""
    Client().delete_experiment(experiment_id)


def restore_experiment(experiment_id: str) -> None:
    """Take a deleted experiment back into use."""
    Client().restore_experiment(experiment_id)


def set_experiment_tag(key: str, value: Any) -> None:
    """Set a tag of the experiment that runs go to."""
    set_experiment_tags({key: value})


def set_experiment_tags(tags: Mapping[str, Any]) -> None:
    """Set several tags of the experiment that runs go to."""
    experiment = settings.current_experiment(settings.open_store())
    for key, value in tags.items():
        Client().set_experiment_tag(experiment.id, key, value)


def delete_experiment_tag(key: str) -> None:
    """Remove a tag of the experiment that runs go to."""
    Client().delete_experiment_tag(settings.current_experiment(settings.open_store()).id, key)


def get_run(run_id: str) -> entities.Run:
    """The run with an id, as it stands.

    Raises:
        NotFoundError: there is none.
    """
    return Client().get_run(run_id)


def get_parent_run(run_id: str) -> entities.Run | None:
    """The run that a run is nested in, or None."""
    return Client().get_parent_run(run_id)


def get_metric_history(run_id: str, key: str) -> list[entities.Metric]:
    """All values of a metric in the order they were logged."""
    return Client().get_metric_history(run_id, key)


def delete_run(run_id: str) -> None:
    """Mark a run as deleted; it can be restored."""
    Client().delete_run(run_id)


def restore_run(run_id: str) -> None:
    """Take a deleted run back into use."""
    Client().restore_run(run_id)
