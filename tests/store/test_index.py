"""The index says what git and the journals say, whatever has happened to it: deleted, damaged or locked."""

from __future__ import annotations

import fcntl
import math
import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

import gittrack
from gittrack.store import index, learning
from gittrack.store.index import INDEX_FILE, LOCK_FILE, STAMP_FILE, drop_index, index_folder
from gittrack.store.index_tables import FORMAT, number_of
from gittrack.store.purging import purge
from gittrack.store.records import load_records
from gittrack.store.search import RunQuestion, search
from gittrack.store.store import Store
from tests.harness import Repo, digest_tree, lose_object, make_repo, mounted, run_child, start_child

ALL = RunQuestion(lifecycle=None)


def folder_of(repo: Repo) -> Path:
    return Path(index_folder(repo.repository))


def plain(metrics: Any) -> dict[str, str]:
    return {key: repr(astuple(one)[:6]) for key, one in metrics.items()}


def ask(repo: Repo) -> list[Any]:
    """All that the index tells of all runs, in its order; NaN as text, so that it compares."""
    found = search(repo.repository, ALL)
    return [
        (
            row.id, row.commit_id, row.name, row.experiment_id, row.experiment, row.status, row.lifecycle,
            row.user, row.started_at, row.ended_at, row.host, row.parent, row.is_live, row.command,
            row.code_commit, row.dirty, dict(row.params), plain(row.metrics), dict(row.tags), row.digests,
        )
        for row in found.rows
    ]  # fmt: skip


def read(repo: Repo) -> list[Any]:
    """The same as `ask`, read from git and the journals."""
    told = []
    for stored in repo.store.list_runs().runs:
        run, source = stored.record, stored.record.source
        told.append(
            (
                run.id, stored.commit.id if stored.commit else None, run.name, run.experiment_id, run.experiment,
                run.status, run.lifecycle, run.user, run.started_at, run.ended_at, run.host, run.parent,
                stored.is_live, *((source.command, source.commit, source.dirty) if source else (None,) * 3),
                dict(run.params), plain(run.metrics), dict(run.tags),
                tuple((one.name, one.digest, one.context) for one in run.inputs),
            )
        )  # fmt: skip
    return sorted(told, key=lambda row: (-row[8], row[0]))


def log_runs(count: int = 3, experiment: str = "Default") -> list[str]:
    gittrack.set_experiment(experiment)
    made = []
    for number in range(count):
        with gittrack.start_run(run_name=f"run-{number}") as run:
            gittrack.log_params({"lr": 0.1 * number, "opt": "adam", "deep": number % 2 == 0, "none": None})
            gittrack.log({"loss": float("nan") if number == 1 else 1.0 / (number + 1)}, step=number)
            gittrack.log({"loss": 0.5, "acc/val": float("inf")}, step=number + 1)
            gittrack.set_tag("team", f"team {number} 'quoted' ünï")
            made.append(run.info.run_id)
    return made


# -- the same as git ---------------------------------------------------------------------------------------------


def test_after_every_change_it_says_what_git_says(repo: Repo) -> None:
    client = gittrack.Client()
    first, second, third = log_runs()
    changes: list[Callable[[], object]] = [
        lambda: None,
        lambda: client.set_tag(first, "stage", "candidate"),
        lambda: client.delete_tag(first, "stage"),
        lambda: client.update_run(second, name="renamed"),
        lambda: client.set_note(second, "a note"),
        lambda: client.delete_run(third),
        lambda: client.restore_run(third),
        lambda: client.log_metric(first, "late", 2.5),
        lambda: log_runs(2, "another/experiment"),
        lambda: client.rename_experiment(
            gittrack.get_experiment_by_name("another/experiment").experiment_id, "new"
        ),  # type: ignore[union-attr]
    ]
    for change in changes:
        change()
        assert ask(repo) == read(repo)


def test_only_what_it_has_not_seen_is_read(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def watched(repository: Any, revisions: Any) -> Any:
        seen.extend(revision.id for revision in revisions)
        return load_records(repository, revisions)

    monkeypatch.setattr(learning, "load_records", watched)
    before = log_runs()
    ask(repo)
    assert sorted(seen) == sorted(before)
    seen.clear()
    (new,) = log_runs(1)
    ask(repo)
    ask(repo)
    assert seen == [new]


def test_runs_in_flight_stand_beside_it(repo: Repo) -> None:
    ended = log_runs(2)
    with gittrack.start_run(run_name="flying") as run:
        gittrack.log({"loss": 0.25})
        assert ask(repo) == read(repo)
        assert ask(repo)[0][:3] == (run.info.run_id, None, "flying")
    with gittrack.start_run(run_id=ended[0]):
        gittrack.log_param("later", 1)
        told = ask(repo)
        assert told == read(repo)
        assert [row[12] for row in told if row[0] == ended[0]] == [True]
        assert len(told) == 3
    assert ask(repo) == read(repo)


def test_a_colleagues_runs_are_there_after_a_fetch_and_gone_with_the_remote(repo: Repo, tmp_path: Path) -> None:
    log_runs()
    clone = Repo(tmp_path / "clone")
    subprocess.run(["git", "clone", "-q", str(repo.path), str(clone.path)], check=True)
    assert ask(clone) == ask(repo) == read(repo)
    gittrack.set_tracking_uri(repo.path)
    log_runs(2, "theirs")
    clone.git("fetch", "-q")
    assert ask(clone) == read(clone) == ask(repo)
    clone.git("remote", "remove", "origin")
    assert ask(clone) == read(clone) == []


def test_what_is_purged_reset_or_deleted_is_forgotten(repo: Repo) -> None:
    client = gittrack.Client()
    first, second, _ = log_runs()
    client.set_tag(first, "edited", "1")
    client.delete_run(second)
    assert ask(repo) == read(repo)
    purge(repo.repository, second)
    assert ask(repo) == read(repo)
    repo.git("update-ref", "refs/heads/gittrack/Default", "refs/heads/gittrack/Default~1")
    assert ask(repo) == read(repo)
    log_runs(1)
    assert ask(repo) == read(repo)
    repo.git("branch", "-q", "-D", "gittrack/Default")
    assert ask(repo) == read(repo) == []


def test_an_older_revision_counts_again_when_the_newer_one_goes(repo: Repo) -> None:
    (run_id,) = log_runs(1)
    gittrack.Client().set_tag(run_id, "edited", "1")
    assert "edited" in ask(repo)[0][18]
    repo.git("update-ref", "refs/heads/gittrack/Default", "refs/heads/gittrack/Default~1")
    assert ask(repo) == read(repo)
    assert "edited" not in ask(repo)[0][18]


def test_an_experiments_older_name_counts_again_when_the_newer_one_goes(repo: Repo) -> None:
    log_runs(1, "first")
    experiment = gittrack.get_experiment_by_name("first")
    assert experiment is not None
    before = repo.git("rev-parse", "gittrack/first").strip()
    gittrack.Client().rename_experiment(experiment.experiment_id, "second")
    assert search(repo.repository, ALL).rows[0].experiment_name == "second"
    repo.git("update-ref", "refs/heads/gittrack/first", before)
    assert search(repo.repository, ALL).rows[0].experiment_name == "first"


def test_one_that_waited_forgets_nothing_of_what_another_has_learnt(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_runs(1)
    old = learning.Tips.read(repo.repository)
    log_runs(2)
    assert len(ask(repo)) == 3
    stale, read_now = [old], learning.Tips.read  # as seen before the lock was had
    monkeypatch.setattr(index.Tips, "read", lambda of: stale.pop() if stale else read_now(of))
    assert len(ask(repo)) == 3
    assert not stale


def test_a_date_that_no_clock_has_hides_no_run(repo: Repo) -> None:
    log_runs(2)
    data = repo.git("cat-file", "commit", "gittrack/Default")
    lines = [
        f"committer C <c@d> {'9' * 30} +0000" if line[:10] == "committer " else line for line in data.split("\n")
    ]
    made = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally"],
        input="\n".join(lines), text=True, cwd=repo.path, check=True, capture_output=True,
    ).stdout.strip()  # fmt: skip
    repo.git("update-ref", "refs/heads/gittrack/Default", made)
    assert len(ask(repo)) == 2


@pytest.mark.parametrize(("limit", "offset", "rows"), [(None, 5, 0), (2, 5, 0), (None, 1, 2), (1 << 70, 0, 3)])
def test_how_many_fit_is_told_whatever_is_cut_out(repo: Repo, limit: int | None, offset: int, rows: int) -> None:
    log_runs(3)
    found = search(repo.repository, RunQuestion(limit=limit, offset=offset))
    assert (len(found.rows), found.total) == (rows, 3)


def test_a_shallow_clone_that_is_deepened(repo: Repo, tmp_path: Path) -> None:
    log_runs(4)
    clone = Repo(tmp_path / "clone")
    subprocess.run(
        ["git", "clone", "-q", "--depth=2", "--no-single-branch", f"file://{repo.path}", str(clone.path)],
        check=True,
    )
    assert ask(clone) == read(clone)
    assert 0 < len(ask(clone)) < 4
    clone.git("fetch", "-q", "--unshallow")
    assert ask(clone) == read(clone) == ask(repo)


# -- damage ------------------------------------------------------------------------------------------------------


def test_deleting_it_changes_nothing(repo: Repo) -> None:
    log_runs()
    before = ask(repo)
    shutil.rmtree(folder_of(repo))
    assert ask(repo) == before
    assert (folder_of(repo) / INDEX_FILE).exists()


@pytest.mark.parametrize("seed", range(12))
def test_random_bytes_flipped_in_it_change_nothing(repo: Repo, seed: int) -> None:
    log_runs()
    before, draw = ask(repo), random.Random(seed)
    for path in (folder_of(repo) / INDEX_FILE, folder_of(repo) / STAMP_FILE):
        data = bytearray(path.read_bytes())
        for _ in range(draw.choice((1, 3, 50))):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        with open(path, "r+b") as file:
            file.write(data)
        assert ask(repo) == before


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, None])
def test_something_else_in_its_place_changes_nothing(repo: Repo, content: bytes | None) -> None:
    log_runs()
    before, path = ask(repo), folder_of(repo) / INDEX_FILE
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert ask(repo) == before
    assert ask(repo) == before


def test_damage_that_its_stamp_does_not_tell_is_found_by_sqlite(repo: Repo) -> None:
    log_runs()
    before, path = ask(repo), folder_of(repo) / INDEX_FILE
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    index._write_stamp(str(folder_of(repo)))
    assert ask(repo) == before
    assert ask(repo) == before


def test_one_of_another_format_is_built_anew(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    log_runs()
    before = ask(repo)
    with sqlite3.connect(folder_of(repo) / INDEX_FILE) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    index._write_stamp(str(folder_of(repo)))
    assert ask(repo) == before


@contextmanager
def no_cache(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    place = tmp_path / "nowhere"
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    if kind == "a file":
        place.write_text("")
        yield
    elif kind == "read-only":
        with mounted(place, "-t", "tmpfs", "-o", "ro", "none"):
            yield
    else:
        with mounted(place, "-t", "tmpfs", "-o", "size=64k", "none"):
            yield


@pytest.mark.parametrize("kind", ["a file", "read-only", "full"])
def test_where_there_can_be_no_file_the_answers_are_the_same(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    log_runs()
    with no_cache(kind, tmp_path, monkeypatch):
        assert ask(repo) == read(repo)
        log_runs(1)
        assert ask(repo) == read(repo)


@pytest.mark.parametrize("lock", ["ours", "sqlite's"])
def test_one_that_another_holds_is_done_without(repo: Repo, monkeypatch: pytest.MonkeyPatch, lock: str) -> None:
    monkeypatch.setattr(index, "_LOCK_WAIT_S", 0.05)
    monkeypatch.setattr(index, "_SQLITE_WAIT_S", 0.05)
    log_runs()
    ask(repo)
    log_runs(1)
    if lock == "ours":
        with open(folder_of(repo) / LOCK_FILE) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert ask(repo) == read(repo)
    else:
        connection = sqlite3.connect(folder_of(repo) / INDEX_FILE, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        assert ask(repo) == read(repo)
        connection.close()
    assert ask(repo) == read(repo)


def test_many_processes_bring_it_up_to_date_at_once(repo: Repo) -> None:
    log_runs(2)
    script = """
        from gittrack.git.repository import discover_repository
        from gittrack.store.search import RunQuestion, search
        import gittrack
        for number in range(5):
            with gittrack.start_run():
                gittrack.log({"loss": 0.5})
            found = search(discover_repository("."), RunQuestion())
            assert found.total >= number + 3, found.total
    """
    children = [start_child(script, repo.path) for _ in range(4)]
    for child in children:
        assert child.communicate(timeout=120)[1] == ""
        assert child.returncode == 0
    assert ask(repo) == read(repo)
    assert len(ask(repo)) == 22


def test_one_whose_builder_was_killed_is_built_anew(repo: Repo) -> None:
    log_runs()
    script = """
        import os, signal
        from gittrack.store import learning
        from gittrack.git.repository import discover_repository
        from gittrack.store.search import RunQuestion, search
        learning._Learner._put_packages = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
        search(discover_repository("."), RunQuestion())
    """
    for _ in range(2):  # the first builds it, the second changes it in place
        run_child(script, repo.path, expect=-9)
        assert ask(repo) == read(repo)
        log_runs(1)
    assert ask(repo) == read(repo)


@pytest.mark.parametrize("statement", ["PRAGMA user_version = 1", "PRAGMA user_version = 99", "DROP TABLE tip"])
def test_one_of_another_format_is_built_anew_and_kept(repo: Repo, statement: str) -> None:
    log_runs()
    ask(repo)
    connection = sqlite3.connect(folder_of(repo) / INDEX_FILE)
    connection.execute(statement)
    connection.close()
    index._write_stamp(str(folder_of(repo)))
    assert ask(repo) == read(repo)
    connection = sqlite3.connect(folder_of(repo) / INDEX_FILE)
    assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    assert connection.execute("SELECT count(*) FROM run, tip").fetchone() == (3,)
    connection.close()


# -- damage in git -----------------------------------------------------------------------------------------------


def test_a_record_that_cannot_be_read_is_told_and_read_once_it_can(repo: Repo) -> None:
    first, _, _ = log_runs()
    blob = repo.git("rev-parse", f"{repo.store.get_run(first).commit.id}:params.yaml").strip()  # type: ignore[union-attr]
    data = repo.git("cat-file", "blob", blob)
    lose_object(repo, blob)
    for _ in range(2):
        found = search(repo.repository, ALL)
        assert len(found.rows) == 2
        assert found.problems == repo.store.list_runs().problems != []
    subprocess.run(["git", "hash-object", "-w", "--stdin"], input=data, text=True, cwd=repo.path, check=True)
    assert len(ask(repo)) == 3
    assert ask(repo) == read(repo)


def test_a_history_that_cannot_be_walked_gives_what_is_sound(repo: Repo) -> None:
    log_runs(4)
    middle = repo.git("rev-parse", "gittrack/Default~2").strip()
    lose_object(repo, middle)
    assert ask(repo) == read(repo)
    assert len(ask(repo)) == 2


# -- whose it is -------------------------------------------------------------------------------------------------


def test_the_index_of_a_repository_that_is_gone_goes_with_the_next_one(repo: Repo, tmp_path: Path) -> None:
    other = make_repo(tmp_path / "other")
    ask(other)
    left = folder_of(other)
    shutil.rmtree(other.path)
    ask(repo)
    assert folder_of(repo).exists()
    assert not left.exists()


def test_a_linked_work_tree_has_the_same_index(repo: Repo, tmp_path: Path) -> None:
    log_runs()
    repo.git("worktree", "add", "-q", str(tmp_path / "linked"))
    linked = Repo(tmp_path / "linked")
    assert index_folder(linked.repository) == index_folder(repo.repository)
    assert ask(linked) == ask(repo)


def test_it_is_readable_by_nobody_else(repo: Repo) -> None:
    log_runs()
    ask(repo)
    assert os.stat(folder_of(repo)).st_mode & 0o077 == 0


def test_dropping_one_that_is_not_there_is_no_mistake(repo: Repo) -> None:
    drop_index(repo.repository)
    assert Store(repo.repository).list_runs().runs == []


def test_what_another_brought_further_is_not_undone(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    log_runs(1)
    ask(repo)
    log_runs(1)
    take, late = index._flock, list[str]()

    def wait(descriptor: int, kind: int) -> None:
        """Between our look at the branches and our lock another process commits a run, and learns of it."""
        if kind == fcntl.LOCK_EX and not late:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            late.extend(log_runs(1))
            run_child(
                """
                from gittrack.git.repository import discover_repository
                from gittrack.store.search import RunQuestion, search
                assert search(discover_repository("."), RunQuestion()).total == 3
                """,
                repo.path,
            )
        take(descriptor, kind)

    monkeypatch.setattr(index, "_flock", wait)
    assert late == []
    assert len(ask(repo)) == 3
    assert late != []


@pytest.mark.parametrize("place", ["", "index", "gittrack"])
def test_a_folder_of_another_person_is_not_used(repo: Repo, place: str) -> None:
    log_runs()
    expected = ask(repo)
    folder = folder_of(repo)
    owned = {"": folder, "index": folder.parent, "gittrack": folder.parent.parent}[place]
    before = digest_tree(folder)
    os.chown(owned, 65534, 65534)
    assert ask(repo) == expected
    log_runs(1)
    assert ask(repo) == read(repo)
    assert digest_tree(folder) == before


def test_a_folder_that_everybody_may_write_to_is_not_used(repo: Repo) -> None:
    log_runs()
    folder = folder_of(repo)
    folder.parent.mkdir(parents=True)
    folder.parent.chmod(0o777)
    assert ask(repo) == read(repo)
    assert not folder.exists()


def test_links_that_lead_elsewhere_are_not_written_through(repo: Repo, tmp_path: Path) -> None:
    log_runs()
    ask(repo)
    folder, precious = folder_of(repo), tmp_path / "precious"
    precious.write_text("precious")
    os.chown(folder, 65534, 65534)
    for name in (INDEX_FILE, STAMP_FILE, "stamp.json.new", "index.sqlite.new", "repository"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(precious)
    assert ask(repo) == read(repo)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("name", ["a folder", "per%20cent", "what?", "a#b", "new\nline", "quo'te\"", "€ü", "a\\b"])
def test_a_place_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    odd = make_repo(tmp_path / name / "repo")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name / "cache"))
    monkeypatch.chdir(odd.path)
    log_runs()
    assert ask(odd) == read(odd)
    assert len(ask(odd)) == 3
    assert (folder_of(odd) / INDEX_FILE).is_file()
    assert folder_of(odd).is_relative_to(tmp_path / name)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (10**400, math.inf),
        (-(10**400), -math.inf),
        ("1e400", math.inf),
        (2**53, 2.0**53),
        (" 5 ", 5.0),
        ("0x5", None),
    ]
    + [(value, None) for value in (float("nan"), "nan", True, None, "", "five")],
)
def test_what_a_param_is_worth_as_a_number(value: Any, number: float | None) -> None:
    assert number_of(value) == number
