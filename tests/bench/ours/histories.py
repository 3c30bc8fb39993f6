"""One run's metric history to a DataFrame; a worker: ``histories.py`` reads a size, prints the seconds of reading.

The run of that size is logged first, once. The twin of ``theirs/histories_mlflow.py``.
"""

from __future__ import annotations

import functools
import json
import sys
import time

import gittrack as tracker


@functools.cache
def log_run(size: int) -> str:
    with tracker.start_run() as run:
        for step in range(size):
            tracker.log({"loss": 1 / (step + 1)}, step=step)
    return run.info.run_id


def time_reading(size: int) -> float:
    run_id = log_run(size)
    begun = time.perf_counter()
    frame = tracker.metrics(run_id, "loss")
    took_s = time.perf_counter() - begun
    assert (len(frame), frame["value"].iloc[-1]) == (size, 1 / size)
    return took_s


for line in sys.stdin:
    print(json.dumps([time_reading(int(line))]), flush=True)
