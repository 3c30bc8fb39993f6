"""The servers as pytest fixtures: a folder's ``conftest.py`` imports those that its tests name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.git_http import GitHttp, serve_git_over_http
from tests.servers.git_ssh import GitSsh, serve_git_over_ssh
from tests.servers.lfs import LfsServer, serve_dulwich_lfs, serve_giftless


@pytest.fixture
def git_http(tmp_path: Path) -> Iterator[GitHttp]:
    """Git over HTTP as a public repository has it: everybody reads, ``USER`` pushes."""
    with serve_git_over_http(tmp_path / "git-http") as server:
        yield server


@pytest.fixture
def private_git_http(tmp_path: Path) -> Iterator[GitHttp]:
    """Git over HTTP as a private repository has it: nothing without a login."""
    with serve_git_over_http(tmp_path / "private-git-http", anonymous_read=False) as server:
        yield server


@pytest.fixture
def git_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitSsh]:
    """Git over ssh; this process's ``GIT_SSH_COMMAND`` has the key for it."""
    with serve_git_over_ssh(tmp_path / "git-ssh") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def giftless(tmp_path: Path) -> Iterator[LfsServer]:
    """An LFS server that wants to know who one is."""
    with serve_giftless(tmp_path / "giftless") as server:
        yield server


@pytest.fixture
def dulwich_lfs(tmp_path: Path) -> Iterator[LfsServer]:
    """An LFS server that takes the right bytes from everybody."""
    with serve_dulwich_lfs(tmp_path / "dulwich-lfs") as server:
        yield server
