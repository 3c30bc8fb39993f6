"""Checking objects by git: all that the tips lead to, whatever the repository's configuration says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.errors import CommandError, RepositoryError
from gittrack.git.checking import check_objects
from gittrack.git.objects import ObjectId, ObjectSet, Signature
from gittrack.git.packs import write_pack
from gittrack.git.repository import Repository

from .making import find, git, head, make

ADA = Signature("Ada", "ada@example.org", 1_700_000_000)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return make(tmp_path / "r", {"a": "1"})


def told(repository: Repository, *tips: str) -> str:
    with pytest.raises(CommandError) as caught:
        check_objects(repository, [ObjectId(tip) for tip in tips])
    return caught.value.stderr


def bad_commit(top: Path) -> str:
    """A commit that only ``--strict`` and its like complain of: it says who, but has no e-mail."""
    tree = git(top, "rev-parse", "HEAD^{tree}").decode().strip()
    data = f"tree {tree}\nauthor A 5 +0000\ncommitter C <c@d> 7 +0000\n\nm\n".encode()
    return git(top, "hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=data).decode().strip()


def test_what_is_sound_passes_and_what_is_missing_is_told(top: Path) -> None:
    check_objects(find(top), [ObjectId(head(top))])
    assert "1" * 40 in told(find(top), head(top), "1" * 40)
    blob = git(top, "rev-parse", "HEAD:a").decode().strip()
    (top / ".git/objects" / blob[:2] / blob[2:]).unlink()
    told(find(top), head(top))


def test_no_setting_of_the_repository_hides_damage(top: Path, tmp_path: Path) -> None:
    bad = bad_commit(top)
    (tmp_path / "skipped").write_text(f"{bad}\n")
    git(top, "config", "fsck.missingEmail", "ignore")
    git(top, "config", "fsck.skipList", str(tmp_path / "skipped"))
    git(top, "fsck", "--strict", bad)  # git itself is content
    assert "missingEmail" in told(find(top), bad)


@pytest.mark.parametrize("place", ["fsck.skipList", "shallow"])
def test_no_file_outside_is_printed(top: Path, tmp_path: Path, place: str) -> None:
    secret, bad = tmp_path / "secret", bad_commit(top)
    secret.write_text("the-secret\n")
    if place == "shallow":
        (top / ".git/shallow").symlink_to(secret)
    else:
        git(top, "config", place, str(secret))
    assert "the-secret" not in told(find(top), bad)


def test_more_tips_than_argv_holds(top: Path) -> None:
    """2 MiB, where the stack may have the usual 8."""
    objects, tree = ObjectSet("sha1"), ObjectId(git(top, "rev-parse", "HEAD^{tree}").decode().strip())
    tips = [objects.add_commit(tree, [], ADA, ADA, f"{number}\n") for number in range(60_000)]
    with write_pack(find(top), objects):
        check_objects(find(top), tips)
    assert "1" * 40 in told(find(top), *tips, "1" * 40)


def test_shallow_and_partial_clones_and_alternates_and_sha256_are_sound(top: Path, tmp_path: Path) -> None:
    git(top, "config", "uploadpack.allowFilter", "true")
    git(top, "commit", "-q", "--allow-empty", "-m", "second")
    for name, words in {
        "shallow": ("--depth=1", f"file://{top}"),
        "partial": ("--no-checkout", "--filter=blob:none", f"file://{top}"),
        "shared": ("--shared", str(top)),
    }.items():
        git(tmp_path, "clone", "-q", *words, name)
        check_objects(find(tmp_path / name), [ObjectId(head(tmp_path / name))])
    git(tmp_path, "init", "-q", "--object-format=sha256", "long")
    git(tmp_path / "long", "commit", "-q", "--allow-empty", "-m", "first")
    check_objects(find(tmp_path / "long"), [ObjectId(head(tmp_path / "long"))])


def test_where_no_folder_can_be_made_it_is_said(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(RepositoryError, match="cannot check"):
        check_objects(find(top), [ObjectId(head(top))])
