"""A tree and all below it, brought into another repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.errors import NotFoundError
from gittrack.git.carrying import carry_tree
from gittrack.git.objects import ObjectId, ObjectSet, TreeEntry
from gittrack.git.repository import create_bare_repository

from .making import find, git, head_tree, make, make_with_submodule, record, state_of, write


def test_a_tree_is_carried_whole_into_another_repository(tmp_path: Path) -> None:
    make_with_submodule(tmp_path)
    top = tmp_path / "r"
    write(top, {"d/e/x.py": "x\n", "big.bin": b"\0" * ((16 << 20) + 1)})
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "more")
    write(top, {"d/e/x.py": "changed\n"})
    state, target = state_of(top), create_bare_repository(str(tmp_path / "t"))
    assert state.tree is not None
    tree, carried = carry_tree(find(top), state.tree, state.objects, target)
    assert tree == state.tree
    found = record(target, tree, carried)
    assert set(found) == {b".gitmodules", b"a.py", b"sub", b"d/e/x.py", b"big.bin"}
    assert found[b"d/e/x.py"] == ("100644", b"changed\n")


def test_what_the_newest_run_has_at_the_same_place_is_not_carried_again(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n", "d/x.py": "x\n", "d/y.py": "y\n", "e/z.py": "z\n"})
    target = create_bare_repository(str(tmp_path / "t"))
    first = state_of(top)
    assert first.tree is not None
    record(target, *carry_tree(find(top), first.tree, first.objects, target))
    write(top, {"d/x.py": "2\n"})
    git(top, "commit", "-q", "-a", "-m", "2")
    second = state_of(top)
    assert second.tree is not None
    tree, carried = carry_tree(find(top), second.tree, second.objects, target, known=first.tree)
    assert sorted(kind for _, kind, _ in carried) == [2, 2, 3]
    assert record(target, tree, carried)[b"d/x.py"] == ("100644", b"2\n")
    _, nothing = carry_tree(find(top), second.tree, ObjectSet("sha1"), target, known=second.tree)
    assert len(nothing) == 0


def test_a_known_tree_that_is_not_there_counts_for_nothing(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    target = create_bare_repository(str(tmp_path / "t"))
    _, carried = carry_tree(
        find(top), ObjectId(head_tree(top)), ObjectSet("sha1"), target, known=ObjectId("1" * 40)
    )
    assert len(carried) == 2


def test_a_missing_object_is_told(tmp_path: Path) -> None:
    top, objects = make(tmp_path / "r", {"a.py": "1\n"}), ObjectSet("sha1")
    tree = objects.add_tree([TreeEntry(0o100644, b"x", ObjectId("1" * 40))])
    with pytest.raises(NotFoundError):
        carry_tree(find(top), tree, objects, create_bare_repository(str(tmp_path / "t")))
