"""What git makes its default next: ids by SHA-256, and refs in tables."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from gittrack.errors import BusyError, RepositoryError
from gittrack.git import refs
from gittrack.git.bulk import walk_commits
from gittrack.git.carrying import carry_tree
from gittrack.git.command import find_git
from gittrack.git.objects import BLOB, FILE_MODE, ObjectId, ObjectSet, Signature, hash_object
from gittrack.git.packs import is_packed, write_pack
from gittrack.git.reading import ObjectReader
from gittrack.git.refs import heal_after_crash, list_refs, read_head, read_ref, write_lock
from gittrack.git.repository import Repository
from tests.harness import find_newer_git, newer_git

from .making import find, git, head, record, state_of, write

__all__ = ["newer_git"]

REF = "refs/heads/gittrack/x"
ROOT = Path(__file__).parents[2]
ADA = Signature("Ada", "ada@example.org", 1_700_000_000)
FORMATS = {
    "sha256": ("--object-format=sha256",),
    "reftable": ("--ref-format=reftable",),
    "both": ("--object-format=sha256", "--ref-format=reftable"),
}
TABLES = ("reftable", "both")


@pytest.fixture(params=FORMATS)
def top(tmp_path: Path, newer_git: None, request: pytest.FixtureRequest) -> Path:
    """A repository of each format with two commits on ``main``."""
    made = tmp_path / "r"
    made.mkdir()
    git(made, "init", "-q", "-b", "main", *FORMATS[request.param])
    write(made, {"a.py": "1\n", "d/b.py": "2\n"})
    git(made, "add", ".")
    git(made, "commit", "-q", "-m", "first")
    git(made, "commit", "-q", "--allow-empty", "-m", "second")
    return made


@pytest.fixture
def ids(top: Path) -> tuple[ObjectId, ObjectId]:
    return ObjectId(git(top, "rev-parse", "HEAD~1").decode().strip()), ObjectId(head(top))


of_tables = pytest.mark.parametrize("top", TABLES, indirect=True)


def add_commit(repository: Repository, message: str, parents: list[ObjectId]) -> tuple[ObjectId, ObjectSet]:
    objects = ObjectSet(repository.object_format)
    tree = objects.add_files({"run.yaml": (FILE_MODE, objects.add_blob(message.encode()))})
    return objects.add_commit(tree, parents, ADA, ADA, message), objects


def lock_file(top: Path) -> Path:
    return top / ".git/reftable/tables.list.lock"


def test_objects_written_are_read_by_us_and_by_git(top: Path) -> None:
    repository = find(top)
    commit, objects = add_commit(repository, "a run\n", [])
    absent = hash_object(BLOB, b"absent", repository.object_format)
    with write_pack(repository, objects):
        assert all(is_packed(repository, object_id) for object_id, _, _ in objects)
        assert not is_packed(repository, absent)
        git(top, "update-ref", REF, commit)
    with ObjectReader(repository) as reader:
        assert [reader.read(object_id) for object_id, _, _ in objects] == [
            (kind, data) for _, kind, data in objects
        ]
        assert commit in reader
        assert absent not in reader
    assert [found.id for found in walk_commits(repository, [commit])] == [commit]
    git(top, "fsck", "--strict", "--no-dangling")
    git(top, "gc", "--quiet")
    assert git(top, "cat-file", "commit", commit).endswith(b"a run\n")


def test_a_ref_is_made_moved_and_removed_when_it_is_where_we_think(
    top: Path, ids: tuple[ObjectId, ObjectId]
) -> None:
    first, second = ids
    with write_lock(find(top)) as lock:
        assert not lock.move_ref(REF, second, first)
        assert lock.move_ref(REF, first, None)
        assert not lock.move_ref(REF, second, None)
        assert not lock.move_ref(REF, second, second)
        assert read_ref(find(top), REF) == git(top, "rev-parse", REF).decode().strip() == first
        git(top, "pack-refs", "--all")
        assert lock.move_ref(REF, second, first)
        assert lock.move_ref(REF, second, second)
        assert read_ref(find(top), REF) == git(top, "rev-parse", REF).decode().strip() == second
        assert list_refs(find(top), "refs/heads/") == {REF: second, "refs/heads/main": second}
        assert not lock.delete_ref(REF, first)
        assert lock.delete_ref(REF, second)
        assert read_ref(find(top), REF) is None
        assert not lock.delete_ref(REF, second)
    git(top, "fsck", "--strict")
    assert not list((top / ".git").rglob("*.lock"))


def test_HEAD_is_read_with_its_branch_and_without(top: Path, ids: tuple[ObjectId, ObjectId]) -> None:
    assert read_head(find(top)) == (ids[1], "main")
    git(top, "worktree", "add", "-q", "--detach", "../linked", ids[0])
    assert read_head(find(top.parent / "linked")) == (ids[0], None)
    git(top, "checkout", "-q", "--orphan", "new")
    assert read_head(find(top)) == (None, "new")


def test_a_symbolic_ref_is_not_written_through(top: Path, ids: tuple[ObjectId, ObjectId]) -> None:
    git(top, "symbolic-ref", REF, "refs/heads/main")
    with write_lock(find(top)) as lock, pytest.raises(RepositoryError, match="symbolic"):
        lock.move_ref(REF, ids[0], ids[1])
    assert (head(top), read_ref(find(top), REF)) == (ids[1], ids[1])


@pytest.mark.parametrize("other", ["refs/heads/gittrack", "refs/heads/gittrack/x/y"])
def test_a_branch_in_the_way_is_told_before_anything_breaks(
    top: Path, ids: tuple[ObjectId, ObjectId], other: str
) -> None:
    git(top, "update-ref", other, ids[0])
    with write_lock(find(top)) as lock, pytest.raises(RepositoryError, match="another branch is in its way"):
        lock.move_ref(REF, ids[0], None)
    assert list_refs(find(top), "refs/heads/") == {other: ids[0], "refs/heads/main": ids[1]}


@of_tables
def test_tables_that_another_program_keeps_locked_are_told_and_left(
    top: Path, ids: tuple[ObjectId, ObjectId], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "_REF_WAIT_S", 0.3)
    lock_file(top).write_text("")
    with write_lock(find(top)) as lock, pytest.raises(BusyError, match="locked by another program") as caught:
        lock.move_ref(REF, ids[0], None)
    assert str(lock_file(top)) in caught.value.hint
    assert lock_file(top).exists()


@of_tables
def test_tables_that_are_unlocked_in_time_are_waited_for(top: Path, ids: tuple[ObjectId, ObjectId]) -> None:
    lock_file(top).write_text("")
    timer = threading.Timer(0.3, lock_file(top).unlink)
    timer.start()
    with write_lock(find(top)) as lock:
        assert lock.move_ref(REF, ids[0], None)
    timer.join()


def start_python(code: str, cwd: Path) -> subprocess.Popen[str]:
    program = "import os, sys, time\nfrom gittrack.git.refs import *\nfrom gittrack.git.repository import *\n"
    return subprocess.Popen(
        [sys.executable, "-c", program + textwrap.dedent(code)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


@of_tables
def test_a_lock_of_the_tables_that_a_killed_writer_left_is_healed(
    top: Path, ids: tuple[ObjectId, ObjectId]
) -> None:
    child = start_python(
        f"""
        with write_lock(open_repository('.')) as lock:
            lock._lock.note({REF!r}, {ids[0]!r})
            open({str(lock_file(top))!r}, 'x').close()
            print('ready', flush=True)
            time.sleep(60)
        """,
        top,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    heal_after_crash(find(top))
    assert not lock_file(top).exists()
    with write_lock(find(top)) as lock:
        assert lock.move_ref(REF, ids[1], None)


@of_tables
def test_a_git_that_outlives_its_killed_writer_is_waited_for(
    top: Path, ids: tuple[ObjectId, ObjectId], tmp_path: Path
) -> None:
    """Its lock is not stale: it may still move the ref."""
    slow = tmp_path / "bin"
    slow.mkdir()
    real = f'exec {find_newer_git()}/git "$@"'
    told = (
        f"cat >{tmp_path}/told; touch {tmp_path}/begun; sleep 1; touch {tmp_path}/slept; {real} <{tmp_path}/told"
    )
    (slow / "git").write_text(f'#!/bin/sh\ncase " $* " in *" update-ref "*) {told};; esac\n{real}\n')
    (slow / "git").chmod(0o755)
    child = start_python(
        f"""
        os.environ['PATH'] = {str(slow)!r} + ':' + os.environ['PATH']
        with write_lock(open_repository('.')) as lock:
            lock.move_ref({REF!r}, {ids[0]!r}, None)
        """,
        top,
    )
    while not (tmp_path / "begun").exists():
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with write_lock(find(top)) as lock:
        assert (tmp_path / "slept").exists()
        assert lock.move_ref(REF, ids[1], read_ref(find(top), REF))
    assert read_ref(find(top), REF) == ids[1]


def test_processes_lose_nothing_beside_git_packing_refs_and_collecting_garbage(top: Path) -> None:
    code = f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from tests.git.test_formats import add_commit
        from gittrack.git.packs import write_pack
        repository = open_repository('.')
        for count in range(15):
            with write_lock(repository) as lock:
                tip = read_ref(repository, {REF!r})
                commit, objects = add_commit(repository, f'{{os.getpid()}} {{count}}', [tip] if tip else [])
                with write_pack(repository, objects):
                    assert lock.move_ref({REF!r}, commit, tip)
    """
    writers = [start_python(code, top) for _ in range(4)]
    while any(writer.poll() is None for writer in writers):
        subprocess.run(["git", "pack-refs", "--all"], cwd=top, capture_output=True, check=False)
        subprocess.run(["git", "gc", "--quiet", "--prune=now"], cwd=top, capture_output=True, check=False)
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0] * 4
    assert int(git(top, "rev-list", "--count", REF)) == 60
    git(top, "fsck", "--strict", "--full", "--no-dangling")


def test_code_is_carried_between_repositories_of_either_hash(top: Path, tmp_path: Path) -> None:
    write(top, {"a.py": "changed\n", "new.py": "n\n"})
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q", "-b", "main", *(() if find(top).object_format == "sha256" else FORMATS["sha256"]))
    state, target = state_of(top), find(other)
    assert state.tree is not None
    tree, objects = carry_tree(find(top), state.tree, state.objects, target)
    expected = {b"a.py": b"changed\n", b"d/b.py": b"2\n", b"new.py": b"n\n"}
    assert {path: data for path, (_, data) in record(target, tree, objects).items()} == expected
    _, again = carry_tree(find(top), state.tree, state.objects, target, known=tree)
    assert len(again) == 0


@of_tables
@pytest.mark.parametrize("installed", ["old", "none"])
def test_a_git_that_does_not_know_tables_is_told_in_one_line(
    top: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: str
) -> None:
    if installed == "none":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        old = tmp_path / "bin"
        old.mkdir()
        (old / "git").write_text(
            "#!/bin/sh\necho 'fatal: unknown repository extension found:\n\trefstorage' >&2\nexit 128\n"
        )
        (old / "git").chmod(0o755)
        monkeypatch.setenv("PATH", str(old), prepend=":")
    find_git.cache_clear()
    for ask in (lambda: read_ref(find(top), REF), lambda: list_refs(find(top), "refs/heads/")):
        with pytest.raises(RepositoryError, match={"old": "too old", "none": "no git"}[installed]) as raised:
            ask()
        assert "\n" not in raised.value.message
