"""Reading back a metric's whole history: ours as a DataFrame, beside MLflow's list, which makes none of it yet."""

from __future__ import annotations

from collections.abc import Iterator

from places import Bench
from processes import Worker, our_worker
from samples import Sample
from table import Row

NAME = "histories"


def measure(bench: Bench) -> Iterator[Row]:
    great, small = bench.choose(1_000_000, 50_000), bench.choose(50_000, 2000)
    again = bench.choose(5, 2)
    with our_worker("histories.py", cwd=bench.make_repository("ours"), environment=bench.environment) as ours:
        yield Row(
            benchmark=NAME,
            what=f"{great:,} points to a DataFrame",
            unit="s",
            ours=_ask(ours, great, again, 1),
        )
        mine = _ask(ours, small, again, 1e6 / small)
    theirs = _ask_peer(bench, small, again)
    yield Row(
        benchmark=NAME,
        what=f"a point of {small:,}",
        unit="us",
        ours=mine,
        peer=theirs,
        peer_name="mlflow sqlite" if theirs else "",
    )


def _ask_peer(bench: Bench, size: int, again: int) -> Sample | None:
    """Theirs, at a size that it can bear; None where there is no peer."""
    if not bench.peers_python:
        return None
    place, script = bench.make_repository("theirs"), "theirs/histories_mlflow.py"
    with Worker(bench.peers_python, script, cwd=place, environment=bench.environment) as worker:
        return _ask(worker, size, again, 1e6 / size)


def _ask(worker: Worker, size: int, again: int, scale: float) -> Sample:
    """Once to log the run and to load what reads it, then as often as asked."""
    worker.ask(size)
    return Sample.of([worker.ask(size)[0] for _ in range(again)], scale)
