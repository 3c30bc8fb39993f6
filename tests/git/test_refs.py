"""Where refs point, read from git's own files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gittrack.git.refs import read_head, read_ref

from .making import find, git, head, make


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_symbolic_branch_points_where_its_target_does(tmp_path: Path, is_packed: bool) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "branch", "alias")
    git(top, "pack-refs", "--all")  # the packed value of what becomes symbolic is stale
    git(top, "commit", "-q", "--allow-empty", "-m", "on")
    git(top, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    if is_packed:
        git(top, "pack-refs", "--all")
    assert read_ref(find(top), "refs/heads/alias") == head(top)


def test_symbolic_refs_are_followed_five_times_and_never_in_circles(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    heads = top / ".git/refs/heads"
    for number in range(6):
        (heads / f"s{number + 1}").write_text(f"ref: refs/heads/{f's{number}' if number else 'main'}\n")
    (heads / "circle").write_text("ref: refs/heads/circle\n")
    found = [read_ref(find(top), f"refs/heads/{name}") for name in ("s5", "s6", "circle")]
    assert found == [head(top), None, None]


@pytest.mark.parametrize("target", ["refs/../../secret", "../x", "/etc/passwd", "refs/a\0b", ""])
def test_a_symbolic_ref_leads_to_refs_only(tmp_path: Path, target: str) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    (top / "secret").write_text("1" * 40)
    (top / ".git/refs/heads/bad").write_text(f"ref: {target}\n")
    assert read_ref(find(top), "refs/heads/bad") is None


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_name_that_is_not_utf8_is_read(tmp_path: Path, is_packed: bool) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    name = os.fsdecode(b"refs/heads/latin-\xe9")
    git(top, "update-ref", name, "HEAD")
    git(top, "symbolic-ref", "HEAD", name)
    if is_packed:
        git(top, "pack-refs", "--all")
    assert read_ref(find(top), name) == head(top)
    assert read_head(find(top)) == (head(top), "latin-\ufffd")
    assert read_ref(find(top), os.fsdecode(b"refs/heads/no-\xe9")) is None


def test_a_packed_ref_is_found_by_its_whole_name(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "branch", "topic/main")
    git(top, "tag", "-a", "-m", "t", "main.x")
    git(top, "pack-refs", "--all")
    found = [read_ref(find(top), f"refs/heads/{name}") for name in ("main", "topic/main", "mai", "topic")]
    assert found == [head(top), head(top), None, None]


def test_a_detached_HEAD_names_its_commit(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "checkout", "-q", "--detach")
    assert read_head(find(top)) == (head(top), None)
