"""The power goes while writers work: what was acknowledged is there, and the next command needs no help.

Real file systems in loop-mounted images are shut down by FS_IOC_SHUTDOWN without a flush of their log, from a
process outside; then mounted again, which replays the log. All that the device was told to write stays: what a
disk with a lying cache loses is not shown.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.proof.disks import Disk
from tests.proof.power_writer import ACKNOWLEDGE
from tests.proof.tally import Tally

PROMISE = (
    "After a power cut every finished run, edit and artifact that was acknowledged is there; of a run in flight "
    "at most one second is lost, in sync mode nothing"
)
UNIT = "power cuts"
FULL, SLICE = 500, 20
CONTROL = 6

ROOT = Path(__file__).resolve().parents[2]
_CUTS_PER_IMAGE = 10
_FIRST_WORD_S = 60.0
_OPTIONS = {"ext4": ["", "", "commit=1", "data=journal"], "xfs": ["", "", "logbsize=256k"]}
# roles of the processes that work together, whether they sync each record, and how long until the cut, in seconds
_SHORT, _LONG = (0.0, 0.35), (1.2, 2.4)
_SCENES: list[tuple[list[str], tuple[float, float]]] = [
    (["runs"], _SHORT),
    (["train", "train sync"], _LONG),
    (["runs", "runs"], _SHORT),
    (["runs"], _SHORT),
    (["runs", "pack"], _SHORT),
    (["train sync", "runs"], _SHORT),
    (["runs", "runs", "train"], _SHORT),
    (["commits"], _SHORT),
]


@dataclass
class Workers:
    """A process that forks others when asked, and the pipe on which they tell what they did."""

    process: subprocess.Popen[str]
    pipe: int
    environment: dict[str, str]
    torn: bytes = b""
    lines: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def start(self, task: dict[str, Any]) -> int:
        return self._ask(task)

    def wait(self, pid: int) -> int:
        return self._ask({"wait": pid})

    def listen(self, until: float) -> None:
        """Read what is told until a moment of `time.monotonic`; each line gets the time at which it was read."""
        while (left_s := until - time.monotonic()) > 0 or select.select([self.pipe], [], [], 0)[0]:
            if select.select([self.pipe], [], [], max(left_s, 0))[0]:
                *whole, self.torn = (self.torn + os.read(self.pipe, 1 << 16)).split(b"\n")
                now = time.monotonic()
                self.lines += [(now, json.loads(line)) for line in whole]
            if time.monotonic() > until:
                return

    def _ask(self, task: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def attack(count: int, seed: int, folder: Path) -> Tally:
    """Cut the power so often: every fifth time of an xfs, else of an ext4."""
    return _cut_often(count, seed, folder, _SCENES)


def control(count: int, seed: int, folder: Path) -> Tally:
    """The same with runs that dulwich commits, as its documentation shows."""
    return _cut_often(count, seed, folder, [(["dulwich"], (0.1, 0.5))])


def control_without_sync(count: int, seed: int, folder: Path) -> Tally:
    """The same with gittrack, its syncs left out."""
    return _cut_often(count, seed, folder, [(["runs"], (0.2, 0.5))], careless=True)


def _cut_often(
    count: int,
    seed: int,
    folder: Path,
    scenes: list[tuple[list[str], tuple[float, float]]],
    *,
    careless: bool = False,
) -> Tally:
    folder.mkdir(parents=True, exist_ok=True)
    losses: list[str] = []
    seen: Counter[str] = Counter()
    with _workers(folder) as workers:
        series = {kind: _Series(kind, folder, workers) for kind in ("ext4", "xfs")}
        for number in range(count):
            kind = "xfs" if number % 5 == 4 else "ext4"
            scene = scenes[(number + number // 5) % len(scenes)]
            found = series[kind].cut(number, seed, scene, careless=careless)
            seen[f"{kind} cuts"] += 1
            losses += [f"cut {number} ({kind}, {' + '.join(scene[0])}): {text}" for text in found["losses"]]
            _add_up(seen, found["seen"])
    return Tally(count, losses, dict(seen))


def _add_up(seen: Counter[str], more: dict[str, int]) -> None:
    for name, figure in more.items():
        seen[name] = max(seen[name], figure) if name.endswith(", ms") else seen[name] + figure


class _Series:
    """Cuts of one file system after each other; a new image after some."""

    def __init__(self, kind: str, folder: Path, workers: Workers) -> None:
        self._base = Disk(kind, folder / f"{kind}.base", folder / f"{kind}.mount")
        self._disk = Disk(kind, folder / f"{kind}.image", folder / f"{kind}.mount")
        self._folder = folder
        self._workers = workers
        self._cuts = 0
        self._former: dict[str, str] = {}
        self._is_made = False

    def cut(
        self, number: int, seed: int, scene: tuple[list[str], tuple[float, float]], *, careless: bool
    ) -> dict[str, Any]:
        """One cut, and what is found afterwards."""
        source = random.Random(f"{seed} {number}")
        self._prepare()
        with self._disk.mounted(source.choice(_OPTIONS[self._disk.kind])):
            lines = self._work_and_cut(number, source, scene, careless=careless)
        with self._disk.mounted():
            if "dulwich" in scene[0]:
                found = _check_commits(self._disk.target / "repo", lines, self._workers.environment)
            else:
                found = self._check(number, source, lines, is_git_hurt="commits" in scene[0])
        self._former = found["commits"]
        if found["losses"] or "commits" in scene[0]:
            self._cuts = 0  # what is lost once would be counted again
        return found

    def _prepare(self) -> None:
        if not self._is_made:
            self._base.make()
            with self._base.mounted() as place:
                _make_repository(place, self._workers.environment)
                os.sync()
            self._is_made = True
        if self._cuts % _CUTS_PER_IMAGE == 0:
            self._disk.copy_from(self._base.image)
            self._former = {}
        self._cuts += 1

    def _task(self, role: str, **fields: Any) -> dict[str, Any]:
        place = self._disk.target
        environment = {"HOME": str(place / "home"), "TMPDIR": str(place / "tmp")}
        return {"role": role, "folder": str(place / "repo"), "environment": environment, **fields}

    def _work_and_cut(
        self,
        number: int,
        source: random.Random,
        scene: tuple[list[str], tuple[float, float]],
        *,
        careless: bool,
    ) -> list[tuple[float, dict[str, Any]]]:
        """Let writers work and cut the power; what they told, with the seconds from then to the cut."""
        roles, (least_s, most_s) = scene
        self._workers.lines = []
        pids = []
        try:
            for place, words in enumerate(roles):
                role, _, mode = words.partition(" ")
                task = self._task(role, number=place, cut=number, seed=source.random(), careless=careless)
                if mode == "sync":
                    task["environment"]["GITTRACK_SYNC"] = "1"
                pids.append(self._workers.start(task))
            self._wait_for_word(source.choice(["start", "finish", "finish", "finish"]))
            self._workers.listen(time.monotonic() + source.uniform(least_s, most_s))
            cut_at = time.monotonic()  # whatever was read is older
            self._disk.cut()
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            for pid in pids:
                self._workers.wait(pid)
        before = self._workers.lines
        self._workers.lines = []
        self._workers.listen(time.monotonic() + 0.001)
        late = [(-1.0, line) for _, line in self._workers.lines]  # told, but not known to be before the cut
        return [(cut_at - at, line) for at, line in before] + late

    def _wait_for_word(self, word: str) -> None:
        """Until a writer has begun or ended a run (one that trains ends none), or has failed, which is a loss."""
        deadline = time.monotonic() + _FIRST_WORD_S
        while not any(line["kind"] in (word, "commit", "guest", "failed") for _, line in self._workers.lines):
            assert time.monotonic() < deadline, f"no writer said {word}: {self._workers.lines[-3:]}"
            self._workers.listen(time.monotonic() + 0.005)

    def _check(
        self, number: int, source: random.Random, lines: list[tuple[float, dict[str, Any]]], *, is_git_hurt: bool
    ) -> dict[str, Any]:
        answer = self._folder / "answer.json"
        answer.unlink(missing_ok=True)
        task = self._task(
            "check",
            lines=lines,
            former=self._former,
            answer=str(answer),
            is_git_hurt=is_git_hurt,
            new_boot=source.random() < 0.5,
            command=source.choice(["run", "run", "run", "ls"]),
        )
        code = self._workers.wait(self._workers.start(task))
        if code or not answer.exists():
            log = (self._folder / "errors.txt").read_text(encoding="utf-8", errors="replace")
            return {"losses": [f"the check ended with {code}: {log[-2000:]}"], "seen": {}, "commits": {}}
        return dict(json.loads(answer.read_text()))


def _check_commits(
    repo: Path, lines: list[tuple[float, dict[str, Any]]], environment: dict[str, str]
) -> dict[str, Any]:
    """As `power_check` for plain commits: those that were acknowledged are on the branch, and git is content."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *words], cwd=repo, capture_output=True, text=True, check=False, env=environment
        )

    commits = [line["id"] for age_s, line in lines if line["kind"] == "commit" and age_s > 0]
    on_branch = git("rev-list", "--objects", "HEAD").stdout.split()
    losses = [f"commit {commit} is lost" for commit in commits if commit not in on_branch]
    fsck = git("fsck", "--strict", "--no-dangling")
    if fsck.returncode:
        losses.append(f"git fsck: {fsck.stderr[:200]}")
    return {"losses": losses, "seen": {"acknowledged commits": len(commits)}, "commits": {}}


@contextmanager
def _workers(folder: Path) -> Iterator[Workers]:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    reading, writing = os.pipe()
    with open(folder / "errors.txt", "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(writing)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=[writing],
            text=True,
        )
    os.close(writing)
    try:
        yield Workers(process, reading, environment)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait()
        process.stdout.close()
        os.close(reading)


_SERVE = f"""
import os, sys
os.dup2(int(sys.argv[1]), {ACKNOWLEDGE}, inheritable=True)
from tests.proof import power_check, power_writer
power_writer._serve()
"""


def _make_repository(place: Path, environment: dict[str, str]) -> None:
    """A user's repository with some history, as one pack, and code."""
    repo = place / "repo"
    for name in ("home", "tmp", "repo"):
        (place / name).mkdir()

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=repo, check=True, env=environment, capture_output=True)

    git("init", "--quiet", "--initial-branch=main")
    for key, value in (("user.name", "Ada"), ("user.email", "ada@example.org"), ("gc.auto", "0")):
        git("config", key, value)
    for number in range(3):
        (repo / "train.py").write_text(f"print({number})\n")
        git("add", "--all")
        git("commit", "--quiet", "-m", f"work {number}")
    git("gc", "--quiet")
    (repo / "train.py").write_text("print('changed')\n")
