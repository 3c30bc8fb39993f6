"""A run in flight is shown to others, by a process that may fail in any way without harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gittrack.errors import RunStateError
from gittrack.sharing.beside import wait_for_sharing
from gittrack.store.index import drop_index
from gittrack.store.runs import StoredRun
from gittrack.store.search import RunQuestion, search
from tests.harness import finish_child, in_fork, start_child, wait_for
from tests.sharing.clones import Clone, Clones

RUNNING = """
import os, sys, gittrack
run = gittrack.start_run(run_name={name!r}, live="1s")
print(run.info.run_id, flush=True)
for step in range(5):
    gittrack.log({{"loss": 1 / (step + 1)}}, step=step)
gittrack.log_param("lr", 0.1)
gittrack.log_text("so far", "notes.txt")
with open("big.bin", "wb") as file:
    file.write(bytes(1000))
gittrack.log_artifact("big.bin")
{rest}
"""
WAIT = "sys.stdin.read()"


@pytest.fixture
def here(clones: Clones) -> Clone:
    return clones.make("ada")


@pytest.fixture
def there(clones: Clones) -> Clone:
    return clones.make("bob")


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    yield
    wait_for_sharing()


class Trainer:
    """A process that trains until it is told to end."""

    def __init__(self, clone: Clone, name: str = "one", rest: str = WAIT, **environment: str) -> None:
        self.clone = clone
        self.process = start_child(RUNNING.format(name=name, rest=rest), clone.path, **environment)
        assert self.process.stdout is not None
        self.run_id = self.process.stdout.readline().strip()
        assert self.run_id, self.process.communicate()[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def helpers(self) -> list[int]:
        """The processes that share the run."""
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and self._is_helper(pid)]

    def _is_helper(self, pid: str) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return b"gittrack.sharing.checkpointing" in words and self.run_id.encode() in words


def start_waiting(clone: Clone, name: str = "one") -> Trainer:
    """A trainer whose stdin stays open: `start_child` gives it none, so a pipe of its own stands for it."""
    return Trainer(clone, name, "while not os.path.exists('stop'): __import__('time').sleep(0.02)\n")


def end(trainer: Trainer) -> None:
    (trainer.clone.path / "stop").touch()
    finish_child(trainer.process)


def live_refs(clones: Clones) -> list[str]:
    return [ref for ref in clones.refs if ref.startswith("refs/gittrack/live/")]


def shown(clone: Clone, run_id: str) -> StoredRun:
    return clone.store.get_run(run_id)


def wait_until_shown(clones: Clones, *trainers: Trainer) -> None:
    refs = {f"refs/gittrack/live/{trainer.run_id}" for trainer in trainers}
    wait_for(lambda: refs <= set(clones.refs), "the checkpoints")


def wait_until_whole(clones: Clones, there: Clone, run_id: str) -> StoredRun:
    """The run with all that it logs at first."""

    def is_whole() -> bool:
        there.pull()
        found = [stored for stored in there.store.list_runs().runs if stored.record.id == run_id]
        return bool(found) and bool(there.store.list_artifacts(found[0]))

    wait_for(is_whole, "a checkpoint with all that was logged")
    return shown(there, run_id)


def columns(clone: Clone) -> list[tuple[str, str, bool]]:
    rows = search(clone.repository, RunQuestion()).rows
    return sorted((row.name, row.status, row.is_live) for row in rows)


def wait_until_gone(clones: Clones) -> None:
    wait_for(lambda: not live_refs(clones), "the live refs to go")


def test_a_colleague_sees_a_run_while_it_runs_and_then_as_it_ended(
    clones: Clones, here: Clone, there: Clone
) -> None:
    trainer = start_waiting(here)
    stored = wait_until_whole(clones, there, trainer.run_id)
    assert stored.record.status == "RUNNING"
    assert (stored.record.revision, stored.is_live, stored.record.params) == (0, True, {"lr": 0.1})
    assert [point.value for point in there.store.read_history(stored, "loss")] == [1 / n for n in range(1, 6)]
    artifacts = there.store.list_artifacts(stored)
    assert [artifact.path for artifact in artifacts] == ["notes.txt"]  # what would be a pointer is left out
    assert b"".join(there.store.read_artifact(stored, artifacts[0])) == b"so far"
    assert columns(there) == [("one", "RUNNING", True)]
    assert there.store.resolve("one").record.id == trainer.run_id
    assert here.git("for-each-ref", "refs/gittrack") == ""
    end(trainer)
    wait_until_gone(clones)
    there.pull()
    stored = shown(there, trainer.run_id)
    assert (stored.record.status, stored.record.revision, stored.is_live) == ("FINISHED", 1, False)
    assert columns(there) == [("one", "FINISHED", False)]
    assert there.git("for-each-ref", "refs/gittrack/remotes") == ""
    wait_for(lambda: not (here.state / "checkpoints" / trainer.run_id).exists(), "the scratch to go")
    here.assert_sound()
    there.assert_sound()
    clones.git("fsck", "--strict")


def test_the_final_commit_counts_also_where_the_ref_has_stayed(clones: Clones, here: Clone, there: Clone) -> None:
    trainer = start_waiting(here)
    wait_until_whole(clones, there, trainer.run_id)
    tracked = there.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/gittrack").split()
    end(trainer)
    wait_until_gone(clones)
    there.pull()
    there.git("update-ref", tracked[1], tracked[0])
    assert shown(there, trainer.run_id).record.status == "FINISHED"
    assert columns(there) == [("one", "FINISHED", False)]
    drop_index(there.repository)
    assert columns(there) == [("one", "FINISHED", False)]


def test_a_killed_trainer_is_running_and_then_killed(clones: Clones, here: Clone, there: Clone) -> None:
    trainer = start_waiting(here)
    assert wait_until_whole(clones, there, trainer.run_id).record.status == "RUNNING"
    trainer.kill()
    wait_until_gone(clones)
    there.pull()
    stored = shown(there, trainer.run_id)
    assert (stored.record.status, stored.record.metrics["loss"].count) == ("KILLED", 5)


def test_a_killed_helper_loses_nothing_and_the_end_is_pushed_all_the_same(
    clones: Clones, here: Clone, there: Clone
) -> None:
    trainer = start_waiting(here)
    wait_until_whole(clones, there, trainer.run_id)
    (helper,) = trainer.helpers
    os.kill(helper, signal.SIGKILL)
    end(trainer)
    wait_until_gone(clones)
    there.pull()
    assert shown(there, trainer.run_id).record.status == "FINISHED"


def test_two_runs_at_once_are_both_shown(clones: Clones, here: Clone, there: Clone) -> None:
    trainers = [start_waiting(here, name) for name in ("one", "two")]
    wait_until_shown(clones, *trainers)
    there.pull()
    assert columns(there) == [("one", "RUNNING", True), ("two", "RUNNING", True)]
    for trainer in trainers:
        end(trainer)
    wait_until_gone(clones)
    there.pull()
    assert columns(there) == [("one", "FINISHED", False), ("two", "FINISHED", False)]


def test_a_remote_that_goes_away_stops_nothing(clones: Clones, here: Clone, there: Clone) -> None:
    trainer = start_waiting(here)
    wait_until_shown(clones, trainer)
    away = clones.remote.rename(clones.folder / "away.git")
    (here.path / "stop").touch()
    out, err = finish_child(trainer.process)
    assert (out, err) == ("", "")
    assert shown(here, trainer.run_id).record.status == "FINISHED"
    away.rename(clones.remote)
    wait_until_gone(clones)  # it tries again


def test_without_a_remote_one_line_says_so_and_nothing_is_started(repo: Any) -> None:
    clone = Clone(repo.path)
    trainer = start_waiting(clone)
    assert trainer.helpers == []
    (clone.path / "stop").touch()
    out, err = finish_child(trainer.process)
    assert out == ""
    assert err.splitlines() == [
        f"gittrack shows run {trainer.run_id} to nobody: there is no remote; git remote add origin URL"
    ]


def test_git_config_asks_for_it_too(clones: Clones, here: Clone) -> None:
    here.git("config", "--global", "gittrack.live", "1s")
    code = RUNNING.format(name="one", rest="while not os.path.exists('stop'): __import__('time').sleep(0.02)")
    process = start_child(code.replace(', live="1s"', ""), here.path)
    wait_for(lambda: bool(live_refs(clones)), "the checkpoint")
    (here.path / "stop").touch()
    finish_child(process)
    wait_until_gone(clones)


def test_forked_children_start_no_other_helper(clones: Clones, here: Clone) -> None:
    rest = (
        "pids = [os.fork() for _ in range(1)]\n"
        "if pids == [0]:\n    gittrack.log({'of_child': 1.0})\n    os._exit(0)\n"
        "os.waitpid(pids[0], 0)\n"
        "while not os.path.exists('stop'): __import__('time').sleep(0.02)\n"
    )
    trainer = Trainer(here, rest=rest)
    wait_until_shown(clones, trainer)
    assert len(trainer.helpers) == 1
    end(trainer)
    wait_until_gone(clones)


def test_a_resumed_run_is_shown_with_what_it_had(clones: Clones, here: Clone, there: Clone) -> None:
    run_id = here.log("one", lr=0.1)
    here.push()
    code = f"""
    import os, time, gittrack
    gittrack.start_run(run_id={run_id!r}, live="1s")
    gittrack.log({{"loss": 0.25}}, step=2)
    while not os.path.exists("stop"):
        time.sleep(0.02)
    """
    process = start_child(code, here.path)
    wait_for(lambda: bool(live_refs(clones)), "the checkpoint")
    there.pull()
    stored = shown(there, run_id)
    assert (stored.record.status, stored.record.revision) == ("RUNNING", 1)
    assert [point.value for point in there.store.read_history(stored, "loss")] == [0.5, 0.25]
    assert columns(there) == [("one", "RUNNING", True)]
    (here.path / "stop").touch()
    finish_child(process)
    wait_until_gone(clones)
    there.pull()
    stored = shown(there, run_id)
    assert (stored.record.status, stored.record.revision) == ("FINISHED", 2)


def test_what_runs_elsewhere_is_neither_edited_nor_resumed(clones: Clones, here: Clone, there: Clone) -> None:
    trainer = start_waiting(here)
    wait_until_whole(clones, there, trainer.run_id)
    with pytest.raises(RunStateError, match="running elsewhere"):
        there.client.set_tag(trainer.run_id, "team", "a")
    with pytest.raises(RunStateError, match="running elsewhere"):
        there.client.log_metric(trainer.run_id, "loss", 1.0)
    end(trainer)
    wait_until_gone(clones)


def age(clone: Clone, run_id: str, seconds: int) -> None:
    """Let a checkpoint be so much older."""
    ref = f"refs/gittrack/remotes/origin/live/{run_id}"
    raw = clone.git("cat-file", "commit", ref)
    head, _, message = raw.partition("\n\n")
    lines = head.split("\n")
    words = lines[-1].split(" ")
    words[-2] = str(int(words[-2]) - seconds)
    made = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin"],
        cwd=clone.path,
        input="\n".join([*lines[:-1], " ".join(words)]) + "\n\n" + message,
        capture_output=True,
        text=True,
        check=True,
    )
    clone.git("update-ref", ref, made.stdout.strip())


def test_a_run_that_has_fallen_silent_is_not_alive_for_ever(
    clones: Clones, here: Clone, there: Clone, gittrack: Callable[..., str]
) -> None:
    trainer = start_waiting(here)
    wait_until_whole(clones, there, trainer.run_id)
    assert "RUNNING?" not in gittrack(there, "ls")
    age(there, trainer.run_id, 3 * 3600)
    stored = shown(there, trainer.run_id)
    assert (stored.record.status, stored.is_live) == ("RUNNING", False)
    assert "RUNNING?" in gittrack(there, "ls")
    assert "3h00m ago" in gittrack(there, "show", "one")
    told = json.loads(gittrack(there, "show", "one", "--json"))
    assert (told["status"], told["live"]) == ("RUNNING", False)
    end(trainer)
    wait_until_gone(clones)


@pytest.fixture
def gittrack() -> Callable[..., str]:
    """What the command prints in a clone."""
    import sys

    program = str(Path(sys.executable).with_name("gittrack"))

    def run(clone: Clone, *words: str) -> str:
        done = subprocess.run([program, *words], cwd=clone.path, capture_output=True, text=True, check=True)
        return done.stdout

    return run


def test_a_fork_that_ends_does_not_end_the_sharing_of_its_parent(here: Clone) -> None:
    assert in_fork(wait_for_sharing) == 0
