"""One run's metric history; a worker: ``histories_mlflow.py`` reads a size, prints the seconds of reading.

The run of that size is logged first, once, by the batch. The twin of ``ours/histories.py``.
"""

from __future__ import annotations

import functools
import json
import sys
import time

import mlflow
from mlflow.entities import Metric

mlflow.set_tracking_uri("sqlite:///runs.db")

_BATCH = 1000  # MLflow's limit of one call


@functools.cache
def log_run(size: int) -> str:
    client = mlflow.MlflowClient()
    with mlflow.start_run() as run:
        for begin in range(0, size, _BATCH):
            steps = range(begin, min(begin + _BATCH, size))
            client.log_batch(run.info.run_id, [Metric("loss", 1 / (step + 1), step, step) for step in steps])
    return run.info.run_id


def time_reading(size: int) -> float:
    run_id = log_run(size)
    begun = time.perf_counter()
    points = mlflow.MlflowClient().get_metric_history(run_id, "loss")
    took_s = time.perf_counter() - begun
    assert (len(points), points[-1].value) == (size, 1 / size)
    return took_s


for line in sys.stdin:
    print(json.dumps([time_reading(int(line))]), flush=True)
