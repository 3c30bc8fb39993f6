"""The code as it stands: HEAD's tree with the work tree's changes put in, and nothing of the user's touched.

`status` says what differs; the files are read from disk as raw bytes, and only the folders on changed
paths are read from HEAD's tree. The repository's filters never run, and likely secrets are never read.

Rejected: a temporary index with ``git add`` and ``git write-tree`` (runs filters, writes loose objects), and
``--ignore-submodules=none`` (starts git inside submodules, under filters that only their config names).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from gittrack.errors import DamagedError, NotFoundError, RepositoryError
from gittrack.git.config import find_remote_url, parse_settings, read_settings
from gittrack.git.filters import find_encrypted
from gittrack.git.head import HeadReader
from gittrack.git.objects import (
    BLOB,
    EXECUTABLE_MODE,
    FILE_MODE,
    GITLINK_MODE,
    LINK_MODE,
    TREE_MODE,
    ObjectFormat,
    ObjectId,
    ObjectSet,
    TreeEntry,
    has_id,
    hash_object,
)
from gittrack.git.refs import read_head
from gittrack.git.repository import Repository, discover_repository
from gittrack.git.source_files import has_private_key, is_likely_secret, is_unfit, keep_source
from gittrack.git.status import Change, Status, StatusQuestion, read_status

_UNTRACKED_BYTES_MAX, _UNTRACKED_BYTES_MAX_ALL, _UNTRACKED_FILES_MAX = 512 << 10, 16 << 20, 1000
_CHANGED_BYTES_MAX, _CHANGED_BYTES_MAX_ALL = 16 << 20, 256 << 20
_LFS_BYTES_MAX = 256 << 20  # hashed to see whether it changed: about half a second
_LEFT_OUT_NAMED_MAX = 100
_DEPTH_MAX = 100  # folders within folders: trees are built by recursion, and read to 128


@dataclass(frozen=True, slots=True)
class CodeState:
    """The code that runs, and where it stands in git.

    Attributes:
        head: the commit that is checked out; None where there is none.
        branch: its short name; None when detached.
        remote_url: of ``origin``, else of the first remote; without credentials.
        dirty: checking out ``head`` would not give this code: tracked files differ, or source is untracked.
            Without a git program, or when ``git status`` fails, nobody knows: then False, and HEAD's ``tree``.
        tree: what to record as the run's ``code/``; None where there are no files.
        objects: the blobs and trees that ``tree`` needs beyond HEAD's.
        left_out: at most 100 paths of source that ``tree`` does not show as it stands: too large, too many,
            unreadable, or a tracked file that is a likely secret.
    """

    head: ObjectId | None
    branch: str | None
    remote_url: str | None
    dirty: bool
    tree: ObjectId | None
    objects: ObjectSet
    left_out: tuple[str, ...]


# One folder's edits: a name leads to a mode and an id, to None (removed), or to the edits below it.
_Edits = dict[bytes, "tuple[int, ObjectId] | _Edits | None"]


class CodeReading:
    """The code of a repository's work tree, being read: git looks at it while the caller does other things."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._question = StatusQuestion(repository, repository.work_tree) if repository.work_tree else None

    def __enter__(self) -> CodeReading:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._question is not None:
            self._question.__exit__()

    def finish(self) -> CodeState:
        """The code as it stands; index, HEAD and files stay untouched.

        A file that cannot be read, or that git could not hold, keeps HEAD's entry.
        """
        repository, top = self._repository, self._repository.work_tree
        status = self._question.read_answer() if self._question is not None else None
        remote_url = find_remote_url(parse_settings(repository.read_config()))
        if top is None or status is None:
            head, branch = read_head(repository)
            tree = _find_head_tree(repository, head) if head and top else None
            return CodeState(head, branch, remote_url, False, tree, ObjectSet(repository.object_format), ())
        snapshot = _Snapshot(os.fsencode(top), repository.object_format)
        tree, is_dirty = _take(repository, snapshot, status)
        is_dirty = is_dirty or _has_dirty_submodule(top)
        named = sorted(snapshot.left_out)[:_LEFT_OUT_NAMED_MAX]
        left_out = tuple(path.decode("utf-8", "replace") for path in named)
        return CodeState(status.head, status.branch, remote_url, is_dirty, tree, snapshot.objects, left_out)


def read_code_state(repository: Repository) -> CodeState:
    """The code of a repository's work tree as it stands now; see `CodeReading.finish`."""
    with CodeReading(repository) as reading:
        return reading.finish()


def read_script_state(path: str) -> CodeState:
    """A script outside of any repository as the only code; ``tree`` is None where it can't be taken."""
    real = os.path.realpath(path)
    snapshot = _Snapshot(os.fsencode(os.path.dirname(real)), "sha1")
    if not is_likely_secret(real):
        snapshot.add_untracked([os.fsencode(os.path.basename(real))])
    tree = _apply(None, None, snapshot.edits, snapshot.objects)
    left_out = tuple(name.decode("utf-8", "replace") for name in snapshot.left_out)
    return CodeState(None, None, None, False, tree, snapshot.objects, left_out)


def _take(repository: Repository, snapshot: _Snapshot, status: Status) -> tuple[ObjectId | None, bool]:
    """Fill the snapshot; returns the tree, and whether HEAD does not give this code."""
    if not status.changes and not status.untracked:
        return (_find_head_tree(repository, status.head) if status.head else None), False
    paths = [change.path for change in status.changes] + status.untracked
    snapshot.encrypted = find_encrypted(repository, snapshot.top, status.filters, paths)
    snapshot.known = {change.head_id for change in status.changes}
    for change in status.changes:
        snapshot.add_change(change, has_lfs="lfs" in status.filters)
    snapshot.add_untracked(status.untracked)
    base = None
    try:
        with HeadReader(repository) as reader:
            base = reader.read_commit_tree(status.head) if status.head else None
            tree = _apply(reader, base, snapshot.edits, snapshot.objects)
    except (NotFoundError, DamagedError):  # a partial clone, or damage: what can be named is better than nothing
        snapshot.objects = ObjectSet(repository.object_format)
        snapshot.left_out = paths
        return base, True
    return tree, tree != base or bool(snapshot.left_out)


class _Snapshot:
    """The edits that lead from HEAD's tree to the files on disk; grows file by file."""

    def __init__(self, top: bytes, object_format: ObjectFormat) -> None:
        self.top = top
        self.edits: _Edits = {}
        self.objects = ObjectSet(object_format)
        self.left_out: list[bytes] = []
        self.known: Collection[ObjectId] = ()  # blobs that HEAD has
        self.encrypted: Collection[bytes] = ()  # paths that git stores encrypted
        self._folders = {b"": True}
        self._changed_bytes = 0

    def add_change(self, change: Change, *, has_lfs: bool) -> None:
        """Take a tracked path as it lies on disk."""
        path = change.path
        info = self._find(path)
        if change.code.startswith(b"D"):
            self._edit(path, None)  # out of the index: what still lies there is untracked
        elif change.mode == GITLINK_MODE:
            self._edit(path, (GITLINK_MODE, _read_submodule_head(self.top, path) or change.index_id))
        elif info is None or not _is_file_or_link(info):
            # what git does not call deleted is only not checked out (sparse), and stays as HEAD has it
            if info is not None or b"D" in change.code or b"U" in change.code:
                self._edit(path, None)
        elif self._is_hidden(path) or is_unfit(path, is_link=stat.S_ISLNK(info.st_mode)):
            self.left_out.append(path)
        elif not (has_lfs and _is_lfs_content(self._full(path), info, change.head_id)):
            self._add_changed_file(change, info)

    def add_untracked(self, paths: Iterable[bytes]) -> None:
        """Take the untracked files that are source, small, few and no secrets; in order of path."""
        count = total = 0
        for path in keep_source(paths):
            info = None if self._is_hidden(path) else self._find(path)
            if info is None or not _is_file_or_link(info):
                continue
            fits = count < _UNTRACKED_FILES_MAX and total + info.st_size <= _UNTRACKED_BYTES_MAX_ALL
            data = _read_file(self._full(path), info, _UNTRACKED_BYTES_MAX) if fits else None
            if data is None or is_unfit(path, is_link=stat.S_ISLNK(info.st_mode)):
                self.left_out.append(path)
            elif not has_private_key(data):
                count, total = count + 1, total + len(data)
                self._edit(path, (_disk_mode(info), self.objects.add_blob(data)))

    def _add_changed_file(self, change: Change, info: os.stat_result) -> None:
        limit = min(_CHANGED_BYTES_MAX, _CHANGED_BYTES_MAX_ALL - self._changed_bytes)
        data = _read_file(self._full(change.path), info, limit)
        if data is None or (change.head_mode == 0 and has_private_key(data)):
            self.left_out.append(change.path)
            return
        mode = _disk_mode(info)
        if mode != LINK_MODE and change.mode in (FILE_MODE, EXECUTABLE_MODE):
            mode = change.mode  # git knows whether this disk's executable bit means anything
        object_id = hash_object(BLOB, data, self.objects.object_format)
        if object_id not in self.known:
            self._changed_bytes += len(data)
            self.objects.add_blob(data)
        self._edit(change.path, (mode, object_id))

    def _is_hidden(self, path: bytes) -> bool:
        return path in self.encrypted or is_likely_secret(path.decode("utf-8", "replace"))

    def _edit(self, path: bytes, entry: tuple[int, ObjectId] | None) -> None:
        *folders, name = path.split(b"/")
        edits = self.edits
        for folder in folders:
            below = edits.get(folder)
            if isinstance(below, tuple):
                return  # a file lies there now; this only says what is gone below it
            if below is None:
                below = edits[folder] = {}
            edits = below
        if entry is not None or name not in edits:
            edits[name] = entry

    def _full(self, path: bytes) -> bytes:
        return os.path.join(self.top, path)

    def _find(self, path: bytes) -> os.stat_result | None:
        """What lies at a path, itself a link or not; None where nothing does, or only through a link."""
        if path.count(b"/") > _DEPTH_MAX or not self._is_inside(os.path.dirname(path)):
            return None
        return _lstat(self._full(path))

    def _is_inside(self, folder: bytes) -> bool:
        if folder not in self._folders:
            info = _lstat(self._full(folder)) if self._is_inside(os.path.dirname(folder)) else None
            self._folders[folder] = info is not None and stat.S_ISDIR(info.st_mode)
        return self._folders[folder]


def _apply(reader: HeadReader | None, tree: ObjectId | None, edits: _Edits, objects: ObjectSet) -> ObjectId | None:
    """A tree with edits put in: the same id where they change nothing, None where nothing is left."""
    if not edits:
        return tree
    before = {entry.name: entry for entry in reader.read_tree(tree)} if reader and tree else {}
    after = dict(before)
    for name, edit in edits.items():
        if isinstance(edit, dict):
            old = before.get(name)
            below = _apply(reader, old.id if old is not None and old.is_tree else None, edit, objects)
            edit = (TREE_MODE, below) if below else None
        if edit is None:
            after.pop(name, None)
        else:
            after[name] = TreeEntry(edit[0], name, edit[1])
    if after == before:
        return tree
    return objects.add_tree(after.values()) if after else None


def _is_file_or_link(info: os.stat_result) -> bool:
    return stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode)


def _disk_mode(info: os.stat_result) -> int:
    if stat.S_ISLNK(info.st_mode):
        return LINK_MODE
    return EXECUTABLE_MODE if info.st_mode & stat.S_IXUSR else FILE_MODE


def _lstat(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _open_file(path: bytes) -> int:
    """Open what `os.lstat` called a regular file; should it be another now, never wait and follow no link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path!r} is no regular file any more")
    return descriptor


def _read_file(path: bytes, info: os.stat_result, limit: int) -> bytes | None:
    """A file's bytes, or a link's target; None where it is larger than the limit or cannot be read."""
    if info.st_size > limit:
        return None
    try:
        if stat.S_ISLNK(info.st_mode):
            return os.readlink(path)
        with open(_open_file(path), "rb") as file:
            data = file.read(limit + 1)
    except OSError:
        return None
    return data if len(data) <= limit else None


def _is_lfs_content(path: bytes, info: os.stat_result, head_id: ObjectId) -> bool:
    """Whether a file is what HEAD's Git LFS pointer names: unchanged, unseen by git without filter."""
    if not stat.S_ISREG(info.st_mode) or info.st_size > _LFS_BYTES_MAX:
        return False
    try:
        with open(_open_file(path), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return False
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {info.st_size}\n"
    return has_id(head_id, BLOB, pointer.encode())


def _read_submodule_head(top: bytes, path: bytes) -> ObjectId | None:
    submodule = _find_submodule(os.fsdecode(top), os.fsdecode(path))
    return read_head(submodule)[0] if submodule else None


def _has_dirty_submodule(top: str) -> bool:
    """Whether a submodule, or one of its own, has changes that no commit holds."""
    paths = [
        setting.value
        for setting in read_settings(os.path.join(top, ".gitmodules"))
        if setting.section == "submodule" and setting.key == "path"
    ]
    for submodule in filter(None, (_find_submodule(top, path) for path in paths)):
        inside = submodule.work_tree or ""
        status = read_status(submodule, inside)
        if status is not None and (status.changes or _has_dirty_submodule(inside)):
            return True
    return False


def _find_submodule(top: str, path: str) -> Repository | None:
    """The repository that lies at a path below a work tree, not around it."""
    full = os.path.join(os.path.realpath(top), path)
    if os.path.realpath(full) != full or not full.startswith(os.path.realpath(top) + "/"):
        return None
    try:
        found = discover_repository(full) if os.path.lexists(os.path.join(full, ".git")) else None
    except RepositoryError:
        return None
    return found if found and found.work_tree == full else None


def _find_head_tree(repository: Repository, head: ObjectId) -> ObjectId | None:
    try:
        with HeadReader(repository) as reader:
            return reader.read_commit_tree(head)
    except (NotFoundError, DamagedError):
        return None
