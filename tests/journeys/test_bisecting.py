"""Bisecting a real history: commits that train, one of which made it worse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Repo, digest_tree, wait_for

TRAIN = """import os, sys
import gittrack
assert os.environ.get("GITTRACK_BROKEN_AT") != {number!r}
with gittrack.start_run():
    gittrack.log_metric("acc", {acc})
"""
GITTRACK = str(Path(sys.executable).with_name("gittrack"))
COMMAND = ("--", sys.executable, "train.py")


def make_history(repo: Repo, accuracies: list[float], broken: tuple[int, ...] = ()) -> list[str]:
    """A commit for each accuracy that its training reaches; the ids."""
    found = []
    for number, acc in enumerate(accuracies):
        code = "raise SystemExit(3)\n" if number in broken else TRAIN.format(number=str(number), acc=acc)
        found.append(repo.commit(f"change {number}", train__py=code))
    return found


def bisect(repo: Repo, *words: str, code: int = 0) -> Any:
    argv = [GITTRACK, "bisect", "acc", "--json", *words]
    done = subprocess.run(argv, cwd=repo.path, capture_output=True, text=True, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout else done.stderr


def train(repo: Repo, commit: str) -> None:
    """Train at a commit by hand, and come back."""
    repo.git("checkout", "--quiet", commit)
    subprocess.run([sys.executable, "train.py"], cwd=repo.path, check=True)
    repo.git("checkout", "--quiet", "main")


def test_the_commit_is_found_by_running_the_command(repo: Repo, tmp_path: Path) -> None:
    commits = make_history(repo, [0.95] * 6 + [0.7] * 5)
    (repo.path / "note.txt").write_text("not committed")
    (repo.path / "train.py").write_text("half done")
    repo.git("add", "note.txt")
    before = (
        digest_tree(repo.path / ".git/refs/heads"),
        repo.git("status", "--porcelain"),
        repo.git("rev-parse", "HEAD"),
    )
    found = bisect(repo, "--below", "0.9", "--good", commits[0], "--bad", commits[-1], *COMMAND)
    assert found["is_found"]
    assert found["suspects"] == [commits[6]]
    assert found["culprit"]["subject"] == "change 6"
    assert found["culprit"]["changes"] == [{"path": "train.py", "added": 2, "removed": 2}]
    ran = [one for one in found["evidence"] if one["runs"]]
    assert len(ran) <= 4
    assert {one["verdict"] for one in ran} == {"good", "bad"}
    assert (repo.git("status", "--porcelain"), repo.git("rev-parse", "HEAD")) == before[1:]
    assert (repo.path / "train.py").read_text() == "half done"
    assert list((tmp_path / "tmp").iterdir()) == []
    again = bisect(repo, "--below", "0.9", "Default")  # by what was run, without a command
    assert again["suspects"] == [commits[6]]
    assert {tuple(one["runs"]) for one in again["evidence"]} <= {tuple(one["runs"]) for one in ran}
    repo.assert_sound()


def test_existing_runs_come_first_and_the_next_commit_is_a_command(repo: Repo) -> None:
    commits = make_history(repo, [0.95, 0.95, 0.95, 0.7, 0.7])
    train(repo, commits[1])
    train(repo, commits[4])
    found = bisect(repo, "--below", "0.9", code=1)
    assert not found["is_found"]
    assert found["suspects"] == commits[2:]
    assert found["next"] == commits[2]
    assert found["steps"][0] == f"git worktree add --detach ../try {commits[2]}"
    assert found["steps"][2].endswith("train.py")
    train(repo, commits[2])
    train(repo, commits[3])
    found = bisect(repo, "--below", "0.9")
    assert found["suspects"] == [commits[3]]
    assert [one["verdict"] for one in found["evidence"]] == ["good", "bad"]  # the newest bad run is its


def test_runs_of_one_commit_with_other_settings_are_told_of(repo: Repo) -> None:
    code = "import gittrack, sys\nwith gittrack.start_run():\n    gittrack.log_param('lr', sys.argv[1])\n"
    for number, acc in enumerate((0.95, 0.5)):
        repo.commit(f"change {number}", train__py=code + f"    gittrack.log_metric('acc', {acc})\n")
        for lr in ("0.1", "0.2") if number else ("0.1",):
            subprocess.run([sys.executable, "train.py", lr], cwd=repo.path, check=True)
    found = bisect(repo, "--below", "0.9")
    assert found["notes"] == ["runs of one commit differ in lr, and count alike: keep one setting by --filter"]
    assert bisect(repo, "--below", "0.9", "--filter", "params.lr = 0.1")["notes"] == []


def test_a_commit_that_cannot_be_run_is_skipped_and_leaves_a_range(repo: Repo) -> None:
    commits = make_history(repo, [0.95, 0.95, 0.7, 0.7, 0.7], broken=(2,))
    found = bisect(repo, "--below", "0.9", "--good", commits[0], "--bad", commits[-1], *COMMAND, code=1)
    assert found["suspects"] == commits[2:4]
    assert [one["verdict"] for one in found["evidence"]] == ["given good", "good", "failed", "bad", "given bad"]
    assert "one of 2 commits" in found["verdict"]


def test_near_the_threshold_it_is_run_again_and_said_to_be_undecided(repo: Repo) -> None:
    commits = make_history(repo, [0.95, 0.9001, 0.7])
    words = ("--below", "0.9", "--good", commits[0], "--bad", commits[-1], "-k", "2", "--tolerance", "0.01")
    found = bisect(repo, *words, *COMMAND, code=1)
    (middle,) = [one for one in found["evidence"] if one["subject"] == commits[1]]
    assert middle["verdict"] == "undecided"
    assert len(middle["runs"]) == 4
    assert found["suspects"] == commits[1:]


def test_over_runs_the_last_crossing_is_told_and_earlier_ones_noted(repo: Repo) -> None:
    for commit in make_history(repo, [0.9, 0.2, 0.9, 0.1]):
        train(repo, commit)
    found = bisect(repo, "--runs", "--below", "0.5")
    assert found["suspects"] == [found["evidence"][3]["subject"]]
    assert [one["verdict"] for one in found["evidence"]] == ["good", "bad", "good", "bad"]
    assert "more than once" in found["notes"][0]
    assert found["steps"][0].startswith("gittrack why ")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "give either --below or --above"),
        (("--below", "1", "--above", "2"), 2, "give either --below or --above"),
        (("--below", "0.5", "--good", "nope", "--bad", "main"), 1, "is no run and no commit"),
        (("--below", "0.5", "--bad", "--output=x"), 1, "is no run and no commit"),
        (("--below", "0.5"), 1, "no run at a clean commit"),
        (("--below", "0.5", "--bad", "main"), 1, "name a commit that is good"),
        (("--below", "0.5", "--runs", "--good", "main"), 2, "--runs looks at what was run"),
    ],
)
def test_what_cannot_be_asked_is_said(repo: Repo, words: tuple[str, ...], code: int, message: str) -> None:
    assert message in bisect(repo, *words, code=code)


def test_an_interrupt_leaves_nothing_behind(repo: Repo, tmp_path: Path) -> None:
    commits = make_history(repo, [0.9, 0.9, 0.1])
    waiting = f"import pathlib, time; pathlib.Path({str(tmp_path / 'began')!r}).touch(); time.sleep(60)"
    words = ("--below", "0.5", "--good", commits[0], "--bad", commits[-1], "--", sys.executable, "-c", waiting)
    argv = [GITTRACK, "bisect", "acc", *words]
    child = subprocess.Popen(
        argv, cwd=repo.path, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_for((tmp_path / "began").exists, "the command")
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    child.communicate(timeout=30)
    assert child.returncode == 130
    assert list((tmp_path / "tmp").iterdir()) == []
