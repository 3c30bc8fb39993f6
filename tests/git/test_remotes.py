"""Remotes are what the user's git takes them for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gittrack.errors import NotFoundError
from gittrack.git.command import find_git
from gittrack.git.remotes import find_remote, is_url, list_remotes
from gittrack.git.repository import Repository, open_repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    subprocess.run(["git", "init", "-q", str(tmp_path / "repo")], check=True)
    return open_repository(str(tmp_path / "repo"))


@pytest.fixture
def config(repository: Repository) -> Callable[..., str]:
    def run(*words: str) -> str:
        argv = ["git", "-C", str(repository.work_tree), *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    return run


def test_urls_are_those_that_git_would_use(repository: Repository, config: Callable[..., str]) -> None:
    for key, value in (
        ("remote.plain.url", "/srv/runs.git"),
        ("remote.short.url", "gh:team/runs.git"),
        ("remote.shorter.url", "gh:team/special/runs.git"),
        ("remote.apart.url", "https://host/runs.git"),
        ("remote.both.url", "https://host/runs.git"),
        ("remote.both.pushurl", "gh:team/pushed.git"),
        ("url.https://forge/.insteadOf", "gh:"),
        ("url.https://other/.insteadOf", "gh:team/special/"),
        ("url.ssh://git@host/.pushInsteadOf", "https://host/"),
    ):
        config("config", key, value)
    expected = {
        name: (config("remote", "get-url", name), config("remote", "get-url", "--push", name))
        for name in config("remote").split()
    }
    assert {one.name: (one.url, one.push_url) for one in list_remotes(repository)} == expected


def test_without_git_the_repositorys_own_config_says_the_same(
    repository: Repository, config: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config("remote", "add", "origin", "gh:runs.git")
    config("config", "url.https://forge/.insteadOf", "gh:")
    with_git = list_remotes(repository)
    monkeypatch.setenv("PATH", "")
    find_git.cache_clear()
    assert list_remotes(repository) == with_git


def test_origin_is_meant_where_nothing_is_said_and_else_the_only_one(
    repository: Repository, config: Callable[..., str]
) -> None:
    assert find_remote(repository) is None
    config("remote", "add", "backup", "/b")
    assert getattr(find_remote(repository), "name", "") == "backup"
    config("remote", "add", "mirror", "/m")
    with pytest.raises(NotFoundError, match="several remotes"):
        find_remote(repository)
    config("remote", "add", "origin", "/o")
    assert getattr(find_remote(repository), "name", "") == "origin"
    with pytest.raises(NotFoundError, match="no remote 'elsewhere'"):
        find_remote(repository, "elsewhere")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://host/runs.git", True),
        ("git@host:team/runs.git", True),
        ("host:runs", True),
        ("ssh://[::1]:22/runs", True),
        ("ext::sh -c evil", False),
        ("evil::https://host/runs", False),
        ("-oProxyCommand=evil:x", False),
        ("/srv/runs.git", False),
        ("./a:b", False),
        ("exp", False),
    ],
)
def test_a_helpers_address_is_no_url(text: str, expected: bool) -> None:
    assert is_url(text) is expected
