"""Running git: what it is told, and what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.errors import CommandError
from gittrack.git.command import git_argv, git_environment, read_output, run_git

from .making import git, make


def test_git_asks_no_network_for_what_a_partial_clone_lacks() -> None:
    assert git_environment()["GIT_NO_LAZY_FETCH"] == "1"
    assert git_environment({"GIT_ALLOW_PROTOCOL": "https"})["GIT_ALLOW_PROTOCOL"] == "https"


@pytest.mark.parametrize("knows_lazy_fetch", ["1", "0"])
def test_no_transport_starts_where_git_only_reads(tmp_path: Path, knows_lazy_fetch: str) -> None:
    """Also by a git that does not know of GIT_NO_LAZY_FETCH, and where the repository allows everything."""
    top = make(tmp_path / "r", {"a": "1"})
    for key, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", f"ext::touch {tmp_path}/ran"),
        ("protocol.allow", "always"),
        ("protocol.ext.allow", "always"),
    ):
        git(top, "config", key, value)
    argv = git_argv(str(top / ".git"), "cat-file", "-e", "1" * 40)
    with pytest.raises(CommandError):
        read_output(argv, str(top), {"GIT_NO_LAZY_FETCH": knows_lazy_fetch})
    assert not (tmp_path / "ran").exists()
    with pytest.raises(CommandError):  # and with a transport it would have been
        read_output(argv, str(top), {"GIT_NO_LAZY_FETCH": "0", "GIT_ALLOW_PROTOCOL": "ext"})
    assert (tmp_path / "ran").exists()


def test_what_git_prints_and_reads_may_be_larger_than_a_pipe(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"big.txt": b"x" * 300_000})
    blob = git(top, "rev-parse", "HEAD:big.txt").strip() + b"\n"
    output = read_output(git_argv(str(top / ".git"), "cat-file", "--batch"), str(top), stdin=blob * 50)
    assert len(output) == 50 * (300_000 + len(blob + b"blob 300000\n") + 1)
    assert read_output(git_argv(str(top / ".git"), "rev-parse", "HEAD:big.txt"), str(top)) == blob


def test_an_exit_code_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        read_output(git_argv(str(tmp_path), "config", "--get", "no.such"), str(tmp_path))
    assert (caught.value.returncode, caught.value.argv) == (1, ["git", "config", "--get", "no.such"])


def test_a_git_that_cannot_start_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        read_output([str(tmp_path / "git")], str(tmp_path))


def test_a_graft_changes_no_history(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a": "1"})
    git(top, "commit", "-q", "--allow-empty", "-m", "second")
    tip = git(top, "rev-parse", "HEAD").decode().strip()
    (top / ".git/info").mkdir(exist_ok=True)
    (top / ".git/info/grafts").write_text(f"{tip}\n")
    assert run_git(str(top / ".git"), "rev-list", "--count", tip) == b"2\n"
