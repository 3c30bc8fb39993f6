"""A run of ten million points: logging them, finishing, and the memory that finishing takes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from places import Bench
from processes import run_script
from samples import Sample
from table import Row, Target

NAME = "long_run"


def measure(bench: Bench) -> Iterator[Row]:
    points = bench.choose(10_000_000, 200_000)
    place = bench.make_repository("project")
    found = run_script(sys.executable, "ours/long_run.py", points, cwd=place, environment=bench.environment)
    of = f"{points:,} points"
    sampled = found["sampled_bytes"] - found["before_bytes"]
    own = found["sampled_own_bytes"] / 1e6
    yield _row(f"{of}: loop", "s", found["loop_s"])
    yield _row(f"{of}: finish", "s", found["finish_s"], Target("most", 20))
    most = found["max_bytes"] - found["before_bytes"]
    yield _row("memory, ru_maxrss beyond start", "MB", most / 1e6, Target("most", 300))
    yield _row(
        "memory, statm during finish",
        "MB",
        sampled / 1e6,
        note=f"{own:.0f} MB of the process's own, the rest pages of files; before the run "
        f"{found['before_bytes'] / 1e6:.0f} MB",
    )


def _row(what: str, unit: str, figure: float, target: Target | None = None, note: str = "") -> Row:
    return Row(benchmark=NAME, what=what, unit=unit, ours=Sample.of([figure]), target=target, note=note)
