"""What gittrack wrote is plain git and plain Git LFS: read, cloned, compared and cleaned up without gittrack."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import gittrack
from tests.harness import Repo

WEIGHTS = bytes(range(256)) * 40


def make_two_runs(repo: Repo) -> list[str]:
    os.chdir(repo.path)
    ids = []
    for number, rate in enumerate((0.1, 0.2)):
        (repo.path / "weights.bin").write_bytes(WEIGHTS + bytes([number]))
        gittrack.set_experiment("digits")
        with gittrack.start_run(run_name=f"run-{number}") as run:
            gittrack.log_param("lr", rate)
            for step in range(3):
                gittrack.log({"loss": rate * step, "val/acc": 0.5}, step=step)
            gittrack.log_artifact("weights.bin", "models")
            gittrack.log_text(f"notes of {number}\n", "notes.txt")
        ids.append(run.info.run_id)
    (repo.path / "weights.bin").unlink()
    return ids


def test_log_is_a_leaderboard_and_trailers_are_a_table(repo: Repo) -> None:
    ids = make_two_runs(repo)
    subjects = repo.git("log", "--format=%s", "gittrack/digits").splitlines()
    assert subjects[:2] == ["run-1 loss=0.4 val/acc=0.5", "run-0 loss=0.2 val/acc=0.5"]
    row = "%(trailers:key=Gittrack-Run,valueonly,separator=) %(trailers:key=Gittrack-Status,valueonly,separator=)"
    table = repo.git("log", f"--format={row}", "-2", "gittrack/digits").splitlines()
    assert table == [f"{ids[1]} FINISHED", f"{ids[0]} FINISHED"]


def test_diff_of_two_runs_shows_params_metrics_and_notes(repo: Repo) -> None:
    make_two_runs(repo)
    shown = repo.git("diff", "gittrack/digits~1", "gittrack/digits")
    for line in ("-lr: 0.1", "+lr: 0.2", "-notes of 0", "+notes of 1", "+  last: 0.4"):
        assert line in shown.splitlines()
    assert repo.git("diff", "--stat", "gittrack/digits~1:code", "gittrack/digits:code") == ""


def test_gc_and_repack_leave_everything_sound(repo: Repo) -> None:
    ids = make_two_runs(repo)
    for words in (("gc", "-q", "--prune=now"), ("repack", "-adq"), ("pack-refs", "--all"), ("lfs", "prune")):
        repo.git(*words)
    assert repo.git("fsck", "--strict", "--no-dangling") == ""
    assert gittrack.get_run(ids[0]).params == {"lr": 0.1}
    path = gittrack.artifacts.download_artifacts(run_id=ids[1], artifact_path="models/weights.bin")
    assert Path(path).read_bytes() == WEIGHTS + b"\1"


def test_git_lfs_lists_checks_and_materialises_the_artifacts(repo: Repo, tmp_path: Path) -> None:
    make_two_runs(repo)
    assert shutil.which("git-lfs"), "git-lfs is needed"
    assert repo.git("lfs", "ls-files", "--name-only", "gittrack/digits").splitlines() == [
        "artifacts/models/weights.bin"
    ]
    assert "OK" in repo.git("lfs", "fsck", "gittrack/digits")
    repo.git("lfs", "install", "--local")
    place = tmp_path / "checkout"
    repo.git("worktree", "add", "-q", str(place), "gittrack/digits")
    assert (place / "artifacts/models/weights.bin").read_bytes() == WEIGHTS + b"\1"
    assert (place / "artifacts/notes.txt").read_text() == "notes of 1\n"
    assert (
        subprocess.run(["git", "status", "--porcelain"], cwd=place, capture_output=True, check=True).stdout == b""
    )


def test_a_plain_clone_shows_the_runs_of_the_remote_branches(repo: Repo, tmp_path: Path) -> None:
    ids = make_two_runs(repo)
    clone = tmp_path / "clone"
    repo.git("clone", "-q", str(repo.path), str(clone))
    client = gittrack.Client(str(clone))
    assert client.get_run(ids[0]).metrics["loss"] == 0.2
    assert [point.value for point in client.get_metric_history(ids[1], "loss")] == [0.0, 0.2, 0.4]
    assert [info.path for info in client.list_artifacts(ids[0])] == ["models", "notes.txt"]
