"""Runs through all that can happen to them, in any order, against a model in plain Python.

Hypothesis walks: start, log, end, edit, delete, restore, purge, resume, crash, recover, gc, experiments, linked
work trees, a second reader. After each step the run that was touched is compared with the model, every few steps
all of them, and at the end what git, ``gittrack verify`` and the command line say.
"""

from __future__ import annotations

import io
import json
import os
import re
import select
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import gittrack
from gittrack.errors import GittrackError, InvalidValueError, NotFoundError, ParamConflictError, RunStateError
from gittrack.schema.records import RunRecord
from gittrack.store import experiments, purging
from gittrack.store.runs import StoredRun
from gittrack.store.store import Store
from gittrack.store.verification import verify
from gittrack.tracking import current
from gittrack.tracking.opened import opened_runs
from tests.harness import Repo, in_fork
from tests.proof.arena import (
    Stopwatch,
    age_the_unborn,
    become_new,
    find_unsound,
    in_process,
    new_repo,
    run_command,
)
from tests.proof.tally import Tally

PROMISE = (
    "Whatever is done to runs, in any order, what stands afterwards is what was done, and nothing is left over"
)
UNIT = "steps"
FULL = 10_000
SLICE = 240

_STEPS_A_LIFE = 40
_ROUND = 2_000  # steps of one process
_WAIT_S = 60.0

_PICKS = st.integers(0, 1 << 16)
_NAMES = st.sampled_from(["alpha", "beta", "a b/c", "été", "x" * 130])
_KEYS = st.sampled_from(["loss", "acc", "val/loss", "a.csv"])
_VALUES = st.floats(allow_nan=False)
_TEXTS = st.sampled_from(["", "1", "long " * 50, "ünïcödé", 'q"\\\n'])
_PATHS = st.sampled_from(["a.txt", "d/b.bin", "d", "d/c.txt"])
_STATUSES = st.sampled_from(["FINISHED", "FAILED", "KILLED"])


def attack(count: int, seed: int, folder: Path, *phases: Phase) -> Tally:
    """Walk at least so many steps, in lives of up to 40 in a fresh repository each."""
    watch = Stopwatch()
    losses: list[str] = []
    seen = Counter[str]()
    while sum(seen[name] for name in seen if name != "lives") < count and not losses:
        number = seen["lives"]
        size = min(_ROUND, count)
        place = folder / f"from-{number}"
        found, steps = in_process(place, partial(_walk, place, size, seed + number, None, *phases))
        losses += found
        seen.update(steps)
        shutil.rmtree(place, ignore_errors=True)
    tried = sum(seen[name] for name in seen if name != "lives")
    return Tally(tried, losses, {**seen, "seconds": watch.seconds})


def control(count: int, seed: int, folder: Path) -> Tally:
    """The same with an edit of tags that forgets those that stood before."""
    found, steps = in_process(folder, lambda: _walk(folder, count, seed, _forget_tags, Phase.generate))
    return Tally(sum(steps.values()), found, dict(steps))


def _walk(
    folder: Path, count: int, start: int, spoil: Callable[[], None] | None = None, *phases: Phase
) -> tuple[list[str], Counter[str]]:
    """Live lives until so many steps are walked, or one goes wrong; that one is made as short as can be."""
    if spoil is not None:
        spoil()
    seen = Counter[str]()

    class Here(Life):
        place, tally = folder, seen

    tried = 0
    while (walked := sum(seen[name] for name in seen if name != "lives")) < count:
        lives = max(1, (count - walked) // _STEPS_A_LIFE)
        chosen = settings(
            max_examples=lives,
            stateful_step_count=_STEPS_A_LIFE,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            phases=phases or (Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        try:
            run_state_machine_as_test(seed(start + tried)(Here), settings=chosen)
        except Exception as error:
            # when a process dies is not hypothesis's to choose: that a life goes on otherwise is no loss
            found = [inner for inner in _leaves(error) if not isinstance(inner, Flaky)]
            if found:
                return [f"seed {start + tried}: {_describe(inner)}" for inner in found], seen
        tried += 1
    return [], seen


def _describe(error: BaseException) -> str:
    notes = " ".join(" ".join(getattr(error, "__notes__", ())).split())
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    return f"{str(error)[:900] or repr(error)} (at {', '.join(places[-6:])}) {notes[:2500]}"


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


# -- the model -----------------------------------------------------------------------------------------------


@dataclass
class Wanted:
    """What a run must be by what was done to it."""

    run_id: str
    name: str
    experiment: str
    status: str = "RUNNING"
    lifecycle: str = "active"
    note: str = ""
    is_open: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)

    def add_point(self, key: str, value: float) -> int:
        rows = self.points.setdefault(key, [])
        rows.append((len(rows), value))
        return len(rows) - 1

    def put_artifact(self, path: str, data: bytes) -> None:
        """A file takes the place of a folder of its name, and of a file where it needs a folder."""
        for other in list(self.artifacts):
            if other.startswith(path + "/") or path.startswith(other + "/"):
                del self.artifacts[other]
        self.artifacts[path] = data

    def compare(self, store: Store, stored: StoredRun) -> None:
        """Raise where a run is not as it must be, its histories and artifacts included."""
        self.compare_record(stored)
        for key, rows in self.points.items():
            found = [(point.step, point.value) for point in store.read_history(stored, key)]
            assert found == rows, f"{key}: {found} instead of {rows}"
        artifacts = store.list_artifacts(stored)
        data = {artifact.path: b"".join(store.read_artifact(stored, artifact)) for artifact in artifacts}
        assert data == self.artifacts, f"artifacts {data} instead of {self.artifacts}"

    def compare_record(self, stored: StoredRun) -> None:
        record = stored.record
        shown = (record.name, record.experiment_id, record.status, record.lifecycle, record.note)
        wanted = (self.name, self.experiment, self.status, self.lifecycle, self.note)
        assert shown == wanted, f"{shown} instead of {wanted}"
        assert dict(record.params) == self.params, f"params {dict(record.params)} instead of {self.params}"
        assert dict(record.tags) == self.tags, f"tags {dict(record.tags)} instead of {self.tags}"
        counts = {key: (found.count, found.last_step, found.last) for key, found in record.metrics.items()}
        expected = {key: (len(rows), *rows[-1]) for key, rows in self.points.items()}
        assert counts == expected, f"metrics {counts} instead of {expected}"
        assert (record.ended_at is None) == (self.status == "RUNNING"), (
            f"{self.status}, ended at {record.ended_at}"
        )


class Life(RuleBasedStateMachine):
    """One repository's life."""

    place: Path
    tally: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.tally["lives"] += 1
        self.repo = new_repo(self.place, "repo")
        self.former = os.getcwd()
        os.chdir(self.repo.path)
        current._State.recovered.clear()  # a fresh repository in the place of another
        opened_runs._runs.clear()
        current._State.main_runs.clear()
        current.settings._Chosen.default = None
        self.client = gittrack.Client()
        self.runs: list[Wanted] = []
        self.purged: list[str] = []
        self.experiments: dict[str, tuple[str, str]] = {"0": ("Default", "active")}
        self.touched: Wanted | None = None
        self.steps = 0

    def begin(self, name: str, run: Wanted | None = None) -> None:
        self.tally[name] += 1
        self.steps += 1
        self.touched = run

    def pick(self, number: int) -> Wanted:
        return self.runs[number % len(self.runs)]

    @property
    def store(self) -> Store:
        return self.repo.store

    # -- rules -------------------------------------------------------------------------------------------

    @rule(number=_PICKS, name=_NAMES, tagged=st.booleans())
    def start(self, number: int, name: str, tagged: bool) -> None:
        experiment = sorted(self.experiments)[number % len(self.experiments)]
        self.begin("start")
        create = partial(
            self.client.create_run, experiment, run_name=name, tags={"by": "life"} if tagged else None
        )
        if self.experiments[experiment][1] == "deleted":
            _must_raise(RunStateError, create)
            return
        made = create()
        run = Wanted(made.info.run_id, name, experiment, is_open=True, tags={"by": "life"} if tagged else {})
        self.runs.append(run)
        self.touched = run

    @precondition(lambda self: self.runs)
    @rule(number=_PICKS, key=_KEYS, values=st.lists(_VALUES, min_size=1, max_size=4))
    def log_points(self, number: int, key: str, values: list[float]) -> None:
        run = self.pick(number)
        self.begin("log points", run)

        def write(active: gittrack.ActiveRun) -> None:
            for value in values:
                active.log({key: value}, run.add_point(key, value))

        self.change(run, lambda: self.client.write(run.run_id, write))

    @precondition(lambda self: self.runs)
    @rule(number=_PICKS, key=_KEYS, value=st.sampled_from([1, 1.0, True, "1", None]))
    def log_param(self, number: int, key: str, value: Any) -> None:
        run = self.pick(number)
        self.begin("log a param", run)
        log = partial(self.client.log_param, run.run_id, key, value)
        known = run.params.get(key, value)
        if run.lifecycle == "active" and (type(known), known) != (type(value), value):
            _must_raise(ParamConflictError, log)
        elif self.change(run, log):
            run.params[key] = value

    @precondition(lambda self: self.runs)
    @rule(number=_PICKS, path=_PATHS, data=st.binary(max_size=9) | _TEXTS.map(str.encode))
    def log_artifact(self, number: int, path: str, data: bytes) -> None:
        run = self.pick(number)
        self.begin("log an artifact", run)
        if self.change(run, lambda: self.client.log_stream(run.run_id, io.BytesIO(data), path)):
            run.put_artifact(path, data)

    @precondition(lambda self: self.runs)
    @rule(number=_PICKS, key=_KEYS, text=_TEXTS)
    def tag(self, number: int, key: str, text: str) -> None:
        run = self.pick(number)
        self.begin("tag", run)
        if self.change(run, lambda: self.client.set_tag(run.run_id, key, text)):
            run.tags[key] = text

    @precondition(lambda self: self.runs)
    @rule(number=_PICKS, key=_KEYS)
    def untag(self, number: int, key: str) -> None:
        run = self.pick(number)
        self.begin("untag", run)
        remove = partial(self.client.delete_tag, run.run_id, key)
        if run.lifecycle == "active" and key not in run.tags:
            _must_raise(NotFoundError, remove)
        elif self.change(run, remove):
            del run.tags[key]

    @precondition(lambda self: self.runs)
    @rule(number=_PICKS, text=_TEXTS)
    def note(self, number: int, text: str) -> None:
        run = self.pick(number)
        self.begin("note", run)
        if self.change(run, lambda: self.client.set_note(run.run_id, text)):
            run.note = text

    @precondition(lambda self: self.runs)
    @rule(number=_PICKS, name=_NAMES)
    def rename(self, number: int, name: str) -> None:
        run = self.pick(number)
        self.begin("rename", run)
        if self.change(run, lambda: self.client.update_run(run.run_id, name=name)):
            run.name = name

    @precondition(lambda self: any(run.is_open for run in self.runs))
    @rule(number=_PICKS, status=_STATUSES)
    def end(self, number: int, status: str) -> None:
        chosen = [run for run in self.runs if run.is_open]
        run = chosen[number % len(chosen)]
        self.begin("end", run)
        self.client.set_terminated(run.run_id, status)
        run.status, run.is_open = status, False

    @precondition(lambda self: self.runs)
    @rule(number=_PICKS)
    def delete(self, number: int) -> None:
        run = self.pick(number)
        self.begin("delete", run)
        if run.is_open:
            _must_raise(RunStateError, partial(self.client.delete_run, run.run_id))
        else:
            self.client.delete_run(run.run_id)
            run.lifecycle = "deleted"

    @precondition(lambda self: any(run.lifecycle == "deleted" for run in self.runs))
    @rule(number=_PICKS)
    def restore(self, number: int) -> None:
        chosen = [run for run in self.runs if run.lifecycle == "deleted"]
        run = chosen[number % len(chosen)]
        self.begin("restore", run)
        self.client.restore_run(run.run_id)
        run.lifecycle = "active"

    @precondition(lambda self: self.runs)
    @rule(number=_PICKS)
    def purge(self, number: int) -> None:
        run = self.pick(number)
        self.begin("purge")
        self.store.recover()
        if run.is_open:
            _must_raise(RunStateError, lambda: purging.purge(self.repo.repository, run.run_id))
            return
        plan = purging.plan_purge(self.repo.repository, run.run_id)
        assert purging.purge(self.repo.repository, run.run_id) == plan, "what purge does is not what it said"
        self.runs.remove(run)
        self.purged.append(run.run_id)
        _must_raise(NotFoundError, lambda: self.store.get_run(run.run_id))

    @precondition(lambda self: any(not run.is_open for run in self.runs))
    @rule(number=_PICKS, values=st.lists(_VALUES, max_size=3), status=_STATUSES | st.none())
    def resume(self, number: int, values: list[float], status: str | None) -> None:
        """Go on with a run, steps counting on; it is ended, or left open."""
        chosen = [run for run in self.runs if not run.is_open]
        run = chosen[number % len(chosen)]
        self.begin("resume", run)
        if run.lifecycle == "deleted":
            _must_raise(RunStateError, lambda: gittrack.start_run(run.run_id, nested=True))
            return
        active = gittrack.start_run(run.run_id, nested=True)
        for value in values:
            active.log({"resumed": value})
            run.add_point("resumed", value)
        run.status, run.is_open = "RUNNING", True
        if status is not None:
            active.end(status)
            run.status, run.is_open = status, False

    @precondition(lambda self: self.experiments["0"][1] == "active")
    @rule(number=_PICKS, at=st.integers(1, 9), way=st.sampled_from(["exit", "kill", "kill at the end", "no end"]))
    def crash(self, number: int, at: int, way: str) -> None:
        """A process starts a run, or goes on with one, and dies in it."""
        chosen = [run for run in self.runs if not run.is_open and run.lifecycle == "active"]
        resumed = chosen[number % len(chosen)] if chosen and number % 2 else None
        self.begin("crash")
        death = _Death(resumed.run_id if resumed else None, at, way)
        death.die(self.repo.path, self.place)
        age_the_unborn(self.repo)
        run = resumed or Wanted(death.run_id, "crashed", "0")
        if resumed is None:
            self.runs.append(run)
        if run.params.get("died") not in (None, 1):
            raise AssertionError("the model holds no such param")
        death.settle(run, self.store.get_run(run.run_id), self.store)
        self.touched = run

    @precondition(lambda self: any(not run.is_open and run.lifecycle == "active" for run in self.runs))
    @rule(number=_PICKS, delay_ms=st.integers(0, 12), is_tag=st.booleans())
    def crash_in_edit(self, number: int, delay_ms: int, is_tag: bool) -> None:
        """A process that edits an ended run dies amid it: the edit is there whole, or not at all."""
        chosen = [run for run in self.runs if not run.is_open and run.lifecycle == "active"]
        run = chosen[number % len(chosen)]
        self.begin("crash in an edit", run)
        before = len(run.tags.get("edits", "")) if is_tag else len(run.points.get("edits", ()))
        told = _edit_until_killed(self.repo.path, self.place, run.run_id, before, delay_ms, is_tag)
        age_the_unborn(self.repo)
        found = self.store.get_run(run.run_id).record
        edits = found.tags.get("edits", "") if is_tag else "x" * _count_points(found, "edits")
        assert edits in ("x" * (before + told), "x" * (before + told + 1)), f"{told} edits told, {edits!r} stands"
        if edits and is_tag:
            run.tags["edits"] = edits
        for step in range(before, 0 if is_tag else len(edits)):
            run.add_point("edits", step / 7)

    @rule()
    def recover(self) -> None:
        self.begin("recover")
        self.store.recover()

    @rule(words=st.sampled_from([("gc", "--prune=now"), ("repack", "-adq"), ("pack-refs", "--all")]))
    def keep_up(self, words: tuple[str, ...]) -> None:
        self.begin("git's upkeep")
        self.repo.wait_for_folding()
        self.repo.git(words[0], *words[1:], *(["--quiet"] if words[0] == "gc" else []))

    @rule(name=_NAMES)
    def create_experiment(self, name: str) -> None:
        self.begin("create an experiment")
        if name in [known for known, _ in self.experiments.values()]:
            _must_raise(InvalidValueError, lambda: self.client.create_experiment(name))
        else:
            self.experiments[self.client.create_experiment(name)] = (name, "active")

    @rule(number=_PICKS, name=_NAMES)
    def rename_experiment(self, number: int, name: str) -> None:
        self.begin("rename an experiment")
        chosen = sorted(self.experiments)[number % len(self.experiments)]
        taken = [known for other, (known, _) in self.experiments.items() if other != chosen]
        call = partial(self.client.rename_experiment, chosen, name)
        if name in taken:
            _must_raise(InvalidValueError, call)
        elif self.experiments[chosen][1] == "deleted":
            _must_raise(RunStateError, call)
        else:
            call()
            self.experiments[chosen] = (name, "active")

    @rule(number=_PICKS)
    def turn_experiment(self, number: int) -> None:
        """Delete an experiment, or restore it."""
        self.begin("delete or restore an experiment")
        chosen = sorted(self.experiments)[number % len(self.experiments)]
        name, lifecycle = self.experiments[chosen]
        if lifecycle == "active":
            self.client.delete_experiment(chosen)
        else:
            self.client.restore_experiment(chosen)
        self.experiments[chosen] = (name, "deleted" if lifecycle == "active" else "active")

    @precondition(lambda self: self.experiments["0"][1] == "active")
    @rule(value=_VALUES, is_removed=st.booleans())
    def log_in_worktree(self, value: float, is_removed: bool) -> None:
        """A run from a linked work tree, which may be gone before the run ends."""
        self.begin("run in a linked work tree")
        tree = self.place / "worktree"
        self.repo.git("worktree", "add", "--quiet", "--detach", str(tree))
        with chdir(tree):
            active = gittrack.start_run(run_name="linked", nested=True)
            run = Wanted(active.info.run_id, "linked", "0", is_open=True)
            active.log({"loss": value}, run.add_point("loss", value))
            if is_removed:
                self.repo.git("worktree", "remove", "--force", str(tree))
        active.log({"loss": -value}, run.add_point("loss", -value))
        active.end()
        if not is_removed:
            self.repo.git("worktree", "remove", "--force", str(tree))
        run.status, run.is_open = "FINISHED", False
        self.runs.append(run)
        self.touched = run

    @precondition(lambda self: self.runs)
    @rule()
    def read_elsewhere(self) -> None:
        """Another process, which has nothing open, sees the same."""
        self.begin("read by another process")

        def read() -> None:
            become_new(self.place)
            self.compare_all(Repo(self.repo.path).store)

        assert in_fork(read) == 0, "another process sees something else"

    # -- what must hold ----------------------------------------------------------------------------------

    @invariant()
    def touched_run_is_as_it_must_be(self) -> None:
        if self.touched is not None:
            self.touched.compare(self.store, self.store.get_run(self.touched.run_id))
            self.touched = None
        if self.steps % 8 == 7:
            self.compare_all(self.store)

    def compare_all(self, store: Store) -> None:
        listing = store.list_runs()
        assert listing.problems == [], listing.problems
        found = {str(stored.record.id): stored for stored in listing.runs}
        wanted = {run.run_id for run in self.runs}
        assert set(found) == wanted, f"missing: {wanted - set(found)}, too many: {set(found) - wanted}"
        for run in self.runs:
            run.compare_record(found[run.run_id])
        known = {
            record.id: (record.name, record.lifecycle) for record in experiments.list_experiments(store.repository)
        }
        assert known == self.experiments, f"experiments {known} instead of {self.experiments}"

    def teardown(self) -> None:
        try:
            self.finish_life()
        finally:
            for active in opened_runs.list_own():
                active.end("KILLED")
            os.chdir(self.former)

    def finish_life(self) -> None:
        for run in self.runs:
            if run.is_open:
                self.client.set_terminated(run.run_id, "FINISHED")
                run.status, run.is_open = "FINISHED", False
        age_the_unborn(self.repo)
        self.store.recover()
        self.compare_all(self.store)
        for run in self.runs:
            run.compare(self.store, self.store.get_run(run.run_id))
            revisions = [revision.revision for revision in self.store.list_revisions(run.run_id)]
            assert revisions == list(range(1, len(revisions) + 1)), f"revisions {revisions}"
        damage, unsound = verify(self.repo.repository)[1], find_unsound(self.repo)
        assert damage == [], damage
        assert unsound == [], unsound
        if self.tally["lives"] % 5 == 1:
            self.compare_command_line()

    def compare_command_line(self) -> None:
        for words, lifecycle in (((), "active"), (("--deleted",), "deleted")):
            told = json.loads(run_command(self.repo.path, "ls", "--json", *words))
            shown = {run["id"]: (run["name"], run["status"], run["tags"]) for run in told}
            wanted = {
                run.run_id: (run.name, run.status, run.tags) for run in self.runs if run.lifecycle == lifecycle
            }
            assert shown == wanted, f"ls tells {shown} instead of {wanted}"

    def change(self, run: Wanted, call: Callable[[], Any]) -> bool:
        """Do what changes a run; refused where it is deleted. True where it was done."""
        if run.lifecycle == "deleted":
            before = {key: list(rows) for key, rows in run.points.items()}
            _must_raise(RunStateError, call)
            run.points = before
            return False
        call()
        return True


def _must_raise(kind: type[GittrackError], call: Callable[[], Any]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"no {kind.__name__} was raised")


# -- those who die -------------------------------------------------------------------------------------------


class _Death:
    """A process that starts or resumes a run, does ten things to it, tells each, and dies at one of them."""

    def __init__(self, resumed: str | None, at: int, way: str) -> None:
        self.run_id = resumed or ""
        self._is_new = resumed is None
        self._at = at
        self._way = way
        self._told = 0
        self._has_ended = False

    def die(self, repo: Path, folder: Path) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reading)
                become_new(folder)
                os.chdir(repo)
                self._live(writing)
            finally:
                os._exit(3)
        os.close(writing)
        told = b""
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline and select.select([reading], [], [], _WAIT_S)[0]:
            chunk = os.read(reading, 4096)
            told += chunk
            if not chunk or (self._way == "kill" and told.count(b"done") >= self._at):
                break
            if self._way == "kill at the end" and b"ending" in told:
                time.sleep(self._at / 1000)
                break
        os.kill(pid, signal.SIGKILL)
        while chunk := os.read(reading, 4096):
            told += chunk
        os.close(reading)
        os.waitpid(pid, 0)
        found = re.search(rb"id ([0-9a-f]{32})\n", told)
        assert found, f"it never began: {told!r}"
        self.run_id = found[1].decode()
        self._told = told.count(b"done")
        self._has_ended = b"ended" in told

    def _live(self, writing: int) -> None:
        run = (
            gittrack.start_run(run_name="crashed", experiment_id="0")
            if self._is_new
            else gittrack.start_run(self.run_id)
        )
        os.write(writing, f"id {run.info.run_id}\n".encode())
        for number in range(10):
            if self._way == "exit" and number == self._at:
                os._exit(1)
            _do_one_thing(run, number)
            os.write(writing, b"done\n")
        if self._way == "no end":
            os._exit(0)
        os.write(writing, b"ending\n")
        run.end("FINISHED")
        os.write(writing, b"ended\n")
        if self._way != "exit":
            signal.pause()
        os._exit(0)

    def settle(self, run: Wanted, stored: StoredRun, store: Store) -> None:
        """Let the model take in what was told, and one thing more where that is there."""
        deaths = str(int(run.tags.get("deaths", "0")) + 1)
        done = self._told
        trial = _after(run, deaths, done)
        if done < 10:
            further = _after(run, deaths, done + 1)
            is_further = self._count_done(store, stored, further)
            trial = further if is_further else trial
            while is_further and done + 1 < 10:  # killed later than the told point
                done += 1
                further = _after(run, deaths, done + 1)
                is_further = self._count_done(store, stored, further)
                trial = further if is_further else trial
        status = stored.record.status
        allowed = {"FINISHED"} if self._has_ended else {"KILLED"}
        if self._way in ("kill", "kill at the end") and not self._has_ended:
            allowed.add("FINISHED")
        assert status in allowed, f"{status} after {self._way}, {self._told} told"
        trial.status = status
        run.__dict__.update(trial.__dict__)

    @staticmethod
    def _count_done(store: Store, stored: StoredRun, further: Wanted) -> bool:
        try:
            further.status = stored.record.status
            further.compare(store, stored)
        except AssertionError:
            return False
        return True


def _do_one_thing(run: gittrack.ActiveRun, number: int) -> None:
    kind = number % 5
    if kind < 2:
        run.log({"crash": number / 7})
    elif kind == 2:
        run.log_param("died", 1)
    elif kind == 3:
        deaths = int(run.record.tags.get("deaths", "0")) + (number < 5)
        run.set_tag("deaths", deaths)
    else:
        run.log_stream(io.BytesIO(b"%d" % number), "d/c.txt")


def _after(run: Wanted, deaths: str, count: int) -> Wanted:
    """The model of a run after so many of the ten things."""
    after = replace(
        run,
        params=dict(run.params),
        tags=dict(run.tags),
        points={key: list(rows) for key, rows in run.points.items()},
        artifacts=dict(run.artifacts),
    )
    for number in range(count):
        kind = number % 5
        if kind < 2:
            after.add_point("crash", number / 7)
        elif kind == 2:
            after.params["died"] = 1
        elif kind == 3:
            after.tags["deaths"] = deaths
        else:
            after.put_artifact("d/c.txt", b"%d" % number)
    return after


def _count_points(record: RunRecord, key: str) -> int:
    return record.metrics[key].count if key in record.metrics else 0


def _edit_until_killed(repo: Path, folder: Path, run_id: str, before: int, delay_ms: int, is_tag: bool) -> int:
    """How many edits a process told of that edits again and again, until it is killed after a while."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become_new(folder)
            os.chdir(repo)
            client = gittrack.Client()
            os.write(writing, b"go")
            for number in range(before, before + 20):
                if is_tag:
                    client.set_tag(run_id, "edits", "x" * (number + 1))
                else:
                    client.log_metric(run_id, "edits", number / 7, step=number)
                os.write(writing, b"x")
            signal.pause()
        finally:
            os._exit(3)
    os.close(writing)
    os.read(reading, 2)
    time.sleep(delay_ms / 1000)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    told = b""
    while chunk := os.read(reading, 4096):
        told += chunk
    os.close(reading)
    return told.count(b"x")


# -- the wrong variant ---------------------------------------------------------------------------------------


def _forget_tags() -> None:
    """An edit of an ended run's tags that keeps only the new ones."""
    right = gittrack.Client.edit_tags

    def edit_tags(self: Any, run_id: str, tags: Any, removed: Any = ()) -> None:
        if removed or self._is_open(run_id):
            right(self, run_id, tags, removed)
        else:
            self._store().edit_run(run_id, lambda record: replace(record, tags=dict(tags)), "tags")

    gittrack.Client.edit_tags = edit_tags  # type: ignore[method-assign]
