"""Which files differ between trees: all are walked at once, and what is the same folder in all is never opened.

The trees may lie in a repository, or be a work tree's snapshot that was never written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from gittrack.errors import DamagedError, NotFoundError
from gittrack.git.bulk import read_blobs
from gittrack.git.objects import ObjectId, ObjectSet, TreeEntry, parse_tree
from gittrack.git.reading import DEPTH_MAX, ObjectReader
from gittrack.git.repository import Repository

PATHS_MAX = 500_000

Leaf = tuple[int, ObjectId]  # of a file, link or submodule: mode and id
_Names = dict[bytes, TreeEntry]


class ObjectSource:
    """Objects wherever they are: in sets that were not written, then in one repository after another."""

    def __init__(self, repositories: Sequence[Repository], made: Sequence[ObjectSet] = ()) -> None:
        self._repositories = list({found.objects_dir: found for found in repositories}.values())
        self._made = [objects for objects in made if len(objects)]
        self._opened = ExitStack()
        self._readers: list[ObjectReader] = []

    def __enter__(self) -> ObjectSource:
        self._readers = [self._opened.enter_context(ObjectReader(found)) for found in self._repositories]
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    def read_names(self, tree: ObjectId) -> _Names:
        """What a tree holds by name; of one name the first counts.

        Raises:
            NotFoundError: it is nowhere. DamagedError: it cannot be read.
        """
        made = self._find_made(tree)
        entries = self._read_tree(tree) if made is None else parse_tree(tree, made)
        return {entry.name: entry for entry in reversed(entries)}

    def read_blobs(self, ids: Sequence[ObjectId]) -> Iterator[bytes | None]:
        """Blobs in order; None where one is nowhere, cannot be read, or is over 16 MiB. Read in bulk."""
        asked = [object_id for object_id in ids if self._find_made(object_id) is None]
        streamed: Iterator[bytes | None] = iter(())
        for repository in self._repositories[:1]:
            streamed = read_blobs(repository, asked)
        for object_id in ids:
            data = self._find_made(object_id)
            if data is None:
                data = next(streamed, None)
            for repository in self._repositories[1:]:
                if data is None:
                    [data] = read_blobs(repository, [object_id])
            yield data

    def _find_made(self, object_id: ObjectId) -> bytes | None:
        return next((data for objects in self._made if (data := objects.get(object_id)) is not None), None)

    def _read_tree(self, tree: ObjectId) -> list[TreeEntry]:
        lost: NotFoundError | DamagedError = NotFoundError(f"tree {tree} is not here")
        for reader in self._readers:
            try:
                return reader.read_tree(tree)
            except (NotFoundError, DamagedError) as error:
                lost = error
        raise lost


def diff_trees(source: ObjectSource, trees: Sequence[ObjectId | None]) -> dict[str, tuple[Leaf | None, ...]]:
    """The files that are not the same in all trees, by path: mode and id in each tree, None where it has none.

    Paths are as `ObjectReader.walk_tree` gives them. A tree that is None is empty. Submodules are their commits'
    ids.

    Raises:
        NotFoundError: a tree that differs is nowhere. DamagedError: one cannot be read, or the trees hold more
        than
            500,000 paths, or folders deeper than 128.
    """
    found: dict[str, tuple[Leaf | None, ...]] = {}
    known: dict[ObjectId, _Names] = {}  # eleven trees can make ten thousand million paths
    pending: list[tuple[str, tuple[ObjectId | None, ...], int]] = [("", tuple(trees), 0)]
    looked_at = 0
    while pending:
        prefix, ids, depth = pending.pop()
        if depth > DEPTH_MAX:
            raise DamagedError(f"tree {trees[0]}", f"its folders nest deeper than {DEPTH_MAX}")
        for tree in ids:
            if tree is not None and tree not in known:
                known[tree] = source.read_names(tree)
        held = [known[tree] if tree is not None else {} for tree in ids]
        names = dict.fromkeys(name for names in held for name in names)
        looked_at += len(names)
        if looked_at > PATHS_MAX:
            raise DamagedError(f"tree {trees[0]}", f"it holds more than {PATHS_MAX} paths")
        for name in names:
            entries = [names_of.get(name) for names_of in held]
            if _are_same(entries):
                continue
            path = prefix + name.decode("utf-8", "surrogateescape")
            leaves = tuple(
                (entry.mode, entry.id) if entry is not None and not entry.is_tree else None for entry in entries
            )
            if any(leaves) and len(set(leaves)) > 1:
                found[path] = leaves
            below = tuple(entry.id if entry is not None and entry.is_tree else None for entry in entries)
            if any(below) and len(set(below)) > 1:
                pending.append((path + "/", below, depth + 1))
    return dict(sorted(found.items()))


def _are_same(entries: Sequence[TreeEntry | None]) -> bool:
    first = entries[0]
    if first is None:
        return all(entry is None for entry in entries)
    return all(entry is not None and (entry.mode, entry.id) == (first.mode, first.id) for entry in entries[1:])
