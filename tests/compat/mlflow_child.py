"""MLflow as a child of the tests: logs the runs of its first line to a SQLite store, then answers searches.

Each line in and out is JSON. The first is the list of runs, answered by their ids; each further one is a filter
and terms to order by, answered by the ids that fit, in order, or by MLflow's error as text. Started in an empty
folder, by a Python that has MLflow (`tests.harness.find_mlflow_python`).
"""

from __future__ import annotations

import json
import logging
import sys

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

logging.disable(logging.CRITICAL)
client = mlflow.MlflowClient(tracking_uri="sqlite:///runs.db")
EXPERIMENT = client.create_experiment("searched")


def log_run(run: dict) -> str:
    tags = {"mlflow.user": run["user"], **run["tags"]}
    made = client.create_run(EXPERIMENT, start_time=run["started_at"], run_name=run["name"], tags=tags)
    run_id = made.info.run_id
    metrics = [Metric(key, float(value), 0, 0) for key, value in run["metrics"].items()]
    params = [Param(key, value) for key, value in run["params"].items()]
    client.log_batch(run_id, metrics, params, [RunTag("logged", "yes")])
    for name, digest, context in run["datasets"]:
        labels = [InputTag("mlflow.data.context", context)] if context else []
        client.log_inputs(run_id, [DatasetInput(Dataset(name, digest, "local", "here"), labels)])
    if run["ended_at"] is not None:
        client.set_terminated(run_id, run["status"], run["ended_at"])
    return run_id


def search(text: str, order_by: list[str]) -> list[str] | str:
    try:
        return [run.info.run_id for run in client.search_runs([EXPERIMENT], text, order_by=order_by)]
    except MlflowException as error:
        return error.message


print(json.dumps([log_run(run) for run in json.loads(sys.stdin.readline())]), flush=True)
for line in sys.stdin:
    print(json.dumps(search(*json.loads(line))), flush=True)
