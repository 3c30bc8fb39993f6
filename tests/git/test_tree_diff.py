"""Which files differ between trees: what git names, of what is written and of what is not, within bounds."""

from __future__ import annotations

import pytest

from gittrack.errors import DamagedError, NotFoundError
from gittrack.git.objects import (
    EXECUTABLE_MODE,
    FILE_MODE,
    GITLINK_MODE,
    LINK_MODE,
    TREE_MODE,
    ObjectId,
    ObjectSet,
    TreeEntry,
)
from gittrack.git.tree_diff import ObjectSource, diff_trees

ONE, TWO = ObjectId("1" * 40), ObjectId("2" * 40)


def made(*files: dict[str, tuple[int, ObjectId]]) -> tuple[ObjectSource, list[ObjectId]]:
    objects = ObjectSet("sha1")
    trees = [objects.add_files(held) for held in files]
    return ObjectSource([], [objects]), trees


def test_files_links_modes_and_submodules_are_told() -> None:
    before = {"a": (FILE_MODE, ONE), "d/b": (FILE_MODE, ONE), "l": (LINK_MODE, ONE), "s": (GITLINK_MODE, ONE)}
    after = {"a": (EXECUTABLE_MODE, ONE), "d/c": (FILE_MODE, ONE), "l": (FILE_MODE, ONE), "s": (GITLINK_MODE, TWO)}
    source, trees = made(before, after)
    assert diff_trees(source, trees) == {
        "a": ((FILE_MODE, ONE), (EXECUTABLE_MODE, ONE)),
        "d/b": ((FILE_MODE, ONE), None),
        "d/c": (None, (FILE_MODE, ONE)),
        "l": ((LINK_MODE, ONE), (FILE_MODE, ONE)),
        "s": ((GITLINK_MODE, ONE), (GITLINK_MODE, TWO)),
    }


def test_a_file_where_a_folder_was_and_a_tree_that_is_empty() -> None:
    source, trees = made({"x/y": (FILE_MODE, ONE)}, {"x": (FILE_MODE, ONE)})
    both = {"x": (None, (FILE_MODE, ONE), None), "x/y": ((FILE_MODE, ONE), None, None)}
    assert diff_trees(source, [*trees, None]) == both
    assert diff_trees(source, [None, None]) == {}


def test_what_is_the_same_folder_is_never_opened() -> None:
    away = ObjectId("3" * 40)
    source, trees = made({"same": (TREE_MODE, away), "a": (FILE_MODE, ONE)}, {"same": (TREE_MODE, away)})
    assert list(diff_trees(source, trees)) == ["a"]
    source, trees = made({"d": (TREE_MODE, away)}, {})
    with pytest.raises(NotFoundError):
        diff_trees(source, trees)


def test_a_bomb_of_trees_is_refused() -> None:
    objects = ObjectSet("sha1")
    wide = objects.add_files({"f": (FILE_MODE, ONE)})
    for _ in range(11):
        wide = objects.add_tree(TreeEntry(TREE_MODE, b"%d" % at, wide) for at in range(10))
    deep = objects.add_files({"/".join("d" * 200): (FILE_MODE, ONE)})
    with ObjectSource([], [objects]) as source:
        for tree, why in ((wide, "500000 paths"), (deep, "deeper than 128")):
            with pytest.raises(DamagedError, match=why):
                diff_trees(source, [tree, None])
