"""Runs in flight: who counts as alive, and a folder that goes only when nothing of it can be lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gittrack.errors import BusyError
from gittrack.git.objects import BLOB, ObjectSet
from gittrack.schema.names import RunId
from gittrack.store import live as live_module
from gittrack.store.journal import EVENT_HEAD, HEADER, MAGIC, SEAL, VERSION, Journal
from gittrack.store.live import (
    LiveRun,
    create_live,
    describe_writer,
    find_live,
    is_writer_alive,
    list_live,
    put_back_leftovers,
    spool_root,
)
from gittrack.store.streams import Stream
from tests.harness import Repo, in_fork, read_only

RUN = RunId("0123456789abcdef0123456789abcdef")
LONG_AGO = 10 * 24 * 3600


@pytest.fixture
def live(tmp_path: Path) -> LiveRun:
    made = LiveRun(str(tmp_path / RUN), RUN)
    made.create()
    return made


def begin(live: LiveRun, describe: Callable[[], dict[str, Any]] = describe_writer) -> Journal:
    journal = Journal(live.folder, describe)
    journal.append({"a": 1.0}, 0)
    return journal


def consumed(live: LiveRun) -> dict[str, int]:
    taken = {}
    for stream in live.read_streams():
        for _ in stream.read():
            pass
        taken[stream.nonce] = stream.consumed
    return taken


def write_stream(live: LiveRun, age_s: float = 0.0, *kinds: str, torn: int = 0, **writer: Any) -> Stream:
    """A stream as some other writer left it, with events of some kinds, ``torn`` bytes off the last one."""
    seal = int.from_bytes(os.urandom(8), "little") | 1
    content = HEADER.pack(MAGIC, VERSION, seal)
    for fields in ({"e": "writer", **writer}, *({"e": kind} for kind in kinds)):
        payload = json.dumps({"e": fields.pop("e"), "t": time.time(), **fields}, separators=(",", ":")).encode()
        content += EVENT_HEAD.pack(1, len(payload), zlib.crc32(payload)) + payload + SEAL.pack(seal)
    path = os.path.join(live.folder, f"{seal:016x}.log")
    Path(path).write_bytes(content[: len(content) - torn])
    os.utime(path, (time.time() - age_s,) * 2)
    return Stream(path)


def test_where_there_are_no_locks_nobody_waits_for_one(live: LiveRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system whose lock service is down."""

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match="No locks available"), live.fold_lock(wait=True):
        pass


# -- who is alive --------------------------------------------------------------------------------------------


def test_this_process_is_alive_while_its_stream_is_open(live: LiveRun) -> None:
    journal = begin(live)
    assert live.is_alive()
    journal.close()
    assert not live.is_alive()


def test_a_forked_child_is_a_writer_of_its_own(live: LiveRun) -> None:
    journal = begin(live)
    ready, go_on = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        journal.append({"a": 1.0}, 1)
        os.write(ready[1], b"x")
        os.read(go_on[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    journal.close()
    assert live.is_alive()
    os.write(go_on[1], b"x")
    os.waitpid(pid, 0)
    assert not live.is_alive()
    for descriptor in (*ready, *go_on):
        os.close(descriptor)


def test_a_killed_writer_is_dead_and_so_is_a_zombie(live: LiveRun) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = live_module._start_of(child.pid)
    stream = write_stream(live, **{**describe_writer(), "pid": child.pid, "started": started})
    assert is_writer_alive(stream)
    child.send_signal(signal.SIGKILL)
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2][0] != "Z":
        time.sleep(0.001)
    assert not is_writer_alive(stream)
    child.communicate()
    assert not is_writer_alive(stream)


def test_another_process_with_a_dead_ones_number_is_not_it(live: LiveRun) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not is_writer_alive(write_stream(live, **{**describe_writer(), "pid": child.pid, "started": "7"}))
    child.communicate()


@pytest.mark.parametrize(
    ("writer", "age_s", "alive"),
    [
        ({"boot": "another"}, 0, False),  # this machine was started anew
        ({"host": "elsewhere"}, 60, True),
        ({"host": "elsewhere"}, 7200, False),
        ({"space": "pid:[1]"}, 60, True),  # a container of this host
        ({"space": "pid:[1]"}, 7200, False),
        ({"pid": None}, 60, True),
        ({"detached": True, "pid": 1}, 24 * 3600, True),
        ({"detached": True, "pid": 1}, LONG_AGO, False),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_judged_by_its_age(
    live: LiveRun, writer: dict[str, Any], age_s: float, alive: bool
) -> None:
    assert is_writer_alive(write_stream(live, age_s, "start", **{**describe_writer(), **writer})) is alive


def test_a_run_of_commands_whose_first_died_before_it_began_waits_a_minute_and_is_not_listed(
    live: LiveRun,
) -> None:
    assert is_writer_alive(write_stream(live, 30, detached=True))
    assert not is_writer_alive(write_stream(live, 90, detached=True))
    assert not live.has_begun()
    write_stream(live, 90, "start", detached=True)
    assert live.has_begun()


def test_a_run_of_commands_that_one_has_ended_is_alive_no_more(live: LiveRun) -> None:
    assert is_writer_alive(write_stream(live, 0, "start", "tag", detached=True))
    assert not is_writer_alive(write_stream(live, 0, "start", "end", detached=True))
    assert is_writer_alive(write_stream(live, 0, "start", "end", torn=1, detached=True))
    assert is_writer_alive(write_stream(live, 0, "start", "end", "resume", detached=True))


def test_a_process_that_the_system_hides_is_not_taken_for_dead(
    live: LiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hidepid, /proc shows nobody else's processes."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stream = write_stream(live, **{**describe_writer(), "pid": child.pid, "started": "123"})
    real = live_module._read_line
    hidden = f"/proc/{child.pid}/stat"
    monkeypatch.setattr(live_module, "_read_line", lambda path: "" if path == hidden else real(path))
    assert is_writer_alive(stream)
    child.communicate()
    assert not is_writer_alive(stream)


def test_a_writer_that_logs_nothing_for_long_still_shows_that_it_lives(live: LiveRun) -> None:
    journal = begin(live)
    os.utime(journal.path, (0, 0))
    journal.touch()
    assert time.time() - os.stat(journal.path).st_mtime < 60
    os.unlink(journal.path)
    journal.touch()
    journal.close()


def test_a_folder_that_is_just_being_made_is_alive_for_a_while(live: LiveRun) -> None:
    assert live.is_alive()
    os.utime(live.folder, (0, 0))
    assert not live.is_alive()


def test_a_stream_without_its_head_does_not_hold_up_its_run_for_long(live: LiveRun) -> None:
    path = Path(live.folder) / "0000000000000001.log"
    path.write_bytes(b"")
    assert live.is_alive()
    os.utime(path, (time.time() - 120,) * 2)
    assert not live.is_alive()


# -- removing ------------------------------------------------------------------------------------------------


def test_a_folder_goes_once_all_of_it_was_taken_and_nobody_writes(live: LiveRun) -> None:
    begin(live).close()
    assert not live.remove({})
    assert live.remove(consumed(live))
    assert not live.exists()


def test_a_folder_stays_while_another_stream_is_open(live: LiveRun) -> None:
    ours, guest = begin(live), begin(live)
    ours.close()
    assert not live.remove(consumed(live))
    guest.append({"a": 1.0}, 1)
    guest.close()
    assert live.exists()
    assert live.remove(consumed(live))


def test_a_stream_begun_while_the_folder_goes_is_brought_back(
    live: LiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(live).close()
    taken = consumed(live)
    guests: list[Journal] = []
    real = os.rename

    def rename(source: Any, target: Any) -> None:
        if not guests:
            guests.append(begin(live))  # the very last moment
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    assert not live.remove(taken)
    guests[0].append({"a": 2.0}, 1)
    guests[0].close()
    rows = [len(list(stream.read())) for stream in live.read_streams()]
    assert sum(rows) == 2
    assert live.remove(consumed(live))


def test_a_folder_made_anew_while_the_old_one_is_aside_takes_it_in(
    live: LiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(live).close()
    os.makedirs(live.staging_dir)
    Path(live.staging_dir, "a" * 64).write_text("staged")
    taken = consumed(live)
    journals: list[Journal] = []
    real = os.rename

    def rename(source: Any, target: Any) -> None:
        if not journals:
            journals.append(begin(live))
            real(source, target)
            assert in_fork(lambda: journals[0].append({"a": 3.0}, 3)) == 0  # makes the folder again
        else:
            real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    assert not live.remove(taken)
    journals[0].close()
    assert len(live.read_streams()) == 3
    assert Path(live.staging_dir, "a" * 64).read_text() == "staged"
    assert live.remove(consumed(live))


def test_what_is_being_deleted_is_not_put_back(repo: Repo) -> None:
    """The lock goes last: where there is none, all else was committed, and an empty folder may go."""
    live, _ = create_live(repo.repository, RUN)
    os.rename(live.folder, f"{live.folder}.gone-4711")
    half = Path(f"{live.folder}.gone-4711", "artifacts")
    half.mkdir()
    put_back_leftovers(repo.repository)
    assert half.exists()
    assert not live.exists()
    half.rmdir()
    put_back_leftovers(repo.repository)
    assert repo.live_folders == []


def test_what_a_dead_process_had_set_aside_is_put_back(repo: Repo) -> None:
    live, _ = create_live(repo.repository, RUN)
    begin(live).close()
    with live.fold_lock(wait=True):
        pass
    os.rename(live.folder, f"{live.folder}.gone-4711")
    assert list_live(repo.repository) == []
    put_back_leftovers(repo.repository)
    assert [found.run_id for found in list_live(repo.repository)] == [RUN]
    assert len(live.read_streams()) == 1


def test_what_a_living_process_has_set_aside_is_left_alone(repo: Repo) -> None:
    live, _ = create_live(repo.repository, RUN)
    begin(live).close()
    aside = LiveRun(f"{live.folder}.gone-4711", RUN)
    with live.fold_lock(wait=False) as held:
        assert held
        os.rename(live.folder, aside.folder)
        put_back_leftovers(repo.repository)
        assert aside.exists()


def test_a_lock_of_a_folder_that_is_gone_is_not_held(live: LiveRun) -> None:
    with live.fold_lock(wait=False) as held:
        assert held
        with live.fold_lock(wait=False) as other:
            assert not other
        os.rename(live.folder, live.folder + "-away")
        live.create()
        Path(live.folder, "fold.lock").touch()
    os.rename(live.folder + "-away", live.folder + "-x")
    with live.fold_lock(wait=False) as held:
        assert held
    with LiveRun(live.folder + "-nowhere", RUN).fold_lock(wait=True) as held:
        assert not held


def test_waiting_for_a_lock_ends_with_an_error(live: LiveRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "_FOLD_WAIT_S", 0.05)
    with live.fold_lock(wait=True), pytest.raises(BusyError, match="folding"), live.fold_lock(wait=True):
        pass


def test_a_child_forked_meanwhile_does_not_keep_the_lock(live: LiveRun) -> None:
    wake = os.pipe()
    with live.fold_lock(wait=False) as held:
        assert held
        pid = os.fork()
        if pid == 0:
            os.read(wake[0], 1)
            os._exit(0)
    with live.fold_lock(wait=False) as held:
        assert held
    os.write(wake[1], b"x")
    os.waitpid(pid, 0)
    os.close(wake[0])
    os.close(wake[1])


# -- code and signals ----------------------------------------------------------------------------------------


def test_code_comes_back_up_to_where_it_is_torn(live: LiveRun) -> None:
    objects = ObjectSet("sha1")
    ids = [objects.add(BLOB, bytes([number]) * 100) for number in range(5)]
    live.write_code(objects)
    assert [found for found, _, _ in live.read_code("sha1")] == ids
    path = Path(live.folder, "code.objects")
    path.write_bytes(path.read_bytes()[:-3])
    assert [found for found, _, _ in live.read_code("sha1")] == ids[:-1]
    path.unlink()
    assert len(live.read_code("sha1")) == 0


def test_a_signal_is_noted(live: LiveRun) -> None:
    assert live.read_signal() == ""
    live.mark_signal("SIGTERM")
    live.mark_signal("SIGINT")
    assert live.read_signal() == "SIGINT"


# -- the spool -----------------------------------------------------------------------------------------------


def test_where_the_repository_cannot_be_written_the_spool_takes_the_run(repo: Repo) -> None:
    live, error = create_live(repo.repository, RUN)
    assert error is None
    with read_only(repo.path):
        other, error = create_live(repo.repository, RunId("f" * 32))
        assert isinstance(error, OSError)
        assert other.folder.startswith(spool_root(repo.repository))
        assert {found.run_id for found in list_live(repo.repository)} == {RUN, "f" * 32}
        found = find_live(repo.repository, RunId("f" * 32))
        assert found is not None
        assert found.folder == other.folder
    top = Path(live_module._spool_top())
    assert top.stat().st_mode & 0o777 == 0o700
    assert live.exists()


@pytest.mark.parametrize("trap", ["others", "writable", "link"])
def test_a_spool_that_somebody_else_prepared_is_not_used(repo: Repo, trap: str, tmp_path: Path) -> None:
    top = Path(live_module._spool_top())
    if trap == "link":
        (tmp_path / "trap").mkdir(mode=0o700)
        top.symlink_to(tmp_path / "trap")
    else:
        top.mkdir(mode=0o700)
        if trap == "others":
            os.chown(top, 1, 1)
        else:
            top.chmod(0o777)
    forged = LiveRun(os.path.join(spool_root(repo.repository), RUN), RUN)
    forged.create()
    begin(forged).close()
    assert list_live(repo.repository) == []
    assert find_live(repo.repository, RUN) is None
    with read_only(repo.path):
        live, _ = create_live(repo.repository, RunId("f" * 32))
    assert live.folder == str(repo.state / "live" / ("f" * 32))  # its journal waits in memory
    assert not live.exists()
