"""What a repository borrows from others: near and far, in either hash, and without end in loops."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.errors import NotFoundError
from gittrack.git.alternates import find_alternates
from gittrack.git.objects import ObjectId
from gittrack.git.reading import ObjectReader

from .making import find, git, head, make, write


def borrow(path: Path, *others: str) -> None:
    (path / ".git/objects/info/alternates").write_text("".join(f"{other}\n" for other in others))


def test_they_are_found_near_and_far_each_once(tmp_path: Path) -> None:
    for name in "abc":
        make(tmp_path / name)
    borrow(tmp_path / "a", "# none", "../../../b/.git/objects", str(tmp_path / "gone"))
    borrow(tmp_path / "b", str(tmp_path / "c/.git/objects"), str(tmp_path / "a/.git/objects"))
    objects = [str(tmp_path / name / ".git/objects") for name in "abc"]
    assert find_alternates(objects[0]) == objects[1:]


@pytest.mark.parametrize("options", [(), ("--object-format=sha256",)])
def test_an_object_is_read_from_where_it_is_borrowed(tmp_path: Path, options: tuple[str, ...]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    git(source, "init", "-q", *options)
    write(source, {"a.py": "1\n"})
    git(source, "add", ".")
    git(source, "commit", "-q", "-m", "first")
    git(tmp_path, "clone", "-q", "--shared", "source", "clone")
    with ObjectReader(find(tmp_path / "clone")) as reader:
        assert reader.read_commit(ObjectId(head(source))).message == "first\n"


def test_a_loop_has_an_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    borrow(top, str(top / ".git/objects"))
    with ObjectReader(find(top)) as reader:
        with pytest.raises(NotFoundError):
            reader.read(ObjectId("1" * 40))
        assert reader.read_commit(ObjectId(head(top))).message == "first\n"
    assert capfd.readouterr().err == ""
