"""What works on a disk whose power is cut: writers, and the command that comes after the cut.

Run as a module it serves: each line on stdin asks for one process, which is forked with gittrack imported already.
Writers tell a pipe what they will do and what they did; whoever reads it knows when.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gittrack
from gittrack.git import maintenance
from gittrack.tracking import client, session  # noqa: F401  (loaded before the fork)

ACKNOWLEDGE = 3  # the pipe's descriptor
KEY, OTHER_KEY = "loss", "train/acc"


def value_of(step: int) -> float:
    return step / 7 + 1.0


def content_of(number: int, size_bytes: int) -> bytes:
    """What artifact ``number`` holds: text for short ones, which stands in git, else bytes for Git LFS."""
    if size_bytes < 100:
        return f"text {number}\n".encode()
    return hashlib.shake_256(b"%d" % number).digest(size_bytes)


class Writer:
    """One process that works in the repository until the power goes."""

    def __init__(self, number: int, cut: int, seed: int, *, sync: bool, commits_code: bool) -> None:
        self._prefix = f"c{cut}w{number}"
        self._random = random.Random(seed)
        self._count = 0
        self._is_sync = sync
        self._commits_code = commits_code
        self._client = gittrack.MlflowClient()
        self._guests: list[subprocess.Popen[bytes]] = []

    def tell(self, kind: str, run: str = "", **fields: Any) -> None:
        line = json.dumps({"kind": kind, "run": run, **fields}) + "\n"
        os.write(ACKNOWLEDGE, line.encode())

    def make_runs(self) -> None:
        """Short runs, each finished, some edited afterwards; experiments now and then."""
        maintenance._PACKS_MAX = self._random.choice([5, 50])  # so that packs are folded meanwhile
        while True:
            choice = self._random.random()
            if choice < 0.1:
                name = f"{self._next()}-experiment"
                self.tell("will-experiment", name)
                gittrack.create_experiment(name)
                self.tell("experiment", name)
            name = self._next()
            if self._commits_code:
                commit_code(name)
            run = self.start(name)
            self.log_points(run, name, 0, self._random.choice([1, 10, 400]))
            for number in range(self._random.choice([0, 0, 1, 3])):
                self.log_artifact(run, name, number)
            self.tell("will-finish", name)
            if not run.end():
                self.tell("unfinished", name)
                continue
            self.tell("finish", name)
            if choice > 0.5:
                self.edit(run.info.run_id, name)

    def train(self) -> None:
        """One run that never ends; a process that joins it comes and goes."""
        name = self._next()
        run = self.start(name)
        done, guests, turn = 0, 0, 0
        has_workers = self._random.random() < 0.5
        while True:
            size = 1 if self._is_sync else self._random.choice([1, 5, 50])
            self.log_points(run, name, done, done + size)
            done += size
            turn += 1
            if turn % 20 == 0:
                self.log_artifact(run, name, turn)
                self.tell("will-param", name, number=turn // 20)
                run.log_param(f"p{turn // 20}", turn // 20)
                self.tell("param", name, number=turn // 20)
            if turn % 40 == 1 and guests < 2:
                self.visit(run.info.run_id, name, guests)
                guests += 1
            if has_workers and turn % 40 == 0:  # as a data loader's that start anew each epoch
                _fork_worker()
            time.sleep(0.003)

    def visit(self, run_id: str, name: str, number: int) -> None:
        """Another process joins the run, logs to it and leaves, while we go on."""
        argv = [sys.executable, "-m", "tests.proof.power_writer", "guest", run_id, name, str(number)]
        self._guests.append(subprocess.Popen(argv, pass_fds=[ACKNOWLEDGE]))

    def start(self, name: str) -> gittrack.ActiveRun:
        self.tell("will-start", name)
        run = gittrack.start_run(run_name=name)
        self.tell("start", name, sync=self._is_sync)
        return run

    def log_points(self, run: gittrack.ActiveRun, name: str, first: int, end: int) -> None:
        self.tell("will-points", name, end=end)
        for step in range(first, end):
            run.log({KEY: value_of(step), OTHER_KEY: -value_of(step)}, step)
        self.tell("points", name, end=end)

    def log_artifact(self, run: gittrack.ActiveRun, name: str, number: int) -> None:
        size_bytes = self._random.choice([10, 10, 40_000, 400_000, 2_000_000])
        path = f"files/{number}.bin"
        self.tell("will-artifact", name, path=path, number=number, size_bytes=size_bytes)
        run.log_stream(io.BytesIO(content_of(number, size_bytes)), path)
        self.tell("artifact", name, path=path, number=number, size_bytes=size_bytes)

    def edit(self, run_id: str, name: str) -> None:
        """Edits of a finished run, each a revision that is durable when its call returns."""
        edits: dict[str, Callable[[str], Any]] = {
            "tag": lambda value: self._client.set_tag(run_id, "edited", value),
            "note": lambda value: self._client.set_note(run_id, value),
            "name": lambda value: self._client.update_run(run_id, name=f"{name}.{value}"),
            "lifecycle": lambda value: self._client.delete_run(run_id),
            "late": lambda value: self._client.log_metric(run_id, "late", float(value), step=0),
        }
        for turn, field in enumerate(self._random.sample(sorted(edits), self._random.choice([1, 2]))):
            value = "deleted" if field == "lifecycle" else str(turn + 1)
            self.tell("will-edit", name, field=field, value=value)
            edits[field](value)
            self.tell("edit", name, field=field, value=value)
            if field == "lifecycle":
                return

    def _next(self) -> str:
        self._count += 1
        return f"{self._prefix}r{self._count}"


def commit_code(text: str) -> None:
    """A user's commit, of which git syncs nothing."""
    Path("train.py").write_text(f"print({text!r})\n")
    subprocess.run(["git", "commit", "--quiet", "--all", "-m", text], check=True)


def _fork_worker() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def be_guest(run_id: str, name: str, number: str) -> None:
    """Log ten points to another process's run, and leave it."""
    key = f"guest{number}"
    run = gittrack.start_run(run_id=run_id)
    _tell({"kind": "will-guest", "run": name, "key": key})
    for step in range(10):
        run.log({key: value_of(step)}, step)
    _tell({"kind": "guest", "run": name, "key": key})
    gittrack.end_run()


def pack_for_ever() -> None:
    """What a user's git does meanwhile; told to sync refs, which it does not by itself: gc then loses branches."""
    os.environ.update(GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="core.fsync", GIT_CONFIG_VALUE_0="all")
    while True:
        for words in (["gc", "--quiet", "--prune=now"], ["repack", "-adq"], ["pack-refs", "--all"]):
            subprocess.run(["git", *words], check=False, capture_output=True)
        _tell({"kind": "packed", "run": ""})


def commit_by_dulwich(number: int, cut: int) -> None:
    """The wrong way to commit a run: the negative control."""
    from dulwich import porcelain

    for count in range(1_000_000):
        name = f"c{cut}w{number}r{count}"
        Path(f"{name}.txt").write_text(name * 50)
        porcelain.add(".", [f"{name}.txt"])
        commit = porcelain.commit(".", message=name.encode(), author=b"Ada <ada@example.org>")
        _tell({"kind": "commit", "run": name, "id": commit.decode()})


def forget_to_sync() -> None:
    """The second wrong way: our own, without a sync."""
    os.fsync = os.fdatasync = lambda descriptor: None


def _tell(fields: dict[str, Any]) -> None:
    os.write(ACKNOWLEDGE, (json.dumps(fields) + "\n").encode())


def _work(task: dict[str, Any]) -> None:
    """One forked process: the task's role, in its folder and environment."""
    os.environ.update(task["environment"])
    os.chdir(task["folder"])
    role = task["role"]
    if role == "check":
        from tests.proof import power_check

        power_check.check_in_child(task)
        return
    if task.get("careless"):
        forget_to_sync()
    if role == "pack":
        pack_for_ever()
    if role == "dulwich":
        commit_by_dulwich(task["number"], task["cut"])
    writer = Writer(
        task["number"],
        task["cut"],
        task["seed"],
        sync=bool(task["environment"].get("GITTRACK_SYNC")),
        commits_code=role == "commits",
    )
    writer.train() if role == "train" else writer.make_runs()


def _serve() -> None:
    """Fork a process for each task; a task that names a process instead is answered when that has ended."""
    for line in sys.stdin:
        task = json.loads(line)
        if "wait" in task:
            answer = os.waitstatus_to_exitcode(os.waitpid(task["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                code = 1
                try:
                    _work(task)
                    code = 0
                except BaseException as error:
                    traceback.print_exc()
                    _tell({"kind": "failed", "run": "", "error": repr(error)})
                finally:
                    sys.stderr.flush()
                    os._exit(code)
        print(answer, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["guest"]:
        be_guest(*sys.argv[2:])
    else:
        _serve()
