"""One point of a growth curve; a worker: ``curve.py points|artifacts|runs`` reads a size, prints the seconds.

The twin of ``theirs/curve_mlflow.py``.
"""

from __future__ import annotations

import json
import sys
import time

import gittrack as tracker

_CONTENT = "0123456789abcdef" * 640  # 10 KiB


def log_points(count: int) -> None:
    with tracker.start_run():
        for step in range(count):
            tracker.log_metric("loss", 1 / (step + 1), step=step)


def log_artifacts(count: int) -> None:
    with tracker.start_run():
        for number in range(count):
            tracker.log_text(f"{number}{_CONTENT}", f"files/{number}.txt")


def log_runs(count: int) -> None:
    for _ in range(count):
        with tracker.start_run():
            tracker.log_params({"lr": 0.1, "depth": 3})
            tracker.log_metric("loss", 0.5, step=1)


KINDS = {"points": log_points, "artifacts": log_artifacts, "runs": log_runs}


def time_size(kind: str, size: int) -> float:
    begun = time.perf_counter()
    KINDS[kind](size)
    return time.perf_counter() - begun


for line in sys.stdin:
    print(json.dumps([time_size(sys.argv[1], int(line))]), flush=True)
