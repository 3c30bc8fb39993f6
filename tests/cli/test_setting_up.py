"""`gittrack init` in a repository with a remote: it tells, asks, does, and takes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import GITTRACK, Shell


@pytest.fixture
def shared(shell: Shell) -> Shell:
    """A shell in a repository with a remote."""
    remote = shell.folder.parent / "remote.git"
    shell.git("init", "-q", "--bare", str(remote))
    shell.git("remote", "add", "origin", str(remote))
    return shell


def config_of(shell: Shell) -> str:
    return (shell.folder / ".git/config").read_text()


def test_what_changes_is_told_and_done(shared: Shell) -> None:
    told = shared.run(GITTRACK, "init", "--push", "--fetch", "--hook").stderr
    for line in (
        "changes:",
        "    git config --add remote.origin.push HEAD",
        "    git config --add remote.origin.push 'refs/heads/gittrack/*:refs/heads/gittrack/*'",
        "    git config --add remote.origin.fetch '+refs/gittrack/live/*:refs/gittrack/remotes/origin/live/*'",
        "    gittrack init --hook",
    ):
        assert line in told.splitlines()
    assert shared.git("config", "--get-all", "remote.origin.push").splitlines() == [
        "HEAD",
        "refs/heads/gittrack/*:refs/heads/gittrack/*",
    ]
    assert (shared.folder / ".git/hooks/pre-push").exists()
    assert "nothing to change" in shared.run(GITTRACK, "init", "--push", "--fetch", "--hook").stderr


def test_undo_takes_it_all_back(shared: Shell) -> None:
    before = config_of(shared), sorted((shared.folder / ".git/hooks").iterdir())
    shared.gittrack("init", "--push=branch,runs,tags", "--fetch", "--hook")
    shared.gittrack("init", "--undo")
    assert (config_of(shared), sorted((shared.folder / ".git/hooks").iterdir())) == before


def test_a_dry_run_tells_the_same_and_changes_nothing(shared: Shell) -> None:
    before = config_of(shared), sorted((shared.folder / ".git/hooks").iterdir())
    told = json.loads(shared.gittrack("init", "--push=runs", "--hook", "--dry-run", "--json"))
    assert (config_of(shared), sorted((shared.folder / ".git/hooks").iterdir())) == before
    assert [change["done"] for change in told["changes"]] == [False, False]
    done = json.loads(shared.gittrack("init", "--push=runs", "--hook", "--json"))
    assert done["remote"] == "origin"
    assert [change | {"done": False} for change in done["changes"]] == told["changes"]
    assert [change["done"] for change in done["changes"]] == [True, True]


def test_without_a_terminal_it_tells_the_commands_and_changes_nothing(shared: Shell) -> None:
    before = config_of(shared)
    told = shared.run(GITTRACK, "init").stderr
    assert "can be set up:" in told
    assert "    git config --add remote.origin.push HEAD" in told.splitlines()
    assert config_of(shared) == before


def test_on_a_terminal_each_part_is_offered(shared: Shell) -> None:
    shown = shared.on_terminal("init", columns=200, answers="yny")
    assert shown.count("do that? [y/N]") == 3
    assert len(shared.git("config", "--get-all", "remote.origin.push").splitlines()) == 2
    assert len(shared.git("config", "--get-all", "remote.origin.fetch").splitlines()) == 1
    assert (shared.folder / ".git/hooks/pre-push").exists()


def test_what_cannot_be_set_up_is_refused_in_words(shell: Shell) -> None:
    assert "has no remote" in shell.error("init", "--push")
    shell.git("remote", "add", "origin", "/nowhere")
    assert "--push cannot carry 'main'" in shell.error("init", "--push=main", code=2)
    assert "--undo goes alone" in shell.error("init", "--undo", "--hook", code=2)


def test_another_remote_is_set_up_by_its_name(shared: Shell, tmp_path: Path) -> None:
    shared.git("remote", "add", "backup", str(tmp_path / "backup.git"))
    shared.gittrack("init", "--push=runs", "--remote", "backup")
    assert (
        shared.git("config", "--get-all", "remote.backup.push") == "refs/heads/gittrack/*:refs/heads/gittrack/*\n"
    )


def test_the_hook_lets_a_push_without_runs_go(shared: Shell) -> None:
    shared.gittrack("init", "--hook")
    shared.git("push", "-q", "origin", "main")
    assert "refs/heads/main" in shared.git("ls-remote", "origin")
