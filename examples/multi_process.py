"""Training in several processes: one run, to which every worker logs its own rank's metrics.

    python multi_process.py

Shown for both ways in which Python starts processes:

- fork: a worker is a copy of the parent, the run in it is open already, and it just logs;
- spawn: a worker is a fresh interpreter, as under torchrun or Slurm; it joins the run by its id.

Each process writes to a file of its own, so no worker waits for another. The parent alone ends the run.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext

import numpy as np

import gittrack

WORKERS = 4
STEPS = 50


def main() -> None:
    gittrack.set_experiment("multi-process")
    for method in ("fork", "spawn"):
        if method in multiprocessing.get_all_start_methods():
            train_in_processes(multiprocessing.get_context(method), method)


def train_in_processes(context: BaseContext, method: str) -> None:
    """Train with workers that are started by a method, and check that every point they logged is in the run."""
    with gittrack.start_run(run_name=f"by-{method}") as run:
        gittrack.log_params({"start_method": method, "workers": WORKERS, "steps": STEPS})
        run_id = run.info.run_id
        if method == "fork":
            workers = [context.Process(target=train_rank, args=(rank,)) for rank in range(WORKERS)]
        else:
            workers = [context.Process(target=join_and_train, args=(run_id, rank)) for rank in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            raise RuntimeError(f"a worker failed: exit codes {[worker.exitcode for worker in workers]}")

    # Read back from the commit that the run has become.
    points = [gittrack.get_metric_history(run_id, f"rank{rank}/loss") for rank in range(WORKERS)]
    complete = all([point.step for point in found] == list(range(STEPS)) for found in points)
    print(f"{method}: {sum(map(len, points))} of {WORKERS * STEPS} points, complete: {complete}")


def join_and_train(run_id: str, rank: int) -> None:
    """What a spawned worker does. Leaving the ``with`` block leaves the run; it does not end it."""
    with gittrack.start_run(run_id=run_id):
        train_rank(rank)


def train_rank(rank: int) -> None:
    """Gradient descent on this rank's shard of the data: find the mean of its numbers."""
    shard = np.random.default_rng(rank).normal(loc=rank, size=100)
    guess = 0.0
    for step in range(STEPS):
        errors = guess - shard
        guess -= 0.1 * errors.mean()
        # The rank is part of the key: keys with a '/' are grouped by it.
        gittrack.log({f"rank{rank}/loss": (errors**2).mean(), f"rank{rank}/guess": guess}, step=step)


if __name__ == "__main__":
    main()
