"""Where a repository's files are, as git itself has it."""

from __future__ import annotations

import os
from pathlib import Path

from gittrack.git.repository import discover_repository

from .making import find, git, make, make_with_submodule


def test_core_worktree_moves_the_files_of_a_git_folder(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    (tmp_path / "moved").mkdir()
    git(top, "config", "core.worktree", "../../moved")
    assert find(top).work_tree == str(tmp_path / "moved")
    assert find(top / ".git").work_tree == str(tmp_path / "moved")


def test_a_core_worktree_that_is_not_there_leaves_no_files(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "config", "core.worktree", str(tmp_path / "gone"))
    assert find(top).work_tree is None


def test_a_bare_git_folder_has_no_files_around_it(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "config", "core.bare", "true")
    assert (find(top).work_tree, find(top).git_dir) == (None, str(top / ".git"))


def test_a_linked_work_tree_is_where_it_is_though_the_shared_folder_is_bare(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "worktree", "add", "-q", str(tmp_path / "linked"))
    git(top, "config", "core.bare", "true")
    found = find(tmp_path / "linked")
    assert (found.work_tree, found.common_dir) == (str(tmp_path / "linked"), str(top / ".git"))


def test_a_submodule_is_found_from_its_files_and_from_its_git_folder(tmp_path: Path) -> None:
    top = make_with_submodule(tmp_path)
    assert find(top / "sub") == find(top / ".git/modules/sub")
    assert find(top / "sub").work_tree == str(top / "sub")


def test_the_work_tree_is_the_one_that_git_shows(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"d/a.py": "1\n"})
    assert os.fsencode(find(top / "d").work_tree or "") == git(top / "d", "rev-parse", "--show-toplevel").strip()
    assert discover_repository(str(tmp_path)) is None
