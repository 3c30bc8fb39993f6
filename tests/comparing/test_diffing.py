"""Real runs against each other and against the work tree: exactly what differs is named."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import gittrack
from gittrack.errors import AmbiguousError, InvalidValueError, NotFoundError, RepositoryError
from gittrack.git.repository import create_bare_repository
from gittrack.schema.differences import Missing
from gittrack.store.store import Store
from gittrack.tracking.entities import Run
from tests.harness import Repo, make_repo

from .making import compared, differing, make


def test_a_run_does_not_differ_from_itself_nor_from_its_equal(repo: Repo) -> None:
    make("one", lr=0.1, metrics={"acc": 0.5}, texts={"a.txt": "x\n"})
    make("two", lr=0.1, metrics={"acc": 0.5}, texts={"a.txt": "x\n"})
    assert not compared(repo, "one", "one")
    assert differing(compared(repo, "one", "two")) == {}


def test_code_params_metrics_tags_and_texts_are_told(repo: Repo) -> None:
    make("one", lr=0.1, metrics={"acc": 0.5}, tags={"t": "a"}, texts={"a.txt": "x\ny\n", "gone.txt": "x"})
    (repo.path / "train.py").write_text("print('train')\nprint('more')\n")
    (repo.path / "new.py").write_text("x = 1\n")
    make("two", lr="0.1", metrics={"acc": 0.75}, tags={"t": "b"}, texts={"a.txt": "x\nz\n"})
    found = gittrack.diff("one", "two")
    assert differing(found) == {
        "params": ["lr"],
        "metrics": ["acc"],
        "tags": ["t"],
        "artifacts": ["a.txt", "gone.txt"],
        "code": ["new.py", "train.py"],
    }
    assert found.params["lr"].values == (0.1, "0.1")
    assert (found.metrics["acc"].delta, found.metrics["acc"].verdict) == (0.25, "better")
    assert found.code.stat == "A new.py +1 -0\nM train.py +1 -0\n"
    assert "+print('more')\n" in found.code.patch
    assert "-y\n+z\n" in found.artifacts.patch
    assert gittrack.diff("one", "two", code="stat").code.stat == found.code.stat
    assert gittrack.diff("one", "two", code="stat").code.patch == ""
    assert not gittrack.diff("one", "two", code="none").code


def test_a_run_may_be_given_in_many_ways(repo: Repo) -> None:
    first, second = make("one", lr=1), make("two", lr=2)
    run: Run = gittrack.get_run(first)
    for given in (first, first[:10], "one", "d~1", run, run.record):
        assert gittrack.diff(given, "@last").params["lr"].values == (1, 2)
    with gittrack.start_run(run_id=second) as active:
        assert gittrack.diff(run, active).params["lr"].values == (1, 2)


def test_what_is_not_found_or_not_clear_is_said(repo: Repo) -> None:
    make("twin")
    make("twin")
    for runs, error in (
        (("twin", "twin"), AmbiguousError),
        (("nope", "."), NotFoundError),
        ((), InvalidValueError),
    ):
        with pytest.raises(error):
            gittrack.diff(*runs)
    with pytest.raises(InvalidValueError, match="it is one of unified, stat, none"):
        gittrack.diff("@last", code="all")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="is no run"):
        gittrack.diff(3, "@last")  # type: ignore[arg-type]


def test_one_run_alone_is_held_against_the_work_tree(repo: Repo) -> None:
    make("one", lr=0.1, metrics={"acc": 0.5}, texts={"a.txt": "x"})
    assert differing(gittrack.diff("one")) == {}
    before = repo.git("status", "--porcelain"), os.listdir(repo.path / ".git")
    (repo.path / "train.py").write_text("print('other')\n")
    found = gittrack.diff("one")
    assert differing(found) == {"code": ["train.py"]}
    assert "+print('other')\n" in found.code.patch
    assert found.params["lr"].values == (0.1, Missing.UNRECORDED)
    turned = gittrack.diff("@worktree", "one")
    assert "-print('other')\n" in turned.code.patch
    repo.git("checkout", "-q", "train.py")
    assert (repo.git("status", "--porcelain"), os.listdir(repo.path / ".git")) == before


def test_the_work_tree_is_compared_where_runs_go_to_another_repository(repo: Repo, tmp_path: Path) -> None:
    for options in ((), ("--object-format=sha256",)):
        runs = make_repo(tmp_path / f"runs{len(options)}", *options)
        gittrack.set_tracking_uri(runs.path)
        make("one")
        assert differing(gittrack.diff("one", ".")) == {}
        (repo.path / "extra.py").write_text("x\n")
        assert differing(gittrack.diff("one", ".")) == {"code": ["extra.py"]}
        (repo.path / "extra.py").unlink()


def test_without_a_work_tree_one_line_says_so(tmp_path: Path) -> None:
    store = Store(create_bare_repository(str(tmp_path / "runs.git")))
    gittrack.set_tracking_uri(store.repository.common_dir)
    make("one")
    with pytest.raises(RepositoryError, match="no work tree here"):
        gittrack.diff("one")


def test_a_run_in_flight_is_compared_as_it_stands(repo: Repo) -> None:
    make("one", lr=0.1, texts={"a.txt": "x\n"})
    (repo.path / "train.py").write_text("print('other')\n")
    with gittrack.start_run(run_name="flying"):
        gittrack.log_param("lr", 0.2)
        gittrack.log_text("y\n", "a.txt")
        found = compared(repo, "one", "flying")
        assert differing(found) == {
            "params": ["lr"],
            "artifacts": ["a.txt"],
            "code": ["train.py"],
            "attributes": ["status"],
        }
        assert "+print('other')\n" in found.code.patch
        assert "+y\n" in found.artifacts.patch
        assert found.runs[1].is_live


def test_a_resumed_run_has_what_it_had_before_and_what_it_logs_now(repo: Repo) -> None:
    first = make("one", lr=0.1, texts={"a.txt": "x\n"})
    make("two", lr=0.1, texts={"a.txt": "x\n"})
    (repo.path / "train.py").write_text("print('other')\n")
    with gittrack.start_run(run_id=first):
        gittrack.log_text("y\n", "b.txt")
        found = compared(repo, "two", first)
    assert differing(found)["artifacts"] == ["b.txt"]
    assert found.params["lr"].values == (0.1, 0.1)
    assert differing(compared(repo, "two", first)) == {
        part: names for part, names in differing(found).items() if part != "attributes"
    }


def test_deleted_runs_and_runs_without_code_are_compared(repo: Repo) -> None:
    first = make("one", lr=1)
    gittrack.delete_run(first)
    client = gittrack.Client()
    bare = client.create_run("0", run_name="bare")
    client.set_terminated(bare.info.run_id)
    found = compared(repo, first, bare.info.run_id)
    assert differing(found)["attributes"] == ["experiment", "lifecycle"]
    assert not found.code
    assert not found.environment


def test_artifacts_behind_pointers_need_not_be_here(repo: Repo) -> None:
    for name, number in (("one", 0), ("two", 1)):
        gittrack.set_experiment("d")
        with gittrack.start_run(run_name=name):
            gittrack.log_stream(io.BytesIO(bytes([number]) * 5000), "model.bin")
    shutil.rmtree(repo.repository.lfs_objects_dir)
    [row] = compared(repo, "one", "two").artifacts
    assert (row.name, row.change, row.patch) == ("model.bin", "changed", None)
    assert [fact.size_bytes for fact in row.values] == [5000, 5000]  # type: ignore[union-attr]


def test_code_that_is_not_here_is_said_and_the_rest_is_compared(repo: Repo) -> None:
    make("one", lr=1)
    (repo.path / "train.py").write_text("print('other')\n")
    make("two", lr=2)
    gone = repo.git("rev-parse", "gittrack/d:code").strip()
    repo.git("repack", "-adq")
    for pack in (repo.path / ".git/objects/pack").glob("*.pack"):
        away = repo.path.parent / pack.name
        pack.rename(away)
        for other in pack.parent.glob(pack.stem + ".*"):
            other.unlink()
        unpack(repo, away)
    (repo.path / ".git/objects" / gone[:2] / gone[2:]).unlink()
    found = compared(repo, "one", "two")
    assert differing(found) == {"params": ["lr"]}
    assert "the code cannot be compared" in found.problems[0]
    assert "note: the code cannot be compared" in str(found)


def unpack(repo: Repo, pack: Path) -> None:
    with open(pack, "rb") as file:
        subprocess.run(["git", "unpack-objects", "-q"], cwd=repo.path, stdin=file, check=True)


def test_three_runs_have_a_column_each(repo: Repo) -> None:
    for name, rate in (("one", 1), ("two", 1), ("three", 2)):
        (repo.path / "train.py").write_text(f"print({rate})\n")
        make(name, lr=rate, metrics={"loss": 1.0 / rate})
    found = compared(repo, "one", "two", "three")
    assert found.params["lr"].values == (1, 1, 2)
    assert found.metrics["loss"].best == 2
    assert [row.name for row in found.code] == ["train.py"]
    assert found.code.patch == ""
    assert "lr      1  1  2" in str(found)
