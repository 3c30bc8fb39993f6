"""Growth: one more run where there are very many already must cost what it costs where there are few."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from history import write_history
from places import Bench
from processes import our_worker
from samples import Sample, interleave
from startup import measure_ls
from table import Row, Target

NAME = "growth"
_WARM_UPS = 3


def measure(bench: Bench) -> Iterator[Row]:
    few, many = bench.choose(1_000, 100), bench.choose(100_000, 1_000)
    small, large = _make(bench, few), _make(bench, many)
    with (
        our_worker("small_run.py", cwd=small, environment=bench.environment) as at_few,
        our_worker("small_run.py", cwd=large, environment=bench.environment) as at_many,
    ):
        first = {"few": Sample.of(at_few.ask(1), 1e3), "many": Sample.of(at_many.ask(1), 1e3)}
        at_few.ask(_WARM_UPS - 1)
        at_many.ask(_WARM_UPS - 1)
        found = interleave({"few": lambda: at_few.ask(5), "many": lambda: at_many.ask(5)}, bench.choose(4, 2))
    yield Row(
        benchmark=NAME,
        what=f"a run at {many:,} runs",
        unit="ms",
        ours=Sample.of(found["many"].values, 1e3),
        peer=Sample.of(found["few"].values, 1e3),
        peer_name=f"at {few:,}",
        target=Target("ratio", 1.5),
    )
    yield Row(
        benchmark=NAME,
        what="a process's first run there",
        unit="ms",
        ours=first["many"],
        peer=first["few"],
        peer_name=f"at {few:,}",
    )
    yield from measure_ls(bench, large, many, benchmark=NAME, rounds=1)


def _make(bench: Bench, count: int) -> Path:
    place = bench.make_repository(f"with-{count}")
    write_history(bench, place, count)
    return place
