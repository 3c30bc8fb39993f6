"""The module-level calls: what is logged comes back as it was, and what is typed wrong is said at once."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import gittrack
from gittrack.errors import InvalidValueError, NotFoundError, ParamConflictError, RunStateError
from tests.harness import Repo, run_child


def history(run_id: str, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in gittrack.get_metric_history(run_id, key)]


# -- what is logged --------------------------------------------------------------------------------------------


def test_params_keep_their_types_and_mlflows_view_of_them_is_text(repo: Repo) -> None:
    given = {
        "i": 3,
        "f": 0.1,
        "b": True,
        "n": None,
        "s": "no",
        "np": np.int64(7),
        "np text": np.str_("a\0"),
        "path": Path("a/b"),
        "list": [1, 2],
    }
    with gittrack.start_run() as run:
        gittrack.log_params(given)
    found = gittrack.get_run(run.info.run_id)
    assert found.params == {**given, "np": 7, "np text": "a\0", "path": "a/b", "list": "[1, 2]"}
    assert [type(value) for value in found.params.values()] == [
        int,
        float,
        bool,
        type(None),
        str,
        int,
        str,
        str,
        str,
    ]
    assert found.data.params["i"] == "3"


def test_values_of_every_kind_of_number_are_taken(repo: Repo) -> None:
    values = [1, True, np.float32(0.5), np.array(2.5), np.array([3.5]), math.nan, math.inf, "1.5", 5e-324, -0.0]
    with gittrack.start_run() as run:
        for step, value in enumerate(values):
            gittrack.log({"x": value}, step=step)
    found = [value for _, value in history(run.info.run_id, "x")]
    assert [repr(value) for value in found] == [repr(float(value)) for value in values[:4]] + [
        "3.5", "nan", "inf", "1.5", "5e-324", "-0.0",
    ]  # fmt: skip


def test_a_param_with_another_value_is_refused_and_the_same_is_fine(repo: Repo) -> None:
    with gittrack.start_run() as run:
        gittrack.log_param("lr", 0.1)
        gittrack.log_param("lr", 0.1)
        with pytest.raises(ParamConflictError) as caught:
            gittrack.log_params({"epochs": 3, "lr": 0.2})
        assert all(text in caught.value.message for text in ("'lr'", run.info.run_id, "0.1", "0.2"))
        gittrack.log_param("epochs", 4)
    assert gittrack.get_run(run.info.run_id).params == {"lr": 0.1, "epochs": 4}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: gittrack.log({"loss": "low"}, step=1), "metric 'loss' is no number: 'low'"),
        (lambda: gittrack.log({"ok": 1.0, "loss": None}), "metric 'loss' is no number: None"),
        (lambda: gittrack.log({"loss": 10**400}), "metric 'loss' is an integer too great for a float64"),
        (lambda: gittrack.log_metric("loss", 1.0, step=1.5), "a step is a whole number, not 1.5"),
        (lambda: gittrack.log_metric("loss", 1.0, step=""), "a step is a whole number, not ''"),
        (lambda: gittrack.log_metric("loss", 1.0, timestamp=10**400), "a timestamp is a number of milliseconds"),
        (lambda: gittrack.log_metric("../loss", 1.0), "is no plain path"),
        (lambda: gittrack.log_metric("lo$$", 1.0), "characters that are not taken"),
        (lambda: gittrack.log([1, 2]), "metrics are a dict of numbers by key"),
        (lambda: gittrack.log({"loss": 1.0}, step="soon"), "a step is a whole number"),
        (lambda: gittrack.log_param("a" * 251, 1), "has 251 characters"),
        (lambda: gittrack.log_param("n", 10**4300), "is an integer of"),
        (lambda: gittrack.log_param("path", "a\udcff"), "the value of param 'path' has a lone surrogate (U+DCFF)"),
        (lambda: gittrack.set_tag("path", "a\udcff"), "the value of tag 'path' has a lone surrogate (U+DCFF)"),
        (lambda: gittrack.set_tag("mlflow.runName", " "), "a run name is text that is not blank"),
        (lambda: gittrack.set_tag("", "x"), "characters that are not taken"),
        (lambda: gittrack.log_text("x", "../escape.txt"), "is not taken"),
        (lambda: gittrack.log_image("no image", "x.png"), "image"),
    ],
)
def test_a_mistake_is_one_clear_error_and_the_run_goes_on(repo: Repo, call: object, said: str) -> None:
    with gittrack.start_run() as run:
        with pytest.raises(InvalidValueError, match=r".") as caught:
            call()  # type: ignore[operator]
        assert said in caught.value.message
        gittrack.log({"after": 1.0})
    record = gittrack.get_run(run.info.run_id)
    assert (record.info.status, record.metrics, record.params) == ("FINISHED", {"after": 1.0}, {})


def test_artifacts_of_every_kind_come_back(repo: Repo, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "model.bin").write_bytes(b"\0\1\2")
    with gittrack.start_run() as run:
        gittrack.log_text("hello", "notes/a.txt")
        gittrack.log_dict({"a": 1}, "conf.json")
        gittrack.log_table({"x": [1]}, "table.json")
        gittrack.log_table({"x": [2]}, "table.json")
        gittrack.log_artifacts(str(folder), "results")
        gittrack.log_image(np.zeros((4, 4), dtype=np.uint8), "black.png")
        assert gittrack.get_artifact_uri("notes") == f"runs:/{run.info.run_id}/notes"
    listed = gittrack.artifacts.list_artifacts(run_id=run.info.run_id)
    assert [(info.path, info.is_dir) for info in listed] == [
        ("black.png", False), ("conf.json", False), ("notes", True), ("results", True), ("table.json", False),
    ]  # fmt: skip
    uri = f"runs:/{run.info.run_id}"
    assert gittrack.artifacts.load_text(f"{uri}/notes/a.txt") == "hello"
    assert gittrack.artifacts.load_dict(f"{uri}/conf.json") == {"a": 1}
    assert list(gittrack.Client().load_table(run.info.run_id, "table.json")["x"]) == [1, 2]
    path = gittrack.artifacts.download_artifacts(f"{uri}/results")
    assert (Path(path) / "deep" / "model.bin").read_bytes() == b"\0\1\2"
    with pytest.raises(NotFoundError):
        gittrack.artifacts.download_artifacts(f"{uri}/nothing")


def test_a_dataset_is_noted_with_its_digest_and_not_its_content(repo: Repo) -> None:
    with gittrack.start_run() as run:
        gittrack.log_input(gittrack.data.from_numpy(np.arange(6).reshape(3, 2), name="six"), context="training")
    (found,) = gittrack.get_run(run.info.run_id).record.inputs
    assert (found.name, found.rows, found.context) == ("six", 3, "training")
    assert found.digest


# -- going on with a run ----------------------------------------------------------------------------------------


def test_a_run_is_resumed_by_its_id_and_goes_on(repo: Repo) -> None:
    with gittrack.start_run() as run:
        gittrack.log({"loss": 1.0})
        gittrack.log_param("lr", 0.1)
    with gittrack.start_run(run_id=run.info.run_id):
        gittrack.log({"loss": 0.5})
        with pytest.raises(ParamConflictError):
            gittrack.log_param("lr", 0.2)
    found = gittrack.get_run(run.info.run_id).record
    assert history(run.info.run_id, "loss") == [(0, 1.0), (1, 0.5)]
    assert (found.revision, found.status, found.params) == (2, "FINISHED", {"lr": 0.1})


def test_the_environment_names_a_run_to_join(repo: Repo) -> None:
    with gittrack.start_run() as run:
        code = """
            import gittrack
            with gittrack.start_run() as run:
                gittrack.log({"child": 1.0})
                print(run.info.run_id)
        """
        out, _ = run_child(code, repo.path, GITTRACK_RUN_ID=run.info.run_id)
        assert out.strip() == run.info.run_id
        gittrack.log({"parent": 1.0})
    record = gittrack.get_run(run.info.run_id)
    assert (record.info.status, record.metrics) == ("FINISHED", {"child": 1.0, "parent": 1.0})
    assert len(repo.store.list_runs().runs) == 1


# -- experiments and edits ------------------------------------------------------------------------------------


def test_experiments_are_made_renamed_deleted_and_restored(repo: Repo) -> None:
    made = gittrack.create_experiment("vision/cnn", tags={"team": "a"})
    with pytest.raises(InvalidValueError, match="exists already"):
        gittrack.create_experiment("vision/cnn")
    gittrack.set_experiment("vision/cnn")
    with gittrack.start_run() as run:
        pass
    assert run.info.experiment_id == made
    branch = repo.git("for-each-ref", "--format=%(refname)", "refs/heads/gittrack/").split()
    assert branch == ["refs/heads/gittrack/vision%2Fcnn"]
    gittrack.rename_experiment(made, "cnn")
    assert gittrack.get_experiment_by_name("cnn").experiment_id == made  # type: ignore[union-attr]
    assert gittrack.get_experiment_by_name("vision/cnn") is None
    gittrack.delete_experiment(made)
    with pytest.raises(RunStateError, match="deleted"):
        gittrack.set_experiment("cnn")
    assert [found.name for found in gittrack.list_experiments()] == ["Default"]
    gittrack.restore_experiment(made)
    assert [found.name for found in gittrack.search_experiments(filter_string="tags.team = 'a'")] == ["cnn"]


def test_deleted_runs_come_back_and_running_ones_cannot_be_deleted(repo: Repo) -> None:
    with gittrack.start_run() as run, pytest.raises(RunStateError, match="is running"):
        gittrack.delete_run(run.info.run_id)
    gittrack.delete_run(run.info.run_id)
    assert gittrack.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    with pytest.raises(RunStateError, match="is deleted"):
        gittrack.start_run(run_id=run.info.run_id)
    gittrack.restore_run(run.info.run_id)
    assert gittrack.get_run(run.info.run_id).info.lifecycle_stage == "active"


def test_the_users_own_things_stay_byte_identical(repo: Repo) -> None:
    (repo.path / "train.py").write_text("changed = 1\n")
    (repo.path / "new.py").write_text("fresh = 1\n")
    repo.git("add", "new.py")
    index = (repo.path / ".git" / "index").read_bytes()
    before = [
        repo.git(*words) for words in (("status", "--porcelain=v2", "--branch"), ("stash", "list"), ("reflog",))
    ]
    index = (repo.path / ".git" / "index").read_bytes()
    head = (repo.path / ".git" / "HEAD").read_bytes()
    with gittrack.start_run() as run:
        gittrack.log({"x": 1.0})
        gittrack.log_text("t", "t.txt")
    gittrack.Client().set_tag(run.info.run_id, "a", "b")
    gittrack.delete_run(run.info.run_id)
    assert (repo.path / ".git" / "index").read_bytes() == index
    assert (repo.path / ".git" / "HEAD").read_bytes() == head
    after = [
        repo.git(*words) for words in (("status", "--porcelain=v2", "--branch"), ("stash", "list"), ("reflog",))
    ]
    assert after == before
    assert repo.git("show", "gittrack/Default:code/train.py") == "changed = 1\n"
    assert repo.git("show", "gittrack/Default:code/new.py") == "fresh = 1\n"
    assert repo.git("fsck", "--strict", "--no-dangling") == ""
