"""A small run from start to finish: 20 params, 10 metrics. Ours is durable when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from places import Bench
from processes import ScriptError, Worker, our_worker
from samples import Sample, interleave
from table import Row, Target

NAME = "small_run"
_WARM_UPS = 3


def measure(bench: Bench) -> Iterator[Row]:
    rounds = bench.choose(8, 2)
    ours, note = None, ""
    with ExitStack() as stack:
        ours = stack.enter_context(
            our_worker("small_run.py", cwd=bench.make_repository("ours"), environment=bench.environment)
        )
        ours.ask(_WARM_UPS)
        measures = {"ours": lambda: ours.ask(5)}
        if bench.peers_python:
            try:
                peer = stack.enter_context(_start_mlflow(bench, bench.peers_python))
                peer.ask(_WARM_UPS)
                measures["peer"] = lambda: peer.ask(5)
            except ScriptError as error:
                note = str(error)
        found = interleave(measures, rounds)
    yield Row(
        benchmark=NAME,
        what="20 params, 10 metrics",
        unit="ms",
        ours=Sample.of(found["ours"].values, 1e3),
        peer=Sample.of(found["peer"].values, 1e3) if "peer" in found else None,
        peer_name="mlflow sqlite",
        target=Target("ratio", 1 / 3),
        note=note,
    )


def _start_mlflow(bench: Bench, python: str) -> Worker:
    place = bench.make_repository("theirs")
    return Worker(python, "theirs/small_run_mlflow.py", cwd=place, environment=bench.environment)
