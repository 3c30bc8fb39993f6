"""MLflow's scalar call with one of its stores: prints µs a call, one figure a repetition."""

from __future__ import annotations

import json
import os
import sys
import time

import mlflow

STORES = {"sqlite": "sqlite:///scalar.db", "file": "file:" + os.path.abspath("mlruns")}


def main(store: str, calls: int, repetitions: int) -> None:
    mlflow.set_tracking_uri(STORES[store])
    found = []
    with mlflow.start_run():
        for repetition in range(repetitions + 1):
            begun = time.perf_counter()
            for step in range(calls):
                mlflow.log_metric("loss", 1.0 / (step + 1), step=repetition * calls + step)
            found.append((time.perf_counter() - begun) / calls * 1e6)
    print(json.dumps({"us": found[1:]}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
