"""Signals at random moments: to a single process, to one of a forked family, to one of the ranks that share a run.

Every process tells on a pipe what a call acknowledged. Once all have ended, an ordinary command follows: then the
run's status is right, every acknowledged point is there once, and a resumed run goes on where it stood.
Workers of `multiprocessing` that nobody disturbs are tried as well.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import gittrack
from gittrack.schema.names import RunId
from gittrack.store.live import LiveRun
from gittrack.store.runs import StoredRun
from gittrack.store.store import Store
from gittrack.tracking import session, signals
from tests.harness import Repo, wait_for
from tests.proof.arena import (
    Stopwatch,
    age_the_unborn,
    become_new,
    clean_environment,
    find_unsound,
    in_process,
    new_repo,
    run_command,
)
from tests.proof.tally import Tally

PROMISE = "A run that a signal ends keeps every acknowledged point once, is marked right, and goes on when resumed"
UNIT = "signals"
FULL = 240
SLICE = 16

_SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGHUP]
_CASTS = ["single", "forked", "ranks", "launched"]
_STEPS = 1_500
_TOLD_EVERY = 10
_WAIT_S = 60.0
_RESUMED_STEPS = 20

Say = Callable[[str], None]


def attack(count: int, seed: int, folder: Path) -> Tally:
    """Send so many signals, and let pools of workers log undisturbed, one round for every 60 of them."""
    watch = Stopwatch()
    struck = in_process(folder / "signals", lambda: _Play(folder / "signals", seed).perform(count))
    pools = in_process(folder / "pools", lambda: _try_pools(folder / "pools", max(1, count // 60)))
    seen = {**struck.seen, **pools.seen, "seconds": watch.seconds}
    return Tally(struck.tried + pools.tried, [*struck.losses, *pools.losses], seen)


def control(count: int, seed: int, folder: Path) -> Tally:
    """The same with a journal that gathers points in memory: a kill loses them, a fork doubles them."""
    return in_process(folder, lambda: _Play(folder, seed, _buffer_points).perform(count))


@dataclass
class _Scene:
    """One run and those who log to it: what they told, and how the one that ends it ended."""

    name: str
    cast: str
    pipe: int = -1
    told: bytes = b""
    lines: list[str] = field(default_factory=list)
    pids: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)

    def read(self, limit_s: float = _WAIT_S) -> bool:
        """Take in what was told; False when all who could tell have ended, or nothing came in time."""
        if not select.select([self.pipe], [], [], limit_s)[0]:
            return False
        chunk = os.read(self.pipe, 1 << 16)
        *lines, self.told = (self.told + chunk).split(b"\n")
        for line in lines:
            self.lines.append(line.decode())
            word, _, rest = self.lines[-1].partition(" ")
            if word == "pid":
                who, _, pid = rest.partition(" ")
                self.pids[who] = int(pid)
        return bool(chunk)

    def read_until(self, is_there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _WAIT_S
        while not is_there() and self.read():
            assert time.monotonic() < deadline, f"{self.name}: waited in vain after {self.lines[-3:]}"

    def read_to_end(self) -> None:
        deadline = time.monotonic() + _WAIT_S
        while self.read():
            assert time.monotonic() < deadline, f"{self.name}: it does not end: {self.lines[-3:]}"
        os.close(self.pipe)

    def count(self, word: str) -> int:
        return sum(line.startswith(word + " ") for line in self.lines)

    @property
    def run_id(self) -> str:
        return next((line.split()[1] for line in self.lines if line.startswith("id ")), "")

    @property
    def acknowledged(self) -> dict[str, int]:
        """How many points of each key are safe by what was told."""
        most: dict[str, int] = {}
        for line in self.lines:
            if line.startswith("safe "):
                _, key, number = line.split()
                most[key] = max(most.get(key, 0), int(number))
        return most


class _Play:
    """Scene after scene in one repository; works in a process of its own."""

    def __init__(self, folder: Path, seed: int, spoil: Callable[[], None] | None = None) -> None:
        self._folder = folder
        self._source = random.Random(seed)
        self._spoil = spoil
        self._repo = new_repo(folder, "repo")
        self._losses: list[str] = []
        self._seen = Counter[str]()

    def perform(self, count: int) -> Tally:
        with chdir(self._repo.path):
            for number in range(count):
                cast = _CASTS[number % 3] if number % 8 else "launched"
                scene = _Scene(f"run-{number}", cast)
                try:
                    self._stage(scene)
                    self._review(scene)
                except (AssertionError, gittrack.GittrackError, OSError) as error:
                    self._losses.append(f"{scene.name} ({cast}): {str(error)[:600] or repr(error)}")
        self._losses += find_unsound(self._repo)
        return Tally(count, self._losses, dict(self._seen))

    # -- the scene ---------------------------------------------------------------------------------------

    def _stage(self, scene: _Scene) -> None:
        reading, writing = os.pipe()
        scene.pipe = reading
        try:
            self._open(scene, writing)
        finally:
            os.close(writing)
        number, whom, moment = self._aim(scene)
        self._seen[f"{signal.Signals(number).name} to {scene.cast}"] += 1
        self._seen[f"amid {moment}"] += 1
        for pid in whom:
            try:
                os.kill(pid, number)
            except ProcessLookupError:  # it has ended: the signal came after
                self._seen["signals that came too late"] += 1
        scene.read_to_end()
        for who, pid in scene.pids.items():
            try:
                scene.codes[who] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            except ChildProcessError:  # the owner's own child: it lets go of the pipe a little before it is gone
                wait_for(partial(_is_gone, pid), f"the end of {who}")

    def _open(self, scene: _Scene, writing: int) -> None:
        if scene.cast == "launched":
            run_id = run_command(self._repo.path, "start", "--name", scene.name).strip()
            scene.lines.append(f"id {run_id}")
            for rank in range(3):
                self._fork(scene, writing, f"rank{rank}", lambda say, r=rank: _join(say, f"rank{r}", run_id))
            scene.read_until(lambda: scene.count("joined") == 3)
            return
        workers = 2 if scene.cast == "forked" else 0
        is_with = self._source.random() < 0.5
        guests = 3 if scene.cast == "ranks" else 0
        going, go = os.pipe()  # the owner of ranks ends the run when all have left
        self._fork(scene, writing, "owner", lambda say: _own(say, scene.name, workers, is_with, going, go))
        os.close(going)
        if guests:
            scene.read_until(lambda: bool(scene.run_id))
            for rank in range(1, guests + 1):
                self._fork(scene, writing, f"rank{rank}", lambda say, r=rank: _join(say, f"rank{r}", scene.run_id))
            scene.read_until(lambda: scene.count("joined") == guests)
        os.close(go)

    def _fork(self, scene: _Scene, writing: int, who: str, work: Callable[[Say], None]) -> None:
        pid = os.fork()
        if pid:
            scene.pids[who] = pid
            return
        code = 1
        try:
            os.close(scene.pipe)
            become_new(self._folder)
            os.chdir(self._repo.path)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            if self._spoil is not None:
                self._spoil()
            code = _live(work, lambda line: os.write(writing, f"{line}\n".encode()) and None)
        finally:
            os._exit(code)

    def _aim(self, scene: _Scene) -> tuple[int, list[int], str]:
        """Which signal, whom it meets, and when: this waits for the moment."""
        number = self._source.choice(_SIGNALS)
        moment = self._source.choice(["the beginning", "logging", "logging", "the end"])
        share = self._source.random()
        if moment == "logging":
            wanted = 1 + int(share * _STEPS / _TOLD_EVERY)
            scene.read_until(lambda: scene.count("safe") >= wanted)
        elif moment == "the end":
            scene.read_until(lambda: scene.count("ending") > 0)
            time.sleep(share * 0.015)
        else:
            time.sleep(share * 0.03)
        while scene.read(0.0):  # who has been forked meanwhile
            pass
        everybody = list(scene.pids.values())
        whom = everybody if self._source.random() < 0.25 else [self._source.choice(everybody)]
        return number, whom, moment

    # -- the review --------------------------------------------------------------------------------------

    def _review(self, scene: _Scene) -> None:
        store = self._repo.store
        age_the_unborn(self._repo)
        self._next_command(scene)
        found = [stored for stored in store.list_runs().runs if stored.record.name == scene.name]
        if not scene.run_id and not found:
            self._seen["runs that had not begun"] += 1
            return
        assert len(found) == 1, f"{len(found)} runs of that name"
        assert not found[0].is_live, (
            f"it is in flight still; {os.listdir(str(found[0].live and found[0].live.folder))}"
        )
        expected = self._expect_status(scene)
        assert found[0].record.status in expected, f"{found[0].record.status}, not {expected}; {scene.codes}"
        self._seen[f"marked {found[0].record.status}"] += 1
        counts = _check_points(store, found[0], scene.acknowledged)
        self._seen["acknowledged points"] += sum(scene.acknowledged.values())
        self._resume(scene, found[0], counts)

    def _next_command(self, scene: _Scene) -> None:
        """An ordinary command; now and then the real command line, and always where a launcher ends its run."""
        if scene.cast == "launched":
            run_command(self._repo.path, "finish", "--run", scene.run_id)
        elif scene.run_id and self._source.random() < 0.15:
            self._show(scene)
        self._repo.store.recover()
        self._let_unborn_age()

    def _show(self, scene: _Scene) -> None:
        words = [str(Path(sys.executable).parent / "gittrack"), "show", scene.run_id, "--json"]
        done = subprocess.run(words, cwd=self._repo.path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"show: {done.stderr}"
        told = json.loads(done.stdout)
        assert told["status"] in self._expect_status(scene), f"show tells {told['status']}; {scene.codes}"
        assert not told["live"], "show tells that it is in flight"
        self._seen["looked at by the command line"] += 1

    def _let_unborn_age(self) -> None:
        """A folder without a stream's first record counts as being begun for a minute: make it older."""
        for name in self._repo.live_folders:
            folder = self._repo.state / "live" / name
            if not any(stream.writer for stream in _find_live(self._repo, name)):
                for path in (*folder.glob("*.log"), folder):
                    os.utime(path, (0, 0))
        self._repo.store.recover()

    def _expect_status(self, scene: _Scene) -> set[str]:
        """A launcher's run ends by `gittrack finish`; any other's as its owner does."""
        if scene.cast == "launched" or scene.codes.get("owner") == 0 or scene.count("ended"):
            return {"FINISHED"}
        return {"KILLED", "FINISHED"} if scene.count("ending") else {"KILLED"}

    def _resume(self, scene: _Scene, before: StoredRun, counts: dict[str, int]) -> None:
        """Go on under the run's id, by the environment or by the call: steps count on from what is there."""
        run_id, by_environment = before.record.id, self._source.random() < 0.5
        again = _Scene(scene.name, "resumed")
        again.pipe, writing = os.pipe()
        self._fork(again, writing, "owner", lambda say: _go_on(say, run_id, by_environment))
        os.close(writing)
        again.read_to_end()
        code = os.waitstatus_to_exitcode(os.waitpid(again.pids["owner"], 0)[1])
        assert code == 0, f"resuming ended with {code}"
        stored = self._repo.store.get_run(run_id)
        assert (stored.record.status, stored.is_live) == ("FINISHED", False), f"resumed: {stored.record.status}"
        counts["owner"] = counts.get("owner", 0) + _RESUMED_STEPS
        now = _check_points(self._repo.store, stored, counts)
        assert now == counts, f"resumed: {now}, not {counts}"
        self._seen["resumed"] += 1


def _is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _find_live(repo: Repo, name: str) -> list[object]:
    return list(LiveRun(str(repo.state / "live" / name), RunId(name)).read_streams())


def _check_points(store: Store, stored: StoredRun, at_least: dict[str, int]) -> dict[str, int]:
    """How many points each key has: all of those that are safe, from step 0 on, each once."""
    counts = {}
    for key in {*stored.record.metrics, *at_least}:
        rows = [(point.step, point.value) for point in store.read_history(stored, key)]
        assert len(rows) >= at_least.get(key, 0), f"{key}: {len(rows)} of {at_least[key]} safe points are there"
        assert rows == [(step, step / 7) for step in range(len(rows))], f"{key}: not each once: {_odd(rows)}"
        if rows:
            assert stored.record.metrics[key].count == len(rows), f"{key}: its summary differs"
            counts[key] = len(rows)
    return counts


def _odd(rows: list[tuple[int, float]]) -> str:
    at = next(at for at, row in enumerate(rows) if row != (at, at / 7))
    return f"at {at} of {len(rows)} stands {rows[at : at + 3]}"


# -- who acts ------------------------------------------------------------------------------------------------


def _live(work: Callable[[Say], None], say: Say) -> int:
    """Do some work as an interpreter does it: an error goes through the hook, and what is open ends at the end."""
    try:
        work(say)
        return 0
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    finally:
        signals._end_at_exit()


def _own(say: Say, name: str, workers: int, is_with: bool, going: int, go: int) -> None:
    os.close(go)
    run = gittrack.start_run(run_name=name)
    say(f"id {run.info.run_id}")
    if is_with:
        with run:
            _train_with(run, say, workers, going)
    else:
        _train_with(run, say, workers, going)
    gittrack.end_run()
    say("ended 1")


def _train_with(run: gittrack.ActiveRun, say: Say, workers: int, going: int) -> None:
    for step in range(10):  # a buffer that is not empty when the family grows
        run.log({"early": step / 7}, step)
    say("safe early 10")
    pids = [_fork_worker(run, f"worker{number}", say) for number in range(workers)]
    _train(run, "owner", say)
    for pid in pids:
        os.waitpid(pid, 0)
    os.read(going, 1)
    say("ending 1")


def _fork_worker(run: gittrack.ActiveRun, key: str, say: Say) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            say(f"pid {key} {os.getpid()}")
            _train(run, key, say)
        finally:
            os._exit(0)
    return pid


def _join(say: Say, key: str, run_id: str) -> None:
    os.environ["GITTRACK_RUN_ID"] = run_id
    with gittrack.start_run() as run:
        say("joined 1")
        _train(run, key, say)
        say("ending 1")


def _train(run: gittrack.ActiveRun, key: str, say: Say) -> None:
    for step in range(_STEPS):
        run.log({key: step / 7}, step)
        if step % _TOLD_EVERY == 0:
            say(f"safe {key} {step + 1}")
    say(f"safe {key} {_STEPS}")


def _go_on(say: Say, run_id: str, by_environment: bool) -> None:
    if by_environment:
        os.environ["GITTRACK_RUN_ID"] = run_id
    with gittrack.start_run(None if by_environment else run_id) as run:
        known = run.record.metrics.get("owner")
        first = known.last_step + 1 if known else 0
        for step in range(first, first + _RESUMED_STEPS):
            run.log({"owner": step / 7})


# -- pools of workers ----------------------------------------------------------------------------------------

_POOL = """
import multiprocessing, os, sys
import gittrack

def work(arguments):
    run_id, rank = arguments
    if multiprocessing.get_start_method() == "fork":
        run = gittrack.active_run()
    else:
        run = gittrack.active_run() or gittrack.start_run(run_id=run_id)
    for step in range(200):
        run.log({f"rank{rank}": step / 7}, step)
    return os.getpid()

def load(run, rank, items):
    for step in iter(items.get, None):
        run.log({f"loader{rank}": step / 7}, step)
    items.get()  # as a loader's worker does: it waits for work until it is terminated

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    with gittrack.start_run(run_name=sys.argv[1]) as run:
        run.log({"owner": 0.0}, 0)
        with multiprocessing.Pool(3) as pool:
            pids = pool.map(work, [(run.info.run_id, rank) for rank in range(6)], chunksize=1)
        if sys.argv[1] == "fork":
            context = multiprocessing.get_context("fork")
            queues = [context.Queue() for _ in range(2)]
            loaders = [context.Process(target=load, args=(run, rank, queue)) for rank, queue in enumerate(queues)]
            for loader, queue in zip(loaders, queues):
                loader.start()
                for step in range(100):
                    queue.put(step)
                queue.put(None)
            for queue in queues:
                queue.close()
                queue.join_thread()
            for loader, key in zip(loaders, ("loader0", "loader1")):
                while len(gittrack.get_metric_history(run.info.run_id, key)) < 100:
                    pass
                loader.terminate()
                loader.join()
        run.log({"owner": 1 / 7}, 1)
"""


def _try_pools(folder: Path, rounds: int) -> Tally:
    """`multiprocessing` by each of its start methods, and workers of a loader, which are terminated at the end."""
    repo, script = new_repo(folder, "repo"), folder / "pool.py"
    script.write_text(textwrap.dedent(_POOL))
    losses, tried = [], 0
    for number in range(rounds):
        for method in ("fork", "spawn", "forkserver"):
            done = subprocess.run(
                [sys.executable, str(script), method],
                cwd=repo.path,
                env=clean_environment(folder),
                capture_output=True,
                text=True,
                check=False,
                timeout=_WAIT_S,
            )
            tried += 1
            if done.returncode or done.stderr:
                losses.append(f"{method} {number}: ended with {done.returncode}: {done.stderr[-500:]}")
    wanted = {"owner": 2, **{f"rank{rank}": 200 for rank in range(6)}}
    repo.store.recover()
    for stored in repo.store.list_runs().runs:
        expected = {**wanted, **({"loader0": 100, "loader1": 100} if stored.record.name == "fork" else {})}
        try:
            assert stored.record.status == "FINISHED", stored.record.status
            counts = _check_points(repo.store, stored, expected)
            assert counts == expected, f"{counts}, not {expected}"
        except AssertionError as error:
            losses.append(f"{stored.record.name}: {error}")
    return Tally(tried, [*losses, *find_unsound(repo)], {"pools of workers": tried})


# -- the wrong variant ---------------------------------------------------------------------------------------


def _buffer_points() -> None:
    """In a process that logs: points are gathered in memory, 64 at a time, as a buffered file does."""

    class Gathering(session.Journal):
        def append(self, metrics, step=None):  # type: ignore[no-untyped-def]
            self.__dict__.setdefault("held", []).append((dict(metrics), step))
            if len(self.held) >= 64:
                self.flush()

        def flush(self) -> None:
            held, self.held = self.__dict__.get("held", []), []
            for metrics, step in held:
                self.append_points(metrics, step)

        def close(self) -> None:
            if not self._closed:
                self.flush()
            super().close()

    session.Journal = Gathering  # type: ignore[misc]
