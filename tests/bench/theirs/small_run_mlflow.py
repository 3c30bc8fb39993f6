"""A small run of MLflow's SQLite store; a worker: reads a count, prints as many times in seconds.

The twin of ``ours/small_run.py``.
"""

from __future__ import annotations

import json
import sys
import time

import mlflow

PARAMS = {f"param_{number}": number * 0.25 for number in range(20)}
METRICS = {f"metric_{number}": number / 7 for number in range(10)}

mlflow.set_tracking_uri("sqlite:///runs.db")


def time_run() -> float:
    begun = time.perf_counter()
    with mlflow.start_run():
        mlflow.log_params(PARAMS)
        mlflow.log_metrics(METRICS, step=1)
    return time.perf_counter() - begun


for line in sys.stdin:
    print(json.dumps([time_run() for _ in range(int(line))]), flush=True)
