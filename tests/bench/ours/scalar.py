"""The scalar call: gittrack's beside a bare append of one CSV line, interleaved in one process.

Prints ``{"write": [µs a call, one a repetition], "log": …}``. The calls are written out as a script would write
them; a loop over functions would measure the loop.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time

import gittrack

TEN = [f"metric_{number}" for number in range(10)]


def time_write(values: list[float], descriptor: int) -> float:
    begun = time.perf_counter()
    for step, value in enumerate(values):
        os.write(descriptor, b"%d,%d,%r\n" % (step, time.time_ns() // 1_000_000, value))
    return time.perf_counter() - begun


def time_log(values: list[float]) -> float:
    begun = time.perf_counter()
    for step, value in enumerate(values):
        gittrack.log({"loss": value}, step=step)
    return time.perf_counter() - begun


def time_log_metric(values: list[float]) -> float:
    begun = time.perf_counter()
    for step, value in enumerate(values):
        gittrack.log_metric("loss", value, step=step)
    return time.perf_counter() - begun


def time_ten(values: list[float]) -> float:
    metrics = dict(zip(TEN, values, strict=False))
    begun = time.perf_counter()
    for step, _ in enumerate(values):
        gittrack.log(metrics, step=step)
    return time.perf_counter() - begun


def time_ten_literal(values: list[float]) -> float:
    begun = time.perf_counter()
    for step, value in enumerate(values):
        gittrack.log(
            {
                "metric_0": value,
                "metric_1": value,
                "metric_2": value,
                "metric_3": value,
                "metric_4": value,
                "metric_5": value,
                "metric_6": value,
                "metric_7": value,
                "metric_8": value,
                "metric_9": value,
            },
            step=step,
        )
    return time.perf_counter() - begun


def main(calls: int, repetitions: int) -> None:
    draw = random.Random(7)
    values = [2.0 / (1 + step / 1000) + draw.random() / 10 for step in range(calls)]
    descriptor = os.open("loss.csv", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    measures = {
        "write": lambda: time_write(values, descriptor),
        "log": lambda: time_log(values),
        "log_metric": lambda: time_log_metric(values),
        "ten": lambda: time_ten(values),
        "ten_literal": lambda: time_ten_literal(values),
    }
    gittrack.start_run()
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repetitions):
        for name, measure in measures.items():
            gc.collect()
            os.sync()  # what the one before left to be written is not this one's to wait for
            found[name].append(measure() / calls * 1e6)
    print(json.dumps(found), flush=True)
    os._exit(0)  # the run is thrown away: folding millions of points is another benchmark


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
