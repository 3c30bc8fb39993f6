"""The user's history as it is read for questions about code: lines of commits, what each changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.errors import CommandError, NotFoundError
from gittrack.git.lineage import FileChange, list_changes, list_first_parents, tell_commit
from gittrack.git.revisions import get_commit
from tests.harness import make_repo


def test_a_line_leaves_out_what_was_merged_in(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo")
    first = repo.git("rev-parse", "HEAD").strip()
    repo.git("checkout", "-q", "-b", "side")
    repo.commit("beside", side__py="1\n")
    repo.git("checkout", "-q", "main")
    second = repo.commit("second", main__py="1\n")
    repo.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    merge = repo.git("rev-parse", "HEAD").strip()
    assert list_first_parents(repo.repository, merge) == [first, second, merge]
    told = tell_commit(repo.repository, merge)
    assert (told.subject, told.author) == ("merge", "Ada <ada@example.org>")
    assert told.changes == (FileChange("side.py", 1, 0),)  # against its first parent
    assert [change.path for change in tell_commit(repo.repository, first).changes] == [".gitignore", "train.py"]


def test_changes_of_text_are_counted_and_of_bytes_named(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo")
    one = repo.git("rev-parse", "HEAD^{tree}").strip()
    (repo.path / "é\tb.bin").write_bytes(b"\0\1")
    (repo.path / "train.py").write_text("a\nb\n")
    (repo.path / ".gitattributes").write_text("*.py diff=evil\n")
    repo.git("config", "diff.evil.command", "touch evil")
    repo.git("config", "diff.evil.textconv", "touch evil; cat")
    repo.commit("change")
    other = repo.git("rev-parse", "HEAD^{tree}").strip()
    changes = list_changes(repo.repository, one, other)
    assert changes == (
        FileChange(".gitattributes", 1, 0),
        FileChange("train.py", 2, 1),
        FileChange("é\tb.bin", None, None),
    )
    assert [str(change) for change in changes[1:]] == ["train.py: +2 -1", "é\tb.bin (binary)"]
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("revision", ["nope", "--output=x", "-h", "HEAD^{tree}", ""])
def test_what_is_no_commit_is_said(tmp_path: Path, revision: str) -> None:
    repo = make_repo(tmp_path / "repo")
    with pytest.raises(NotFoundError):
        get_commit(repo.repository, revision)
    assert get_commit(repo.repository, "main") == repo.git("rev-parse", "main").strip()


def test_a_tree_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo")
    with pytest.raises(CommandError):
        list_changes(repo.repository, "1" * 40, "2" * 40)
