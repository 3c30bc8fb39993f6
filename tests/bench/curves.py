"""How the time of one thing grows with how many there are: points, artifacts, runs before, processes beside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from history import write_history
from places import Bench
from processes import ScriptError, Worker, our_worker
from samples import Sample
from table import Row

NAME = "curves"
_PEER = "mlflow sqlite"


def measure(bench: Bench) -> Iterator[Row]:
    yield from _measure_sizes(bench, "points", "us", 1e6, (100, 1000, 10_000, 100_000, 1_000_000), peer_most=1000)
    yield from _measure_sizes(bench, "artifacts", "ms", 1e3, (1, 10, 100, 1000, 5000), peer_most=1000)
    yield from _measure_runs(bench, (10, 100, 1000, 10_000, 100_000), peer_most=1000)
    yield from _measure_processes(bench, (1, 2, 4, 8))


def _measure_sizes(
    bench: Bench, kind: str, unit: str, scale: float, sizes: Sequence[int], peer_most: int
) -> Iterator[Row]:
    """A run that holds so many: the time of each of them, start and finish of the run included."""
    with ExitStack() as stack:
        ours, theirs = _start(bench, stack, kind, kind)
        for size in _choose(bench, sizes):
            yield _row(
                kind, size, unit, _ask(ours, size, scale / size), _ask(theirs, size, scale / size, most=peer_most)
            )


def _measure_runs(bench: Bench, sizes: Sequence[int], peer_most: int) -> Iterator[Row]:
    """One more run where so many are."""
    for size in _choose(bench, sizes):
        with ExitStack() as stack:
            ours, theirs = _start(bench, stack, "runs", f"runs{size}")
            write_history(bench, bench.folder / f"runs{size}-ours", size)
            if theirs is not None and size <= peer_most:
                theirs.ask(size)
            again = bench.choose(9, 2)
            ours.ask(2)
            mine = Sample.of([ours.ask(1)[0] for _ in range(again)], 1e3)
            peer = None
            if theirs is not None and size <= peer_most:
                peer = Sample.of([theirs.ask(1)[0] for _ in range(again)], 1e3)
            yield _row("runs", size, "ms", mine, peer)


def _measure_processes(bench: Bench, sizes: Sequence[int]) -> Iterator[Row]:
    """So many processes that all write runs to one repository: the time between two runs that end."""
    each = bench.choose(40, 3)
    for size in _choose(bench, sizes, at_most=2):
        with ExitStack() as stack:
            ours, theirs = zip(*(_start(bench, stack, "runs", f"crowd{size}") for _ in range(size)), strict=True)
            yield _row(
                "processes",
                size,
                "ms",
                _ask_all(ours, each, 1e3 / size / each),
                _ask_all(theirs, each, 1e3 / size / each),
            )


def _choose(bench: Bench, sizes: Sequence[int], at_most: int = 100) -> Sequence[int]:
    return [size for size in sizes if size <= at_most] if bench.is_quick else sizes


def _start(bench: Bench, stack: ExitStack, kind: str, name: str) -> tuple[Worker, Worker | None]:
    """A worker of ours and, where there are peers, one of theirs, in repositories of that name."""
    place = _place(bench, f"{name}-ours")
    ours = stack.enter_context(our_worker("curve.py", kind, cwd=place, environment=bench.environment))
    if not bench.peers_python:
        return ours, None
    python, there = bench.peers_python, _place(bench, f"{name}-theirs")
    theirs = Worker(python, "theirs/curve_mlflow.py", kind, cwd=there, environment=bench.environment)
    return ours, stack.enter_context(theirs)


def _place(bench: Bench, name: str) -> Path:
    place = bench.folder / name
    return place if place.exists() else bench.make_repository(name)


def _ask(worker: Worker | None, size: int, scale: float, most: int | None = None) -> Sample | None:
    """Three times; None where there is nobody to ask, or it would take too long."""
    if worker is None or (most is not None and size > most):
        return None
    worker.ask(1)
    return Sample.of([worker.ask(size)[0] for _ in range(3)], scale)


def _ask_all(workers: Sequence[Worker | None], each: int, scale: float) -> Sample | None:
    """The slowest of workers that begin together; None where one fails, as writers of one SQLite file may."""
    asked = [worker for worker in workers if worker is not None]
    if not asked:
        return None
    try:
        for worker in asked:
            worker.ask(1)
        for worker in asked:
            worker.begin(each)
        return Sample.of([max(worker.collect()[0] for worker in asked)], scale)
    except ScriptError:
        return None


def _row(curve: str, size: int, unit: str, ours: Sample | None, peer: Sample | None) -> Row:
    shown = {
        "points": "a point of",
        "artifacts": "an artifact of",
        "runs": "one more run at",
        "processes": "a run of",
    }
    many = "processes" if curve == "processes" else curve
    return Row(
        benchmark=NAME,
        what=f"{shown[curve]} {size:,} {many}",
        unit=unit,
        ours=ours,
        peer=peer,
        peer_name=_PEER if peer else "",
        curve=curve,
        size=size,
    )
