"""Pushing: ``gittrack push`` of one run, and of a thousand, beside ``git push`` of the same commits."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from history import write_history
from places import Bench
from processes import time_command
from samples import Sample, interleave
from startup import gittrack_program
from table import Row, Target

NAME = "pushing"
_REF = "refs/heads/gittrack/Default"


def measure(bench: Bench) -> Iterator[Row]:
    yield _measure_one(bench)
    yield _measure_many(bench)


def _measure_one(bench: Bench) -> Row:
    """One run on top of what both remotes have; each round pushes another one."""
    many, rounds = bench.choose(5_000, 200), bench.choose(10, 2)
    place = _prepare(bench, "one", many)
    log = [gittrack_program(), "exec", "--experiment", "Default", "--", "true"]

    def push_anew(argv: Sequence[str]) -> Callable[[], list[float]]:
        def round_of() -> list[float]:
            time_command(log, place, bench.environment)
            return [time_command(argv, place, bench.environment)]

        return round_of

    found = interleave(
        {
            "ours": push_anew([gittrack_program(), "push", "ours"]),
            "git": push_anew(["git", "push", "--quiet", "theirs", f"{_REF}:{_REF}"]),
        },
        rounds,
    )
    return Row(
        benchmark=NAME,
        what=f"1 run to a repository that has {many:,}",
        unit="ms",
        ours=Sample.of(found["ours"].values, 1e3),
        peer=Sample.of(found["git"].values, 1e3),
        peer_name="git push",
        target=Target("ratio", 3),
    )


def _measure_many(bench: Bench) -> Row:
    """Very many runs to an empty repository, made anew for each round."""
    many, rounds = bench.choose(1_000, 100), bench.choose(5, 2)
    place = _prepare(bench, "many", 0)
    write_history(bench, place, many)

    def push_all(name: str, argv: Sequence[str]) -> Callable[[], list[float]]:
        def round_of() -> list[float]:
            shutil.rmtree(bench.folder / f"many-{name}.git")
            _make_remote(bench, "many", name)
            shutil.rmtree(place / ".git/gittrack/remotes", ignore_errors=True)
            for ref in bench.git(place, "for-each-ref", "--format=%(refname)", "refs/remotes").split():
                bench.git(place, "update-ref", "-d", ref)
            return [time_command(argv, place, bench.environment)]

        return round_of

    found = interleave(
        {
            "ours": push_all("ours", [gittrack_program(), "push", "ours"]),
            "git": push_all("theirs", ["git", "push", "--quiet", "theirs", f"{_REF}:{_REF}"]),
        },
        rounds,
    )
    return Row(
        benchmark=NAME,
        what=f"{many:,} runs in one push",
        unit="ms",
        ours=Sample.of(found["ours"].values, 1e3),
        peer=Sample.of(found["git"].values, 1e3),
        peer_name="git push",
        target=Target("ratio", 2),
    )


def _prepare(bench: Bench, name: str, many: int) -> Path:
    """A clone with two remotes, both up to date."""
    place = bench.make_repository(name)
    for remote in ("ours", "theirs"):
        bench.git(place, "remote", "add", remote, str(_make_remote(bench, name, remote)))
    if many:
        write_history(bench, place, many)
        time_command([gittrack_program(), "push", "ours"], place, bench.environment)
        bench.git(place, "push", "--quiet", "theirs", f"{_REF}:{_REF}")
    return place


def _make_remote(bench: Bench, name: str, remote: str) -> Path:
    path = bench.folder / f"{name}-{remote}.git"
    path.mkdir()
    bench.git(path, "init", "--quiet", "--bare")
    return path
