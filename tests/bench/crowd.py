"""A crowd: many processes commit into one branch while `git gc` runs beside them; every run must be there."""

from __future__ import annotations

import fcntl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from places import Bench
from processes import our_worker
from samples import Sample
from table import Row, Target

NAME = "crowd"


def measure(bench: Bench) -> Iterator[Row]:
    processes, each = bench.choose(8, 4), bench.choose(100, 10)
    place = bench.make_repository("project")
    begun = time.perf_counter()
    with _GcLoop(bench, place) as collecting, ExitStack() as stack:
        workers = [
            stack.enter_context(our_worker("small_run.py", cwd=place, environment=bench.environment))
            for _ in range(processes)
        ]
        for worker in workers:
            worker.begin(each)
        times_s = [took_s for worker in workers for took_s in worker.collect()]
        took_s = time.perf_counter() - begun
    _wait_for_folding(place)
    of = f"{processes} x {each} runs beside gc"
    gc_note = f"git gc ran {collecting.count} times, {len(collecting.failures)} of them failed"
    if collecting.failures:
        gc_note += f": {collecting.failures[0]}"
    yield _row(of, "s", Sample.of([took_s]), note=gc_note)
    yield _row("one run in the crowd", "ms", Sample.of(times_s, 1e3))
    reachable = Sample.of([_count_runs(bench, place)])
    yield _row("runs reachable", "", reachable, Target("exactly", processes * each))
    code, said = _check(bench, place)
    yield _row("git fsck --strict, exit code", "", Sample.of([code]), Target("exactly", 0), said)


class _GcLoop:
    """`git gc --prune=now`, again and again while the context lasts; at least once."""

    def __init__(self, bench: Bench, place: Path) -> None:
        self.count = 0
        self.failures: list[str] = []
        self._bench = bench
        self._place = place
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._collect)

    def __enter__(self) -> _GcLoop:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _collect(self) -> None:
        while True:
            try:
                self._bench.git(self._place, "gc", "--quiet", "--prune=now")
            except subprocess.CalledProcessError as error:
                self.failures.append(error.stderr.strip()[-200:])
            self.count += 1
            if self._over.is_set():
                return


def _count_runs(bench: Bench, place: Path) -> int:
    """Runs that plain git reaches from the branches."""
    words = ("log", "--format=%(trailers:key=Gittrack-Run,valueonly,separator=%x20)", "--branches=gittrack/*")
    return len(set(bench.git(place, *words).split()))


def _check(bench: Bench, place: Path) -> tuple[int, str]:
    argv = ["git", "fsck", "--strict", "--no-progress"]
    done = subprocess.run(
        argv, cwd=place, env=bench.environment, capture_output=True, text=True, errors="replace", check=False
    )
    return done.returncode, (done.stderr + done.stdout).strip()[:500]


def _wait_for_folding(place: Path) -> None:
    """Wait until no packs are folded in the background any more: git holds the lock while it does."""
    try:
        with open(place / ".git" / "gittrack" / "folding", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
    except FileNotFoundError:
        pass


def _row(what: str, unit: str, ours: Sample, target: Target | None = None, note: str = "") -> Row:
    return Row(benchmark=NAME, what=what, unit=unit, ours=ours, target=target, note=note)
