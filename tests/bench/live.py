"""Showing a run to others while it runs: what it costs the training loop, the start of a run, and the machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from places import Bench
from processes import run_script
from samples import Sample
from table import Row, Target

NAME = "live"


def measure(bench: Bench) -> Iterator[Row]:
    place = bench.make_repository("project")
    remote = bench.folder / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(remote)], check=True, env=bench.environment)
    bench.git(place, "remote", "add", "origin", str(remote))
    seconds, rounds = bench.choose(20, 4), bench.choose(5, 2)
    found = run_script(sys.executable, "ours/live.py", seconds, rounds, cwd=place, environment=bench.environment)
    ours, plain = Sample.of(found["live"]), Sample.of(found["plain"])
    yield Row(
        benchmark=NAME,
        what="log, shown every 2 s",
        unit="µs",
        ours=ours,
        peer=plain,
        peer_name="not shown",
        target=Target("ratio", 1.05),
    )
    started, bare = Sample.of(found["start_live_ms"]), Sample.of(found["start_plain_ms"])
    yield Row(benchmark=NAME, what="start_run(live=…)", unit="ms", ours=started, peer=bare, peer_name="not shown")
    yield _row("its process: CPU of one core", "%", found["cpu_percent"])
    yield _row("its process: memory of its own", "MB", found["own_bytes"] / 1e6)


def _row(what: str, unit: str, figure: float) -> Row:
    return Row(benchmark=NAME, what=what, unit=unit, ours=Sample.of([figure]))
