"""Credentials come from git's helpers, and helpers are told how they did."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gittrack.errors import RemoteError
from gittrack.git.credentials import (
    approve_credential,
    encode_basic,
    fill_credential,
    read_credential_in_url,
    reject_credential,
)
from gittrack.git.repository import Repository, open_repository

from .making import git, make

URL = "https://host.example:8443/team/runs.git"


@pytest.fixture
def place(tmp_path: Path) -> Repository:
    top = make(tmp_path / "r", {"a": "1"})
    git(top, "config", "credential.helper", "store")
    return open_repository(str(top))


def kept(tmp_path: Path) -> Path:
    return tmp_path / "home/.git-credentials"


def test_a_helper_is_asked_by_host_and_port(place: Repository, tmp_path: Path) -> None:
    kept(tmp_path).write_text("https://ada:p%40ss@host.example%3a8443\n")
    found = fill_credential(place, URL)
    assert found is not None
    assert found.authorization == encode_basic("ada", "p@ss") == "Basic YWRhOnBAc3M="
    for other in ("https://host.example/", "http://host.example:8443/", "https://other.example:8443/"):
        assert fill_credential(place, other) is None
    assert "p@ss" not in repr(found)


def test_a_name_in_the_url_chooses(place: Repository, tmp_path: Path) -> None:
    kept(tmp_path).write_text("https://ada:one@host.example\nhttps://bob:two@host.example\n")
    found = fill_credential(place, "https://bob@host.example/x")
    assert found is not None
    assert found.authorization == encode_basic("bob", "two")


def test_what_was_refused_is_forgotten_and_what_was_right_is_kept(place: Repository, tmp_path: Path) -> None:
    kept(tmp_path).write_text("https://ada:secret@host.example%3a8443\n")
    found = fill_credential(place, URL)
    assert found is not None
    reject_credential(place, found)
    assert kept(tmp_path).read_text() == ""
    approve_credential(place, found)
    assert kept(tmp_path).read_text() == "https://ada:secret@host.example%3a8443\n"


def test_without_a_helper_nobody_is_asked(place: Repository) -> None:
    """There is no terminal: git gives up at once."""
    git(Path(place.label), "config", "--unset", "credential.helper")
    assert fill_credential(place, URL) is None


def test_a_hook_of_the_repository_never_runs(place: Repository, tmp_path: Path) -> None:
    hooks = Path(place.git_dir) / "hooks"
    for name in ("post-index-change", "reference-transaction", "pre-auto-gc"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (hooks / name).chmod(0o755)
    fill_credential(place, URL)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "url",
    [
        "https://a%0ahost=other.example@host.example/",
        "https://host.example/a%0ahost=other.example",
        "https://h\0/",
    ],
)
def test_a_url_may_not_speak_for_another_host(place: Repository, url: str) -> None:
    with pytest.raises(RemoteError, match="line break"):
        fill_credential(place, url)


def test_a_credential_that_is_no_header_is_none(place: Repository, tmp_path: Path) -> None:
    git(Path(place.label), "config", "credential.helper", "!f() { echo authtype=Bearer; echo credential=a; }; f")
    known = subprocess.run(["git", "credential", "capability"], capture_output=True, text=True, check=False).stdout
    found = fill_credential(place, URL)
    assert (found and found.authorization) == ("Bearer a" if "authtype" in known else None)


def test_a_url_may_hold_them() -> None:
    assert read_credential_in_url("https://ada:p%40ss@host.example/x") == encode_basic("ada", "p@ss")
    assert read_credential_in_url("https://ada@host.example/x") is None
    assert read_credential_in_url("https://host.example/x") is None
