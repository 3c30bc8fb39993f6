"""A small run, start to durable finish; a worker: reads a count, prints as many times in seconds.

The twin of ``theirs/small_run_mlflow.py``.
"""

from __future__ import annotations

import json
import sys
import time

import gittrack

PARAMS = {f"param_{number}": number * 0.25 for number in range(20)}
METRICS = {f"metric_{number}": number / 7 for number in range(10)}


def time_run() -> float:
    begun = time.perf_counter()
    with gittrack.start_run():
        gittrack.log_params(PARAMS)
        gittrack.log_metrics(METRICS, step=1)
    return time.perf_counter() - begun


for line in sys.stdin:
    print(json.dumps([time_run() for _ in range(int(line))]), flush=True)
