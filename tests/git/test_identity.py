"""Who commits, by git's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.git.identity import read_configured_user

from .making import find, git, make


def test_the_repositorys_own_setting_comes_before_the_users(tmp_path: Path) -> None:
    top = make(tmp_path / "r")
    (tmp_path / "home/.gitconfig").write_text("[user]\n\tname = Home\n\temail = home@example.org\n")
    git(top, "config", "user.name", "Ada é")
    assert read_configured_user(find(top)) == ("Ada é", "home@example.org")


def test_where_nothing_is_set_nothing_is_told(tmp_path: Path) -> None:
    assert read_configured_user(find(make(tmp_path / "r"))) == ("", "")


@pytest.mark.parametrize("place", ["home/.gitconfig", "r/.git/config"])
@pytest.mark.parametrize("content", [b"[user\nname=", b"\xff\xfe\0", b"[include]\n\tpath = /no/such\n"])
def test_a_broken_configuration_stops_nobody(tmp_path: Path, place: str, content: bytes) -> None:
    repository = find(make(tmp_path / "r"))
    (tmp_path / place).write_bytes(content)
    assert read_configured_user(repository) == ("", "")
