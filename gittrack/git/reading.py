"""Reading objects one at a time, through dulwich; git is asked for what dulwich cannot read.

For thousands at once see `bulk`. Sizes are capped: a small pack can hold a bomb.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from gittrack.errors import DamagedError, NotFoundError
from gittrack.git.alternates import open_store
from gittrack.git.asking import AskedGit, too_large
from gittrack.git.objects import (
    COMMIT,
    GITLINK_MODE,
    TREE,
    Commit,
    ObjectId,
    ObjectSet,
    TreeEntry,
    has_id,
    parse_commit,
    parse_tree,
)
from gittrack.git.packs import is_packed
from gittrack.git.promised import bring_missing, is_partial
from gittrack.git.repository import Repository
from gittrack.git.sizes import is_larger

DEPTH_MAX = 128  # folders within folders
_PATHS_MAX = 500_000
_TREES_KEPT = 4
PARSED_BYTES_MAX = 16 << 20  # a file that is parsed, or a commit; a record is some kilobytes

_Names = dict[bytes, TreeEntry]


class ObjectReader:
    """Objects of one repository by id; keep one for many reads, and use it in one thread."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._store = open_store(repository.objects_dir, repository.object_format)
        self._trees: dict[ObjectId, list[TreeEntry]] = {}  # the last few
        self._asked = AskedGit(repository)
        self._brought: set[ObjectId] = set()
        self._way_from: ObjectId | None = None
        self._way: list[tuple[bytes, _Names]] = []  # from that tree to the last path: folders, and what they hold

    def close(self) -> None:
        self._asked.close()
        self._store.close()

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __contains__(self, object_id: ObjectId) -> bool:
        loose = os.path.join(self._repository.objects_dir, object_id[:2], object_id[2:])
        if os.path.isfile(loose) or is_packed(self._repository, object_id):
            return True
        try:  # in an alternate, or a kind of index that only dulwich knows
            return object_id.encode() in self._store  # type: ignore[operator]
        except Exception:  # damaged packs raise seven kinds of error
            return False

    def read(self, object_id: ObjectId, limit: int | None = None) -> tuple[int, bytes]:
        """The kind and the bytes of an object, of not more than ``limit`` bytes.

        One damaged pack, or an index of several, can keep dulwich from what others hold: then git is asked.

        Raises:
            NotFoundError: it is not there. DamagedError: it is, and cannot be read, or is too large.
        """
        try:
            is_bomb = limit is not None and is_larger(self._store, self._repository.objects_dir, object_id, limit)
            kind, data = (0, b"") if is_bomb else self._store.get_raw(object_id.encode())  # type: ignore[arg-type]
        except KeyError as error:
            if self.bring([object_id]):
                return self.read(object_id, limit)
            found = self._asked.read(object_id, limit) if self._may_be_hidden(object_id) else None
            if found is None:
                raise NotFoundError(
                    f"object {object_id} is not in {self._repository.label}", "fetch it: git fetch"
                ) from error
            return found
        except Exception as error:  # zlib.error, ChecksumMismatch, AssertionError and four more: all are damage
            found = self._asked.read(object_id, limit)
            if found is None:
                raise DamagedError(f"object {object_id}", f"it cannot be read ({error!r})") from error
            return found
        if is_bomb:
            raise too_large(object_id, limit)
        if has_id(object_id, kind, data):  # dulwich takes a loose object that was cut for whole
            return kind, data
        found = self._asked.read(object_id, limit)
        if found is None:
            raise DamagedError(f"object {object_id}", "its bytes are not what its id says")
        return found

    def bring(self, wanted: Iterable[ObjectId]) -> bool:
        """Fetch what a partial clone lacks of some objects, at once; whether anything came.

        What is read without that is fetched one by one.

        Raises:
            RemoteError: the remote that has them cannot be reached.
        """
        if not is_partial(self._repository):
            return False
        asked = [object_id for object_id in wanted if object_id not in self._brought]
        self._brought.update(asked)  # what the remote lacks too is asked for once
        return bring_missing(self._repository, asked) > 0

    def _may_be_hidden(self, object_id: ObjectId) -> bool:
        """Whether what dulwich does not find may be in a pack that it passes over, its index being unreadable."""
        digest = bytes.fromhex(object_id)
        stores: list[Any] = [self._store, *self._store.alternates]
        try:
            for pack in (pack for store in stores for pack in store.packs):
                with suppress(KeyError):
                    pack.index.object_offset(digest)
                    return True
        except Exception:  # as in `read`
            return True
        return False

    def read_kind(self, object_id: ObjectId, kind: int) -> bytes:
        """The bytes of an object that must be of a kind, and not larger than `PARSED_BYTES_MAX`."""
        found, data = self.read(object_id, PARSED_BYTES_MAX)
        if found != kind:
            raise DamagedError(f"object {object_id}", "it is of another kind than its place says")
        return data

    def read_commit(self, object_id: ObjectId) -> Commit:
        return parse_commit(object_id, self.read_kind(object_id, COMMIT))

    def read_tree(self, object_id: ObjectId) -> list[TreeEntry]:
        entries = self._trees.get(object_id)
        if entries is None:
            entries = parse_tree(object_id, self.read_kind(object_id, TREE))
            if len(self._trees) == _TREES_KEPT:
                del self._trees[next(iter(self._trees))]
            self._trees[object_id] = entries
        return entries

    def find_path(self, tree: ObjectId, path: str) -> TreeEntry | None:
        """The entry at a path below a tree, '/' between the parts, or None.

        The folders of the last path stay open: all paths of a tree, sorted, cost each of its folders one reading.
        """
        *folders, name = path.encode("utf-8", "surrogateescape").split(b"/")
        names = self._open_folder(tree, folders)
        return None if names is None else names.get(name)

    def _open_folder(self, tree: ObjectId, folders: list[bytes]) -> _Names | None:
        """What a folder below a tree holds; None where there is none."""
        if self._way_from != tree:
            self._way = [(b"", self._read_names(tree))]
            self._way_from = tree
        kept = 1
        while kept < len(self._way) and kept <= len(folders) and self._way[kept][0] == folders[kept - 1]:
            kept += 1
        del self._way[kept:]
        for part in folders[kept - 1 :]:
            entry = self._way[-1][1].get(part)
            if entry is None or not entry.is_tree:
                return None
            names = self._read_names(entry.id)
            if len(names) + sum(len(above) for _, above in self._way) > _PATHS_MAX:
                raise DamagedError(f"tree {tree}", f"it holds more than {_PATHS_MAX} paths")
            self._way.append((part, names))
        return self._way[-1][1]

    def _read_names(self, tree: ObjectId) -> _Names:
        return {entry.name: entry for entry in reversed(self.read_tree(tree))}  # of one name the first counts

    def find_damage(self, tree: ObjectId, made: ObjectSet) -> ObjectId | None:
        """An object at or below a tree that is there and damaged, or None; what ``made`` holds is whole.

        Of files only that is looked at which a power cut leaves of what git does not sync: an empty loose object.
        What is not there at all may be promised (a partial clone).
        """
        seen, pending = {tree}, [tree]
        while pending:
            tree_id = pending.pop()
            data = made.get(tree_id)
            try:
                entries = self.read_tree(tree_id) if data is None else parse_tree(tree_id, data)
            except NotFoundError:
                continue
            except DamagedError:
                return tree_id
            for entry in entries:
                if entry.id in seen or entry.mode == GITLINK_MODE:
                    continue
                seen.add(entry.id)
                if entry.is_tree:
                    pending.append(entry.id)
                elif entry.id not in made and self._is_emptied(entry.id):
                    return entry.id
        return None

    def _is_emptied(self, object_id: ObjectId) -> bool:
        try:
            size = os.stat(os.path.join(self._repository.objects_dir, object_id[:2], object_id[2:])).st_size
        except OSError:
            return False
        return size == 0 and not is_packed(self._repository, object_id)

    def walk_tree(self, tree: ObjectId, below: str = "") -> Iterator[tuple[str, TreeEntry]]:
        """Every entry that is no folder, with its path; in git's order. Names are decoded with surrogateescape."""
        pending, known, count = [(below, tree, 0)], dict[ObjectId, list[TreeEntry]](), 0
        while pending:
            prefix, tree_id, depth = pending.pop()
            if depth > DEPTH_MAX:
                raise DamagedError(f"tree {tree}", f"its folders nest deeper than {DEPTH_MAX}")
            if tree_id not in known:  # eleven trees can make ten thousand million paths
                known[tree_id] = self.read_tree(tree_id)
            folders = []
            for entry in known[tree_id]:
                count += 1
                if count > _PATHS_MAX:
                    raise DamagedError(f"tree {tree}", f"it holds more than {_PATHS_MAX} paths")
                path = prefix + entry.name.decode("utf-8", "surrogateescape")
                if entry.is_tree:
                    folders.append((path + "/", entry.id, depth + 1))
                else:
                    yield path, entry
            pending.extend(reversed(folders))
