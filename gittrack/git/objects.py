"""Blobs, trees and commits as bytes, and the set of them that one write adds.

Formats: gitformat-pack(5), git-commit-tree(1), `git mktree`. An id is the hash of the object's bytes, in
lower-case hex digits: 40 of SHA-1, or 64 of SHA-256 (gitformat-hash-function-transition). A repository has one
of the two.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, NewType

from gittrack.errors import DamagedError

ObjectId = NewType("ObjectId", str)
ObjectFormat = Literal["sha1", "sha256"]
ID_BYTES: dict[ObjectFormat, int] = {"sha1": 20, "sha256": 32}

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
KINDS = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
KIND_NUMBERS = {name: number for number, name in KINDS.items()}

FILE_MODE, EXECUTABLE_MODE, LINK_MODE, TREE_MODE, GITLINK_MODE = (
    0o100644,
    0o100755,
    0o120000,
    0o40000,
    0o160000,
)

_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_TIME_MAX_S = 253_402_300_799  # year 9999; git calls what is negative, or far larger, a broken commit
_SECONDS_MAX = (1 << 63) - 1
_ENTRY = {  # mode, name, id; by the bytes of an id
    width: re.compile(rb"([0-7]{1,7}) ([^\0]*)\0(.{%d})" % width, re.DOTALL) for width in ID_BYTES.values()
}
_NO_NAMES = frozenset([b"", b".", b"..", b".git"])  # what no tree may hold: they lead out of the folder


class TreeEntry(NamedTuple):
    """One name in a tree: its mode, its name as bytes, the id it leads to.

    A tuple: a list of runs reads eight of them a run, and a frozen dataclass takes three times as long to make.
    """

    mode: int
    name: bytes
    id: ObjectId

    @property
    def is_tree(self) -> bool:
        return self.mode == TREE_MODE


@dataclass(frozen=True, slots=True)
class Signature:
    """Who and when, of a commit: name, e-mail, seconds since the epoch, offset in minutes east of UTC."""

    name: str
    email: str
    time_s: int
    offset_min: int = 0

    def encode(self) -> bytes:
        sign, minutes = ("-" if self.offset_min < 0 else "+"), abs(self.offset_min)
        zone = f"{sign}{minutes // 60:02d}{minutes % 60:02d}"
        time_s = min(max(self.time_s, 0), _TIME_MAX_S)
        return f"{_plain(self.name)} <{_plain(self.email)}> {time_s} {zone}".encode()


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit as read: ids, times in seconds since the epoch, and its message."""

    id: ObjectId
    tree: ObjectId
    parents: tuple[ObjectId, ...]
    author: str
    committed_at_s: int
    message: str


class ObjectSet:
    """The objects that one write adds to a repository of a format, each once, in the order they were added."""

    def __init__(self, object_format: ObjectFormat) -> None:
        self.object_format: ObjectFormat = object_format
        self._objects: dict[ObjectId, tuple[int, bytes]] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, object_id: ObjectId) -> bool:
        return object_id in self._objects

    def __iter__(self) -> Iterator[tuple[ObjectId, int, bytes]]:
        for object_id, (kind, data) in self._objects.items():
            yield object_id, kind, data

    def copy(self) -> ObjectSet:
        """Another set with the same objects."""
        copied = ObjectSet(self.object_format)
        copied._objects = dict(self._objects)
        return copied

    def update(self, other: ObjectSet) -> None:
        """Take in the objects of another set."""
        self._objects.update(other._objects)

    def get(self, object_id: ObjectId) -> bytes | None:
        """The bytes of an object of this set, or None."""
        found = self._objects.get(object_id)
        return found[1] if found else None

    def add(self, kind: int, data: bytes) -> ObjectId:
        """Add an object of a kind by its raw bytes; returns its id."""
        object_id = hash_object(kind, data, self.object_format)
        self._objects.setdefault(object_id, (kind, data))
        return object_id

    def add_blob(self, data: bytes) -> ObjectId:
        return self.add(BLOB, data)

    def add_tree(self, entries: Iterable[TreeEntry]) -> ObjectId:
        return self.add(TREE, encode_tree(entries))

    def add_files(self, files: dict[str, tuple[int, ObjectId]]) -> ObjectId:
        """Add the trees that hold files by their paths, '/' between the parts; returns the top's id.

        Paths are as `ObjectReader.walk_tree` gives them: what is no UTF-8 in a name stands as lone surrogates.

        An entry's mode may be `TREE_MODE`: then the id is that of a tree, taken as it is.
        """
        below: dict[str, dict[str, tuple[int, ObjectId]]] = {}
        entries: list[TreeEntry] = []
        for path, entry in files.items():
            first, slash, rest = path.partition("/")
            if slash:
                below.setdefault(first, {})[rest] = entry
            else:
                entries.append(TreeEntry(entry[0], _encode_name(first), entry[1]))
        for name, inner in below.items():
            entries.append(TreeEntry(TREE_MODE, _encode_name(name), self.add_files(inner)))
        return self.add_tree(entries)

    def add_commit(
        self,
        tree: ObjectId,
        parents: Iterable[ObjectId],
        author: Signature,
        committer: Signature,
        message: str,
    ) -> ObjectId:
        lines = [b"tree " + tree.encode()]
        lines += [b"parent " + parent.encode() for parent in parents]
        lines += [b"author " + author.encode(), b"committer " + committer.encode()]
        return self.add(COMMIT, b"\n".join(lines) + b"\n\n" + message.encode())


def hash_object(kind: int, data: bytes, object_format: ObjectFormat) -> ObjectId:
    """The id that git gives these bytes in a repository of a format."""
    digest = new_hash(object_format, KINDS[kind] + b" %d\0" % len(data))
    digest.update(data)
    return ObjectId(digest.hexdigest())


def has_id(object_id: ObjectId, kind: int, data: bytes) -> bool:
    """Whether these bytes are what an id says."""
    return hash_object(kind, data, format_of_id(object_id)) == object_id


def format_of_id(object_id: ObjectId) -> ObjectFormat:
    """The object format of the repository that an id comes from."""
    return "sha1" if len(object_id) == 2 * ID_BYTES["sha1"] else "sha256"


def new_hash(object_format: ObjectFormat, data: bytes = b"") -> hashlib._Hash:
    """The hash that a repository of a format makes its ids, and the ends of its packs, by."""
    make = hashlib.sha1 if object_format == "sha1" else hashlib.sha256
    return make(data, usedforsecurity=False)


def encode_tree(entries: Iterable[TreeEntry]) -> bytes:
    """A tree's bytes; sorted as git sorts, where a folder's name counts as if it ended in '/'."""
    ordered = sorted(entries, key=lambda entry: entry.name + b"/" if entry.is_tree else entry.name)
    return b"".join(b"%o %s\0%s" % (entry.mode, entry.name, bytes.fromhex(entry.id)) for entry in ordered)


def parse_tree(tree_id: ObjectId, data: bytes) -> list[TreeEntry]:
    """The entries of a tree's bytes, in their order.

    Raises:
        DamagedError: the bytes are no tree.
    """
    entries, at, where, read = [], 0, f"tree {tree_id}", _ENTRY[len(tree_id) // 2].match
    while at < len(data):
        found = read(data, at)
        if found is None:
            raise DamagedError(where, "its tree cannot be read")
        mode, name, digest = found.groups()
        if name in _NO_NAMES or b"/" in name:
            raise DamagedError(where, f"its tree holds the name {name!r}, which leads out of it")
        entries.append(TreeEntry(int(mode, 8), name, ObjectId(digest.hex())))
        at = found.end()
    return entries


def parse_seconds(text: bytes | str) -> int:
    """A commit's date in seconds since the epoch, at most what 64 bits hold: a stranger may write any number.

    Raises:
        ValueError: it is no number.
    """
    return max(-_SECONDS_MAX, min(int(text), _SECONDS_MAX))


def parse_commit(object_id: ObjectId, data: bytes) -> Commit:
    """A commit's bytes, read.

    Raises:
        DamagedError: they are no commit.
    """
    head, _, message = data.partition(b"\n\n")
    tree, parents, author, committed_at_s, encoding = "", [], b"", 0, "utf-8"
    try:
        for line in head.split(b"\n"):
            key, _, value = line.partition(b" ")
            if key == b"tree" and not tree:
                tree = value.decode("ascii")
            elif key == b"parent":
                parents.append(ObjectId(value.decode("ascii")))
            elif key == b"author":
                author = value.rpartition(b">")[0] + b">"
            elif key == b"committer":
                committed_at_s = parse_seconds(value.rpartition(b"> ")[2].split(b" ")[0])
            elif key == b"encoding":
                encoding = value.decode("ascii")
    except ValueError as error:
        raise DamagedError(f"commit {object_id}", "its header cannot be read") from error
    if not all(len(named) == len(object_id) and _ID.fullmatch(named) for named in (tree, *parents)):
        raise DamagedError(f"commit {object_id}", "it names no tree, or a parent that is no id")
    author_text, text = _decode(author, encoding), _decode(message, encoding)
    return Commit(object_id, ObjectId(tree), tuple(parents), author_text, committed_at_s, text)


def _decode(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding, errors="replace")
    except (LookupError, ValueError):  # an encoding that Python does not know
        return data.decode(errors="replace")


def _encode_name(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _plain(text: str) -> str:
    """A name that a commit header can hold: no angle brackets, newlines or control characters."""
    kept = "".join(char for char in text if char.isprintable() and char not in "<>")
    return kept.strip() or "unknown"
