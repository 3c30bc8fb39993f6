"""Searching: building the index beside git's own reading of the same objects, and how soon it answers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from history import write_history
from places import Bench
from processes import ScriptError, Worker, our_worker
from samples import Sample, interleave
from startup import measure_ls
from table import Row, Target

NAME = "searching"
COLD, NEW, FILTER, FRAME = 1, 2, 3, 4  # what the worker is asked for
_BRANCH = "gittrack/Default"


def measure(bench: Bench) -> Iterator[Row]:
    many = bench.choose(100_000, 1_000)
    place = bench.make_repository("many")
    write_history(bench, place, many)
    with our_worker("searching.py", cwd=place, environment=bench.environment) as worker:
        rounds = {"ours": lambda: worker.ask(COLD), "git": lambda: [_time_git(bench, place)]}
        found = interleave(rounds, bench.choose(3, 2))
        yield Row(
            benchmark=NAME,
            what=f"cold index of {many:,} runs",
            unit="s",
            ours=found["ours"],
            peer=found["git"],
            peer_name="git log | git cat-file",
            target=Target("ratio", 4),
        )
        yield _row(worker, FRAME, f"{many:,} runs to a DataFrame", "s", 1, bench.choose(5, 2), 3)
        typical = "filter, order, 100 rows (median of 6 questions)"
        yield _row(worker, FILTER, typical, "ms", 1e3, bench.choose(5, 2), 60)
        yield _row(worker, NEW, "up to date after one new run", "ms", 1e3, bench.choose(15, 2), 50)
    yield from measure_ls(
        bench, place, many, benchmark=NAME, rounds=bench.choose(10, 2), target=Target("most", 0.35)
    )
    yield from _measure_frames(bench)


def _row(worker: Worker, what: int, name: str, unit: str, scale: float, again: int, most: float) -> Row:
    worker.ask(what)  # what it loads is loaded then
    values = [value for _ in range(again) for value in worker.ask(what)]
    return Row(benchmark=NAME, what=name, unit=unit, ours=Sample.of(values, scale), target=Target("most", most))


def _time_git(bench: Bench, place: Path) -> float:
    """Seconds that git takes to give the commits, their trees and the files of their records.

    Raises:
        ScriptError: it failed.
    """
    names = "%n".join(["%H", "%T", *(f"%H:{name}" for name in ("run.yaml", "params.yaml", "metrics.yaml"))])
    command = f"git log --format='{names}' {_BRANCH} | git cat-file --batch --buffer"
    begun = time.perf_counter()
    done = subprocess.run(
        ["sh", "-c", command], cwd=place, env=bench.environment, stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise ScriptError(f"{command} (exit {done.returncode})")
    return time.perf_counter() - begun


def _measure_frames(bench: Bench) -> Iterator[Row]:
    """``search_runs`` to a DataFrame, a run: at a size that MLflow can bear."""
    count, again = bench.choose(2_000, 200), bench.choose(5, 2)
    place = bench.make_repository("beside")
    write_history(bench, place, count)
    with our_worker("searching.py", cwd=place, environment=bench.environment) as worker:
        worker.ask(FRAME)
        ours = Sample.of([worker.ask(FRAME)[0] for _ in range(again)], 1e6 / count)
    theirs = None
    if bench.peers_python:
        there, script = bench.make_repository("theirs"), "theirs/searching_mlflow.py"
        with Worker(bench.peers_python, script, cwd=there, environment=bench.environment) as worker:
            worker.ask(count)
            theirs = Sample.of([worker.ask(count)[0] for _ in range(again)], 1e6 / count)
    yield Row(
        benchmark=NAME,
        what=f"a run of {count:,} to a DataFrame",
        unit="us",
        ours=ours,
        peer=theirs,
        peer_name="mlflow sqlite" if theirs else "",
    )
