"""Uploading one large artifact to an LFS server, beside ``git lfs push`` of the same object to the same server."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from places import Bench
from processes import run_script, time_command
from samples import Sample, interleave
from table import Row, Target

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.servers.lfs import USER, LfsServer, make_token, serve_giftless

NAME = "uploading"
_CHUNK = 1 << 20


def measure(bench: Bench) -> Iterator[Row]:
    size_mb = bench.choose(2_000, 20)
    place = bench.make_repository("here")
    oid = _make_object(place, size_mb)
    with serve_giftless(bench.folder / "giftless") as server:
        bench.git(place, "config", "lfs.url", server.url.replace("://", f"://{USER}:{make_token()}@"))
        bench.git(place, "config", "lfs.locksverify", "false")
        bench.git(place, "remote", "add", "origin", server.url)
        sides = _Sides(bench, place, server, oid)
        found = interleave({"ours": sides.time_ours, "theirs": sides.time_theirs}, bench.choose(5, 1))
    yield Row(
        benchmark=NAME,
        what=f"an artifact of {size_mb:,} MB, whole process",
        unit="s",
        ours=found["ours"],
        peer=found["theirs"],
        peer_name="git lfs push",
        target=Target("ratio", 1 / 0.7),
    )
    yield Row(
        benchmark=NAME,
        what=f"memory at most beyond start, {size_mb:,} MB",
        unit="MB",
        ours=Sample(tuple(sides.grown_mb)),
        target=Target("most", 100),
    )


@dataclass(slots=True)
class _Sides:
    """Both ways to send the object; the server has it before neither."""

    bench: Bench
    place: Path
    server: LfsServer
    oid: str
    grown_mb: list[float] = field(default_factory=list)

    def time_ours(self) -> list[float]:
        begun = time.perf_counter()
        told = run_script(
            sys.executable, "ours/uploading.py", self.oid, cwd=self.place, environment=self.bench.environment
        )
        took_s = time.perf_counter() - begun
        self.grown_mb.append(told["grown_mb"])
        return self._checked(took_s)

    def time_theirs(self) -> list[float]:
        argv = ["git", "lfs", "push", "--object-id", "origin", self.oid]
        return self._checked(time_command(argv, self.place, self.bench.environment))

    def _checked(self, took_s: float) -> list[float]:
        """What was measured, once the server has shown that it has the object; it loses it then."""
        held = self.server.find(self.oid)
        assert held is not None
        assert held.stat().st_size == _path(self.place, self.oid).stat().st_size
        held.unlink()
        return [took_s]


def _make_object(place: Path, size_mb: int) -> str:
    """An object of so many megabytes that do not compress, in the repository's LFS store; its oid."""
    digest, block = hashlib.sha256(), os.urandom(_CHUNK)
    with open(place / "object", "wb") as file:
        for number in range(size_mb):
            chunk = number.to_bytes(8, "big") + block[8:]
            digest.update(chunk)
            file.write(chunk)
    target = _path(place, digest.hexdigest())
    target.parent.mkdir(parents=True)
    (place / "object").rename(target)
    return digest.hexdigest()


def _path(place: Path, oid: str) -> Path:
    return place / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid
