"""Patches of texts: what they say is what git says, and no pair of texts takes long."""

from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from gittrack.schema.text_diff import LINES_MAX, FileSide, patch_file, quote_path


def side(data: bytes | None, mode: int = 0o100644, path: str = "a.txt", object_id: str = "") -> FileSide:
    return FileSide(path, mode, object_id or f"{hash(data) & (1 << 63):040x}", data)


def body(old: bytes, new: bytes) -> list[str]:
    """The hunks of a patch, as lines."""
    text = patch_file(side(old, object_id="1" * 40), side(new, object_id="2" * 40)).text
    lines = text.split("\n")
    first = next((at for at, line in enumerate(lines) if line.startswith("@@")), len(lines))
    return lines[first:-1]


def test_a_hunk_has_three_lines_around_a_change() -> None:
    old = b"".join(b"%d\n" % number for number in range(20))
    patch = patch_file(side(old, object_id="1" * 40), side(old.replace(b"10\n", b"ten\n"), object_id="2" * 40))
    assert (patch.added, patch.removed, patch.note) == (1, 1, "")
    assert patch.text == (
        "diff --git a/a.txt b/a.txt\nindex 1111111111..2222222222 100644\n--- a/a.txt\n+++ b/a.txt\n"
        "@@ -8,7 +8,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n"
    )


def test_changes_near_each_other_share_a_hunk_and_far_ones_do_not() -> None:
    old = [b"%d\n" % number for number in range(40)]
    for gap, hunks in ((6, 1), (7, 2)):
        new = [b"x\n" if at in (10, 11 + gap) else line for at, line in enumerate(old)]
        assert sum(line.startswith("@@") for line in body(b"".join(old), b"".join(new))) == hunks


def test_a_missing_newline_at_the_end_is_told() -> None:
    assert body(b"a\nb", b"a\nb\n") == ["@@ -1,2 +1,2 @@", " a", "-b", "\\ No newline at end of file", "+b"]


def test_a_file_that_comes_or_goes_is_said_to_be_new_or_deleted() -> None:
    new = patch_file(None, side(b"x\n", 0o100755, object_id="2" * 40))
    assert new.text == (
        "diff --git a/a.txt b/a.txt\nnew file mode 100755\nindex 0000000000..2222222222\n"
        "--- /dev/null\n+++ b/a.txt\n@@ -0,0 +1 @@\n+x\n"
    )
    gone = patch_file(side(b"", object_id="2" * 40), None)
    assert gone.text == "diff --git a/a.txt b/a.txt\ndeleted file mode 100644\nindex 2222222222..0000000000\n"


def test_what_is_no_text_or_too_much_of_it_is_only_said_to_differ() -> None:
    cases = (
        ("binary", b"a\0b"),
        ("too large", b"x" * ((1 << 20) + 1)),
        ("too large", b"\n" * (LINES_MAX + 1)),
        ("not here", None),
    )
    for note, data in cases:
        patch = patch_file(side(b"old\n", object_id="1" * 40), side(data, object_id="2" * 40))
        word = "Binary files" if note == "binary" else "Files"
        assert patch.note == note
        assert patch.text.splitlines()[1:] == [
            f"index {'1' * 40}..{'2' * 40} 100644",
            f"{word} a/a.txt and b/a.txt differ",
        ]


def test_a_rename_and_a_mode_need_no_text() -> None:
    same = "1" * 40
    patch = patch_file(side(None, path="a b", object_id=same), side(None, 0o100755, path="é", object_id=same))
    assert patch.text.splitlines() == [
        "diff --git a/a b b/é", "old mode 100644", "new mode 100755", "similarity index 100%",
        "rename from a b", "rename to é",
    ]  # fmt: skip


def test_a_file_that_becomes_a_link_is_removed_and_made_anew() -> None:
    patch = patch_file(side(b"x\n", object_id="1" * 40), side(b"target", 0o120000, object_id="2" * 40))
    assert "deleted file mode 100644" in patch.text
    assert "new file mode 120000" in patch.text


def test_a_submodule_is_told_by_its_commit() -> None:
    sides = [side(None, 0o160000, path="lib", object_id=digit * 40) for digit in "12"]
    assert patch_file(*sides).text.splitlines()[-2:] == [
        f"-Subproject commit {'1' * 40}",
        f"+Subproject commit {'2' * 40}",
    ]


def test_names_are_quoted_as_git_quotes_them() -> None:
    assert quote_path("a/ plain é.py") == "a/ plain é.py"
    assert quote_path('a/"\\\n\x1b') == '"a/\\"\\\\\\n\\033"'
    assert quote_path("a/\udcff\u202e") == '"a/\\377\\342\\200\\256"'


lines = st.lists(
    st.sampled_from([b"a\n", b"b\n", b"c\r\n", b"\n", b"\x85\x0c\n", b"d\xff\n", b"last"]), max_size=30
)


@given(lines, lines)
def test_a_patch_gives_the_new_text_from_the_old(old: list[bytes], new: list[bytes]) -> None:
    before, after = b"".join(old), b"".join(new)
    assert apply(before, body(before, after)) == after


def apply(old: bytes, hunks: list[str]) -> bytes:
    """What a patch makes of a text, by a reading of its own."""
    source, made, at = split(old), list[bytes](), 0
    for number, line in enumerate(hunks):
        if line.startswith("@@"):
            start, _, count = line.split()[1][1:].partition(",")
            first = int(start) - (1 if count != "0" else 0)
            made += source[at:first]
            at = first
        elif not line.startswith("\\"):
            ends = b"" if hunks[number + 1 : number + 2] and hunks[number + 1].startswith("\\") else b"\n"
            text = line[1:].encode("utf-8", "surrogateescape") + ends
            if line[0] in " -":
                assert source[at] == text
                at += 1
            if line[0] in " +":
                made.append(text)
    return b"".join([*made, *source[at:]])


def split(text: bytes) -> list[bytes]:
    return [line for line in re.split(rb"(?<=\n)", text) if line]


def test_no_pair_of_texts_takes_long() -> None:
    """Lines that are each there a hundred times, in another order: difflib alone takes minutes."""
    count = LINES_MAX - 100
    old = b"".join(b"%d\n" % (at % 200) for at in range(count))
    new = b"".join(b"%d\n" % (at * 7919 % 200) for at in range(count))
    begun = time.process_time()
    body(old, new)
    assert time.process_time() - begun < 5
