"""Moving refs: compare-and-swap beside git itself,
and locks that heal after a crash but never break a live one."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gittrack.errors import BusyError, DamagedError, RepositoryError
from gittrack.git import refs
from gittrack.git.command import find_git
from gittrack.git.objects import ObjectId, ObjectSet
from gittrack.git.packs import write_pack
from gittrack.git.refs import heal_after_crash, list_refs, read_ref, write_lock
from tests.harness import in_fork

from .making import find, git, head, make

REF = "refs/heads/gittrack/x"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A repository with two commits, the second on ``main``."""
    made = make(tmp_path / "r", {"a.py": "1\n"})
    git(made, "commit", "-q", "--allow-empty", "-m", "second")
    return made


@pytest.fixture
def ids(top: Path) -> tuple[ObjectId, ObjectId]:
    return ObjectId(git(top, "rev-parse", "HEAD~1").decode().strip()), ObjectId(head(top))


@pytest.fixture
def no_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Takes the git program away, as on a machine that has none."""

    def take_away() -> None:
        monkeypatch.setenv("PATH", str(tmp_path / "home"))
        find_git.cache_clear()
        assert find_git() is None

    return take_away


def lock_file(top: Path) -> Path:
    return top / ".git" / f"{REF}.lock"


def note_of(top: Path) -> bytes:
    return (top / ".git/gittrack/lock").read_bytes()


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_ref_is_made_moved_and_removed_when_it_is_where_we_think(
    top: Path, ids: tuple[ObjectId, ObjectId], is_packed: bool
) -> None:
    first, second = ids
    with write_lock(find(top)) as lock:
        assert not lock.move_ref(REF, second, first)
        assert lock.move_ref(REF, first, None)
        if is_packed:
            git(top, "pack-refs", "--all")
        assert not lock.move_ref(REF, second, None)
        assert not lock.move_ref(REF, second, second)
        assert read_ref(find(top), REF) == git(top, "rev-parse", REF).decode().strip() == first
        assert lock.move_ref(REF, second, first)
        assert lock.move_ref(REF, second, second)
        assert read_ref(find(top), REF) == git(top, "rev-parse", REF).decode().strip() == second
        assert not lock.delete_ref(REF, first)
        assert lock.delete_ref(REF, second)
        assert read_ref(find(top), REF) is None
        assert not lock.delete_ref(REF, second)
        assert lock.move_ref(REF, first, None)
    git(top, "fsck", "--strict")
    assert not list((top / ".git").rglob("*.lock"))
    assert note_of(top) == b""


def test_a_symbolic_ref_is_not_written_through(top: Path, ids: tuple[ObjectId, ObjectId]) -> None:
    git(top, "symbolic-ref", REF, "refs/heads/main")
    with write_lock(find(top)) as lock:
        for move in (
            lambda: lock.move_ref(REF, ids[0], ids[1]),
            lambda: lock.move_ref(REF, ids[0], None),
            lambda: lock.delete_ref(REF, ids[1]),
        ):
            with pytest.raises(RepositoryError, match="symbolic"):
                move()
    assert head(top) == ids[1]


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("other", ["refs/heads/gittrack", "refs/heads/gittrack/x/y"])
def test_a_branch_in_the_way_is_told_before_anything_breaks(
    top: Path, ids: tuple[ObjectId, ObjectId], other: str, is_packed: bool
) -> None:
    git(top, "update-ref", other, ids[0])
    if is_packed:
        git(top, "pack-refs", "--all")
    with write_lock(find(top)) as lock, pytest.raises(RepositoryError, match="another branch is in its way"):
        lock.move_ref(REF, ids[0], None)
    assert list_refs(find(top), "refs/heads/") == {other: ids[0], "refs/heads/main": ids[1]}
    git(top, "fsck", "--strict")


def test_empty_folders_that_git_left_are_not_in_the_way(top: Path, ids: tuple[ObjectId, ObjectId]) -> None:
    (top / ".git" / REF / "y/z").mkdir(parents=True)
    with write_lock(find(top)) as lock:
        assert lock.move_ref(REF, ids[0], None)
    assert git(top, "rev-parse", REF).decode().strip() == ids[0]


@pytest.mark.parametrize("content", [b"", b"\0" * 41, b"1" * 39 + b"\n", b"x" * 40])
def test_a_ref_whose_file_holds_no_id_is_not_written_over(
    top: Path, ids: tuple[ObjectId, ObjectId], content: bytes
) -> None:
    path = top / ".git" / REF
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with write_lock(find(top)) as lock, pytest.raises(DamagedError, match="no commit id"):
        lock.move_ref(REF, ids[0], None)
    assert path.read_bytes() == content


def test_an_empty_packed_refs_file_is_told(top: Path, ids: tuple[ObjectId, ObjectId]) -> None:
    (top / ".git/packed-refs").write_bytes(b"")
    with write_lock(find(top)) as lock, pytest.raises(DamagedError, match="packed-refs"):
        lock.move_ref(REF, ids[0], None)


@pytest.mark.parametrize("has_git", [True, False])
def test_refs_are_listed_alike_with_git_and_without(
    top: Path, ids: tuple[ObjectId, ObjectId], no_git: Callable[[], None], has_git: bool
) -> None:
    expected = {
        REF: ids[0],
        "refs/heads/gittrack/é": ids[1],
        "refs/heads/gittrack/a\u2028b": ids[0],
        os.fsdecode(b"refs/heads/gittrack/\xff"): ids[0],
        "refs/remotes/origin/gittrack/x": ids[1],
    }
    for name, tip in expected.items():
        git(top, "update-ref", name, tip)
    git(top, "pack-refs", "--all")
    git(top, "update-ref", REF, ids[0])
    git(top, "update-ref", "refs/heads/gittrack-other/x", ids[0])
    git(top, "update-ref", "refs/remotes/origin/gittrack/tree", "HEAD^{tree}")
    git(top, "update-ref", "refs/remotes/origin/gittrack/blob", "HEAD:a.py")
    git(top, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/gone")
    if not has_git:
        no_git()
    assert list_refs(find(top), "refs/heads/gittrack/", "refs/remotes/") == expected
    assert list_refs(find(top), "refs/heads/none/") == {}


@pytest.mark.parametrize("has_git", [True, False])
def test_a_ref_whose_commit_is_missing_hides_no_other(
    top: Path,
    ids: tuple[ObjectId, ObjectId],
    no_git: Callable[[], None],
    has_git: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    git(top, "update-ref", REF, ids[0])
    for name, content in (("missing", "1" * 40 + "\n"), ("empty", "")):
        (top / ".git/refs/heads/gittrack" / name).write_text(content)
    if not has_git:
        no_git()
    assert list_refs(find(top), "refs/heads/gittrack/") == {REF: ids[0]}
    assert "gittrack cannot read the branch refs/heads/gittrack/missing" in caplog.text


def run_python(code: str, cwd: Path) -> subprocess.Popen[str]:
    program = "import os, sys, time\nfrom gittrack.git.refs import *\nfrom gittrack.git.repository import *\n"
    return subprocess.Popen(
        [sys.executable, "-c", program + textwrap.dedent(code)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def die_with_lock(top: Path, ref: str, new: str, content: str | None) -> None:
    """A writer that takes the lock, begins to move a ref, leaves its ``.lock``, and is killed with SIGKILL."""
    path = str(lock_file(top))
    child = run_python(
        f"""
        holder = write_lock(open_repository('.'))
        lock = holder.__enter__()
        lock._lock.note({ref!r}, {new!r})
        if {content!r} is not None:
            os.makedirs(os.path.dirname({path!r}), exist_ok=True)
            with open({path!r}, 'x') as file:
                file.write({content!r})
        print('ready', flush=True)
        time.sleep(60)
        """,
        top,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()


@pytest.mark.parametrize("part", [0, 20, 41])
def test_a_lock_that_a_killed_writer_left_is_healed(top: Path, ids: tuple[ObjectId, ObjectId], part: int) -> None:
    die_with_lock(top, REF, ids[0], f"{ids[0]}\n"[:part])
    with write_lock(find(top)) as lock:
        assert lock.move_ref(REF, ids[1], None)
    assert not lock_file(top).exists()
    assert read_ref(find(top), REF) == ids[1]


def test_the_next_command_heals_it_too(top: Path, ids: tuple[ObjectId, ObjectId]) -> None:
    die_with_lock(top, REF, ids[0], "")
    (top / ".git/gittrack/tmp").mkdir()
    (top / ".git/gittrack/tmp/half.pack").write_text("")
    heal_after_crash(find(top))
    assert not lock_file(top).exists()
    assert not list((top / ".git/gittrack/tmp").iterdir())
    assert note_of(top) == b""


@pytest.mark.parametrize("case", ["before the note", "after we came", "other content", "other ref", "no crash"])
def test_a_lock_of_another_program_is_never_removed(
    top: Path, ids: tuple[ObjectId, ObjectId], case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "_REF_WAIT_S", 0.5)
    content = {"other content": f"{ids[1]}\n"}.get(case, "")
    path = lock_file(top)
    path.parent.mkdir(parents=True, exist_ok=True)
    if case == "before the note":
        path.write_text(content)
        time.sleep(0.05)
    if case != "no crash":
        die_with_lock(top, "refs/heads/gittrack/other" if case == "other ref" else REF, ids[0], None)
    if case not in ("before the note", "after we came"):
        path.write_text(content)
    with write_lock(find(top)) as lock:
        if case == "after we came":
            time.sleep(0.05)
            path.write_text(content)
        with pytest.raises(BusyError, match="locked by another program") as caught:
            lock.move_ref(REF, ids[0], None)
    assert str(path) in caught.value.hint
    assert path.read_text() == content


def test_a_writer_that_gave_up_on_a_foreign_lock_does_not_make_the_next_one_break_it(
    top: Path, ids: tuple[ObjectId, ObjectId], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "_REF_WAIT_S", 0.3)
    path = lock_file(top)
    path.parent.mkdir(parents=True)
    path.write_text("")
    for _ in range(3):
        with pytest.raises(BusyError), write_lock(find(top)) as lock:
            lock.move_ref(REF, ids[0], None)
        heal_after_crash(find(top))
    assert path.exists()


def test_a_lock_that_goes_in_time_is_waited_for(top: Path, ids: tuple[ObjectId, ObjectId]) -> None:
    path = lock_file(top)
    path.parent.mkdir(parents=True)
    path.write_text("")
    timer = threading.Timer(0.3, path.unlink)
    timer.start()
    with write_lock(find(top)) as lock:
        assert lock.move_ref(REF, ids[0], None)
    timer.join()


def test_an_error_that_left_a_lock_is_healed_by_the_next_writer(top: Path, ids: tuple[ObjectId, ObjectId]) -> None:
    path = lock_file(top)

    def fail() -> None:
        with write_lock(find(top)) as lock:
            lock._lock.note(REF, ids[0])
            path.parent.mkdir(parents=True)
            path.write_text(ids[0][:7])
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert json.loads(note_of(top))["ref"] == REF
    with write_lock(find(top)) as lock:
        assert lock.move_ref(REF, ids[0], None)


def test_the_write_lock_is_one_for_all_processes_and_waiting_ends(top: Path) -> None:
    child = run_python("with write_lock(open_repository('.')):\n    print('in', flush=True)\n    input()", top)
    assert child.stdout is not None
    assert child.stdout.readline() == "in\n"
    start = time.monotonic()
    with pytest.raises(BusyError, match="another process"), write_lock(find(top), wait_s=0.3):
        pass
    assert 0.3 <= time.monotonic() - start < 2
    child.kill()
    child.communicate()
    with write_lock(find(top), wait_s=0.3):
        pass


def test_a_lock_is_not_taken_twice_by_one_thread(top: Path) -> None:
    with write_lock(find(top)), pytest.raises(BusyError, match="this thread"), write_lock(find(top)):
        pass
    with write_lock(find(top), wait_s=0.1):
        pass


def test_threads_take_turns(top: Path, ids: tuple[ObjectId, ObjectId]) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with write_lock(find(top)):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.parametrize("parent_ends", ["well", "killed"])
def test_a_child_that_was_forked_meanwhile_holds_no_lock(top: Path, parent_ends: str) -> None:
    """A data loader's workers are forked while another thread commits."""
    how = "pass" if parent_ends == "well" else "os.kill(os.getpid(), 9)"
    parent = run_python(
        f"""
        with write_lock(open_repository('.')):
            child = os.fork()
            if child == 0:
                os.close(1)
                time.sleep(20)
                os._exit(0)
            print(child, flush=True)
            {how}
        """,
        top,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        parent.communicate()
        with write_lock(find(top), wait_s=2.0):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def _count_up(path: str, number: int) -> None:
    from gittrack.git.objects import ObjectSet, Signature
    from gittrack.git.packs import write_pack
    from gittrack.git.repository import open_repository

    repository, ada = open_repository(path), Signature("Ada", "ada@example.org", 1)
    for count in range(20):
        with write_lock(repository) as lock:
            tip = read_ref(repository, REF)
            objects = ObjectSet("sha1")
            tree = objects.add_files({})
            commit = objects.add_commit(tree, [tip] if tip else [], ada, ada, f"{number} {count}\n")
            with write_pack(repository, objects):
                assert lock.move_ref(REF, commit, tip)


def test_processes_lose_nothing_beside_git_packing_refs_and_collecting_garbage(top: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_count_up, args=(str(top), number)) for number in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        git(top, "pack-refs", "--all", "--prune")
        subprocess.run(["git", "gc", "--quiet", "--prune=now"], cwd=top, capture_output=True, check=False)
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert int(git(top, "rev-list", "--count", REF)) == 80
    git(top, "fsck", "--strict", "--full", "--no-dangling")


def test_a_folder_that_cannot_be_written_is_an_os_error(top: Path) -> None:
    (top / ".git/gittrack").write_text("")
    with pytest.raises(FileExistsError), write_lock(find(top)):
        pass
    heal_after_crash(find(top))  # says nothing


def test_the_lock_of_packed_refs_that_a_dead_writer_left_is_removed(top: Path) -> None:
    """Removing a branch rewrites packed-refs."""
    lock = top / ".git/packed-refs.lock"
    git(top, "update-ref", REF, "HEAD")
    git(top, "pack-refs", "--all")
    tip = read_ref(find(top), REF)
    assert tip is not None

    def die() -> None:
        os.rename = lambda *names: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        os.replace = os.rename
        with write_lock(find(top)) as held:
            held.delete_ref(REF, tip)

    assert in_fork(die) == -signal.SIGKILL
    assert lock.exists()
    heal_after_crash(find(top))
    assert not lock.exists()
    with write_lock(find(top)) as held:
        assert held.delete_ref(REF, tip)
    assert read_ref(find(top), REF) is None


def test_a_lock_of_packed_refs_that_git_holds_stays(top: Path) -> None:
    lock = top / ".git/packed-refs.lock"
    git(top, "update-ref", REF, "HEAD")
    tip = read_ref(find(top), REF)
    assert tip is not None

    def die() -> None:
        with write_lock(find(top)) as held:
            held._lock.note(REF)
            lock.write_text("# pack-refs with: peeled fully-peeled sorted \n")
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_fork(die) == -signal.SIGKILL
    heal_after_crash(find(top))
    assert lock.exists()


def test_a_keep_that_could_not_be_removed_goes_with_the_next_command(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    pack = top / ".git/objects/pack"
    with write_lock(find(top)), monkeypatch.context() as failing:
        objects = ObjectSet("sha1")
        objects.add_blob(b"content")
        with write_pack(find(top), objects):
            failing.setattr(os, "unlink", refuse)
    assert list(pack.glob("*.keep"))
    heal_after_crash(find(top))
    assert not list(pack.glob("*.keep"))
