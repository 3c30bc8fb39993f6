"""A git URL as the tracking URI: a clone takes the runs at once, and they get there when there is a network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gittrack
from gittrack.sharing import beside, elsewhere
from gittrack.sharing.beside import wait_for_sharing
from gittrack.sharing.elsewhere import open_clone, parse_git_url, refresh
from gittrack.store.store import Store
from tests.harness import Repo, finish_child, in_threads, make_repo, run_child, start_child
from tests.servers.git_ssh import GitSsh

GITTRACK = str(Path(sys.executable).with_name("gittrack"))
TRAIN = """
import sys, gittrack
from gittrack.sharing.beside import wait_for_sharing
gittrack.set_tracking_uri(sys.argv[1] if len(sys.argv) > 1 else {uri!r})
with gittrack.start_run(run_name={name!r}):
    gittrack.log({{"loss": 0.5}}, step=1)
"""


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    yield
    for pid in beside._list_own():  # it would try again for a minute
        os.kill(pid, signal.SIGKILL)
    wait_for_sharing()


@pytest.fixture
def offline(tmp_path: Path) -> str:
    """An ssh that reaches nobody, as ``GIT_SSH_COMMAND``."""
    program = tmp_path / "offline/ssh"  # by its name git knows how it takes a port
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho ssh: Could not resolve hostname host >&2\nexit 255\n")
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def runs(git_ssh: GitSsh) -> Repo:
    return Repo(git_ssh.make())


@pytest.fixture
def uri(git_ssh: GitSsh, runs: Repo) -> str:
    return git_ssh.url()


def log_run(uri: str, name: str) -> None:
    gittrack.set_tracking_uri(uri)
    with gittrack.start_run(run_name=name):
        gittrack.log({"loss": 0.5}, step=1)


def names_in(repo: Repo) -> list[str]:
    return sorted(stored.record.name for stored in repo.store.list_runs().runs)


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [GITTRACK, *words], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("git@host:team/runs.git", "git@host:team/runs.git"),
        ("host:runs", "host:runs"),
        ("gittrack:git@host:team/runs.git", "git@host:team/runs.git"),
        ("ssh://git@host:22/team/runs", "ssh://git@host:22/team/runs"),
        ("ssh://git:secret@host/team/runs", "ssh://git@host/team/runs"),
        ("https://host/team/runs.git", "https://host/team/runs.git"),
        ("https://ada:secret@host/team/runs.git", "https://ada@host/team/runs.git"),
        ("https://ada:se/cret@host/team/runs.git", "https://ada@host/team/runs.git"),
        ("https://ghp_0123456789abcdef@host/runs.git", "https://host/runs.git"),
        ("https://host/runs.git?private_token=secret", "https://host/runs.git"),
        ("gittrack:https://host/team/runs", "https://host/team/runs"),
        ("gittrack:file:///srv/runs.git", "file:///srv/runs.git"),
        ("http://host:5000", None),
        ("https://host/team/runs", None),
        ("file:///srv/runs.git", None),
        ("gittrack:///srv/runs.git", None),
        ("gittrack:/srv/a:b", None),
        ("ext::sh -c x", None),
        ("ext::x", None),
        ("-x:y", None),
        ("/srv/runs.git", None),
        ("runs.git", None),
        ("", None),
    ],
)
def test_which_uris_are_git_urls(uri: str, url: str | None) -> None:
    assert parse_git_url(uri) == url


def test_a_run_goes_into_a_clone_and_is_pushed_when_it_ends(uri: str, runs: Repo, repo: Repo) -> None:
    log_run(uri, "one")
    assert gittrack.get_tracking_uri() == uri
    clone = Repo(Path(open_clone(uri).common_dir))
    assert names_in(clone) == ["one"]
    wait_for_sharing()
    assert names_in(runs) == ["one"]
    runs.git("fsck", "--strict")
    assert repo.git("for-each-ref", "refs/heads/gittrack") == ""
    # the code of the other repository came along
    assert runs.git("rev-parse", "gittrack/Default:code") == repo.git("rev-parse", "HEAD^{tree}")


def test_offline_runs_wait_and_go_with_the_next(uri: str, runs: Repo, offline: str) -> None:
    code = TRAIN.format(uri=uri, name="one")
    assert run_child(code, Path.cwd(), GIT_SSH_COMMAND=offline) == ("", "")
    told = command("-C", uri, "ls", GIT_SSH_COMMAND=offline)
    assert told.returncode == 0
    assert "one" in told.stdout
    assert "cannot be reached; shown is what is here" in told.stderr
    assert command("-C", uri, "ls", GIT_SSH_COMMAND=offline).stderr == ""  # the next ones do not try again as soon
    told = command("-C", uri, "status", GIT_SSH_COMMAND=offline)
    assert "Default" in told.stdout
    assert "1" in told.stdout
    assert names_in(runs) == []
    done = command("-C", uri, "push")
    assert done.returncode == 0, done.stderr
    assert names_in(runs) == ["one"]
    log_run(uri, "two")
    wait_for_sharing()
    assert names_in(runs) == ["one", "two"]


def test_two_machines_track_into_one_repository(
    uri: str, runs: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / f"machine-{number % 2}"))
        log_run(uri, f"run-{number}")
        wait_for_sharing()
    assert names_in(runs) == [f"run-{number}" for number in range(4)]
    told = command("-C", uri, "ls")
    assert all(f"run-{number}" in told.stdout for number in range(4)), told


def test_two_runs_at_once_are_both_pushed(uri: str, runs: Repo) -> None:
    code = TRAIN + "wait_for_sharing()\n"
    children = [start_child(code.format(uri=uri, name=f"run-{number}"), Path.cwd()) for number in range(3)]
    for child in children:
        finish_child(child)
    refresh_names = command("-C", uri, "push")
    assert refresh_names.returncode == 0, refresh_names.stderr
    assert names_in(runs) == ["run-0", "run-1", "run-2"]


def test_a_clone_is_made_once_by_however_many(tmp_path: Path) -> None:
    found: list[str] = []
    in_threads(8, lambda number: found.append(open_clone("host:team/runs.git").common_dir))
    assert len(set(found)) == 1
    folder = Path(found[0]).parent
    assert [path.name for path in folder.iterdir()] == [Path(found[0]).name]
    assert folder.stat().st_mode & 0o077 == 0
    clone = Repo(Path(found[0]))
    assert clone.git("config", "remote.origin.url").strip() == "host:team/runs.git"
    clone.git("fsck", "--strict")


def test_no_password_is_written_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gittrack.set_tracking_uri("https://ada:hunter2@127.0.0.1:1/team/runs.git")
    assert gittrack.get_tracking_uri() == "https://ada@127.0.0.1:1/team/runs.git"
    assert len(caplog.records) == 1
    assert "hunter2" not in caplog.text
    with gittrack.start_run():
        gittrack.log({"loss": 1.0})
    written = subprocess.run(
        ["grep", "-rl", "hunter2", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert written.stdout == ""


def test_a_remote_that_does_not_answer_is_not_waited_for(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", "sleep 100; :")
    monkeypatch.setenv("GIT_SSH_VARIANT", "ssh")
    monkeypatch.setattr(elsewhere, "_ANSWER_S", 0.5)
    assert refresh(open_clone(uri)).endswith("does not answer")


def test_a_colleagues_runs_are_listed_without_asking_for_them(
    uri: str, runs: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_repo(tmp_path / "other")
    other.git("remote", "add", "origin", uri)
    monkeypatch.chdir(other.path)
    gittrack.set_tracking_uri("")
    with gittrack.start_run(run_name="theirs"):
        gittrack.log({"loss": 1.0})
    assert command("push").returncode == 0
    told = command("-C", uri, "ls")
    assert "theirs" in told.stdout, told
    assert Store(open_clone(uri)).list_runs().runs[0].record.name == "theirs"


def test_live_and_elsewhere_go_together(uri: str, runs: Repo) -> None:
    gittrack.set_tracking_uri(uri)
    with gittrack.start_run(run_name="one", live="1s"):
        gittrack.log({"loss": 0.5}, step=1)
    wait_for_sharing()
    assert names_in(runs) == ["one"]
    assert runs.git("for-each-ref", "refs/gittrack") == ""
