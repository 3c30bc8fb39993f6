"""Many clones that push to one remote at once, and pushes that are killed: nothing is lost, or named too soon."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gittrack.git.objects import ObjectId
from gittrack.git.repository import open_repository
from gittrack.sharing.pointers import list_pointers
from gittrack.store.artifacts import has_object
from tests.sharing.clones import Clone, Clones

_LOG_AND_PUSH = """
import sys
from gittrack import Client
from gittrack.git.remotes import find_remote
from gittrack.git.repository import open_repository
from gittrack.sharing.pushing import push

path, name, count, every = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
client, repository = Client(path), open_repository(path)
remote = find_remote(repository)
for number in range(count):
    run = client.create_run("0", run_name=f"{name}-{number}")
    client.log_metric(run.info.run_id, "loss", 0.5)
    client.set_terminated(run.info.run_id)
    if number % every == every - 1:
        push(repository, remote)
"""


def start_pushing(clone: Clone, count: int, every: int) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", _LOG_AND_PUSH, str(clone.path), clone.path.name, str(count), str(every)]
    return subprocess.Popen(argv)


@pytest.mark.slow
def test_eight_clones_of_fifty_runs_each_end_with_all_of_them(clones: Clones) -> None:
    for key in ("receive.denyNonFastForwards", "receive.denyDeletes"):
        clones.git("config", key, "true")
    users = [clones.make(f"user{number}") for number in range(8)]
    working = [start_pushing(user, 50, 10) for user in users]
    assert [process.wait() for process in working] == [0] * 8
    wanted = sorted(f"{user.path.name}-{number}" for user in users for number in range(50))
    for user in users:
        user.pull()
        assert user.names() == wanted
    clones.git("fsck", "--strict", "--no-dangling")


@pytest.mark.slow
def test_a_push_that_is_killed_anywhere_names_nothing_that_is_not_there(clones: Clones) -> None:
    draw, killed = random.Random(20), 0
    ada = clones.make("ada")
    for number in range(25):
        run = ada.log(f"run-{number}")
        artifact = ada.path / "model.bin"
        artifact.write_bytes(b"\0" + os.urandom(300_000))
        ada.client.log_artifact(run, str(artifact))
        push = subprocess.Popen(
            [str(Path(sys.executable).parent / "gittrack"), "push"],
            cwd=ada.path,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(draw.uniform(0.05, 0.3))  # the cut itself, at a time that nobody chooses
        try:
            os.killpg(push.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        killed += push.wait() == -signal.SIGKILL
        assert list_unbacked(clones) == []
        drop_locks(clones)
    ada.push()
    assert clones.refs == {"refs/heads/gittrack/exp": ada.tip()}
    assert list_unbacked(clones) == []
    assert killed >= 15  # or it has not tried what it says


def test_a_push_of_the_refs_alone_is_found_out(clones: Clones) -> None:
    """What the test above would say of a push that does not care."""
    ada = clones.make("ada")
    run = ada.log("one")
    (ada.path / "model.bin").write_bytes(b"\0model")
    ada.client.log_artifact(run, str(ada.path / "model.bin"))
    ada.git("-c", "core.hooksPath=/dev/null", "push", "-q", "origin", "gittrack/exp")
    assert list_unbacked(clones) == ["artifacts/model.bin"]


def list_unbacked(clones: Clones) -> list[str]:
    """The artifacts that the remote names and does not have; it is sound otherwise."""
    clones.git("fsck", "--strict", "--no-dangling", "--connectivity-only")
    remote = open_repository(str(clones.remote))
    tips = [ObjectId(tip) for tip in clones.refs.values()]
    return [found.where for found in list_pointers(remote, tips) if not has_object(remote, found.content)]


def drop_locks(clones: Clones) -> None:
    """A git that is killed at the remote leaves its own locks; the server's people, or git there, clear them."""
    for lock in Path(clones.remote).rglob("*.lock"):
        lock.unlink()
