"""The difference between two texts as a patch that ``git apply`` takes, made without git.

A repository of a stranger may name programs that git runs for a diff (textconv, external diff, attributes); none
of them has a say here. The format is git-diff(1), "Generating patch text with -p".

Lines that are unique in both texts are matched first (the patience diff of Bram Cohen), the rest by `difflib` as
far as that is quick: no pair of texts takes long, whatever is in them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

TEXT_BYTES_MAX = 1 << 20
LINES_MAX = 20_000
_CONTEXT = 3
_BINARY_LOOKED_AT = 8000  # as git does
_WORK_MAX = 4_000_000  # of difflib for one stretch: about a second
_SUBMODULE = 0o160000
_PLAIN_NAME = re.compile(r"[^\"\\]*")
_ESCAPES = {
    7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\",
}  # fmt: skip

_Block = tuple[int, int, int]  # lines that are the same: where in the old text, where in the new, how many


@dataclass(frozen=True, slots=True)
class FileSide:
    """A file as one side has it: path, git's mode, id, and its bytes; None where they are not at hand."""

    path: str
    mode: int
    id: str
    data: bytes | None


@dataclass(frozen=True, slots=True)
class FilePatch:
    """How one file changes.

    Attributes:
        text: the patch; what is no UTF-8 stands as lone surrogates, so that
            ``text.encode("utf-8", "surrogateescape")`` gives the very bytes.
        added, removed: lines; 0 where the text is not compared.
        note: why it is not: ``binary``, ``too large``, ``not here``; else empty.
    """

    text: str
    added: int = 0
    removed: int = 0
    note: str = ""


def patch_file(old: FileSide | None, new: FileSide | None) -> FilePatch:
    """The patch that turns one side of a file into the other; at least one of them is given.

    A file that becomes a link, or a submodule, is removed and made anew, as git tells it.
    """
    if old is not None and new is not None and _kind(old.mode) != _kind(new.mode):
        gone, made = patch_file(old, None), patch_file(None, new)
        notes = gone.note or made.note
        return FilePatch(gone.text + made.text, made.added, gone.removed, notes)
    head = _headers(old, new)
    if old is not None and new is not None and old.id == new.id:
        return FilePatch(head)
    note = _why_not_text(old) or _why_not_text(new)
    one, other = _name(old, "a/"), _name(new, "b/")
    if note:
        word = "Binary files" if note == "binary" else "Files"
        return FilePatch(f"{head}{_index(old, new, 64)}{word} {one} and {other} differ\n", note=note)
    before, after = _lines(old), _lines(new)
    hunks, added, removed = _hunks(before, after)
    head += _index(old, new, 10)
    if hunks:
        head += f"--- {_spaced(one)}\n+++ {_spaced(other)}\n"
    return FilePatch(head + hunks, added, removed)


def quote_path(path: str) -> str:
    """A path as git writes it in a patch: in quotes, with escapes, where it holds what would not be seen."""
    if _PLAIN_NAME.fullmatch(path) and path.isprintable():
        return path
    shown = []
    for char in path:
        if char.isprintable() and char not in '"\\':
            shown.append(char)
        else:
            data = char.encode("utf-8", "surrogateescape")
            shown += [_ESCAPES.get(byte) or f"\\{byte:03o}" for byte in data]
    return f'"{"".join(shown)}"'


def _headers(old: FileSide | None, new: FileSide | None) -> str:
    first, second = old or new, new or old
    assert first is not None
    assert second is not None
    head = f"diff --git {quote_path('a/' + first.path)} {quote_path('b/' + second.path)}\n"
    if old is None:
        return head + f"new file mode {second.mode:06o}\n"
    if new is None:
        return head + f"deleted file mode {first.mode:06o}\n"
    if old.mode != new.mode:
        head += f"old mode {old.mode:06o}\nnew mode {new.mode:06o}\n"
    if old.path != new.path:
        head += f"similarity index 100%\nrename from {quote_path(old.path)}\nrename to {quote_path(new.path)}\n"
    return head


def _index(old: FileSide | None, new: FileSide | None, digits: int) -> str:
    """The line of ids: whole ones let ``git apply`` find a binary file's bytes in the repository."""
    known = old or new
    assert known is not None
    nothing = "0" * len(known.id)
    mode = f" {old.mode:06o}" if old is not None and new is not None and old.mode == new.mode else ""
    ids = [(side.id if side is not None else nothing)[:digits] for side in (old, new)]
    return f"index {ids[0]}..{ids[1]}{mode}\n"


def _name(side: FileSide | None, prefix: str) -> str:
    return "/dev/null" if side is None else quote_path(prefix + side.path)


def _spaced(name: str) -> str:
    """A name for the lines ``---`` and ``+++``: git puts a tab behind one that has a space, to end it."""
    return name + "\t" if " " in name else name


def _kind(mode: int) -> int:
    return mode & 0o170000


def _content(side: FileSide | None) -> bytes | None:
    if side is None:
        return b""
    return f"Subproject commit {side.id}\n".encode() if side.mode == _SUBMODULE else side.data


def _why_not_text(side: FileSide | None) -> str:
    data = _content(side)
    if data is None:
        return "not here"
    if b"\0" in data[:_BINARY_LOOKED_AT]:
        return "binary"
    return "too large" if len(data) > TEXT_BYTES_MAX or data.count(b"\n") > LINES_MAX else ""


def _lines(side: FileSide | None) -> list[str]:
    """Lines with their ends: only a newline ends one, for git as for us."""
    text = (_content(side) or b"").decode("utf-8", "surrogateescape")
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _hunks(old: list[str], new: list[str]) -> tuple[str, int, int]:
    """The hunks, and how many lines are added and removed."""
    shown, added, removed = list[str](), 0, 0
    for group in _grouped(list(_match(old, new)), len(old), len(new)):
        old_from, old_to, new_from, new_to = group[0][0], group[-1][1], group[0][2], group[-1][3]
        shown.append(f"@@ -{_range(old_from, old_to)} +{_range(new_from, new_to)} @@\n")
        for start, end, new_start, new_end, is_same in group:
            if is_same:
                shown += [_line(" ", line) for line in old[start:end]]
                continue
            shown += [_line("-", line) for line in old[start:end]]
            shown += [_line("+", line) for line in new[new_start:new_end]]
            removed, added = removed + end - start, added + new_end - new_start
    return "".join(shown), added, removed


def _line(sign: str, line: str) -> str:
    return sign + line if line.endswith("\n") else f"{sign}{line}\n\\ No newline at end of file\n"


def _range(start: int, end: int) -> str:
    """Where a hunk lies: counted from 1; an empty stretch is named by the line before it."""
    count = end - start
    return str(start + 1) if count == 1 else f"{start + 1 if count else start},{count}"


_Stretch = tuple[int, int, int, int, bool]  # of the old text, of the new one, whether they are the same


def _grouped(blocks: list[_Block], old_len: int, new_len: int) -> Iterator[list[_Stretch]]:
    """Changes with three lines around them; those that are near each other together."""
    group: list[_Stretch] = []
    at, new_at = 0, 0
    for start, new_start, count in [*blocks, (old_len, new_len, 0)]:
        if start > at or new_start > new_at:
            group.append((at, start, new_at, new_start, False))
        at, new_at = start + count, new_start + count
        is_first, is_last = not group, start + count == old_len and new_start + count == new_len
        before, after = 0 if is_first else min(_CONTEXT, count), 0 if is_last else min(_CONTEXT, count)
        if group and not is_last and count <= 2 * _CONTEXT:
            group.append((start, at, new_start, new_at, True))
            continue
        if group:
            if before:
                group.append((start, start + before, new_start, new_start + before, True))
            yield group
            group = []
        if after:
            group = [(at - after, at, new_at - after, new_at, True)]
        if is_last:
            return


def _match(old: list[str], new: list[str]) -> Iterator[_Block]:
    """The stretches that both texts have, in order, none touching the next in both."""
    merged: _Block | None = None
    for start, new_start, count in _raw_matches(old, new):
        if merged is not None and merged[0] + merged[2] == start and merged[1] + merged[2] == new_start:
            merged = (merged[0], merged[1], merged[2] + count)
            continue
        if merged is not None:
            yield merged
        merged = (start, new_start, count)
    if merged is not None:
        yield merged


def _raw_matches(old: list[str], new: list[str]) -> Iterator[_Block]:
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    if head:
        yield 0, 0, head
    old_end, new_end = len(old) - tail, len(new) - tail
    at, new_at = head, head
    for anchor, new_anchor in [*_anchors(old, new, head, old_end, new_end), (old_end, new_end)]:
        for start, new_start, count in _match_gap(old[at:anchor], new[new_at:new_anchor]):
            yield at + start, new_at + new_start, count
        if anchor < old_end:
            yield anchor, new_anchor, 1
        at, new_at = anchor + 1, new_anchor + 1
    if tail:
        yield old_end, new_end, tail


def _common(old: Sequence[str], new: Sequence[str]) -> int:
    count = 0
    for line, other in zip(old, new, strict=False):
        if line != other:
            break
        count += 1
    return count


def _anchors(old: list[str], new: list[str], start: int, old_end: int, new_end: int) -> list[tuple[int, int]]:
    """The longest rising sequence of lines that are in each text once."""
    counts, new_counts = Counter(old[start:old_end]), Counter(new[start:new_end])
    where = {new[at]: at for at in range(start, new_end)}
    pairs = [
        (at, where[old[at]])
        for at in range(start, old_end)
        if counts[old[at]] == 1 and new_counts.get(old[at]) == 1
    ]
    ends, ends_at, before = list[int](), list[int](), list[int]()
    for number, (_, new_at) in enumerate(pairs):
        length = bisect_left(ends, new_at)
        before.append(ends_at[length - 1] if length else -1)
        if length == len(ends):
            ends.append(new_at)
            ends_at.append(number)
        else:
            ends[length], ends_at[length] = new_at, number
    chosen, number = list[tuple[int, int]](), ends_at[-1] if ends_at else -1
    while number >= 0:
        chosen.append(pairs[number])
        number = before[number]
    return chosen[::-1]


def _match_gap(old: list[str], new: list[str]) -> Iterator[_Block]:
    """What two stretches without an anchor share; nothing where to find it could take long."""
    if not old or not new:
        return
    counts = Counter(new)
    pairs = sum(counts.get(line, 0) for line in old)
    if pairs == 0 or pairs * min(len(old), len(new)) > _WORK_MAX:
        return
    for block in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
        if block.size:
            yield block.a, block.b, block.size
