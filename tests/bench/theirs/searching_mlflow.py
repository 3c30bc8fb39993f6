"""``search_runs`` to a DataFrame; a worker: ``searching_mlflow.py`` reads a count of runs, prints the seconds.

The runs, of 5 params and 5 metrics as ours, are logged first, once. The twin of ``ours/searching.py``.
"""

from __future__ import annotations

import functools
import json
import random
import sys
import time

import mlflow
from mlflow.entities import Metric, Param, RunTag

mlflow.set_tracking_uri("sqlite:///runs.db")

METRICS = ("train/loss", "val/loss", "val/accuracy", "val/f1", "val/auc")
PARAMS = ("lr", "dropout", "optimizer", "epochs", "augment")


@functools.cache
def log_runs(count: int) -> None:
    client, draw = mlflow.MlflowClient(), random.Random(20)
    for number in range(count):
        run_id = client.create_run("0", run_name=f"calm-otter-{number}").info.run_id
        client.log_batch(
            run_id,
            [Metric(key, draw.random(), number, 0) for key in METRICS],
            [Param(key, str(round(draw.random(), 4))) for key in PARAMS],
            [RunTag("team", "vision")],
        )
        client.set_terminated(run_id)


for line in sys.stdin:
    size = int(line)
    log_runs(size)
    begun = time.perf_counter()
    found = mlflow.search_runs(experiment_ids=["0"])
    took_s = time.perf_counter() - begun
    assert len(found) == size
    print(json.dumps([took_s]), flush=True)
