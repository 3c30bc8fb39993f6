"""HEAD's commit and trees: found wherever they lie, and read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.errors import DamagedError, NotFoundError
from gittrack.git.head import HeadReader
from gittrack.git.objects import ObjectId

from .making import find, git, head, head_tree, make


def object_path(top: Path, object_id: str) -> Path:
    return top / ".git/objects" / object_id[:2] / object_id[2:]


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_commits_tree_is_read_loose_or_packed(tmp_path: Path, is_packed: bool) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n", "d/b.py": "2\n"})
    if is_packed:
        git(top, "repack", "-q", "-a", "-d")
    with HeadReader(find(top)) as reader:
        tree = reader.read_commit_tree(ObjectId(head(top)))
        names = [entry.name for entry in reader.read_tree(tree)]
    assert (tree, names) == (head_tree(top), [b"a.py", b"d"])


def test_what_was_read_is_remembered(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    commit, tree = ObjectId(head(top)), head_tree(top)
    with HeadReader(find(top)) as reader:
        reader.read_commit_tree(commit)
    object_path(top, commit).unlink()
    with HeadReader(find(top)) as reader:
        assert reader.read_commit_tree(commit) == tree


def test_a_large_tree_is_read_whole(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {f"{number:04}.py": f"{number}\n" for number in range(3000)})
    with HeadReader(find(top)) as reader:
        assert len(reader.read_tree(ObjectId(head_tree(top)))) == 3000


def test_a_damaged_or_missing_object_is_told(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    commit, tree = ObjectId(head(top)), ObjectId(head_tree(top))
    object_path(top, commit).chmod(0o644)
    object_path(top, commit).write_bytes(b"rubbish")
    with HeadReader(find(top)) as reader:
        with pytest.raises(DamagedError):
            reader.read_commit_tree(commit)
        with pytest.raises(NotFoundError):
            reader.read_tree(ObjectId("1" * 40))
        with pytest.raises(DamagedError):
            reader.read_commit_tree(tree)
