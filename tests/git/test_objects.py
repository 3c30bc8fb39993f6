"""Blobs, trees and commits as bytes: the ids that git gives, and what is refused when read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gittrack.errors import DamagedError
from gittrack.git.objects import (
    BLOB,
    COMMIT,
    EXECUTABLE_MODE,
    FILE_MODE,
    GITLINK_MODE,
    LINK_MODE,
    TREE,
    TREE_MODE,
    ObjectId,
    ObjectSet,
    Signature,
    TreeEntry,
    encode_tree,
    hash_object,
    parse_commit,
    parse_tree,
)
from gittrack.git.packs import write_pack

from .making import find, git, make

ADA = Signature("Ada", "ada@example.org", 1_700_000_000, 90)
ZERO = ObjectId("0" * 40)
TREE_ID = ObjectId("7" * 40)
names = st.binary(min_size=1, max_size=6).filter(
    lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..", b".git")
)
entries = st.lists(
    st.builds(
        TreeEntry,
        st.sampled_from([FILE_MODE, EXECUTABLE_MODE, LINK_MODE, TREE_MODE, GITLINK_MODE]),
        names,
        st.binary(min_size=20, max_size=20).map(lambda digest: ObjectId(digest.hex())),
    ),
    unique_by=lambda entry: entry.name,
    max_size=12,
)


@given(entries)
def test_a_tree_comes_back(found: list[TreeEntry]) -> None:
    assert sorted(parse_tree(TREE_ID, encode_tree(found)), key=repr) == sorted(found, key=repr)


def test_git_gives_a_tree_and_a_commit_the_same_ids(tmp_path: Path) -> None:
    top, objects = make(tmp_path / "r"), ObjectSet("sha1")
    blob = objects.add_blob(b"x")
    # names that sort otherwise as files than as folders
    files = dict.fromkeys(("a.b", "a/x", "a-", "a0", "b/c/d/e", "é", "z"), (FILE_MODE, blob))
    tree = objects.add_files({**files, "run": (EXECUTABLE_MODE, blob), "link": (LINK_MODE, blob)})
    commit = objects.add_commit(tree, [], ADA, ADA, "m\n")
    with write_pack(find(top), objects):
        listed = git(top, "ls-tree", tree)
        assert git(top, "mktree", stdin=listed).decode().strip() == tree
        git(top, "update-ref", "refs/heads/main", commit)
    git(top, "fsck", "--strict", "--no-dangling")
    assert (
        git(top, "show", "-s", "--format=%an|%ae|%ad", "--date=raw").decode()
        == "Ada|ada@example.org|1700000000 +0130\n"
    )


def test_a_tree_given_by_id_is_taken_as_it_is() -> None:
    objects = ObjectSet("sha1")
    inner = objects.add_files({"x": (FILE_MODE, objects.add_blob(b"x"))})
    assert objects.add_files({"code": (TREE_MODE, inner)}) == objects.add_files(
        {"code/x": (FILE_MODE, objects.add_blob(b"x"))}
    )


def test_names_that_are_not_utf8_come_back_as_they_were() -> None:
    objects = ObjectSet("sha1")
    tree = objects.add_files({b"\xff/\xfe".decode("utf-8", "surrogateescape"): (FILE_MODE, ZERO)})
    (folder,) = parse_tree(tree, objects.get(tree) or b"")
    assert folder.name == b"\xff"
    assert parse_tree(folder.id, objects.get(folder.id) or b"")[0].name == b"\xfe"


@pytest.mark.parametrize(
    ("signature", "line"),
    [
        (Signature("A <b>\n", "c>d", 5), b"A b <cd> 5 +0000"),
        (Signature("", "\0", -5, -330), b"unknown <unknown> 0 -0530"),
        (Signature("é\udc80", "x", 10**30), "é <x> 253402300799 +0000".encode()),
    ],
)
def test_a_signature_is_one_that_fsck_takes(tmp_path: Path, signature: Signature, line: bytes) -> None:
    assert signature.encode() == line
    top, objects = make(tmp_path / "r"), ObjectSet("sha1")
    commit = objects.add_commit(objects.add_files({}), [], signature, signature, "m\n")
    with write_pack(find(top), objects):
        git(top, "update-ref", "refs/heads/main", commit)
    git(top, "fsck", "--strict")


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_git_gives_a_blob_the_same_id(tmp_path: Path, size: int) -> None:
    data = bytes(size)
    assert hash_object(BLOB, data, "sha1") == git(tmp_path, "hash-object", "--stdin", stdin=data).decode().strip()


@pytest.mark.parametrize(
    "data",
    [
        b"x", b"100644 a", b"100644 a\0", b"100644 a\0" + bytes(19), b"x a\0" + bytes(20),
        b"100644\0" + bytes(20),
        b" a\0" + bytes(20), b"100644 \0" + bytes(20), b"40000 ..\0" + bytes(20), b"40000 .\0" + bytes(20),
        b"40000 .git\0" + bytes(20), b"100644 a/b\0" + bytes(20), b"100644 /etc/passwd\0" + bytes(20),
    ],
)  # fmt: skip
def test_a_tree_that_is_none_or_leads_out_of_itself_is_damage(data: bytes) -> None:
    with pytest.raises(DamagedError, match=f"tree {TREE_ID}"):
        parse_tree(TREE_ID, data)


HEAD = b"tree " + b"1" * 40 + b"\n"
ENDS = b"author A <a@b> 1 +0000\ncommitter C <c@d> 2 +0000\n"


def test_a_commit_is_read_whatever_headers_it_has() -> None:
    data = (
        HEAD + b"parent " + b"2" * 40 + b"\nparent " + b"3" * 40 + b"\n" + ENDS
        + b"gpgsig -----BEGIN\n tree x\n parent y\n -----END\nmergetag object\n tree z\n\nsubject\n\nbody\n"
    )  # fmt: skip
    commit = parse_commit(ZERO, data)
    assert (commit.tree, commit.parents) == ("1" * 40, ("2" * 40, "3" * 40))
    assert (commit.author, commit.committed_at_s, commit.message) == ("A <a@b>", 2, "subject\n\nbody\n")


@pytest.mark.parametrize(
    ("encoding", "raw", "text"),
    [
        (b"ISO-8859-1", b"\xe9", "é"),
        (b"", "é".encode(), "é"),
        (b"no-such", b"\xe9", "\ufffd"),
        (b"", b"\xe9", "\ufffd"),
    ],
)
def test_a_message_is_read_in_its_own_encoding(encoding: bytes, raw: bytes, text: str) -> None:
    header = b"encoding " + encoding + b"\n" if encoding else b""
    assert parse_commit(ZERO, HEAD + ENDS + header + b"\n" + raw).message == text


@pytest.mark.parametrize(
    "data",
    [
        b"", b"junk", b"\n\nmessage", ENDS, b"tree 123\n" + ENDS, b"tree " + b"g" * 40 + b"\n" + ENDS,
        b"tree " + b"\xe9" * 40 + b"\n", HEAD + b"parent HEAD\n" + ENDS, HEAD + b"committer C <c@d> soon +0000\n",
        HEAD + b"committer C\n",
    ],
)  # fmt: skip
def test_a_commit_that_is_none_is_damage(data: bytes) -> None:
    with pytest.raises(DamagedError, match=f"commit {ZERO}"):
        parse_commit(ZERO, data)


@pytest.mark.parametrize("seconds", [b"9" * 30, b"-" + b"9" * 30])
def test_a_date_that_no_clock_has_fits_64_bits(seconds: bytes) -> None:
    date = parse_commit(ZERO, HEAD + b"committer C <c@d> " + seconds + b" +0000\n").committed_at_s
    assert abs(date) == (1 << 63) - 1


def test_a_set_holds_each_object_once_in_its_order_and_copies_are_apart() -> None:
    objects = ObjectSet("sha1")
    first, second = objects.add_blob(b"1"), objects.add(TREE, b"")
    copied = objects.copy()
    third = copied.add(COMMIT, b"x")
    assert objects.add_blob(b"1") == first
    assert list(objects) == [(first, BLOB, b"1"), (second, TREE, b"")]
    assert (len(copied), third in copied, third in objects) == (3, True, False)
    objects.update(copied)
    assert (len(objects), objects.get(third), objects.get(ZERO)) == (3, b"x", None)
