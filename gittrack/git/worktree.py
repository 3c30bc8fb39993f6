"""The code as it stands: HEAD's tree with the work tree's changes put in, and nothing of the user's touched.

``git status`` says what differs; the files are read from disk as raw bytes, and only the folders on changed
paths are read from HEAD's tree. The repository's filters never run: they are switched off for that one
command. Likely secrets are never read. Format of the answer: git-status(1), "Porcelain Format Version 2".

Rejected: a temporary index with ``git add`` and ``git write-tree`` (runs filters, writes loose objects), and
``--ignore-submodules=none`` (starts git inside submodules, under filters that only their config names).
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gittrack.errors import DamagedError, NotFoundError, RepositoryError
from gittrack.git.command import find_git, git_argv, git_environment
from gittrack.git.objects import (
    BLOB,
    EXECUTABLE_MODE,
    FILE_MODE,
    GITLINK_MODE,
    LINK_MODE,
    TREE,
    TREE_MODE,
    ObjectId,
    ObjectSet,
    TreeEntry,
    hash_object,
    parse_tree,
)
from gittrack.git.reading import ObjectReader, read_blobs
from gittrack.git.refs import read_ref
from gittrack.git.repository import Repository, discover_repository

_UNTRACKED_BYTES_MAX, _UNTRACKED_BYTES_MAX_ALL, _UNTRACKED_FILES_MAX = 512 << 10, 16 << 20, 1000
_CHANGED_BYTES_MAX, _CHANGED_BYTES_MAX_ALL = 16 << 20, 256 << 20
_LFS_BYTES_MAX = 256 << 20  # hashed to see whether it changed: about half a second
_LEFT_OUT_NAMED_MAX = 100
_DEPTH_MAX = 100  # folders within folders: trees are built by recursion, and read to 128
_STATUS_WAIT_S = 30.0  # a work tree on a network that is away

_SOURCE_NAME = re.compile(
    r".*\.(?:py|pyi|pyx|pxd|ipynb|sh|bash|zsh|fish|ps1|bat|r|rmd|qmd|jl|m|c|cc|cpp|cxx|h|hh|hpp|cu|cuh|cl|f90|rs"
    r"|go|java|kt|scala|swift|js|jsx|ts|tsx|lua|pl|rb|sql|proto|yaml|yml|toml|json|jsonc|jsonnet|cfg|conf|ini|md"
    r"|rst|txt|tex|bib|html|css|cmake|mk|gin|j2|slurm|sbatch|tf|dockerfile)"
    r"|(?:make|docker|container|snake|jenkins|just|proc|pip|vagrant)file|mlproject|license|readme"
    r"|\.git(?:ignore|attributes)|\.dockerignore|\.env.*\.(?:example|sample|template)",
    re.DOTALL,
)
_NOT_OURS = re.compile(  # folders that tools fill
    r"node_modules|site-packages|__pycache__|\.ipynb_checkpoints|\.[tn]ox|\.(?:mypy|pytest|ruff)_cache"
    r"|mlruns|wandb|lightning_logs"
)
_SECRET_FOLDER = re.compile(r"\.(?:aws|ssh|gnupg|azure|kube|docker)|\.?secrets")
_SECRET_NAME = re.compile(
    r"\.env(?:rc|\..*)?|.*\.env|.*\.(?:pem|key|p8|p12|pfx|ppk|jks|keystore|kdbx)"
    r"|id_(?:rsa|dsa|ecdsa|ed25519).*|[._]netrc|\.(?:pypirc|npmrc|pgpass|git-credentials)|\.?htpasswd"
    r"|service[-_]?account.*\.json|kaggle\.json|token\.(?:json|txt)|credentials.*"
    r"|(?:.*[^a-z0-9])?(?:secrets?|credentials?)(?:[^a-z0-9].*)?",
    re.DOTALL,
)
_NO_SECRET_NAME = re.compile(r"\.env.*\.(?:example|sample|template)", re.DOTALL)
_PRIVATE_KEY = re.compile(rb"^[ \t]*-----BEGIN [A-Z0-9 ]*PRIVATE KEY", re.MULTILINE)

_SECTION = re.compile(rb'\s*\[\s*([-.\w]+)\s*(?:"((?:[^"\\]|\\.)*)")?\s*\]')
_SETTING = re.compile(rb"\s*([a-zA-Z][-a-zA-Z0-9]*)\s*(?:=\s*(.*?))?\s*$")
_VALUE_PART = re.compile(rb'"((?:[^"\\]|\\.)*)"?|((?:[^"#;\\]|\\.)+)|[#;].*')
_CONFIGS_FILTERS = re.compile(rb"\[\s*(?:filter|include)", re.IGNORECASE)
_SYSTEM_CONFIGS = ("/etc/gitconfig", "/usr/local/etc/gitconfig", "/opt/homebrew/etc/gitconfig")


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


class _Change(NamedTuple):
    """A tracked path that git reports: XY code, mode on disk, mode and id in HEAD, id in the index."""

    code: bytes
    mode: int
    head_mode: int
    head_id: ObjectId
    index_id: ObjectId
    path: bytes


@dataclass(slots=True)
class _Status:
    """What ``git status`` printed."""

    head: ObjectId | None = None
    branch: str | None = None
    changes: list[_Change] = field(default_factory=list)
    untracked: list[bytes] = field(default_factory=list)
    filters: list[bytes] = field(default_factory=list)  # that were switched off for it


class _Setting(NamedTuple):
    """One line of a git config: section and key in lower case."""

    section: str
    subsection: str
    key: str
    value: str


# One folder's edits: a name leads to a mode and an id, to None (removed), or to the edits below it.
_Edits = dict[bytes, "tuple[int, ObjectId] | _Edits | None"]


def read_code_state(repository: Repository) -> CodeState:
    """The code of a repository's work tree as it stands now; index, HEAD and files stay untouched.

    A file that cannot be read, or that git could not hold, keeps HEAD's entry.
    """
    settings = _parse_config(repository.read_config())
    top = _find_work_tree(repository, settings)
    status = _read_status(repository, top) if top else None
    remote_url = _find_remote_url(settings)
    if top is None or status is None:
        head, branch = _read_head(repository)
        tree = _read_head_tree(repository, head) if head and top else None
        return CodeState(head, branch, remote_url, False, tree, ObjectSet(), ())
    snapshot = _Snapshot(os.fsencode(top))
    tree, is_dirty = _take(repository, snapshot, status)
    is_dirty = is_dirty or _has_dirty_submodule(top)
    named = sorted(snapshot.left_out)[:_LEFT_OUT_NAMED_MAX]
    left_out = tuple(path.decode("utf-8", "replace") for path in named)
    return CodeState(status.head, status.branch, remote_url, is_dirty, tree, snapshot.objects, left_out)


def read_script_state(path: str) -> CodeState:
    """A script outside of any repository as the only code; ``tree`` is None where it can't be taken."""
    real = os.path.realpath(path)
    snapshot = _Snapshot(os.fsencode(os.path.dirname(real)))
    if not is_likely_secret(real):
        snapshot.add_untracked([os.fsencode(os.path.basename(real))])
    tree = _apply(None, None, snapshot.edits, snapshot.objects)
    left_out = tuple(name.decode("utf-8", "replace") for name in snapshot.left_out)
    return CodeState(None, None, None, False, tree, snapshot.objects, left_out)


def copy_tree(
    source: Repository, tree: ObjectId, objects: ObjectSet, target: Repository, known: ObjectId | None = None
) -> None:
    """Add to ``objects`` everything below ``tree`` that a commit in another repository must bring along.

    Each object is read from ``objects`` first, then from ``source``; commits of submodules are never carried.

    Args:
        known: a tree that is reachable in ``target``: what both have at the same place is not carried.

    Raises:
        NotFoundError: an object is in neither (a partial clone). DamagedError: one is not what its id says.
    """
    blobs: dict[ObjectId, None] = {}
    seen: set[ObjectId] = set()
    with ObjectReader(source) as reader, ObjectReader(target) as target_reader:
        pending: list[tuple[ObjectId, ObjectId | None]] = [(tree, known)]
        while pending:
            tree_id, known_id = pending.pop()
            if tree_id == known_id or tree_id in seen:
                continue
            seen.add(tree_id)
            there = _read_known(target_reader, known_id)
            for entry in parse_tree(_carry(reader, tree_id, TREE, objects), f"tree {tree_id}"):
                old = there.get(entry.name)
                if old is not None and old.id == entry.id:
                    continue
                if entry.is_tree:
                    pending.append((entry.id, old.id if old is not None and old.is_tree else None))
                elif entry.mode != GITLINK_MODE:
                    blobs[entry.id] = None
        _carry_blobs(source, reader, [blob for blob in blobs if blob not in objects], objects)


def is_likely_secret(path: str) -> bool:
    """Whether a path's name says that it holds keys or passwords."""
    *folders, name = path.split("/")
    if any(_SECRET_FOLDER.fullmatch(folder.lower()) for folder in folders):
        return True
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    if _NO_SECRET_NAME.fullmatch(name.lower()):
        return False
    return any(_SECRET_NAME.fullmatch(form.lower()) for form in {name, words})


def strip_credentials(url: str) -> str:
    """A URL without user, password, query and fragment; of ssh the user stays, since it is no secret."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, _ = authority.rpartition("@")
    if not at and "@" in rest and not re.fullmatch(r"[^:]*(?::\d*)?|\[.*", authority):
        user, at, _ = rest.rpartition("@")  # an unescaped '/' in the password
    rest = re.split(r"[?#]", rest[len(user) + len(at) :], maxsplit=1)[0]
    kept = user.partition(":")[0] + "@" if at and scheme.endswith("ssh") else ""
    return f"{scheme}://{kept}{rest}"


def _take(repository: Repository, snapshot: _Snapshot, status: _Status) -> tuple[ObjectId | None, bool]:
    """Fill the snapshot; returns the tree, and whether HEAD does not give this code."""
    if status.head and len(status.head) != 40:
        return None, bool(status.changes)  # SHA-256: named, not recorded
    if not status.changes and not status.untracked:
        return (_read_head_tree(repository, status.head) if status.head else None), False
    paths = [change.path for change in status.changes] + status.untracked
    snapshot.encrypted = _find_encrypted(repository, snapshot.top, status.filters, paths)
    snapshot.known = {change.head_id for change in status.changes}
    for change in status.changes:
        snapshot.add_change(change, has_lfs=b"lfs" in status.filters)
    snapshot.add_untracked(status.untracked)
    base = None
    try:
        with ObjectReader(repository) as reader:
            base = reader.read_commit(status.head).tree if status.head else None
            tree = _apply(reader, base, snapshot.edits, snapshot.objects)
    except (
        NotFoundError,
        DamagedError,
    ):  # a partial clone, or damage: what can be named is better than nothing
        snapshot.objects = ObjectSet()
        snapshot.left_out = paths
        return base, True
    return tree, tree != base or bool(snapshot.left_out)


class _Snapshot:
    """The edits that lead from HEAD's tree to the files on disk; grows file by file."""

    def __init__(self, top: bytes) -> None:
        self.top = top
        self.edits: _Edits = {}
        self.objects = ObjectSet()
        self.left_out: list[bytes] = []
        self.known: Collection[ObjectId] = ()  # blobs that HEAD has
        self.encrypted: Collection[bytes] = ()  # paths that git stores encrypted
        self._folders = {b"": True}
        self._changed_bytes = 0

    def add_change(self, change: _Change, *, has_lfs: bool) -> None:
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
        elif self._is_hidden(path) or _is_unfit(path, info):
            self.left_out.append(path)
        elif not (has_lfs and _is_lfs_content(self._full(path), info, change.head_id)):
            self._add_changed_file(change, info)

    def add_untracked(self, paths: Iterable[bytes]) -> None:
        """Take the untracked files that are source, small, few and no secrets; in order of path."""
        count = total = 0
        for path in _keep_source(paths):
            info = None if self._is_hidden(path) else self._find(path)
            if info is None or not _is_file_or_link(info):
                continue
            fits = count < _UNTRACKED_FILES_MAX and total + info.st_size <= _UNTRACKED_BYTES_MAX_ALL
            data = _read_file(self._full(path), info, _UNTRACKED_BYTES_MAX) if fits else None
            if data is None or _is_unfit(path, info):
                self.left_out.append(path)
            elif not _PRIVATE_KEY.search(data):
                count, total = count + 1, total + len(data)
                self._edit(path, (_disk_mode(info), self.objects.add_blob(data)))

    def _add_changed_file(self, change: _Change, info: os.stat_result) -> None:
        limit = min(_CHANGED_BYTES_MAX, _CHANGED_BYTES_MAX_ALL - self._changed_bytes)
        data = _read_file(self._full(change.path), info, limit)
        if data is None or (change.head_mode == 0 and _PRIVATE_KEY.search(data)):
            self.left_out.append(change.path)
            return
        mode = _disk_mode(info)
        if mode != LINK_MODE and change.mode in (FILE_MODE, EXECUTABLE_MODE):
            mode = change.mode  # git knows whether this disk's executable bit means anything
        object_id = hash_object(BLOB, data)
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


def _apply(
    reader: ObjectReader | None, tree: ObjectId | None, edits: _Edits, objects: ObjectSet
) -> ObjectId | None:
    """A tree with edits put in: the same id where they change nothing, None where nothing is left."""
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


def _keep_source(paths: Iterable[bytes]) -> Iterator[bytes]:
    """The paths that look like somebody's source, sorted."""
    ordered = sorted(paths)
    installed = tuple(path[: -len(b"pyvenv.cfg")] for path in ordered if path.endswith(b"/pyvenv.cfg"))
    for path in ordered:
        *folders, name = path.decode("utf-8", "replace").lower().split("/")
        is_source = _SOURCE_NAME.fullmatch(name) and not path.startswith(installed)
        if is_source and not any(_NOT_OURS.fullmatch(folder) for folder in folders):
            yield path


def _is_unfit(path: bytes, info: os.stat_result) -> bool:
    """Whether git would refuse this name in a tree: one that some system takes for ``.git`` (git-fsck(1))."""
    parts = path.decode("utf-8", "replace").split("/")
    if stat.S_ISLNK(info.st_mode) and parts[-1].lower().startswith(".git"):
        return True
    for part in parts:
        plain = (
            "".join(char for char in part if unicodedata.category(char) != "Cf") if not part.isascii() else part
        )
        if re.split(r"[:\\]", plain)[0].rstrip(" .").lower() in (".git", "git~1"):
            return True
    return False


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
    return hash_object(BLOB, pointer.encode()) == head_id


def _read_status(repository: Repository, top: str) -> _Status | None:
    """What git says of the work tree; None where there is no git, or it fails."""
    if not find_git():
        return None
    argv = git_argv(repository.git_dir, f"--work-tree={top}", "status", "--porcelain=v2", "-z", "--branch")
    argv += ["--no-ahead-behind", "--untracked-files=all", "--no-renames", "--ignore-submodules=dirty"]
    try:
        filters = _find_filters(repository)
        extra = _switched_off(filters) | {"GIT_NO_LAZY_FETCH": "1"}
        status = _parse_status(_run(argv, top, extra=extra))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    status.filters = filters
    return status


def _run(argv: list[str], top: str | bytes, extra: dict[str, str], stdin: bytes = b"") -> bytes:
    environment = git_environment(extra)
    done = subprocess.run(
        argv,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=top,
        env=environment,
        timeout=_STATUS_WAIT_S,
        check=True,
    )
    return done.stdout


def _parse_status(output: bytes) -> _Status:
    status = _Status()
    for line in output.split(b"\0"):
        kind = line[:2]
        if kind == b"? ":
            if not line.endswith(b"/"):  # a folder is a repository of its own
                status.untracked.append(line[2:])
        elif kind == b"1 ":
            _, code, _, head_mode, _, mode, head_id, index_id, path = line.split(b" ", 8)
            status.changes.append(_change(code, mode, head_mode, head_id, index_id, path))
        elif kind == b"u ":
            _, _, _, _, head_mode, _, mode, _, head_id, _, path = line.split(b" ", 10)
            status.changes.append(_change(b"U", mode, head_mode, head_id, head_id, path))
        elif line.startswith(b"# branch.oid ") and not line.endswith(b"(initial)"):
            status.head = ObjectId(line[13:].decode("ascii"))
        elif line.startswith(b"# branch.head ") and not line.endswith(b" (detached)"):
            status.branch = line[14:].decode("utf-8", "replace")
    return status


def _change(code: bytes, mode: bytes, head_mode: bytes, head_id: bytes, index_id: bytes, path: bytes) -> _Change:
    ids = ObjectId(head_id.decode("ascii")), ObjectId(index_id.decode("ascii"))
    return _Change(code, int(mode, 8), int(head_mode, 8), *ids, path)


def _find_filters(repository: Repository) -> list[bytes]:
    """Names of the filters that the repository or the user configures; git is asked only if any may be."""
    paths = [os.path.join(repository.git_dir, "config.worktree"), *_user_configs()]
    configs = [repository.read_config(), *(_read_small_file(path) for path in paths)]
    if not any(_CONFIGS_FILTERS.search(config) for config in configs):
        return []
    argv = git_argv(
        repository.git_dir, "config", "--includes", "--null", "--name-only", "--get-regexp", r"^filter\."
    )
    try:
        keys = _run(argv, repository.git_dir, extra={}).split(b"\0")
    except subprocess.CalledProcessError as error:
        if error.returncode == 1:  # no such key
            return []
        raise
    return sorted({key[len(b"filter.") : key.rindex(b".")] for key in keys if key.count(b".") > 1})


def _user_configs() -> list[str]:
    if "GIT_CONFIG_GLOBAL" in os.environ:
        users = [os.environ["GIT_CONFIG_GLOBAL"]]
    else:
        folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        users = [
            os.path.expanduser("~/.gitconfig"),
            os.path.join(os.path.expanduser(folder), "git", "config"),
        ]
    return [*users, *_SYSTEM_CONFIGS]


def _switched_off(filters: Iterable[bytes]) -> dict[str, str]:
    """The environment (git 2.31) in which git runs none of these filters; ``-c`` can't name one with '='."""
    environment: dict[str, str] = {}
    count = 0
    for name in filters:
        for key, value in (("clean", ""), ("process", ""), ("smudge", ""), ("required", "false")):
            environment[f"GIT_CONFIG_KEY_{count}"] = f"filter.{os.fsdecode(name)}.{key}"
            environment[f"GIT_CONFIG_VALUE_{count}"] = value
            count += 1
    return environment | {"GIT_CONFIG_COUNT": str(count)}


def _find_encrypted(
    repository: Repository, top: bytes, filters: Iterable[bytes], paths: Iterable[bytes]
) -> Collection[bytes]:
    """The paths that git-crypt and its like keep encrypted in git: plain on disk, so never to be recorded."""
    if not any(b"crypt" in name for name in filters):
        return ()
    work_tree = f"--work-tree={os.fsdecode(top)}"
    argv = git_argv(repository.git_dir, work_tree, "check-attr", "-z", "--stdin", "filter")
    wanted = list(paths)
    try:
        words = _run(argv, top, extra={}, stdin=b"".join(path + b"\0" for path in wanted)).split(b"\0")
    except (OSError, subprocess.SubprocessError):
        return wanted
    return {path for path, value in zip(words[::3], words[2::3], strict=False) if b"crypt" in value}


def _read_submodule_head(top: bytes, path: bytes) -> ObjectId | None:
    submodule = _find_submodule(os.fsdecode(top), os.fsdecode(path))
    return _read_head(submodule)[0] if submodule else None


def _has_dirty_submodule(top: str) -> bool:
    """Whether a submodule, or one of its own, has changes that no commit holds."""
    paths = [
        setting.value
        for setting in _parse_config(_read_small_file(os.path.join(top, ".gitmodules")))
        if setting.section == "submodule" and setting.key == "path"
    ]
    for submodule in filter(None, (_find_submodule(top, path) for path in paths)):
        inside = submodule.work_tree or ""
        status = _read_status(submodule, inside)
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


def _read_head(repository: Repository) -> tuple[ObjectId | None, str | None]:
    """The commit and the branch that HEAD names, read from the files."""
    content = _read_small_file(os.path.join(repository.git_dir, "HEAD")).strip()
    if not content.startswith(b"ref:"):
        return (ObjectId(content.decode("ascii", "replace")) if len(content) == 40 else None), None
    name = content[4:].strip().decode("utf-8", "surrogateescape")
    branch = name.removeprefix("refs/heads/").encode(errors="replace").decode()
    try:
        return read_ref(repository, name), branch
    except UnicodeError:  # a packed branch whose name is not UTF-8
        return None, branch


def _read_head_tree(repository: Repository, head: ObjectId) -> ObjectId | None:
    try:
        with ObjectReader(repository) as reader:
            return reader.read_commit(head).tree
    except (NotFoundError, DamagedError):
        return None


def _find_work_tree(repository: Repository, settings: list[_Setting]) -> str | None:
    """Top of the files; a config may move it, or say that there are none, except for linked work trees."""
    if repository.git_dir != repository.common_dir:
        return repository.work_tree
    path = os.path.join(repository.git_dir, "config.worktree")
    core = {item.key: item.value for item in settings if item.section == "core"}
    core |= {item.key: item.value for item in _parse_config(_read_small_file(path)) if item.section == "core"}
    if core.get("worktree"):
        moved = os.path.realpath(os.path.join(repository.git_dir, core["worktree"]))
        return moved if os.path.isdir(moved) else None
    return None if core.get("bare", "").lower() in ("true", "yes", "on", "1") else repository.work_tree


def _find_remote_url(settings: list[_Setting]) -> str | None:
    urls: dict[str, str] = {}
    for item in settings:
        if item.section == "remote" and item.key == "url":
            urls.setdefault(item.subsection, item.value)
    url = urls.get("origin") or next(iter(urls.values()), None)
    return strip_credentials(url) if url else None


def _parse_config(raw: bytes) -> list[_Setting]:
    """The settings of one git config file, in order; includes are not followed (git-config(1), "Syntax")."""
    settings: list[_Setting] = []
    section = subsection = ""
    for line in re.sub(rb"\\\r?\n", b"", raw).splitlines():
        header = _SECTION.match(line)
        if header:
            section, subsection = os.fsdecode(header[1]).lower(), _unescape(header[2] or b"")
            line = line[header.end() :]
        found = _SETTING.match(line)
        if found:
            key = os.fsdecode(found[1]).lower()
            settings.append(_Setting(section, subsection, key, _parse_value(found[2])))
    return settings


def _parse_value(raw: bytes | None) -> str:
    if raw is None:
        return "true"
    parts = [_unescape(part[1] or part[2] or b"") for part in _VALUE_PART.finditer(raw)]
    return "".join(parts).rstrip()


def _unescape(raw: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\(.)", rb"\1", raw))


def _read_small_file(path: str) -> bytes:
    try:
        if not os.path.isfile(path):  # opening a FIFO would wait
            return b""
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""


def _read_known(reader: ObjectReader, tree: ObjectId | None) -> dict[bytes, TreeEntry]:
    if tree is None:
        return {}
    try:
        return {entry.name: entry for entry in reader.read_tree(tree)}
    except (NotFoundError, DamagedError):
        return {}  # then nothing counts as there


def _carry(reader: ObjectReader, object_id: ObjectId, kind: int, objects: ObjectSet) -> bytes:
    data = objects.get(object_id)
    if data is None:
        found, data = reader.read(object_id)
        if found != kind:
            raise DamagedError(f"object {object_id}", "it is of another kind than its place says")
        _add_exactly(object_id, kind, data, objects)
    return data


def _carry_blobs(source: Repository, reader: ObjectReader, wanted: list[ObjectId], objects: ObjectSet) -> None:
    """Through git's stream, 20 times as fast; what it does not give (missing, or large) by the reader."""
    for object_id, data in zip(wanted, read_blobs(source, wanted), strict=True):
        if data is None:
            _carry(reader, object_id, BLOB, objects)
        else:
            _add_exactly(object_id, BLOB, data, objects)


def _add_exactly(object_id: ObjectId, kind: int, data: bytes, objects: ObjectSet) -> None:
    if objects.add(kind, data) != object_id:
        raise DamagedError(f"object {object_id}", "its bytes are not what its id says")
