"""A script moves by changing its import: names, arguments and defaults are those of MLflow 3's fluent API."""

from __future__ import annotations

import inspect

import pytest

import gittrack

# MLflow 3.17's signatures, annotations left out
FLUENT = """
active_run()
create_experiment(name, artifact_location=None, tags=None)
delete_experiment(experiment_id)
delete_experiment_tag(key)
delete_run(run_id)
delete_tag(key)
disable_system_metrics_logging()
enable_system_metrics_logging()
end_run(status='FINISHED')
flush_async_logging()
get_artifact_uri(artifact_path=None)
get_experiment(experiment_id)
get_experiment_by_name(name)
get_parent_run(run_id)
get_run(run_id)
get_tracking_uri()
is_tracking_uri_set()
last_active_run()
log_artifact(local_path, artifact_path=None, run_id=None)
log_artifacts(local_dir, artifact_path=None, run_id=None)
log_dict(dictionary, artifact_file, run_id=None)
log_figure(figure, artifact_file, *, save_kwargs=None)
log_image(image, artifact_file=None, key=None, step=None, timestamp=None, synchronous=False)
log_input(dataset=None, context=None, tags=None, model=None)
log_inputs(datasets=None, contexts=None, tags_list=None, models=None)
log_metric(key, value, step=None, synchronous=None, timestamp=None, run_id=None, model_id=None, dataset=None)
log_metrics(metrics, step=None, synchronous=None, run_id=None, timestamp=None, model_id=None, dataset=None)
log_param(key, value, synchronous=None)
log_params(params, synchronous=None, run_id=None)
log_stream(stream, artifact_file, run_id=None)
log_table(data, artifact_file, run_id=None)
log_text(text, artifact_file, run_id=None)
restore_experiment(experiment_id)
restore_run(run_id)
search_experiments(view_type=1, max_results=None, filter_string=None, order_by=None)
set_experiment(experiment_name=None, experiment_id=None)
set_experiment_tag(key, value)
set_experiment_tags(tags)
set_system_metrics_samples_before_logging(samples)
set_system_metrics_sampling_interval(interval)
set_tag(key, value, synchronous=None)
set_tags(tags, synchronous=None)
set_tracking_uri(uri)
start_run(run_id=None, experiment_id=None, run_name=None, nested=False, parent_run_id=None, tags=None, \
description=None, log_system_metrics=None)
"""
CLIENT = """
create_experiment(self, name, artifact_location=None, tags=None)
create_run(self, experiment_id, start_time=None, tags=None, run_name=None)
delete_experiment(self, experiment_id)
delete_experiment_tag(self, experiment_id, key)
delete_run(self, run_id)
delete_tag(self, run_id, key)
download_artifacts(self, run_id, path, dst_path=None)
get_experiment(self, experiment_id)
get_experiment_by_name(self, name)
get_metric_history(self, run_id, key)
get_parent_run(self, run_id)
get_run(self, run_id)
list_artifacts(self, run_id, path=None)
log_artifact(self, run_id, local_path, artifact_path=None)
log_artifacts(self, run_id, local_dir, artifact_path=None)
log_batch(self, run_id, metrics=(), params=(), tags=(), synchronous=None)
log_dict(self, run_id, dictionary, artifact_file)
log_figure(self, run_id, figure, artifact_file, *, save_kwargs=None)
log_image(self, run_id, image, artifact_file=None, key=None, step=None, timestamp=None, synchronous=None)
log_inputs(self, run_id, datasets=None, models=None)
log_metric(self, run_id, key, value, timestamp=None, step=None, synchronous=None, dataset_name=None, \
dataset_digest=None, model_id=None)
log_param(self, run_id, key, value, synchronous=None)
log_stream(self, run_id, stream, artifact_file)
log_table(self, run_id, data, artifact_file)
log_text(self, run_id, text, artifact_file)
rename_experiment(self, experiment_id, new_name)
restore_experiment(self, experiment_id)
restore_run(self, run_id)
search_experiments(self, view_type=1, max_results=None, filter_string=None, order_by=None)
set_experiment_tag(self, experiment_id, key, value)
set_tag(self, run_id, key, value, synchronous=None)
set_terminated(self, run_id, status=None, end_time=None)
update_run(self, run_id, status=None, name=None)
"""
ARTIFACTS = """
download_artifacts(artifact_uri=None, run_id=None, artifact_path=None, dst_path=None, tracking_uri=None)
list_artifacts(artifact_uri=None, run_id=None, artifact_path=None, tracking_uri=None)
load_dict(artifact_uri)
load_image(artifact_uri)
load_text(artifact_uri)
"""


OURS = {"start_run": ["live"]}  # beyond MLflow's: by keyword alone, behind all others


def plain_signature(name: str, function: object) -> str:
    signature = inspect.signature(function)  # type: ignore[arg-type]
    parameters = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    for extra in OURS.get(name, []):
        added = parameters.pop()
        assert (added.name, added.kind) == (extra, inspect.Parameter.KEYWORD_ONLY)
    bare = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return f"{name}{bare}"


def rows(table: str) -> list[str]:
    return [line for line in table.strip().splitlines() if line]


@pytest.mark.parametrize("expected", rows(FLUENT))
def test_a_module_level_call_is_called_as_in_mlflow(expected: str) -> None:
    name = expected.partition("(")[0]
    assert plain_signature(name, getattr(gittrack, name)) == expected


@pytest.mark.parametrize("expected", rows(CLIENT))
def test_a_clients_method_is_called_as_in_mlflow(expected: str) -> None:
    name = expected.partition("(")[0]
    assert plain_signature(name, getattr(gittrack.MlflowClient, name)) == expected


@pytest.mark.parametrize("expected", rows(ARTIFACTS))
def test_artifacts_are_fetched_as_in_mlflow(expected: str) -> None:
    name = expected.partition("(")[0]
    assert plain_signature(name, getattr(gittrack.artifacts, name)) == expected


def test_the_names_that_scripts_import_are_there() -> None:
    from gittrack.artifacts import download_artifacts
    from gittrack.data import from_numpy, from_pandas
    from gittrack.entities import Metric, Param, RunTag, ViewType
    from gittrack.tracking import MlflowClient

    assert MlflowClient is gittrack.MlflowClient is gittrack.Client
    assert all((download_artifacts, from_numpy, from_pandas, Metric, Param, RunTag, ViewType.ACTIVE_ONLY))
    assert {name for name in gittrack.__all__ if not hasattr(gittrack, name)} == set()
