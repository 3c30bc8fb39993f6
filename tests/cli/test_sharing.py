"""push, pull, sync and status as a person types them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import GITTRACK, Shell


@pytest.fixture
def remote(shell: Shell, tmp_path: Path) -> Path:
    path = tmp_path / "team.git"
    subprocess.run(["git", "init", "-q", "--bare", str(path)], check=True)
    subprocess.run(["git", "-C", str(shell.folder), "remote", "add", "origin", str(path)], check=True)
    return path


def log_run(shell: Shell, name: str, experiment: str = "exp") -> None:
    shell.gittrack("start", "-e", experiment, "--name", name)
    (shell.folder / "model.bin").write_bytes(b"\0" + name.encode() * 100)
    shell.gittrack("log", "artifact", "model.bin")
    shell.gittrack("finish")


def refs(remote: Path) -> list[str]:
    argv = ["git", "-C", str(remote), "for-each-ref", "--format=%(refname)"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()


def test_a_run_is_told_as_unshared_until_it_is_pushed(shell: Shell, remote: Path) -> None:
    log_run(shell, "one")
    told = json.loads(shell.gittrack("status", "--json"))
    assert (told["shared"], len(told["branches"][0]["ahead"]), told["objects"]) == (False, 1, 1)
    assert shell.gittrack("push", "--dry-run") == "would push exp: 1 run new or changed\n"
    assert refs(remote) == []
    pushed = shell.gittrack("push")
    assert pushed.splitlines()[0].startswith("uploaded 1 artifact object (")
    assert pushed.splitlines()[1] == "pushed exp: 1 run new or changed"
    assert refs(remote) == ["refs/heads/gittrack/exp"]
    assert json.loads(shell.gittrack("status", "--json"))["shared"] is True
    assert "everything is shared" in shell.run(GITTRACK, "status").stderr
    assert shell.run(GITTRACK, "push").stderr == "origin has everything\n"


def test_json_says_what_was_pushed(shell: Shell, remote: Path) -> None:
    log_run(shell, "one")
    told = json.loads(shell.gittrack("push", "--json"))
    assert [(one["experiment"], one["before"], len(one["runs"])) for one in told["branches"]] == [("exp", None, 1)]
    assert (told["uploaded"]["sent"], told["tries"]) == (1, 0)


def test_only_the_experiments_that_are_named_go(shell: Shell, remote: Path) -> None:
    log_run(shell, "one", "exp")
    log_run(shell, "two", "other")
    shell.gittrack("push", "origin", "other")
    assert refs(remote) == ["refs/heads/gittrack/other"]
    failed = shell.error("push", "nowhere")
    assert failed.startswith("error: no experiment is called 'nowhere'")


def test_pull_brings_runs_and_with_a_pattern_their_artifacts(shell: Shell, remote: Path, tmp_path: Path) -> None:
    log_run(shell, "one")
    shell.gittrack("push")
    colleague = tmp_path / "colleague"
    subprocess.run(["git", "clone", "-q", str(remote), str(colleague)], check=True, capture_output=True)
    there = ("-C", str(colleague))
    assert (
        shell.run(GITTRACK, *there, "pull", "--dry-run").stderr == "origin: nothing new\n"
    )  # the clone has it all
    told = json.loads(shell.gittrack(*there, "pull", "--artifacts", "exp/*", "--json"))
    assert told["artifacts"] == {"objects": 1, "fetched": 1, "size_bytes": 301}
    failed = shell.error(*there, "pull", "--artifacts", "nothing/*")
    assert failed.startswith("error: no artifact fits 'nothing/*'")
    log_run(shell, "two")
    shell.gittrack("sync")
    assert shell.gittrack(*there, "pull", "--dry-run") == "would pull exp\n"
    assert shell.gittrack(*there, "pull") == "pulled exp: 1 run new or changed\n"
    failed = shell.error(*there, "pull", "origin", "other")
    assert failed.startswith("error: origin has no experiment 'other'")


def test_without_a_remote_one_line_says_what_to_do(shell: Shell) -> None:
    log_run(shell, "one")
    for command in ("push", "pull", "sync", "status"):
        failed = shell.error(command)
        assert failed.endswith("has no remote\nhint: add one: git remote add origin URL\n")
