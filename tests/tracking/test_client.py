"""The client: runs that are open, joined, finished, deleted or dead are all written to, each in its way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import gittrack
from gittrack.entities import Metric, Param, RunTag, ViewType
from gittrack.errors import InvalidValueError, NotFoundError, RunStateError
from gittrack.tracking.opened import opened_runs
from tests.harness import Repo, finish_child, run_child, start_child

NOW = 1_700_000_000_000


@pytest.fixture
def client(repo: Repo) -> gittrack.Client:
    return gittrack.Client()


def finished() -> str:
    with gittrack.start_run() as run:
        gittrack.log({"a": 1.0}, 0)
    return run.info.run_id


def write_everything(client: gittrack.Client, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("file")
    client.log_metric(run_id, "m", 1.0, NOW, 3)
    client.log_param(run_id, "p", 1)
    client.set_tag(run_id, "t", "v")
    client.set_tag(run_id, "gone", "v")
    client.delete_tag(run_id, "gone")
    client.log_batch(run_id, [Metric("b", 2.0, NOW, 1)], [Param("q", "x")], [RunTag("u", "w")])
    client.log_artifact(run_id, str(tmp_path / "file.txt"))
    client.log_text(run_id, "text", "t.txt")
    client.log_dict(run_id, {"a": 1}, "d.json")
    client.update_run(run_id, name="renamed")
    client.set_note(run_id, "noted")


def check_everything(client: gittrack.Client, run_id: str) -> None:
    found = client.get_run(run_id)
    assert {key: found.metrics[key] for key in ("m", "b")} == {"m": 1.0, "b": 2.0}
    assert (found.params, found.tags) == ({"p": 1, "q": "x"}, {"t": "v", "u": "w"})
    assert (found.info.run_name, found.record.note) == ("renamed", "noted")
    assert client.get_metric_history(run_id, "m") == [Metric("m", 1.0, NOW, 3, run_id)]
    assert [info.path for info in client.list_artifacts(run_id)] == ["d.json", "file.txt", "t.txt"]


def test_a_run_made_by_the_client_is_written_to_and_ended_by_its_id(
    repo: Repo, client: gittrack.Client, tmp_path: Path
) -> None:
    run = client.create_run("0", start_time=NOW, tags={"mlflow.runName": "named"}, run_name=None)
    assert (run.info.run_name, run.info.start_time, run.info.status) == ("named", NOW, "RUNNING")
    assert gittrack.active_run() is None
    write_everything(client, run.info.run_id, tmp_path)
    check_everything(client, run.info.run_id)
    client.set_terminated(run.info.run_id, "FAILED", NOW + 5)
    check_everything(client, run.info.run_id)
    found = client.get_run(run.info.run_id).info
    assert (found.status, found.end_time) == ("FAILED", NOW + 5)
    assert len(repo.store.list_revisions(run.info.run_id)) == 1
    repo.assert_sound()


def test_writing_to_a_finished_run_makes_revisions_and_its_status_stays(
    repo: Repo, client: gittrack.Client, tmp_path: Path
) -> None:
    run_id = finished()
    write_everything(client, run_id, tmp_path)
    check_everything(client, run_id)
    record = client.get_run(run_id).record
    assert (record.status, record.revision) == ("FINISHED", 12)
    assert opened_runs.list_own() == []
    client.set_terminated(run_id, "KILLED", NOW)
    assert (client.get_run(run_id).info.status, client.get_run(run_id).info.end_time) == ("KILLED", NOW)
    repo.assert_sound()


def test_a_refused_write_to_a_finished_run_leaves_no_revision(repo: Repo, client: gittrack.Client) -> None:
    run_id = finished()
    for call in (
        lambda: client.log_metric(run_id, "m", "text"),  # type: ignore[arg-type]
        lambda: client.log_param(run_id, "../p", 1),
        lambda: client.log_text(run_id, "x", "../x"),
        lambda: client.set_tag(run_id, "", "x"),
        lambda: client.set_terminated(run_id, "DONE"),
        lambda: client.set_terminated(run_id, None, 10**18),
        lambda: client.update_run(run_id, name=""),
    ):
        with pytest.raises(InvalidValueError):
            call()
    with pytest.raises(NotFoundError):
        client.delete_tag(run_id, "none")
    assert client.get_run(run_id).record.revision == 1
    repo.assert_sound()


def test_writing_to_a_run_of_another_process_joins_it(repo: Repo, client: gittrack.Client, tmp_path: Path) -> None:
    child = start_child(
        """
        import sys, gittrack
        with gittrack.start_run() as run:
            print(run.info.run_id, flush=True)
            gittrack.log({"own": 1.0}, 0)
            while not gittrack.get_run(run.info.run_id).tags.get("done"):
                pass
        """,
        repo.path,
    )
    assert child.stdout is not None
    run_id = child.stdout.readline().strip()
    write_everything(client, run_id, tmp_path)
    check_everything(client, run_id)
    with pytest.raises(RunStateError, match="running"):
        client.delete_run(run_id)
    client.set_tag(run_id, "done", "yes")
    finish_child(child)
    client.set_tag(run_id, "late", "yes")  # still joined: the other has ended it, and we are the last
    assert opened_runs.list_own() == []
    assert repo.live_folders == []
    found = client.get_run(run_id)
    assert (found.info.status, found.tags["late"], found.metrics["own"]) == ("FINISHED", "yes", 1.0)
    client.delete_tag(run_id, "done")
    client.delete_tag(run_id, "late")
    check_everything(client, run_id)
    repo.assert_sound()


def test_deleted_runs_are_read_and_restored_and_not_written_to(
    repo: Repo, client: gittrack.Client, tmp_path: Path
) -> None:
    run_id = finished()
    client.delete_run(run_id)
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    for call in (
        lambda: client.log_metric(run_id, "m", 1.0),
        lambda: client.set_tag(run_id, "t", "v"),
        lambda: client.update_run(run_id, name="x"),
        lambda: client.log_text(run_id, "x", "x.txt"),
        lambda: gittrack.start_run(run_id=run_id),
    ):
        with pytest.raises(RunStateError, match="deleted"):
            call()
    client.restore_run(run_id)
    write_everything(client, run_id, tmp_path)
    check_everything(client, run_id)
    repo.assert_sound()


def test_a_run_whose_process_died_is_committed_before_it_is_written_to(
    repo: Repo, client: gittrack.Client
) -> None:
    def killed() -> str:
        code = """
            import os, gittrack
            run = gittrack.start_run(); gittrack.log({"a": 1.0}, 0)
            print(run.info.run_id, flush=True); os.kill(os.getpid(), 9)
        """
        return run_child(code, repo.path, expect=-9)[0].strip()

    tagged, deleted, logged, resumed = killed(), killed(), killed(), killed()
    assert client.get_run(tagged).info.status == "KILLED"
    client.set_tag(tagged, "t", "v")
    client.delete_run(deleted)
    client.log_metric(logged, "a", 2.0, step=1)
    with gittrack.start_run(run_id=resumed) as run:
        assert run.info.status == "RUNNING"
        gittrack.log({"a": 2.0}, 1)
    assert client.get_run(tagged).tags == {"t": "v"}
    assert client.get_run(deleted).info.lifecycle_stage == "deleted"
    assert [metric.value for metric in client.get_metric_history(logged, "a")] == [1.0, 2.0]
    assert client.get_run(logged).info.status == "KILLED"
    assert client.get_run(resumed).info.status == "FINISHED"
    repo.assert_sound()


def test_unknown_runs_and_ids_of_another_form_are_told_apart(repo: Repo, client: gittrack.Client) -> None:
    for call in (
        lambda run_id: client.get_run(run_id),
        lambda run_id: client.log_metric(run_id, "m", 1.0),
        lambda run_id: client.set_tag(run_id, "t", "v"),
        lambda run_id: client.delete_run(run_id),
        lambda run_id: client.set_terminated(run_id),
        lambda run_id: client.list_artifacts(run_id),
        lambda run_id: client.get_metric_history(run_id, "m"),
    ):
        with pytest.raises(NotFoundError):
            call("f" * 32)
        for bad in ("short", "F" * 32, 7, None, "../../etc"):
            with pytest.raises(InvalidValueError, match="run id"):
                call(bad)
    assert repo.live_folders == []


def test_a_start_or_end_that_no_calendar_shows_is_refused(repo: Repo, client: gittrack.Client) -> None:
    for bad in (10**18, -(10**17), "now", float("nan")):
        with pytest.raises(InvalidValueError, match="timestamp"):
            client.create_run("0", start_time=bad)  # type: ignore[arg-type]
    assert repo.live_folders == []
    assert repo.store.list_runs().runs == []


def test_artifacts_are_listed_a_folder_at_a_time(repo: Repo, client: gittrack.Client) -> None:
    with gittrack.start_run() as run:
        for path in ("a.txt", "d/b.txt", "d/e/c.txt", "d/e/d.bin"):
            gittrack.log_text("x" * len(path), path)
    listed = {
        path: [(info.path, info.is_dir, info.file_size) for info in client.list_artifacts(run.info.run_id, path)]
        for path in (None, "d", "d/", "d/e", "nowhere", "a.txt")
    }
    assert listed[None] == [("a.txt", False, 5), ("d", True, None)]
    assert listed["d"] == listed["d/"] == [("d/b.txt", False, 7), ("d/e", True, None)]
    assert listed["d/e"] == [("d/e/c.txt", False, 9), ("d/e/d.bin", False, 9)]
    assert listed["nowhere"] == []


def test_experiments_are_found_made_renamed_deleted_restored_and_searched(
    repo: Repo, client: gittrack.Client
) -> None:
    made = client.create_experiment("vision", tags={"team": "a"})
    other = client.create_experiment("audio")
    client.set_experiment_tag(other, "team", "b")
    client.rename_experiment(other, "sound")
    assert client.get_experiment(made).tags == {"team": "a"}
    assert client.get_experiment_by_name("audio") is None
    found = client.get_experiment_by_name("sound")
    assert found is not None
    assert (found.experiment_id, found.tags) == (other, {"team": "b"})
    client.delete_experiment(made)
    with pytest.raises(RunStateError, match="already"):
        client.delete_experiment(made)
    with pytest.raises(RunStateError, match="deleted"):
        gittrack.set_experiment("vision")
    with pytest.raises(RunStateError, match="deleted"):
        client.create_run(made)

    def names(view: int) -> list[str]:
        return [found.name for found in client.search_experiments(view, order_by=["name"])]

    assert names(ViewType.ACTIVE_ONLY) == ["Default", "sound"]
    assert names(ViewType.DELETED_ONLY) == ["vision"]
    assert names(ViewType.ALL) == ["Default", "sound", "vision"]
    client.restore_experiment(made)
    assert names(ViewType.ACTIVE_ONLY) == ["Default", "sound", "vision"]
    client.delete_experiment_tag(other, "team")
    assert client.get_experiment(other).tags == {}
    for call in (client.get_experiment, client.delete_experiment, client.restore_experiment):
        with pytest.raises(NotFoundError):
            call("nowhere")
    repo.assert_sound()


def test_a_renamed_default_still_takes_the_runs_that_name_none(repo: Repo, client: gittrack.Client) -> None:
    client.rename_experiment("0", "misc")
    with gittrack.start_run() as run:
        pass
    assert run.info.experiment_id == "0"
    assert client.get_experiment("0").name == "misc"


def test_a_client_of_another_repository_leaves_this_one_alone(repo: Repo, tmp_path: Path) -> None:
    other = gittrack.Client(f"gittrack:{tmp_path / 'other.git'}")
    run = other.create_run("0")
    other.log_metric(run.info.run_id, "m", 1.0)
    other.set_terminated(run.info.run_id)
    assert other.get_run(run.info.run_id).metrics == {"m": 1.0}
    assert not (repo.state).exists() or repo.live_folders == []
    assert repo.store.list_runs().runs == []


def test_two_processes_that_write_to_one_finished_run_at_once_lose_neither(repo: Repo) -> None:
    run_id = finished()
    code = f"""
        import os, gittrack
        client = gittrack.Client()
        for number in range(8):
            client.log_param({run_id!r}, f"p{{os.getpid()}}-{{number}}", number)
            client.set_tag({run_id!r}, f"t{{os.getpid()}}-{{number}}", number)
            client.log_text({run_id!r}, "x", f"{{os.getpid()}}/{{number}}.txt")
    """
    for child in [start_child(code, repo.path) for _ in range(3)]:
        finish_child(child)
    repo.store.recover()
    found = repo.store.get_run(run_id)
    assert (len(found.record.params), len(found.record.tags)) == (24, 24)
    assert len(repo.store.list_artifacts(found)) == 24
    assert found.record.status == "FINISHED"
    repo.assert_sound()


def test_listing_and_reading_stay_quick_with_many_artifacts(repo: Repo, client: gittrack.Client) -> None:
    import time

    with gittrack.start_run() as run:
        for number in range(400):
            gittrack.log_text("x" * 1000 + str(number), f"f/{number}.txt")
    before = time.monotonic()
    for _ in range(5):
        assert len(client.list_artifacts(run.info.run_id, "f")) == 400
    assert time.monotonic() - before < 10
    assert os.getcwd() == str(repo.path)
