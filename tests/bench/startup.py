"""Start-up: what ``import gittrack`` adds to a bare interpreter, and how soon the command answers."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from history import write_history
from peers import peer_program
from places import Bench
from processes import ScriptError, time_command
from samples import Sample, interleave
from table import Row, Target

NAME = "startup"
_PASS = ("-c", "pass")


def measure(bench: Bench) -> Iterator[Row]:
    place = bench.make_repository("project")
    runs = bench.choose(1000, 100)
    write_history(bench, place, runs)
    timer = _Timer(bench, place)
    yield from _measure_import(bench, timer)
    yield _measure_version(bench, timer)
    yield from measure_ls(
        bench, place, runs, benchmark=NAME, rounds=bench.choose(10, 2), target=Target("most", 0.3)
    )


def measure_ls(
    bench: Bench, place: Path, runs: int, *, benchmark: str, rounds: int, target: Target | None = None
) -> Iterator[Row]:
    """``gittrack ls`` in a repository: the first time, when caches are made, and again for some rounds."""
    timer = _Timer(bench, place)
    first, note = timer.try_once([gittrack_program(), "ls"])
    again = None
    if first is not None:
        again = interleave({"ls": timer.of([gittrack_program(), "ls"])}, rounds)["ls"]
    yield Row(benchmark=benchmark, what=f"ls, {runs:,} runs", unit="s", ours=again, target=target, note=note)
    yield Row(benchmark=benchmark, what=f"ls, {runs:,} runs, first time", unit="s", ours=first, note=note)


def gittrack_program() -> str:
    """The path of the command that came with this interpreter's gittrack."""
    return str(Path(sysconfig.get_path("scripts")) / "gittrack")


class _Timer:
    """Times commands in one folder; one figure a call."""

    def __init__(self, bench: Bench, place: Path) -> None:
        self._place = place
        self._environment = bench.environment

    def of(self, argv: Sequence[str]) -> Callable[[], list[float]]:
        return lambda: [time_command(argv, self._place, self._environment)]

    def try_once(self, argv: Sequence[str]) -> tuple[Sample | None, str]:
        """One figure, or why there is none."""
        try:
            return Sample.of(self.of(argv)()), ""
        except ScriptError as error:
            return None, str(error)


def _measure_import(bench: Bench, timer: _Timer) -> Iterator[Row]:
    argvs = {"bare": [sys.executable, *_PASS], "ours": [sys.executable, "-c", "import gittrack"]}
    if bench.peers_python:
        argvs["peer bare"] = [bench.peers_python, *_PASS]
        argvs["peer"] = [bench.peers_python, "-c", "import mlflow"]
    found, note = _interleave_commands(bench, timer, argvs)
    bare, ours = found["bare"], found["ours"]
    peer = found["peer"].minus(found["peer bare"]) if "peer" in found else None
    yield Row(
        benchmark=NAME,
        what="import, beyond bare python",
        unit="ms",
        ours=Sample.of(ours.minus(bare).values, 1e3),
        peer=Sample.of(peer.values, 1e3) if peer else None,
        peer_name="mlflow",
        target=Target("ratio", 1 / 30),
        note=note,
    )


def _measure_version(bench: Bench, timer: _Timer) -> Row:
    argvs = {"ours": [gittrack_program(), "--version"]}
    if bench.peers_python:
        argvs["peer"] = [peer_program(bench.peers_python, "mlflow"), "--version"]
    found, note = _interleave_commands(bench, timer, argvs)
    return Row(
        benchmark=NAME,
        what="--version, whole process",
        unit="s",
        ours=found.get("ours"),
        peer=found.get("peer"),
        peer_name="mlflow",
        note=note,
    )


def _interleave_commands(
    bench: Bench, timer: _Timer, argvs: dict[str, list[str]]
) -> tuple[dict[str, Sample], str]:
    """Samples of the commands that work at all, and what the others said; once each to warm up."""
    measures, notes = {}, []
    for name, argv in argvs.items():
        first, note = timer.try_once(argv)
        if first is not None:
            measures[name] = timer.of(argv)
        else:
            notes.append(note)
    return interleave(measures, bench.choose(9, 2)), "; ".join(notes)
