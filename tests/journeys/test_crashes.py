"""Killed at any moment: what a call acknowledged is there exactly once after the next command, and no litter.

Each child is forked from the tests' own process, so that hundreds of kills fit into seconds. The random seed is
in the test's id; the moments are the machine's own.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import select
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

import gittrack
from gittrack.store import journal
from gittrack.store.history import find_revisions
from gittrack.store.live import is_writer_alive
from gittrack.store.runs import StoredRun
from gittrack.store.store import Store
from gittrack.store.streams import Stream
from tests.harness import Repo, reset_tracking, wait_for

SEED = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1 << 32)


@dataclass
class Child:
    """A forked process that tells on a pipe what it has done."""

    pid: int
    pipe: int
    told: bytes = b""
    lines: list[str] = field(default_factory=list)

    def read(self, until: str, limit_s: float = 30.0) -> None:
        """Read what it tells, until a line begins so or it has ended."""
        deadline = time.monotonic() + limit_s
        while not any(line.startswith(until) for line in self.lines):
            assert time.monotonic() < deadline, f"it never said {until!r}: {self.lines[-3:]}"
            if select.select([self.pipe], [], [], 1.0)[0] and not self._read_once():
                return

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Kill it and read the rest of what it told; returns how it ended."""
        os.kill(self.pid, number)
        return self.wait()

    def wait(self) -> int:
        while self._read_once():
            pass
        os.close(self.pipe)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read_once(self) -> bool:
        chunk = os.read(self.pipe, 1 << 16)
        *lines, self.told = (self.told + chunk).split(b"\n")
        self.lines += [line.decode() for line in lines]
        return bool(chunk)

    def last(self, word: str) -> int:
        """The greatest number it told behind a word; -1 where it told none."""
        return max((int(line.split()[1]) for line in self.lines if line.startswith(word + " ")), default=-1)


Say = Callable[[str], None]


def fork(work: Callable[[Say], None]) -> Child:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Child(pid, reading)
    code = 1
    try:
        os.close(reading)
        gittrack_state_of_a_new_process()
        work(lambda line: os.write(writing, f"{line}\n".encode()) and None)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def gittrack_state_of_a_new_process() -> None:
    reset_tracking()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)


def recover(repo: Repo) -> None:
    """The next command. A folder without a stream's head is one that begins, for a minute: make it older."""
    repo.store.recover()
    live = repo.state / "live"
    for name in repo.live_folders:
        streams = list((live / name).glob("*.log"))
        told = [(stream.path, is_writer_alive(stream), stream.writer) for stream in map(Stream, map(str, streams))]
        assert not any(writer for _, _, writer in told), (told, os.listdir(live / name))
        for path in [*streams, live / name]:
            os.utime(path, (0, 0))
    repo.store.recover()


def content(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest() * 40


def points(store: Store, stored: StoredRun, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in store.read_history(stored, key)]


def log_forever(say: Say, name: str, batch: int) -> None:
    """Log everything there is, and acknowledge after every batch."""
    with gittrack.start_run(run_name=name) as run:
        say("run 0")
        step = 0
        for turn in range(1_000_000):
            for _ in range(batch):
                run.log({"a": step, "b": -step}, step)
                gittrack.log_metric("c", step / 7, step=step)
                step += 1
            gittrack.log_param(f"p{turn}", turn)
            gittrack.set_tag("turn", turn)
            if turn % 3 == 0:
                gittrack.log_text(f"text {turn}", f"texts/{turn}.txt")
                run.log_stream(io.BytesIO(content(turn)), f"blobs/{turn}.bin")
            say(f"steps {step}")
            say(f"turn {turn}")


def check(repo: Repo, name: str, child: Child) -> None:
    store = repo.store
    found = [stored for stored in store.list_runs().runs if stored.record.name == name]
    steps, turn = child.last("steps"), child.last("turn")
    if steps < 0 and not found:
        return  # killed before it had begun
    (stored,) = found
    for key, sign in (("a", 1.0), ("b", -1.0), ("c", 1 / 7)):
        rows = points(store, stored, key)
        assert len(rows) >= steps
        assert [step for step, _ in rows] == list(range(len(rows)))
        assert all(value == (step / 7 if key == "c" else sign * step) for step, value in rows)
    params = dict(stored.record.params)
    assert params == {f"p{number}": number for number in range(len(params))}
    assert len(params) > turn
    assert int(stored.record.tags.get("turn", -1)) >= turn
    artifacts = store.list_artifacts(stored)
    paths = Counter(artifact.path for artifact in artifacts)
    assert set(paths.values()) <= {1}
    for number in range(0, turn + 1, 3):
        assert {f"texts/{number}.txt", f"blobs/{number}.bin"} <= set(paths)
    for artifact in artifacts:
        number = int(artifact.path.split("/")[1].split(".")[0])
        data = b"".join(store.read_artifact(stored, artifact))
        assert data == (content(number) if artifact.path.startswith("blobs") else f"text {number}".encode())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [SEED], ids=str)
def test_sixty_processes_killed_at_random_lose_and_double_nothing(repo: Repo, seed: int) -> None:
    source = random.Random(seed)
    for number in range(60):
        name = f"run-{number}"
        batch = source.choice([1, 10, 300])
        child = fork(lambda say, name=name, batch=batch: log_forever(say, name, batch))
        if source.random() < 0.8:
            child.read("steps")
        time.sleep(source.random() * 0.05)
        assert child.kill() == -signal.SIGKILL
        if number % 3 == 2:
            recover(repo)
            repo.assert_sound()
        elif source.random() < 0.3:
            log_one_run()  # starting one recovers too
        check(repo, name, child)
    recover(repo)
    for stored in repo.store.list_runs().runs:
        expected = "FINISHED" if stored.record.name == "other" else "KILLED"
        assert (stored.record.status, stored.record.revision) == (expected, 1)
    repo.assert_sound()


def log_one_run() -> None:
    child = fork(lambda say: gittrack.start_run(run_name="other").end())  # type: ignore[arg-type,return-value]
    assert child.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [SEED], ids=str)
def test_eighty_processes_killed_while_they_end_their_run_lose_and_double_nothing(repo: Repo, seed: int) -> None:
    source = random.Random(seed)
    statuses = Counter[str]()
    for number in range(80):
        name = f"run-{number}"

        def work(say: Say, name: str = name) -> None:
            run = gittrack.start_run(run_name=name)
            for step in range(500):
                run.log({"a": step, "b": -step}, step)
                gittrack.log_metric("c", step / 7, step=step)
            gittrack.log_param("p0", 0)
            gittrack.set_tag("turn", 0)
            gittrack.log_text("text 0", "texts/0.txt")
            run.log_stream(io.BytesIO(content(0)), "blobs/0.bin")
            say("turn 0")
            say("steps 500")
            gittrack.end_run()
            say("ended 1")
            time.sleep(60)

        child = fork(work)
        child.read("steps")
        time.sleep(source.random() * 0.012)
        child.kill()
        if number % 4 == 3:
            recover(repo)
            repo.assert_sound()
        check(repo, name, child)
        (stored,) = [found for found in repo.store.list_runs().runs if found.record.name == name]
        if child.last("ended") == 1:
            assert stored.record.status == "FINISHED"
            assert stored.commit is not None
        statuses[stored.record.status] += 1
    recover(repo)
    repo.assert_sound()
    for stored in repo.store.list_runs().runs:
        assert len(find_revisions(repo.repository, stored.record.id)) == 1
    assert len(repo.git("rev-list", "refs/heads/gittrack/Default").split()) == 80
    assert set(statuses) <= {"FINISHED", "KILLED"}


def test_the_harness_notices_a_lost_point(repo: Repo) -> None:
    """The negative control: a journal that keeps values in memory must not pass."""

    def work(say: Say) -> None:
        journal.Journal._map_window = lambda self, length: bytearray(length)  # type: ignore[assignment,method-assign,return-value]
        log_forever(say, "lossy", 10)

    child = fork(work)
    child.read("steps")
    child.kill()
    recover(repo)
    with pytest.raises((AssertionError, ValueError)):
        check(repo, "lossy", child)


def test_a_joined_process_that_is_killed_loses_nothing_and_ends_nothing(repo: Repo) -> None:
    with gittrack.start_run() as run:
        run_id = run.info.run_id
        run.log({"own": 1.0}, 0)

        def work(say: Say) -> None:
            joined = gittrack.start_run(run_id=run_id)
            for step in range(1_000_000):
                joined.log({"theirs": step}, step)
                if step % 10 == 9:
                    joined.log_text(str(step), f"texts/{step}.txt")
                    say(f"steps {step + 1}")

        children = [fork(work) for _ in range(2)]
        for child in children:
            child.read("steps")
            child.kill()
        run.log({"own": 2.0}, 1)
        assert repo.store.recover() == []  # we live
    stored = repo.store.get_run(run_id)
    assert stored.record.status == "FINISHED"
    assert points(repo.store, stored, "own") == [(0, 1.0), (1, 2.0)]
    theirs = Counter(points(repo.store, stored, "theirs"))
    for child in children:
        assert all((step, float(step)) in theirs for step in range(child.last("steps")))
    assert set(theirs.values()) <= {1, 2}
    repo.assert_sound()


def test_four_processes_log_to_one_run(repo: Repo) -> None:
    """As ranks do that are given the run's id."""
    with gittrack.start_run() as run:
        run_id = run.info.run_id

        def work(say: Say, rank: int) -> None:
            gittrack.start_run(run_id=run_id)
            for step in range(2000):
                gittrack.log({f"rank{rank}/loss": step}, step)
            gittrack.log_param(f"rank{rank}", rank)
            gittrack.log_text(str(rank), f"ranks/{rank}.txt")
            gittrack.end_run()  # only leaves

        children = [fork(lambda say, rank=rank: work(say, rank)) for rank in range(4)]
        assert [child.wait() for child in children] == [0] * 4
        assert run.is_open
    stored = repo.store.get_run(run_id)
    for rank in range(4):
        assert points(repo.store, stored, f"rank{rank}/loss") == [(step, float(step)) for step in range(2000)]
    assert dict(stored.record.params) == {f"rank{rank}": rank for rank in range(4)}
    assert len(repo.store.list_artifacts(stored)) == 4
    assert (stored.record.status, stored.record.revision) == ("FINISHED", 1)
    repo.assert_sound()


def test_an_owner_killed_before_its_guests_leaves_a_run_that_the_last_of_them_commits(repo: Repo) -> None:
    go_on = os.pipe()

    def own(say: Say) -> None:
        run = gittrack.start_run(run_name="orphaned")
        run.log({"own": 1.0}, 0)
        say(f"id {int(run.info.run_id, 16)}")
        time.sleep(60)

    owner = fork(own)
    owner.read("id")
    run_id = f"{owner.last('id'):032x}"

    def join(say: Say) -> None:
        run = gittrack.start_run(run_id=run_id)
        run.log({"theirs": 1.0}, 0)
        say("joined 1")
        os.read(go_on[0], 1)
        run.log({"theirs": 2.0}, 1)
        gittrack.end_run()

    guest = fork(join)
    guest.read("joined")
    owner.kill()
    assert repo.store.recover() == []
    assert repo.store.get_run(run_id).record.status == "RUNNING"
    os.write(go_on[1], b"x")
    assert guest.wait() == 0
    stored = repo.store.get_run(run_id)
    assert (stored.record.status, stored.is_live) == ("KILLED", False)
    assert points(repo.store, stored, "theirs") == [(0, 1.0), (1, 2.0)]
    repo.assert_sound()


def test_a_preempted_run_goes_on_under_its_id_with_its_steps(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, and started again with the run's id in the environment, ten times."""
    run_id = ""
    expected = 0
    for _ in range(10):

        def work(say: Say) -> None:
            with gittrack.start_run() as run:
                say(f"id {int(run.info.run_id, 16)}")
                for _ in range(1_000_000):
                    run.log({"a": 1.0})
                    say("logged 1")

        child = fork(work)
        wait_for(lambda child=child: child._read_once() and child.lines.count("logged 1") >= 30, "thirty points")
        child.kill()
        run_id = f"{child.last('id'):032x}"
        monkeypatch.setenv("GITTRACK_RUN_ID", run_id)
        expected += child.lines.count("logged 1")
    recover(repo)
    stored = repo.store.get_run(run_id)
    steps = [step for step, _ in points(repo.store, stored, "a")]
    assert steps == list(range(len(steps)))
    assert expected <= len(steps) <= expected + 10
    assert (stored.record.status, stored.record.revision) == ("KILLED", 10)
    repo.assert_sound()


def test_workers_that_a_pool_terminates_keep_what_they_logged(repo: Repo) -> None:
    with gittrack.start_run() as run:
        run_id = run.info.run_id

        reading, writing = os.pipe()
        pids = []
        for rank in range(3):
            pid = os.fork()
            if pid == 0:  # a data loader's worker: it has the run, and never starts one
                for step in range(1_000_000):
                    run.log({f"worker{rank}": step}, step)
                    if step == 500:
                        os.write(writing, b"x")
                os._exit(0)
            pids.append(pid)
        told = b""
        while len(told) < 3:
            told += os.read(reading, 3)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
        run.log({"own": 1.0}, 0)
        os.close(reading)
        os.close(writing)
        assert run.is_open
    stored = repo.store.get_run(run_id)
    assert stored.record.status == "FINISHED"
    for rank in range(3):
        rows = points(repo.store, stored, f"worker{rank}")
        assert len(rows) > 500
        assert rows == [(step, float(step)) for step in range(len(rows))]
    repo.assert_sound()
