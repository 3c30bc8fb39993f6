"""Git's config files, read without git."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.git.config import parse_settings, read_core_settings, strip_credentials

from .making import git, make, state_of


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:tok@host/x.git", "https://host/x.git"),
        ("https://tok@host:8080/x", "https://host:8080/x"),
        ("https://user:p/w@host/x", "https://host/x"),
        ("https://user:p@w@host/x", "https://host/x"),
        ("https://host/@scope/x?access_token=tok#f", "https://host/@scope/x"),
        ("ext::https://user:tok@host/x", "ext::https://host/x"),
        ("ssh://git:tok@host:22/x", "ssh://git@host:22/x"),
        ("git@host:x/y.git", "git@host:x/y.git"),
        ("/srv/git/x.git", "/srv/git/x.git"),
        ("file:///srv/x.git", "file:///srv/x.git"),
        ("http://[::1]:80/@x", "http://[::1]:80/@x"),
    ],
)
def test_a_url_is_shown_without_credentials(url: str, expected: str) -> None:
    assert strip_credentials(url) == expected


def test_the_remote_is_origin_without_credentials(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "remote", "add", "first", "https://first.example/x")
    assert state_of(top).remote_url == "https://first.example/x"
    git(top, "remote", "add", "origin", "https://ada:tok@example.org/x.git")
    assert state_of(top).remote_url == "https://example.org/x.git"


def test_a_quoted_remote_with_comment_and_continuation_is_read(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    with open(top / ".git/config", "a") as file:
        file.write('[remote "o;dd"] url = "https://host/a#b;\\\nc" ; note\n')
    assert git(top, "config", "remote.o;dd.url").strip() == b"https://host/a#b;c"
    assert state_of(top).remote_url == "https://host/a"


@pytest.mark.parametrize(
    "raw",
    [
        b"[a]\nKey = v\n",
        b"\xef\xbb\xbf[A] key=v # note",
        b'[b] [a]\n\tkey = "v" ; note\r\n',
        b"[a]\nkey = \\\nv\n",
    ],
)
def test_a_setting_is_read_as_git_reads_it(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "config").write_bytes(raw)
    assert git(tmp_path, "config", "-f", "config", "a.key") == b"v\n"
    assert parse_settings(raw)[-1] == ("a", "", "key", "v")


def test_a_work_trees_own_config_counts_only_where_it_is_in_use(tmp_path: Path) -> None:
    top = make(tmp_path / "r")
    (top / ".git/config.worktree").write_text("[core]\n\tworktree = /elsewhere\n")
    assert read_core_settings(str(top / ".git")) == ("", False)
    git(top, "config", "extensions.worktreeConfig", "true")
    assert read_core_settings(str(top / ".git")) == ("/elsewhere", False)
