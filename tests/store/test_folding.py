"""A journal becomes a commit: exactly, once, whatever is missing or came in between."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gittrack.errors import ArtifactMissingError, BusyError, NotFoundError
from gittrack.git.maintenance import wait_for_folding
from gittrack.schema.names import RunId
from gittrack.schema.records import RunRecord
from gittrack.store import folding as folding_module
from gittrack.store.artifacts import object_path
from gittrack.store.folding import commit_live
from gittrack.store.journal import Journal
from gittrack.store.live import LiveRun
from gittrack.store.store import Store
from gittrack.tracking import session
from gittrack.tracking.session import Role, RunSession
from gittrack.tracking.starting import new_record
from tests.harness import Repo, copy_folder, finish_child, in_fork, read_only, run_child, start_child


def begin(repo: Repo, **fields: Any) -> RunSession:
    store = repo.store
    return session.begin(store, replace(new_record(store, None, None), **fields))


def history(repo: Repo, run: RunSession | RunId, key: str) -> list[tuple[int, float]]:
    run_id = run if isinstance(run, str) else run.run_id
    stored = repo.store.get_run(run_id)
    return [(point.step, point.value) for point in repo.store.read_history(stored, key)]


def tree(repo: Repo, run: RunSession) -> dict[str, str]:
    """Mode and content of every file of a run's newest commit, by path."""
    commit = repo.store.get_run(run.run_id).commit
    assert commit is not None
    found = {}
    for line in repo.git("ls-tree", "-r", "--full-tree", "-z", commit.id).split("\0")[:-1]:
        head, path = line.split("\t")
        mode, kind, object_id = head.split()
        found[path] = mode + " " + (repo.git("cat-file", "blob", object_id) if kind == "blob" else kind)
    return found


def read(repo: Repo, run: RunSession, path: str) -> bytes:
    store = repo.store
    stored = store.get_run(run.run_id)
    (artifact,) = [found for found in store.list_artifacts(stored) if found.path == path]
    return b"".join(store.read_artifact(stored, artifact))


def finish(run: RunSession, **options: Any) -> RunRecord:
    assert run.finish("FINISHED", **options)
    return run.store.get_run(run.run_id).record


# -- exactness -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_million_points_come_out_exactly(repo: Repo) -> None:
    run = begin(repo)
    source = random.Random(5)
    values = [source.uniform(-1e9, 1e9) * 10.0 ** source.randrange(-300, 290) for _ in range(1000)]
    values[7], values[11], values[13] = math.nan, math.inf, -0.0
    append = run.journal.append
    for step in range(250_000):
        append({"a": values[step % 1000], "b": values[step % 991]}, step)
        append({"c": values[step % 13]}, step)
        append({"a": values[step % 17]}, -step)
    record = finish(run)
    expected = {
        "a": [pair for s in range(250_000) for pair in ((s, values[s % 1000]), (-s, values[s % 17]))],
        "b": [(step, values[step % 991]) for step in range(250_000)],
        "c": [(step, values[step % 13]) for step in range(250_000)],
    }
    for key, rows in expected.items():
        found = history(repo, run, key)
        assert [step for step, _ in found] == [step for step, _ in rows]
        bits = [array("d", [value for _, value in points]).tobytes() for points in (found, rows)]
        assert bits[0] == bits[1]
        assert record.metrics[key].count == len(rows)
    assert record.metrics["b"].last_step == 249_999
    repo.assert_sound()


def test_streams_of_several_processes_merge_by_time_and_each_point_is_there_once(repo: Repo) -> None:
    run, begun = begin(repo), time.time() + 10
    for step in range(0, 3000, 3):
        run.journal.append_points({"a": step}, step, begun + step)

    def child() -> None:
        for step in range(1, 3000, 3):
            run.journal.append_points({"a": step}, step, begun + step)

    assert in_fork(child) == 0
    guest = session.resume(run.store, run.run_id)
    assert guest.role is Role.GUEST
    for step in range(2, 3000, 3):
        guest.journal.append_points({"a": step}, step, begun + step)
    guest.finish("FAILED")
    assert history(repo, run, "a") == [(step, float(step)) for step in range(3000)]
    assert finish(run).status == "FINISHED"
    assert history(repo, run, "a") == [(step, float(step)) for step in range(3000)]
    repo.assert_sound()


def test_a_guest_that_outlives_its_owner_loses_nothing_and_doubles_nothing(repo: Repo) -> None:
    """The first fold ends in the midst of the guest's stream, the second goes on from there."""
    run = begin(repo)
    guest = session.resume(run.store, run.run_id)
    for step in range(100):
        guest.journal.append({"a": step}, step)
    assert run.finish("FINISHED")
    assert repo.live_folders == [run.run_id]
    assert history(repo, run, "a") == [(step, float(step)) for step in range(100)]
    for step in range(100, 200):
        guest.journal.append({"a": step}, step)
    assert history(repo, run, "a") == [(step, float(step)) for step in range(200)]
    guest.log_bytes(b"late", "late.txt")
    guest.leave()  # nobody else is left: it commits the rest
    assert history(repo, run, "a") == [(step, float(step)) for step in range(200)]
    record = repo.store.get_run(run.run_id).record
    assert (record.status, record.revision) == ("FINISHED", 2)
    assert read(repo, run, "late.txt") == b"late"
    repo.assert_sound()


def test_what_a_guest_leaves_behind_is_durable_though_the_run_goes_on(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(repo)
    guest = session.resume(run.store, run.run_id)
    guest.journal.append({"a": 1.0}, 0)
    guest.log_bytes(b"theirs", "theirs.txt")
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    guest.leave()
    assert isinstance(guest.journal, Journal)
    assert {guest.journal.path, run.live.folder} <= set(synced)
    assert not guest.journal._files


def test_points_that_nobody_can_read_after_a_power_cut_do_not_keep_the_run_in_flight(repo: Repo) -> None:
    """The page that tells of their shape is lost."""

    def work() -> None:
        run = begin(repo)
        run.journal.append({"a": 1.0}, 0)
        for step in range(1000):
            run.journal.append({"b": 1.0, "c": 2.0}, step)

    assert in_fork(work) == 0
    (run_id,) = repo.live_folders
    (path,) = (repo.state / "live" / run_id).glob("*.log")
    data = path.read_bytes()
    at = data.index(b'"keys":["b","c"]')
    path.write_bytes(data[:at] + bytes(40) + data[at + 40 :])
    assert repo.store.recover() == [run_id]
    assert set(repo.store.get_run(run_id).record.metrics) == {"a"}
    repo.assert_sound()


def test_what_a_commit_would_leave_behind_is_noted_durably_before_it_is_there(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut keeps the branch's lock or the .keep, and nobody knows whose they are."""
    assert begin(repo).finish("FINISHED")
    seen: list[str] = []
    sync, rename = os.fdatasync, os.rename

    def note_sync(number: int) -> None:
        sync(number)
        if os.readlink(f"/proc/self/fd/{number}") == str(repo.state / "lock"):
            seen.append(json.loads((repo.state / "lock").read_bytes())["new"])

    def note_rename(source: str, target: str) -> None:
        rename(source, target)
        if target.endswith((".keep", ".pack")):
            seen.append(target[-5:])

    monkeypatch.setattr(os, "fdatasync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    assert begin(repo).finish("FINISHED")
    assert seen == [repo.git("rev-parse", "gittrack/Default").strip(), ".keep", ".pack"]


def test_what_cannot_be_committed_is_durable_where_it_waits(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(repo)
    run.journal.append({"a": 1.0}, 0)
    synced: list[str] = []

    def fail(*arguments: object, **options: object) -> None:
        raise BusyError("another process has been writing for a minute")

    monkeypatch.setattr(session, "commit_live", fail)
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    assert not run.finish("FINISHED")
    assert isinstance(run.journal, Journal)
    assert {run.journal.path, run.live.folder} <= set(synced)


def test_a_forked_child_that_logs_on_after_the_end_loses_nothing(repo: Repo) -> None:
    run = begin(repo)
    run.journal.append({"a": 0.0}, 0)
    go_on, seen = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(go_on[0], 1)
        for step in range(1, 50):
            run.journal.append({"a": step}, step)
        run.log_bytes(b"from the child", "child.txt")
        os.write(seen[1], b"x")
        os.read(go_on[0], 1)
        for step in range(50, 100):
            run.journal.append({"a": step}, step)
        os._exit(0)
    finish(run)
    assert repo.live_folders == []
    os.write(go_on[1], b"x")
    os.read(seen[0], 1)
    assert repo.store.recover() == []  # it still writes
    assert history(repo, run, "a") == [(step, float(step)) for step in range(50)]
    os.write(go_on[1], b"x")
    os.waitpid(pid, 0)
    assert repo.store.recover() == [run.run_id]
    assert history(repo, run, "a") == [(step, float(step)) for step in range(100)]
    assert repo.store.get_run(run.run_id).record.status == "FINISHED"
    assert read(repo, run, "child.txt") == b"from the child"
    repo.assert_sound()


# -- once ----------------------------------------------------------------------------------------------------


def test_a_crash_between_the_branch_and_the_folder_folds_nothing_twice(repo: Repo, tmp_path: Path) -> None:
    run = begin(repo)
    for step in range(500):
        run.journal.append({"a": step}, step)
    run.log_params({"lr": 0.1})
    run.log_bytes(os.urandom(3000), "blob.bin")
    kept = copy_folder(Path(run.live.folder), tmp_path / "kept")
    finish(run)
    before = repo.git("rev-parse", "refs/heads/gittrack/Default")
    for _ in range(2):
        copy_folder(kept, Path(run.live.folder))
        repo.store.recover()
        assert repo.git("rev-parse", "refs/heads/gittrack/Default") == before
        repo.assert_sound()
    assert history(repo, run, "a") == [(step, float(step)) for step in range(500)]


def test_a_run_whose_first_record_was_never_written_is_none(repo: Repo) -> None:
    store = repo.store
    live = LiveRun(os.path.join(repo.state, "live", "a" * 32), RunId("a" * 32))
    live.create()
    store.recover()
    assert live.exists()  # somebody may just be making it
    os.utime(live.folder, (0, 0))
    store.recover()
    assert not live.exists()
    assert store.list_runs().runs == []


def test_an_edit_between_reading_and_committing_is_folded_onto(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begin(repo)
    finish(first)
    again = session.resume(repo.store, first.run_id)
    again.journal.append({"a": 1.0}, 0)
    real, edits = folding_module.open_branches, []

    def open_branches(repository: Any) -> Any:
        if not edits:
            edits.append(True)
            monkeypatch.setattr("gittrack.store.store.find_live", lambda *arguments: None)
            repo.store.edit_run(first.run_id, lambda record: replace(record, note="between"), "note")
        return real(repository)

    monkeypatch.setattr(folding_module, "open_branches", open_branches)
    again.finish("FINISHED")
    record = repo.store.get_run(first.run_id).record
    assert (record.note, record.revision, record.metrics["a"].count) == ("between", 3, 1)


def test_a_run_folded_by_another_machine_in_error_loses_and_doubles_nothing(repo: Repo) -> None:
    """Somebody took the writer for dead; it lives, logs on and ends its run."""
    run = begin(repo)
    for step in range(300):
        run.journal.append({"a": step}, step)
    run.log_bytes(b"text", "a.txt")
    elsewhere = """
        from gittrack.git.repository import open_repository
        from gittrack.store import live, store
        live.is_writer_alive = lambda stream: False
        print(store.Store(open_repository(".")).recover())
    """
    assert run.run_id in run_child(elsewhere, repo.path)[0]
    assert not run.live.exists()
    assert repo.store.get_run(run.run_id).record.status == "KILLED"
    for step in range(300, 400):
        run.journal.append({"a": step}, step)
    record = finish(run)
    assert (record.status, record.revision) == ("FINISHED", 2)
    assert history(repo, run, "a") == [(step, float(step)) for step in range(400)]
    assert read(repo, run, "a.txt") == b"text"
    repo.assert_sound()


# -- resuming ------------------------------------------------------------------------------------------------


def test_resuming_adds_to_histories_params_tags_and_artifacts(repo: Repo) -> None:
    run = begin(repo)
    run.log_params({"lr": 0.1})
    run.set_tags({"kept": "1", "changed": "1"})
    run.journal.append({"a": 1.0, "b": 1.0})
    run.log_bytes(b"one", "one.txt")
    run.log_bytes(os.urandom(2000), "big.bin")
    finish(run, error="")
    again = session.resume(repo.store, run.run_id)
    assert again.record.status == "RUNNING"
    assert repo.store.get_run(run.run_id).record.status == "RUNNING"
    again.journal.append({"a": 2.0})
    again.journal.append({"a": 3.0, "b": 3.0})
    again.log_params({"lr": 0.1, "epochs": 3})
    again.set_tags({"changed": "2"})
    again.log_bytes(b"two", "two.txt")
    record = finish(again)
    assert dict(record.params) == {"lr": 0.1, "epochs": 3}
    assert dict(record.tags) == {"kept": "1", "changed": "2"}
    assert history(repo, run, "a") == [(0, 1.0), (1, 2.0), (1, 3.0)]
    assert history(repo, run, "b") == [(0, 1.0), (1, 3.0)]
    assert record.metrics["a"].count == 3
    paths = [artifact.path for artifact in repo.store.list_artifacts(repo.store.get_run(run.run_id))]
    assert paths == ["big.bin", "one.txt", "two.txt"]
    assert record.revision == 2
    repo.assert_sound()


def test_resuming_a_run_whose_long_history_is_elsewhere_waits_for_it(repo: Repo, tmp_path: Path) -> None:
    run = begin(repo)
    for step in range(60_000):
        run.journal.append({"a": 0.1}, step)
    finish(run)
    lfs = Path(repo.repository.lfs_objects_dir)
    shutil.move(lfs, tmp_path / "elsewhere")
    with pytest.raises(ArtifactMissingError):
        history(repo, run, "a")
    again = session.resume(repo.store, run.run_id)
    again.journal.append({"a": 0.2}, 60_000)
    assert not again.finish("FINISHED")  # says so, and keeps what was logged
    assert repo.live_folders == [run.run_id]
    shutil.move(tmp_path / "elsewhere", lfs)
    assert repo.store.recover() == [run.run_id]
    assert history(repo, run, "a")[-2:] == [(59_999, 0.1), (60_000, 0.2)]
    repo.assert_sound()


def test_an_editors_session_keeps_the_status_and_makes_one_revision(repo: Repo) -> None:
    run = begin(repo)
    run.finish("FAILED", error="boom")
    editor = session.resume(repo.store, run.run_id, role=Role.EDITOR)
    editor.journal.append({"a": 1.0}, 0)
    assert editor.finish()
    record = repo.store.get_run(run.run_id).record
    assert (record.status, record.error, record.revision) == ("FAILED", "boom", 2)
    nothing = session.resume(repo.store, run.run_id, role=Role.EDITOR)
    assert nothing.finish()
    assert repo.store.get_run(run.run_id).record.revision == 2
    repo.assert_sound()


# -- large histories -----------------------------------------------------------------------------------------


def test_a_long_history_is_an_lfs_pointer_and_a_short_one_is_text(repo: Repo) -> None:
    run = begin(repo)
    for step in range(60_000):
        run.journal.append({"long": 0.1}, step)
    run.journal.append({"short": 0.5}, 3)
    finish(run)
    files = tree(repo, run)
    assert files["metrics/long.csv"].startswith("100644 version https://git-lfs.github.com/spec/v1\n")
    assert files[".gitattributes"] == "100644 /metrics/long.csv filter=lfs diff=lfs merge=lfs -text\n"
    assert files["metrics/short.csv"].startswith("100644 step,timestamp,value\n3,")
    assert len(history(repo, run, "long")) == 60_000


def test_a_history_that_outgrows_git_on_resume_becomes_a_pointer(repo: Repo) -> None:
    run = begin(repo)
    for step in range(20_000):
        run.journal.append({"a": 0.1}, step)
    finish(run)
    assert ".gitattributes" not in tree(repo, run)
    again = session.resume(repo.store, run.run_id)
    for step in range(20_000, 70_000):
        again.journal.append({"a": 0.1}, step)
    finish(again)
    assert "oid sha256" in tree(repo, run)["metrics/a.csv"]
    assert [step for step, _ in history(repo, run, "a")] == list(range(70_000))
    repo.assert_sound()


# -- artifacts -----------------------------------------------------------------------------------------------


def test_a_file_and_a_folder_of_one_name_replace_each_other(repo: Repo) -> None:
    run = begin(repo)
    steps: list[tuple[str, bytes]] = [
        ("model", b"a file"),
        ("model/weights", os.urandom(10)),
        ("model/deep/er", b"x"),
        ("other", b"1"),
        ("model/deep", b"a file now"),
        ("other", b"2"),
    ]
    for path, content in steps:
        run.log_bytes(content, path)
    finish(run)
    assert {path for path in tree(repo, run) if path.startswith("artifacts/")} == {
        "artifacts/model/weights",
        "artifacts/model/deep",
        "artifacts/other",
    }
    again = session.resume(repo.store, run.run_id)
    again.log_bytes(b"whole", "model")
    shown = repo.store.list_artifacts(repo.store.get_run(run.run_id))
    assert [artifact.path for artifact in shown] == ["model", "other"]
    finish(again)
    files = tree(repo, run)
    assert {path for path in files if path.startswith("artifacts/")} == {"artifacts/model", "artifacts/other"}
    assert ".gitattributes" not in files
    assert read(repo, run, "other") == b"2"
    repo.assert_sound()


def test_a_file_that_is_logged_again_replaces_the_folder_that_had_replaced_it(repo: Repo) -> None:
    run = begin(repo)
    for path, content in (("model", b"first"), ("model/weights", b"w"), ("model", b"last")):
        run.log_bytes(content, path)
    shown = repo.store.list_artifacts(repo.store.get_run(run.run_id))
    assert [artifact.path for artifact in shown] == ["model"]
    finish(run)
    assert read(repo, run, "model") == b"last"
    repo.assert_sound()


def test_the_same_content_twice_is_stored_once(repo: Repo) -> None:
    run = begin(repo)
    content = os.urandom(50_000)
    for path in ("a.bin", "b.bin", "deep/c.bin"):
        run.log_bytes(content, path)
    assert len(os.listdir(run.live.staging_dir)) == 1
    finish(run)
    objects = [path for path in Path(repo.repository.lfs_objects_dir).rglob("*") if path.is_file()]
    assert [path.name for path in objects] == [hashlib.sha256(content).hexdigest()]
    assert objects[0].stat().st_mode & 0o777 == 0o644
    assert read(repo, run, "deep/c.bin") == content


def test_thousands_of_artifacts_take_seconds(repo: Repo) -> None:
    run = begin(repo)
    for number in range(3000):
        run.log_bytes(b"%d" % number, f"folder{number % 50}/file{number}")
    finish(run)
    assert len(repo.store.list_artifacts(repo.store.get_run(run.run_id))) == 3000


def test_an_object_that_lfs_prune_takes_before_the_branch_names_it_is_placed_again(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(repo)
    content = os.urandom(5000)
    run.log_bytes(content, "model.bin")
    real = folding_module.open_branches

    def open_branches(repository: Any) -> Any:
        shutil.rmtree(repository.lfs_objects_dir)
        return real(repository)

    monkeypatch.setattr(folding_module, "open_branches", open_branches)
    finish(run)
    assert read(repo, run, "model.bin") == content


def kill_during(repo: Repo, work: Callable[[RunSession], None]) -> RunId:
    """A run of a child process that logs and is killed."""
    names = os.pipe()
    pid = os.fork()
    if pid == 0:
        run = begin(repo)
        work(run)
        os.write(names[1], run.run_id.encode())
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    run_id = RunId(os.read(names[0], 100).decode())
    os.close(names[0])
    os.close(names[1])
    return run_id


@pytest.mark.parametrize("damage", ["missing", "empty", "zeros"])
def test_a_lost_artifact_does_not_hold_up_the_recovery_of_the_rest(
    repo: Repo, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After a power cut its file may hold anything; the points are what the run was for."""
    content = os.urandom(4000)

    def work(run: RunSession) -> None:
        run.log_bytes(content, "lost.bin")
        run.log_bytes(b"kept", "kept.txt")
        run.journal.append({"a": 1.0}, 0)

    run_id = kill_during(repo, work)
    staged = repo.state / "live" / run_id / "artifacts" / hashlib.sha256(content).hexdigest()
    if damage == "missing":
        staged.unlink()
    else:
        staged.write_bytes(b"" if damage == "empty" else bytes(4000))
    assert repo.store.recover() == [run_id]
    stored = repo.store.get_run(run_id)
    assert [artifact.path for artifact in repo.store.list_artifacts(stored)] == ["kept.txt"]
    assert (stored.record.status, stored.record.metrics["a"].count) == ("KILLED", 1)
    assert "lost.bin" in caplog.text
    repo.assert_sound()


def test_a_killed_fold_leaves_nothing_behind_after_the_next(repo: Repo) -> None:
    """Killed while long histories lie in files of their own."""

    def work(run: RunSession) -> None:
        for step in range(60_000):
            run.journal.append({"a": 0.1}, step)
        folding_module.open_branches = lambda repository: os.kill(os.getpid(), 9)  # type: ignore[assignment]
        run.finish("FINISHED")

    pid = os.fork()
    if pid == 0:
        work(begin(repo))
        os._exit(0)
    os.waitpid(pid, 0)
    (run_id,) = repo.live_folders
    assert repo.store.recover() == [run_id]
    record = repo.store.get_run(run_id).record
    assert (record.status, record.metrics["a"].count) == ("FINISHED", 60_000)
    assert sorted(os.listdir(repo.state)) == ["keep", "live", "lock", "tmp"]
    repo.assert_sound()


@pytest.mark.slow
def test_a_large_sparse_file_is_streamed(repo: Repo, tmp_path: Path) -> None:
    with open(tmp_path / "large.bin", "wb") as file:
        file.truncate(300 << 20)
    code = f"""
        import resource
        import gittrack
        with gittrack.start_run():
            gittrack.log_text("x", "x.txt")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            gittrack.log_artifact({str(tmp_path / "large.bin")!r})
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    grown_kib = int(run_child(code, repo.path)[0])
    assert grown_kib < 40 << 10
    (stored,) = repo.store.list_runs().runs
    (large, _) = repo.store.list_artifacts(stored)
    assert large.size_bytes == 300 << 20
    size = sum(len(chunk) for chunk in repo.store.read_artifact(stored, large))
    assert size == 300 << 20


def test_a_spooled_run_is_committed_once_the_repository_can_be_written(repo: Repo) -> None:
    with read_only(repo.path):
        run = begin(repo)
        run.journal.append({"a": 1.0}, 0)
        run.log_bytes(os.urandom(4000), "model.bin")
        assert not run.finish("FINISHED")
        assert repo.store.get_run(run.run_id).record.metrics["a"].count == 1
    assert repo.store.recover() == [run.run_id]
    record = repo.store.get_run(run.run_id).record
    assert (record.status, record.metrics["a"].count) == ("FINISHED", 1)
    assert len(read(repo, run, "model.bin")) == 4000
    assert not Path(run.live.folder).exists()
    repo.assert_sound()


def test_an_own_run_that_could_not_be_committed_is_by_the_next_recovery(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the very process that ran it: a notebook lives for weeks."""
    run = begin(repo)
    run.journal.append({"a": 1.0}, 0)
    with monkeypatch.context() as patch:
        patch.setattr(
            folding_module, "open_branches", lambda repository: (_ for _ in ()).throw(OSError(28, "full"))
        )
        assert not run.finish("FINISHED")
    assert repo.store.recover() == [run.run_id]
    assert history(repo, run, "a") == [(0, 1.0)]
    repo.assert_sound()


def test_one_unreadable_folder_does_not_block_the_recovery_of_others(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = kill_during(repo, lambda run: run.journal.append({"a": 1.0}, 0))
    second = kill_during(repo, lambda run: run.journal.append({"a": 1.0}, 0))
    bad = min(first, second)
    real = folding_module._Folding.read

    def fail_for_one(self: Any, lost_as: Any) -> None:
        if self._live.run_id == bad:
            raise OverflowError("date value out of range")
        real(self, lost_as)

    with monkeypatch.context() as patch:
        patch.setattr(folding_module._Folding, "read", fail_for_one)
        assert repo.store.recover() == [max(first, second)]
    assert "date value out of range" in caplog.text
    assert repo.store.recover() == [bad]


def test_the_fold_of_a_run_that_another_process_folds_is_left_to_it(repo: Repo) -> None:
    run_id = kill_during(repo, lambda run: run.journal.append({"a": 1.0}, 0))
    live = LiveRun(str(repo.state / "live" / run_id), run_id)
    with live.fold_lock(wait=False) as held:
        assert held
        assert commit_live(repo.repository, live, is_new=False, lost_as="KILLED") is None
        assert live.exists()
    assert commit_live(repo.repository, live, is_new=False, lost_as="KILLED") is not None


def test_many_processes_recover_one_dead_run_once(repo: Repo) -> None:
    run_id = kill_during(repo, lambda run: [run.journal.append({"a": 1.0}, step) for step in range(1000)] and None)
    code = """
        from gittrack.git.repository import open_repository
        from gittrack.store.store import Store
        print(*Store(open_repository(".")).recover())
    """
    children = [start_child(code, repo.path) for _ in range(5)]
    outs = [finish_child(child)[0] for child in children]
    assert "".join(outs).split() == [run_id]
    assert len(repo.store.list_revisions(run_id)) == 1
    assert len(history(repo, run_id, "a")) == 1000
    repo.assert_sound()


def test_histories_and_artifacts_that_git_lfs_must_fetch_name_where_they_are(repo: Repo) -> None:
    run = begin(repo)
    run.log_bytes(os.urandom(100), "a.bin")
    finish(run)
    store: Store = repo.store
    stored = store.get_run(run.run_id)
    (artifact,) = store.list_artifacts(stored)
    os.unlink(object_path(repo.repository, artifact.oid))
    with pytest.raises(ArtifactMissingError, match="is not on this machine"):
        list(store.read_artifact(stored, artifact))
    with pytest.raises(NotFoundError):
        store.get_run("0" * 32)


def test_a_lost_pack_of_folding_is_no_matter(repo: Repo) -> None:
    """Folding packs in the background while runs are committed."""
    for _ in range(60):
        finish(begin(repo))
    wait_for_folding()
    packs = list(Path(repo.repository.objects_dir, "pack").glob("*.pack"))
    assert len(packs) < 55
    assert len(repo.store.list_runs().runs) == 60
    repo.assert_sound()


def test_the_fold_of_all_kinds_of_events_by_two_writers(repo: Repo) -> None:
    run = begin(repo)
    run.log_params({"lr": 0.1, "none": None, "flag": True, "name": "x", "nan": math.nan, "n": 3})
    run.set_tags({"a": "1", "mlflow.runName": "renamed", "mlflow.note.content": "a note"})
    run.set_tags({"b": "2"})
    run.delete_tag("b")

    def child() -> None:
        run.journal.append_event("param", {"params": {"lr": 0.2}})
        run.set_tags({"a": "child"})

    assert in_fork(child) == 0
    record = finish(run)
    assert repr(dict(record.params)) == repr(
        {"lr": 0.1, "none": None, "flag": True, "name": "x", "nan": math.nan, "n": 3}
    )
    assert dict(record.tags) == {"a": "child", "gittrack.conflict.lr": "0.2"}
    assert (record.name, record.note) == ("renamed", "a note")


@pytest.mark.parametrize("lost", ["train.py", ""])
def test_a_dead_run_whose_code_a_power_cut_emptied_is_committed_without_it(
    repo: Repo, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Git does not sync what a user commits; a commit that names an empty object could not be pushed."""
    child = start_child(
        """
        import gittrack, os
        gittrack.start_run()
        gittrack.log({"a": 1.0}, 0)
        os._exit(1)
        """,
        repo.path,
    )
    finish_child(child, 1)
    object_id = repo.git("rev-parse", f"HEAD:{lost}").strip()
    path = repo.path / ".git/objects" / object_id[:2] / object_id[2:]
    path.chmod(0o644)
    path.write_bytes(b"")
    (run_id,) = repo.store.recover()
    assert repo.store.get_run(run_id).record.metrics["a"].last == 1.0
    assert "without its code" in caplog.text
    assert "code" not in repo.git("ls-tree", "--name-only", "gittrack/Default").split()
    repo.git("rev-list", "--objects", "gittrack/Default")
