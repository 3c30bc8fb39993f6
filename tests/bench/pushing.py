"""Pushing: ``gittrack push`` of one run, and of a thousand, beside ``git push`` of the same commits.

To a server by HTTP, as forges are reached; and to a folder on the same disk, where starting Python is most of it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from history import write_history
from places import Bench
from processes import time_command
from samples import Sample, interleave
from startup import gittrack_program
from table import Row, Target

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.servers.git_http import GitHttp, make_bare, serve_git_over_http

NAME = "pushing"
_REF = "refs/heads/gittrack/Default"


def measure(bench: Bench) -> Iterator[Row]:
    served = bench.folder / "served"
    served.mkdir()
    with serve_git_over_http(served, users={}) as server:
        for kind, remotes in (("by HTTP", _Remotes(bench, server)), ("on disk", _Remotes(bench, None))):
            yield _measure_one(bench, remotes, kind)
            yield _measure_many(bench, remotes, kind)


@dataclass(frozen=True, slots=True)
class _Remotes:
    """Empty repositories to push to, two a clone: one for each side."""

    bench: Bench
    server: GitHttp | None

    def place(self, name: str) -> Path:
        return (self.server.folder if self.server else self.bench.folder) / f"{name}.git"

    def url(self, name: str) -> str:
        return self.server.url(name) if self.server else str(self.place(name))

    def make(self, name: str) -> None:
        """An empty one, also where there was one."""
        shutil.rmtree(self.place(name), ignore_errors=True)
        make_bare(self.place(name))


def _measure_one(bench: Bench, remotes: _Remotes, kind: str) -> Row:
    """One run on top of what both remotes have; each round pushes another one."""
    many, rounds = bench.choose(5_000, 200), bench.choose(10, 2)
    place = _prepare(bench, remotes, f"one-{kind.split()[-1]}", many)
    log = [gittrack_program(), "exec", "--experiment", "Default", "--", "true"]

    def push_anew(argv: Sequence[str]) -> Callable[[], list[float]]:
        def round_of() -> list[float]:
            time_command(log, place, bench.environment)
            return [time_command(argv, place, bench.environment)]

        return round_of

    found = interleave({name: push_anew(argv) for name, argv in _argvs().items()}, rounds)
    return _row(f"1 run to a repository that has {many:,}, {kind}", found, 3 if remotes.server else None)


def _measure_many(bench: Bench, remotes: _Remotes, kind: str) -> Row:
    """Very many runs to an empty repository, made anew for each round."""
    many, rounds = bench.choose(1_000, 100), bench.choose(5, 2)
    name = f"many-{kind.split()[-1]}"
    place = _prepare(bench, remotes, name, 0)
    write_history(bench, place, many)

    def push_all(side: str, argv: Sequence[str]) -> Callable[[], list[float]]:
        def round_of() -> list[float]:
            remotes.make(f"{name}-{side}")
            shutil.rmtree(place / ".git/gittrack/remotes", ignore_errors=True)
            for ref in bench.git(place, "for-each-ref", "--format=%(refname)", "refs/remotes").split():
                bench.git(place, "update-ref", "-d", ref)
            return [time_command(argv, place, bench.environment)]

        return round_of

    found = interleave({side: push_all(side, argv) for side, argv in _argvs().items()}, rounds)
    return _row(f"{many:,} runs in one push, {kind}", found, 2)


def _argvs() -> dict[str, list[str]]:
    return {
        "ours": [gittrack_program(), "push", "ours"],
        "git": ["git", "push", "--quiet", "git", f"{_REF}:{_REF}"],
    }


def _row(what: str, found: Mapping[str, Sample], most: float | None) -> Row:
    return Row(
        benchmark=NAME,
        what=what,
        unit="ms",
        ours=Sample.of(found["ours"].values, 1e3),
        peer=Sample.of(found["git"].values, 1e3),
        peer_name="git push",
        target=Target("ratio", most) if most else None,
    )


def _prepare(bench: Bench, remotes: _Remotes, name: str, many: int) -> Path:
    """A clone with two remotes, both up to date."""
    place = bench.make_repository(name)
    for side in ("ours", "git"):
        remotes.make(f"{name}-{side}")
        bench.git(place, "remote", "add", side, remotes.url(f"{name}-{side}"))
    if many:
        write_history(bench, place, many)
        time_command([gittrack_program(), "push", "ours"], place, bench.environment)
        bench.git(place, "push", "--quiet", "git", f"{_REF}:{_REF}")
    return place
