"""What must be on a disk after its power was cut, from what its writers told before."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gittrack
from gittrack.git.repository import open_repository
from gittrack.store import experiments
from gittrack.store.history import find_winners
from gittrack.store.runs import StoredRun
from gittrack.store.store import Store
from gittrack.store.streams import Stream
from tests.proof.power_writer import KEY, OTHER_KEY, content_of, value_of

LOST_S_MAX = 1.0  # what the default mode may lose of a run in flight
COMMAND_S_MAX = 2.0
# fold.lock stays while a run lives; the others are held by git gc alone
_LOCKS_OF_OTHERS = {"fold.lock", "packed-refs.lock", "commit-graph.lock"}
_NEW_NAMESPACE, _BOOT_ID = 0x00020000, "/proc/sys/kernel/random/boot_id"


@dataclass
class Told:
    """What the writers told of one run, each with the seconds before the cut at which it had been read."""

    sync: bool = False
    lines: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [line for _, line in self.lines if line["kind"] == kind]

    def done(self, kind: str, before_s: float = 0.0) -> list[dict[str, Any]]:
        """What was acknowledged at least so long before the cut."""
        return [line for age_s, line in self.lines if line["kind"] == kind and age_s > before_s]


def check_in_child(task: dict[str, Any]) -> None:
    """Recover as whoever comes next does, and compare; writes what is wrong, and figures, as JSON."""
    if task["new_boot"]:
        _pretend_new_boot(Path(task["environment"]["TMPDIR"]))
    found = Check(Path(task["folder"]), task["lines"], task["former"])
    found.is_git_hurt = task["is_git_hurt"]
    found.run(task["command"])
    answer = {"losses": found.losses, "seen": found.seen, "commits": found.commits}
    Path(task["answer"]).write_text(json.dumps(answer))


class Check:
    """One look at a repository after a cut."""

    def __init__(self, folder: Path, lines: list[tuple[float, dict[str, Any]]], former: dict[str, str]) -> None:
        self._folder = folder
        self._former = former
        self.losses: list[str] = []
        self.seen: Counter[str] = Counter()
        self.commits: dict[str, str] = {}
        #: Whether git itself may have lost a user's commit: then only what runs need is to be whole.
        self.is_git_hurt = False
        self._latest_loss_s = 0.0
        self._told: dict[str, Told] = {}
        self._experiments: dict[str, bool] = {}
        for age_s, line in lines:
            self._take(age_s, line)

    def run(self, command: str) -> None:
        store = Store(open_repository(str(self._folder)))
        self._time_next_command(command)
        self._age_unborn(store)
        store.recover()
        self._look_for_leftovers(store)
        self._let_git_check(store)
        self._compare(store)
        self.seen["longest loss of a live run, ms"] = round(self._latest_loss_s * 1000)

    def _take(self, age_s: float, line: dict[str, Any]) -> None:
        kind, name = line["kind"], line["run"]
        if kind in ("experiment", "will-experiment"):
            done = kind == "experiment" and age_s > 0
            self._experiments[name] = self._experiments.get(name, False) or done
        elif kind == "failed" and age_s > 0:
            self._lose(f"a writer failed before the cut: {line['error']}")
        elif name:
            told = self._told.setdefault(name, Told())
            told.lines.append((age_s, line))
            told.sync = told.sync or bool(line.get("sync"))

    def _lose(self, text: str) -> None:
        self.losses.append(text)

    # -- the next command --------------------------------------------------------------------------------

    def _time_next_command(self, command: str) -> None:
        begun = time.monotonic()
        if command == "run":
            with gittrack.start_run(run_name="after") as run:
                run.log({KEY: 1.0}, 0)
        else:
            done = subprocess.run(
                ["gittrack", *command.split()], cwd=self._folder, capture_output=True, text=True, check=False
            )
            if done.returncode:
                self._lose(f"gittrack {command} ended with {done.returncode}: {done.stderr[-500:]}")
        took_s = time.monotonic() - begun
        self.seen["next command, ms"] = round(took_s * 1000)
        if took_s > COMMAND_S_MAX:
            self._lose(f"the next command ({command}) took {took_s:.1f} s")

    def _age_unborn(self, store: Store) -> None:
        """A folder without a stream's head is taken for one that begins, for a minute: let the minute pass."""
        live = Path(store.repository.state_dir, "live")
        for folder in live.iterdir() if live.exists() else ():
            streams = list(folder.glob("*.log"))
            if streams and all(Stream(str(path)).writer for path in streams):
                told = [(path.name, path.stat().st_size, Stream(str(path)).writer) for path in streams]
                self._lose(f"live run {folder.name} was left: {os.listdir(folder)} {told}")
            for path in [*streams, folder]:
                os.utime(path, (0, 0))

    def _look_for_leftovers(self, store: Store) -> None:
        if os.path.exists(os.path.join(store.repository.state_dir, "folding")):
            with open(os.path.join(store.repository.state_dir, "folding"), "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
        common, state = Path(store.repository.common_dir), Path(store.repository.state_dir)
        left = [path for path in common.rglob("*.lock") if path.name not in _LOCKS_OF_OTHERS]
        left += [*common.glob("objects/pack/*.keep"), *state.glob("tmp/*"), *state.glob("live/*")]
        left += [path for path in common.glob("lfs/objects/*/*/*") if len(path.name) != 64]
        for path in left:
            self._lose(f"left behind: {path.relative_to(common)}")

    def _let_git_check(self, store: Store) -> None:
        checks = [["fsck", "--strict", "--no-dangling"], ["rev-list", "--objects", "--quiet", "--all"]]
        if self.is_git_hurt:
            checks = [["rev-list", "--objects", "--quiet", "--branches=gittrack"]]
        for words in checks:
            done = subprocess.run(["git", *words], cwd=self._folder, capture_output=True, text=True, check=False)
            if done.returncode or "error" in done.stderr or "missing" in done.stdout:
                self._lose(f"git {words[0]}: {done.returncode} {done.stdout[:300]} {done.stderr[:300]}")

    # -- what was told -----------------------------------------------------------------------------------

    def _compare(self, store: Store) -> None:
        listing = store.list_runs()
        for problem in listing.problems:
            self._lose(problem)
        self.commits = {stored.record.id: stored.commit.id if stored.commit else "" for stored in listing.runs}
        for run_id, commit in self._former.items():
            if self.commits.get(run_id) != commit:
                self._lose(f"run {run_id} of before was at {commit}, is at {self.commits.get(run_id)}")
        found: dict[str, list[StoredRun]] = {}
        for stored in listing.runs:
            if stored.record.id not in self._former and stored.record.name != "after":
                found.setdefault(stored.record.name.partition(".")[0], []).append(stored)
        for name in {*found, *self._told}:
            try:
                self._check_run(store, name, found.get(name, []), self._told.get(name, Told()))
            except Exception as error:
                self._lose(f"{name}: {error!r}")
        names = Counter(record.name for record in experiments.list_experiments(store.repository))
        for name, is_done in self._experiments.items():
            if names[name] > 1 or (is_done and names[name] == 0):
                self._lose(f"experiment {name} is there {names[name]} times")
            self.seen["acknowledged experiments"] += is_done
        self._check_revisions(store)

    def _check_revisions(self, store: Store) -> None:
        words = [
            "log",
            "--format=%(trailers:key=Gittrack-Run,valueonly,separator=) "
            "%(trailers:key=Gittrack-Revision,valueonly,separator=)",
            "--branches=gittrack",
        ]
        listed = subprocess.run(["git", *words], cwd=self._folder, capture_output=True, text=True, check=True)
        for line, count in Counter(listed.stdout.splitlines()).items():
            if count > 1 and not line.startswith(" "):  # an experiment's own record
                self._lose(f"revision {line} is there {count} times")
        winners, _ = find_winners(store.repository)
        if set(winners) - set(self.commits):
            self._lose("a run that has a commit is not listed")

    def _check_run(self, store: Store, name: str, found: list[StoredRun], told: Told) -> None:
        is_finished = bool(told.done("finish"))
        if len(found) != 1:
            if found or is_finished or self._count_required(told, is_finished):
                self._lose(f"run {name} is there {len(found)} times; finished: {is_finished}")
            return
        (stored,) = found
        self.seen["acknowledged runs"] += is_finished
        if is_finished and (stored.commit is None or stored.record.status != "FINISHED"):
            self._lose(f"run {name} was finished, and is {stored.record.status}")
        self._check_points(store, stored, told, is_finished)
        self._check_artifacts(store, stored, told, is_finished)
        self._check_edits(store, stored, told)
        for line in told.done("param", self._window_s(told, is_finished)):
            if stored.record.params.get(f"p{line['number']}") != line["number"]:
                self._lose(f"run {name} has no param p{line['number']}")

    def _window_s(self, told: Told, is_finished: bool) -> float:
        return 0.0 if is_finished or told.sync else LOST_S_MAX

    def _count_required(self, told: Told, is_finished: bool) -> int:
        window_s = self._window_s(told, is_finished)
        return max((line["end"] for line in told.done("points", window_s)), default=0)

    def _check_points(self, store: Store, stored: StoredRun, told: Told, is_finished: bool) -> None:
        required = self._count_required(told, is_finished)
        announced = max((line["end"] for line in told.all("will-points")), default=0)
        name = stored.record.name
        for key, sign in ((KEY, 1.0), (OTHER_KEY, -1.0)):
            points = [(point.step, point.value) for point in store.read_history(stored, key)]
            if points != [(step, sign * value_of(step)) for step in range(len(points))]:
                self._lose(
                    f"run {name}: points of {key} are not those that were logged: {points[:3]}…{points[-3:]}"
                )
            if not required <= len(points) <= announced or (is_finished and len(points) != announced):
                late = [(age_s, line["end"]) for age_s, line in told.lines if line["kind"] == "points"]
                self._lose(
                    f"run {name} (sync: {told.sync}) has {len(points)} points of {key}; acknowledged {required}, "
                    f"announced {announced}; told {late[-5:]}"
                )
            self._note_loss(told, len(points))
        self.seen["acknowledged points"] += required
        if not is_finished and told.sync:
            self.seen["acknowledged points of live runs in sync mode"] += required
        for line in told.done("guest", self._window_s(told, is_finished)):
            points = [(point.step, point.value) for point in store.read_history(stored, line["key"])]
            self.seen["acknowledged guests"] += 1
            if points != [(step, value_of(step)) for step in range(10)]:
                self._lose(f"run {name} (sync: {told.sync}) has of {line['key']} only {points}")

    def _note_loss(self, told: Told, count: int) -> None:
        lost = [age_s for age_s, line in told.lines if line["kind"] == "points" and line["end"] > count]
        self._latest_loss_s = max([self._latest_loss_s, *lost])

    def _check_artifacts(self, store: Store, stored: StoredRun, told: Told, is_finished: bool) -> None:
        found = {artifact.path: artifact for artifact in store.list_artifacts(stored)}
        announced = {line["path"]: line for line in told.all("will-artifact")}
        for path in {line["path"] for line in told.done("artifact", self._window_s(told, is_finished))}:
            self.seen["acknowledged artifacts"] += 1
            if path not in found:
                self._lose(
                    f"run {stored.record.name} (sync: {told.sync}) has no artifact {path}: {announced[path]}"
                )
        for path, artifact in found.items():
            line = announced[path]
            if b"".join(store.read_artifact(stored, artifact)) != content_of(line["number"], line["size_bytes"]):
                self._lose(f"run {stored.record.name}: artifact {path} is not what was logged")

    def _check_edits(self, store: Store, stored: StoredRun, told: Told) -> None:
        record = stored.record
        late = [point.value for point in store.read_history(stored, "late")]
        now = {
            "tag": record.tags.get("edited", ""),
            "note": record.note,
            "name": record.name.partition(".")[2],
            "lifecycle": record.lifecycle if record.lifecycle == "deleted" else "",
            "late": f"{late[0]:.0f}" if late else "",
        }
        done = {line["field"]: line["value"] for line in told.done("edit")}
        begun = {line["field"]: line["value"] for line in told.all("will-edit")}
        for name, value in now.items():
            if value != done.get(name, "") and value != begun.get(name, ""):
                self._lose(f"run {record.name}: {name} is {value!r}; acknowledged {done.get(name)!r}")
        self.seen["acknowledged edits"] += len(done)


def _pretend_new_boot(folder: Path) -> None:
    """Let this process see another boot id, as after a real restart of the machine."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NAMESPACE):
        raise OSError(ctypes.get_errno(), "unshare")
    other = folder / "boot_id"
    other.write_text(f"{os.urandom(16).hex()}\n")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--bind", str(other), _BOOT_ID], check=True)
