"""Which run a module-level call means: in every thread, after every kind of ending, and while disks fail."""

from __future__ import annotations

import io
import logging
import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gittrack
from gittrack.entities import Metric
from gittrack.errors import (
    ArtifactError,
    InvalidValueError,
    MissingToolError,
    NotFoundError,
    ParamConflictError,
    RunStateError,
)
from gittrack.tracking import current
from tests.harness import Repo, fill_up, in_threads, mounted, read_only, run_child


def history(run_id: str, key: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in gittrack.get_metric_history(run_id, key)]


def statuses(repo: Repo) -> dict[str, str]:
    return {stored.record.name: stored.record.status for stored in repo.store.list_runs().runs}


# -- beginning and ending ------------------------------------------------------------------------------------


def test_a_run_in_a_with_block(repo: Repo) -> None:
    with gittrack.start_run(run_name="mine", tags={"a": 1}, description="about") as run:
        assert gittrack.active_run() is run
        assert (run.info.status, run.info.end_time, run.info.run_name) == ("RUNNING", None, "mine")
        gittrack.log_metric("loss", 0.5)
    assert gittrack.active_run() is None
    found = gittrack.get_run(run.info.run_id)
    assert (found.info.status, found.data.metrics, found.tags, found.record.note) == (
        "FINISHED",
        {"loss": 0.5},
        {"a": "1"},
        "about",
    )
    assert run.info == found.info
    assert run.record == found.record
    assert gittrack.last_active_run() is not None
    assert gittrack.last_active_run().info.run_id == run.info.run_id  # type: ignore[union-attr]
    repo.assert_sound()


def test_logging_without_a_run_starts_one(repo: Repo) -> None:
    gittrack.log({"loss": 0.5})
    run = gittrack.active_run()
    assert run is not None
    gittrack.log({"loss": 0.25})
    gittrack.end_run()
    assert history(run.info.run_id, "loss") == [(0, 0.5), (1, 0.25)]


def test_a_second_run_needs_nested(repo: Repo) -> None:
    with gittrack.start_run() as outer:
        with pytest.raises(RunStateError, match="active already"):
            gittrack.start_run()
        with gittrack.start_run(nested=True) as inner:
            gittrack.log_param("who", "inner")
            assert gittrack.active_run() is inner
            assert gittrack.get_parent_run(inner.info.run_id).info.run_id == outer.info.run_id  # type: ignore[union-attr]
        gittrack.log_param("who", "outer")
        assert gittrack.active_run() is outer
        assert gittrack.get_parent_run(outer.info.run_id) is None
    assert gittrack.get_run(inner.info.run_id).params == {"who": "inner"}
    assert gittrack.get_run(outer.info.run_id).params == {"who": "outer"}


def test_a_parent_can_be_named_by_argument_or_by_mlflows_tag(repo: Repo) -> None:
    with gittrack.start_run() as parent:
        pass
    wanted = parent.info.run_id
    with gittrack.start_run(parent_run_id=wanted) as one:
        pass
    with gittrack.start_run(tags={"mlflow.parentRunId": wanted, "x": "y"}) as two:
        pass
    for child in (one, two):
        found = gittrack.get_run(child.info.run_id)
        assert (found.record.parent, found.data.tags["mlflow.parentRunId"]) == (wanted, wanted)
    assert gittrack.get_run(two.info.run_id).tags == {"x": "y"}
    for bad in ("nowhere", 7):
        with pytest.raises(InvalidValueError, match="run id"):
            gittrack.start_run(parent_run_id=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_run_ends_as_it_is_told(repo: Repo, status: str) -> None:
    with gittrack.start_run() as run:
        gittrack.end_run(status)
        assert not run.is_open
    assert gittrack.get_run(run.info.run_id).info.status == status


def test_other_statuses_are_refused_and_the_run_goes_on(repo: Repo) -> None:
    run = gittrack.start_run()
    for status in ("DONE", "", None, 9, "finished"):
        with pytest.raises(InvalidValueError, match="status"):
            gittrack.end_run(status)  # type: ignore[arg-type]
    assert run.is_open
    gittrack.end_run(4)  # type: ignore[arg-type]  # MLflow's number
    assert run.info.status == "FAILED"


def test_an_exception_fails_the_run_and_its_traceback_is_kept(repo: Repo) -> None:
    def train() -> None:
        gittrack.log_metric("loss", 1.0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), gittrack.start_run() as run:
        train()
    record = gittrack.get_run(run.info.run_id).record
    assert record.status == "FAILED"
    assert "ZeroDivisionError" in record.error
    assert "in train" in record.error
    assert record.metrics["loss"].count == 1


def test_ending_an_outer_run_ends_those_inside_it(repo: Repo) -> None:
    outer = gittrack.start_run(run_name="outer")
    gittrack.start_run(run_name="inner", nested=True)
    with pytest.raises(ValueError, match="no"), outer:
        raise ValueError("no")
    assert statuses(repo) == {"outer": "FAILED", "inner": "FAILED"}
    assert gittrack.active_run() is None


def test_what_begins_badly_leaves_no_run_behind(repo: Repo) -> None:
    bad: list[dict[str, Any]] = [
        {"run_name": "x" * 501},
        {"run_name": 7},
        {"tags": {"": "x"}},
        {"tags": {"k" * 251: "x"}},
        {"tags": {"a": "x" * (2 << 20)}},
        {"experiment_id": "nowhere"},
        {"run_id": "f" * 32},
        {"run_id": "short"},
        {"tags": {"mlflow.parentRunId": "nowhere"}},
    ]
    for arguments in bad:
        with pytest.raises((InvalidValueError, NotFoundError)):
            gittrack.start_run(**arguments)
        assert gittrack.active_run() is None
    assert repo.live_folders == []
    assert repo.store.list_runs().runs == []


def test_a_missing_psutil_is_said_before_the_run_begins(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psutil", None)
    with pytest.raises(MissingToolError):
        gittrack.start_run(log_system_metrics=True)
    assert (gittrack.active_run(), repo.live_folders) == (None, [])
    gittrack.set_system_metrics_sampling_interval(-1)
    gittrack.enable_system_metrics_logging()
    with pytest.raises((MissingToolError, InvalidValueError)):
        gittrack.start_run()
    gittrack.disable_system_metrics_logging()
    gittrack.start_run().end()


def test_system_metrics_are_logged_beside_the_run(repo: Repo) -> None:
    with gittrack.start_run(log_system_metrics=True) as run:
        pass
    with gittrack.start_run(run_id=run.info.run_id, log_system_metrics=True):
        pass
    steps = [step for step, _ in history(run.info.run_id, "system/system_memory_usage_megabytes")]
    assert steps == [0, 1]


# -- runs that end by other means ----------------------------------------------------------------------------


def test_a_run_ended_by_its_id_is_no_longer_the_current_one(repo: Repo) -> None:
    first = gittrack.start_run()
    gittrack.log({"a": 1.0}, 0)
    gittrack.Client().set_terminated(first.info.run_id)
    gittrack.log({"a": 2.0}, 1)  # starts another, as after end_run
    second = gittrack.active_run()
    assert second is not None
    assert second.info.run_id != first.info.run_id
    gittrack.Client().set_terminated(second.info.run_id)
    gittrack.log_metric("a", 3.0)
    gittrack.Client().set_terminated(gittrack.active_run().info.run_id)  # type: ignore[union-attr]
    third = gittrack.start_run()  # nothing is active
    gittrack.end_run()
    assert history(first.info.run_id, "a") == [(0, 1.0)]
    assert history(second.info.run_id, "a") == [(1, 2.0)]
    assert not third.is_open


def test_after_an_inner_run_was_ended_by_its_id_the_outer_one_is_logged_to_and_ended(repo: Repo) -> None:
    with gittrack.start_run(run_name="outer") as outer:
        inner = gittrack.start_run(run_name="inner", nested=True)
        gittrack.Client().set_terminated(inner.info.run_id)
        gittrack.log({"a": 1.0}, 0)
        gittrack.end_run()
        assert not outer.is_open
    assert history(outer.info.run_id, "a") == [(0, 1.0)]


def test_a_run_object_that_has_ended_refuses_what_is_logged_to_it(repo: Repo) -> None:
    with gittrack.start_run() as run:
        pass
    for call in (
        lambda: run.log({"a": 1.0}),
        lambda: run.log_metric("a", 1.0),
        lambda: run.log_param("a", 1),
        lambda: run.set_tag("a", 1),
        lambda: run.log_text("x", "x.txt"),
        lambda: run.rename("x"),
    ):
        with pytest.raises(RunStateError, match="ended"):
            call()
    run.end("FAILED")
    assert run.info.status == "FINISHED"
    assert repo.store.recover() == []
    repo.assert_sound()


def test_a_cell_that_is_run_again_gives_a_run_of_its_own(repo: Repo) -> None:
    cell = "with gittrack.start_run():\n    gittrack.log({'a': 1.0})\n"
    for _ in range(3):
        exec(cell, {"gittrack": gittrack})
    begun = "gittrack.end_run()\nrun = gittrack.start_run()\ngittrack.log({'a': 1.0})\n"
    for _ in range(3):
        exec(begun, {"gittrack": gittrack})
    gittrack.end_run()
    runs = repo.store.list_runs().runs
    assert [(stored.record.status, stored.record.metrics["a"].count) for stored in runs] == [("FINISHED", 1)] * 6


# -- the fast way --------------------------------------------------------------------------------------------


def test_logging_goes_straight_to_the_journal_whenever_it_can(repo: Repo) -> None:
    with gittrack.start_run() as outer:
        assert current._append == outer.log
        with gittrack.start_run(nested=True) as inner:
            assert current._append == inner.log
        assert current._append == outer.log
        made = gittrack.Client().create_run("0")
        gittrack.start_run(nested=True).end()
        assert gittrack.active_run() is outer
        gittrack.Client().set_terminated(made.info.run_id)

        def work(number: int) -> None:
            gittrack.log({"shared": number}, number)
            with gittrack.start_run() as own:
                assert current._append != outer.log
                gittrack.log({"own": number}, number)
            assert history(own.info.run_id, "own") == [(number, float(number))]
            gittrack.log({"shared": number}, number)

        in_threads(4, work)
        assert current._append == outer.log
    assert current._append == current._append_to_current
    assert sorted(history(outer.info.run_id, "shared")) == sorted([(n, float(n)) for n in range(4)] * 2)


def test_threads_with_runs_of_their_own_never_mix(repo: Repo) -> None:
    def work(number: int) -> None:
        for turn in range(5):
            with gittrack.start_run(run_name=f"{number}-{turn}", tags={"by": number}):
                for step in range(200):
                    gittrack.log({"a": number}, step)
                    gittrack.log_metric("b", number, step=step)
                gittrack.log_param("by", number)

    gittrack.start_run(run_name="main")
    in_threads(6, work)
    gittrack.end_run()
    for stored in repo.store.list_runs().runs:
        if stored.record.name == "main":
            assert dict(stored.record.metrics) == {}
            continue
        number = int(stored.record.name.split("-")[0])
        assert (stored.record.params["by"], stored.record.status) == (number, "FINISHED")
        for key in ("a", "b"):
            points = [(point.step, point.value) for point in repo.store.read_history(stored, key)]
            assert points == [(step, float(number)) for step in range(200)]
    assert len(repo.store.list_runs().runs) == 31
    repo.assert_sound()


def test_a_run_ended_by_another_thread_than_began_it(repo: Repo) -> None:
    run = gittrack.start_run()
    thread = threading.Thread(target=run.end)
    thread.start()
    thread.join()
    assert gittrack.active_run() is None
    gittrack.start_run().end()
    gittrack.log({"a": 1.0})
    gittrack.end_run()
    assert len(repo.store.list_runs().runs) == 3


def test_a_module_first_imported_by_a_thread_still_knows_the_main_threads_run(repo: Repo) -> None:
    run_child(
        """
        import threading
        thread = threading.Thread(target=lambda: __import__("gittrack").active_run())
        thread.start(); thread.join()
        import gittrack
        with gittrack.start_run() as run:
            thread = threading.Thread(target=lambda: gittrack.log({"a": 1.0}, 0))
            thread.start(); thread.join()
        assert run.metrics == {"a": 1.0}
        """,
        repo.path,
    )
    assert len(repo.store.list_runs().runs) == 1


# -- what is logged ------------------------------------------------------------------------------------------


def test_every_call_leaves_what_it_was_given(repo: Repo, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep/b.bin").write_bytes(b"\0\1")
    with gittrack.start_run() as run:
        gittrack.log({"loss": np.float32(0.5), "acc": 1}, step=3)
        gittrack.log_metric("m", 2.0, step=7, timestamp=1_700_000_000_123)
        gittrack.log_metrics({"x": 1.0, "y": math.nan}, step=1)
        assert gittrack.log_param("lr", 0.1) == 0.1
        gittrack.log_params({"layers": 3, "name": "cnn", "flag": True, "none": None, "list": [1, 2]})
        gittrack.set_tag("tag", 5)
        gittrack.set_tags({"team": "a", "gone": "b"})
        gittrack.delete_tag("gone")
        gittrack.log_artifact(folder / "a.txt", "files")
        gittrack.log_artifact(str(folder))
        gittrack.log_artifacts(folder, "whole")
        gittrack.log_text("text", "t.txt")
        gittrack.log_dict({"a": 1}, "d.json")
        gittrack.log_dict({"a": 1}, "d.yaml")
        gittrack.log_table({"a": [1, 2]}, "table.json")
        gittrack.log_table({"a": [3]}, "table.json")
        gittrack.log_stream(io.BytesIO(b"stream"), "s.bin")
        gittrack.log_image(np.zeros((2, 2, 3), dtype=np.uint8), "i.png")
        gittrack.log_input(np.zeros((3, 2)), context="training")
        gittrack.log_inputs([np.zeros(3), np.ones(3)], ["test", None])
        gittrack.flush_async_logging()
        assert gittrack.get_artifact_uri("t.txt") == f"runs:/{run.info.run_id}/t.txt"
        during = gittrack.get_run(run.info.run_id)
        paths_during = gittrack.artifacts.list_artifacts(run_id=run.info.run_id)
    found = gittrack.get_run(run.info.run_id)
    assert found.params == {"lr": 0.1, "layers": 3, "name": "cnn", "flag": True, "none": None, "list": "[1, 2]"}
    assert {key: repr(value) for key, value in found.metrics.items()} == {
        "loss": "0.5", "acc": "1.0", "m": "2.0", "x": "1.0", "y": "nan",
    }  # fmt: skip
    assert found.tags == {"tag": "5", "team": "a"}
    assert [dataset.tags for dataset in found.inputs.dataset_inputs] != []
    assert gittrack.get_metric_history(run.info.run_id, "m") == [
        Metric("m", 2.0, 1_700_000_000_123, 7, run.info.run_id)
    ]
    assert (during.params, during.tags) == (found.params, found.tags)
    assert paths_during == gittrack.artifacts.list_artifacts(run_id=run.info.run_id)
    stored = repo.store.get_run(run.info.run_id)
    assert [artifact.path for artifact in repo.store.list_artifacts(stored)] == [
        "d.json", "d.yaml", "files/a.txt", "folder/a.txt", "folder/deep/b.bin", "i.png", "s.bin", "t.txt",
        "table.json", "whole/a.txt", "whole/deep/b.bin",
    ]  # fmt: skip
    assert gittrack.artifacts.load_dict(f"runs:/{run.info.run_id}/table.json")["data"] == [[1], [2], [3]]
    repo.assert_sound()


def test_mistakes_raise_and_change_nothing(repo: Repo, tmp_path: Path) -> None:
    with gittrack.start_run() as run:
        gittrack.log_param("lr", 0.1)
        gittrack.log_param("lr", 0.1)
        mistakes: list[tuple[type[Exception], Any]] = [
            (ParamConflictError, lambda: gittrack.log_param("lr", 0.2)),
            (ParamConflictError, lambda: gittrack.log_params({"new": 1, "lr": "0.1"})),
            (InvalidValueError, lambda: gittrack.log_params({"new": 1, "../x": 2})),
            (InvalidValueError, lambda: gittrack.log_params([("new", 1)])),  # type: ignore[arg-type]
            (InvalidValueError, lambda: gittrack.log_params({"new": "x" * (2 << 20)})),
            (InvalidValueError, lambda: gittrack.set_tags({"new": 1, "": 2})),
            (InvalidValueError, lambda: gittrack.set_tags(None)),  # type: ignore[arg-type]
            (NotFoundError, lambda: gittrack.delete_tag("new")),
            (InvalidValueError, lambda: gittrack.log({"new": "text"})),
            (InvalidValueError, lambda: gittrack.log_metric("new", "text")),  # type: ignore[arg-type]
            (InvalidValueError, lambda: gittrack.log_metric("new", 1.0, timestamp="now")),  # type: ignore[arg-type]
            (InvalidValueError, lambda: gittrack.log_metric("new", 1.0, timestamp=1_700_000_000_000_000_000)),
            (InvalidValueError, lambda: gittrack.log_metric("new", 1.0, timestamp=math.nan)),  # type: ignore[arg-type]
            (InvalidValueError, lambda: gittrack.log_text("x", "../x")),
            (InvalidValueError, lambda: gittrack.log_text("x", "/x")),
            (InvalidValueError, lambda: gittrack.log_text("x", ".git/config")),
            (InvalidValueError, lambda: gittrack.log_text("x", "a/" * 200 + "x")),
            (InvalidValueError, lambda: gittrack.log_text("x", "")),
            (ArtifactError, lambda: gittrack.log_artifact(tmp_path / "nowhere")),
            (ArtifactError, lambda: gittrack.log_artifacts(tmp_path / "nowhere")),
            (InvalidValueError, lambda: gittrack.log_inputs([1], [None, None])),
        ]
        for kind, call in mistakes:
            with pytest.raises(kind):
                call()
    found = gittrack.get_run(run.info.run_id)
    assert (found.params, found.metrics, found.tags) == ({"lr": 0.1}, {}, {})
    assert gittrack.artifacts.list_artifacts(run_id=run.info.run_id) == []


def test_mlflows_tags_set_the_name_and_the_note(repo: Repo) -> None:
    with gittrack.start_run(tags={"mlflow.runName": "from tag", "mlflow.note.content": "first"}) as run:
        gittrack.set_tag("mlflow.note.content", "second")
    found = gittrack.get_run(run.info.run_id)
    assert (found.info.run_name, found.record.note, found.tags) == ("from tag", "second", {})
    assert found.data.tags["mlflow.runName"] == "from tag"


def test_a_call_with_a_runs_id_goes_to_that_run(repo: Repo) -> None:
    with gittrack.start_run() as ended:
        pass
    with gittrack.start_run() as open_run:
        gittrack.log_metric("a", 1.0, run_id=ended.info.run_id)
        gittrack.log_params({"p": 1}, run_id=ended.info.run_id)
        gittrack.log_text("x", "x.txt", run_id=ended.info.run_id)
        gittrack.log_metrics({"b": 1.0}, run_id=open_run.info.run_id)
    found = gittrack.get_run(ended.info.run_id)
    assert (found.metrics, found.params, found.info.status) == ({"a": 1.0}, {"p": 1}, "FINISHED")
    assert gittrack.get_run(open_run.info.run_id).metrics == {"b": 1.0}
    repo.assert_sound()


def test_a_table_grows_row_by_row_without_reading_the_journal(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    with gittrack.start_run() as run:
        monkeypatch.setattr(type(repo.store), "get_run", None)
        for number in range(30):
            gittrack.log_table({"n": [number]}, "t.json")
        monkeypatch.undo()
        os.chdir(repo.path)
    table = gittrack.artifacts.load_dict(f"runs:/{run.info.run_id}/t.json")
    assert table["data"] == [[number] for number in range(30)]
    with gittrack.start_run(run_id=run.info.run_id):
        gittrack.log_table({"n": [30]}, "t.json")
    assert len(gittrack.artifacts.load_dict(f"runs:/{run.info.run_id}/t.json")["data"]) == 31


# -- disks that fail -----------------------------------------------------------------------------------------


def test_on_a_read_only_repository_reading_works_and_training_goes_on_with_one_warning(
    repo: Repo, caplog: pytest.LogCaptureFixture
) -> None:
    with gittrack.start_run() as first:
        gittrack.log({"a": 1.0}, 0)
    caplog.clear()
    with read_only(repo.path):
        assert gittrack.get_run(first.info.run_id).metrics == {"a": 1.0}
        gittrack.set_experiment("new")
        assert len(caplog.records) == 1
        caplog.clear()
        run = gittrack.start_run()
        for step in range(100):
            gittrack.log({"a": step}, step)
        gittrack.log_text("x", "x.txt")
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        gittrack.end_run()
        assert len(caplog.records) == 2  # that it waits to be committed
        assert gittrack.get_run(run.info.run_id).metrics == {"a": 99.0}
    current._State.recovered.clear()
    gittrack.start_run().end()  # the next command
    assert len(history(run.info.run_id, "a")) == 100
    assert repo.store.get_run(run.info.run_id).record.experiment == "new"
    repo.assert_sound()


def test_where_the_live_folder_cannot_be_made_the_spool_takes_the_run(
    repo: Repo, caplog: pytest.LogCaptureFixture
) -> None:
    (repo.state).mkdir()
    (repo.state / "live").write_text("in the way")
    with gittrack.start_run() as run:
        gittrack.log({"a": 1.0}, 0)
    assert len(caplog.records) == 1
    assert gittrack.get_run(run.info.run_id).metrics == {"a": 1.0}
    assert gittrack.get_run(run.info.run_id).info.status == "FINISHED"
    (repo.state / "live").unlink()
    repo.assert_sound()


def test_training_goes_on_while_the_disk_is_full(
    repo: Repo, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as small:
        repo.git("clone", "--quiet", str(repo.path), str(small / "clone"))
        clone = Repo(small / "clone")
        monkeypatch.chdir(clone.path)
        run = gittrack.start_run()
        gittrack.log({"a": 0.0}, 0)
        fill_up(small / "ballast")
        for step in range(1, 20_000):
            gittrack.log({"a": step}, step)
        assert len(caplog.records) == 1
        gittrack.log_text("x" * 100_000, "lost.txt")  # an artifact cannot be kept in memory: said at once
        assert "lost.txt" in caplog.records[1].getMessage()
        (small / "ballast").unlink()
        gittrack.log_text("y", "kept.txt")
        assert run.end()
        assert [step for step, _ in history(run.info.run_id, "a")] == list(range(20_000))
        assert len(caplog.records) == 2
        clone.assert_sound()
        second = gittrack.start_run()
        gittrack.log({"a": 1.0}, 0)
        fill_up(small / "ballast")
        assert not second.end()  # no room for a pack
        (small / "ballast").unlink()
        assert clone.store.recover() == [second.info.run_id]
        assert history(second.info.run_id, "a") == [(0, 1.0)]
        clone.assert_sound()
        monkeypatch.chdir(repo.path)


def test_a_run_that_ends_on_a_full_disk_loses_nothing(
    repo: Repo, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual way for a training to end on a full disk: the checkpoint finds no room."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as small:
        repo.git("clone", "--quiet", str(repo.path), str(small / "clone"))
        clone = Repo(small / "clone")
        monkeypatch.chdir(clone.path)
        with pytest.raises(OSError, match="checkpoint"), gittrack.start_run() as run:
            train_until_full(small / "ballast")
        assert len(caplog.records) == 2
        assert clone.store.recover() == []  # there is still no room
        (small / "ballast").unlink()
        assert clone.store.recover() == [run.info.run_id]
        found = gittrack.get_run(run.info.run_id)
        assert (found.info.status, found.params) == ("FAILED", {"late": 1})
        assert "no room for the checkpoint" in found.record.error
        assert [step for step, _ in history(run.info.run_id, "a")] == list(range(20_000))
        assert [info.path for info in gittrack.artifacts.list_artifacts(run_id=run.info.run_id)] == ["first.txt"]
        clone.assert_sound()
        monkeypatch.chdir(repo.path)


def train_until_full(ballast: Path) -> None:
    gittrack.log_text("first", "first.txt")
    gittrack.log({"a": 0.0}, 0)
    fill_up(ballast)
    for step in range(1, 20_000):
        gittrack.log({"a": step}, step)
    gittrack.log_param("late", 1)
    raise OSError("no room for the checkpoint")


def test_a_run_whose_folder_is_deleted_meanwhile_keeps_its_points(repo: Repo) -> None:
    import shutil

    with gittrack.start_run() as run:
        for step in range(100):
            gittrack.log({"a": step}, step)
        shutil.rmtree(repo.state)
        for step in range(100, 200):
            gittrack.log({"a": step}, step)
    assert history(run.info.run_id, "a") == [(step, float(step)) for step in range(200)]
    repo.assert_sound()


def test_the_log_is_silent_when_all_goes_well(repo: Repo, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), gittrack.start_run():
        gittrack.log({"a": 1.0})
        gittrack.log_text("x", "x.txt")
    assert caplog.records == []


def test_a_run_that_can_be_written_nowhere_waits_in_memory_and_is_committed_when_there_is_room(
    repo: Repo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"tmp/gittrack-{os.getuid()}").write_text("in the spool's way")
    with read_only(repo.path):
        run = gittrack.start_run(run_name="waits")
        gittrack.log({"loss": 0.5}, 0)
        gittrack.log_param("lr", 0.1)
    gittrack.end_run()
    (warning,) = caplog.records
    assert "values are kept in memory" in warning.getMessage()
    stored = repo.store.get_run(run.info.run_id)
    assert (stored.record.status, stored.record.params) == ("FINISHED", {"lr": 0.1})
    assert [point.value for point in repo.store.read_history(stored, "loss")] == [0.5]
    repo.assert_sound()


def test_a_run_is_resumed_on_a_disk_that_takes_no_lock_file(repo: Repo) -> None:
    with gittrack.start_run() as run:
        gittrack.log({"loss": 0.5}, 0)
    live = repo.state / "live"
    with read_only(repo.path):
        gittrack.start_run(run.info.run_id)
        gittrack.log({"loss": 0.25}, 1)
    gittrack.end_run()
    stored = repo.store.get_run(run.info.run_id)
    assert [point.value for point in repo.store.read_history(stored, "loss")] == [0.5, 0.25]
    assert not list(live.iterdir())
    repo.assert_sound()


def test_a_run_that_somebody_died_in_going_on_with_is_resumed_at_once(repo: Repo) -> None:
    """Killed between making the folder, or the stream, and the first record in it."""
    with gittrack.start_run() as run:
        pass
    run_id = run.info.run_id
    for name in ("", "0123456789abcdef.log"):
        folder = repo.state / "live" / run_id
        folder.mkdir(parents=True)
        if name:
            (folder / name).write_bytes(b"")
        with gittrack.start_run(run_id):
            assert gittrack.get_run(run_id).info.status == "RUNNING"
        gittrack.Client().set_terminated(run_id, "FAILED")
        assert gittrack.get_run(run_id).info.status == "FAILED"


def test_a_folder_that_cannot_be_looked_at_stops_no_run(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A linked work tree that is being removed: its ``.git`` file goes between two looks at it."""
    from gittrack.tracking import provenance

    def look(folder: str) -> None:
        raise FileNotFoundError(2, "No such file or directory", f"{folder}/.git")

    monkeypatch.setattr(provenance, "discover_repository", look)
    with gittrack.start_run() as run:
        gittrack.log({"a": 1.0}, 0)
    assert gittrack.get_run(run.info.run_id).metrics == {"a": 1.0}
    assert "cannot tell what made this run" in caplog.text
