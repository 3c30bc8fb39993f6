"""Where a repository is and what it supports: found without dulwich and without running git.

Knows the four shapes that git has: ``.git`` folder, ``.git`` file (linked work tree, submodule,
separate git dir), bare. `gitrepository-layout(5)` is the source.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from gittrack.errors import RepositoryError
from gittrack.git.config import read_core_settings, read_extensions
from gittrack.git.objects import ObjectFormat

# The extensions of the storage format that we know to write beside: git's repository-version.txt
_KNOWN_EXTENSIONS = frozenset(
    (
        *("noop", "noop-v1", "objectformat", "partialclone", "preciousobjects", "refstorage"),
        *("relativeworktrees", "worktreeconfig"),
    )
)
_POINTER_BYTES_MAX = 4096  # a .git file or commondir holds one path


@dataclass(frozen=True, slots=True)
class Repository:
    """The folders of one repository, absolute.

    Attributes:
        git_dir: the folder of this work tree's HEAD and index (a linked work tree has its own).
        common_dir: the folder of refs, objects and config, shared by all work trees.
        work_tree: top of the files, or None where there are none (bare).
    """

    git_dir: str
    common_dir: str
    work_tree: str | None

    @property
    def objects_dir(self) -> str:
        return os.path.join(self.common_dir, "objects")

    @property
    def lfs_objects_dir(self) -> str:
        """Git LFS's own store; always in the common dir, as git-lfs has it."""
        return os.path.join(self.common_dir, "lfs", "objects")

    @property
    def state_dir(self) -> str:
        """gittrack's own folder: live runs, temp files, locks."""
        return os.path.join(self.common_dir, "gittrack")

    @property
    def label(self) -> str:
        """What a person calls it: the work tree, or the git folder of a bare one."""
        return self.work_tree or self.common_dir

    def read_config(self) -> bytes:
        """The repository's own config file, raw; empty where it cannot be read."""
        try:
            with open(os.path.join(self.common_dir, "config"), "rb") as file:
                return file.read()
        except OSError:
            return b""

    @property
    def object_format(self) -> ObjectFormat:
        """The hash that the ids are made by; read from the config, as the other formats are, at each call."""
        return "sha256" if self._read_extensions().get("objectformat", "").lower() == "sha256" else "sha1"

    @property
    def has_ref_tables(self) -> bool:
        """Whether the refs are in git's reftable, not in a file each."""
        return self._read_extensions().get("refstorage", "").lower() == "reftable"

    def require_known_format(self) -> None:
        """Refuse a storage format that would be damaged by writing.

        Raises:
            RepositoryError: git itself of this version, or a newer one, stores something in another way.
        """
        extensions = self._read_extensions()
        unknown = [f"{key} = {value}" for key, value in extensions.items() if key not in _KNOWN_EXTENSIONS]
        for key, known in (("objectformat", ("sha1", "sha256")), ("refstorage", ("files", "reftable"))):
            if extensions.get(key, known[0]).lower() not in known:
                unknown.append(f"{key} = {extensions[key]}")
        if unknown:
            raise RepositoryError(
                f"{self.label} has a storage format that this version does not know: {', '.join(sorted(unknown))}",
                "track into another repository: set GITTRACK_URI to its path",
            )

    def _read_extensions(self) -> dict[str, str]:
        return read_extensions(self.read_config())


def discover_repository(start: str) -> Repository | None:
    """The repository around a folder, or None.

    Raises:
        RepositoryError: a ``.git`` file leads nowhere.
    """
    folder = os.path.realpath(start)
    while True:
        found = _repository_at(folder)
        if found is not None:
            return found
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def open_repository(path: str) -> Repository:
    """The repository at a path: a work tree's top, a git folder, or a folder inside a work tree.

    Raises:
        RepositoryError: there is none.
    """
    if not os.path.isdir(path):
        raise RepositoryError(f"no folder at {path!r}", "give the path of a git repository")
    found = discover_repository(path)
    if found is None:
        raise RepositoryError(f"no git repository at {path!r}", "make one there: git init")
    return found


def create_bare_repository(path: str) -> Repository:
    """Make an empty bare repository; two processes may do so at once.

    Raises:
        RepositoryError: the folder cannot be made.
    """
    try:
        for sub in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
            os.makedirs(os.path.join(path, sub), exist_ok=True)
        config = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
        for name, content in (("config", config), ("HEAD", b"ref: refs/heads/main\n")):
            _create_file(os.path.join(path, name), content)
    except OSError as error:
        raise RepositoryError(f"cannot make a repository at {path!r}: {error.strerror}") from error
    real = os.path.realpath(path)
    return Repository(real, real, None)


def _create_file(path: str, content: bytes) -> None:
    if os.path.exists(path):
        return
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _repository_at(folder: str) -> Repository | None:
    dot_git = os.path.join(folder, ".git")
    if os.path.isdir(dot_git) and _is_git_dir(dot_git):
        return _repository_of(dot_git, folder)
    if os.path.isfile(dot_git):
        target = _read_pointer(dot_git, b"gitdir:")
        git_dir = os.path.realpath(os.path.join(folder, target))
        if not _is_git_dir(git_dir):
            raise RepositoryError(f"{dot_git} leads to {target!r}, which is no git folder")
        return _repository_of(git_dir, folder)
    if _is_git_dir(folder):
        # one stands in a git folder: the files are around ``.git`` itself, else only where the config says
        return _repository_of(folder, os.path.dirname(folder) if os.path.basename(folder) == ".git" else None)
    return None


def _repository_of(git_dir: str, work_tree: str | None) -> Repository:
    """The repository of a git folder whose files are around it, unless its config says otherwise."""
    pointer = os.path.join(git_dir, "commondir")
    if os.path.isfile(pointer):  # a linked work tree, which the shared config does not move
        common = os.path.realpath(os.path.join(git_dir, _read_pointer(pointer, b"")))
        return Repository(git_dir, common, work_tree)
    core = read_core_settings(git_dir)
    if core.worktree:
        moved = os.path.realpath(os.path.join(git_dir, core.worktree))
        return Repository(git_dir, git_dir, moved if os.path.isdir(moved) else None)
    return Repository(git_dir, git_dir, None if core.is_bare else work_tree)


def _is_git_dir(path: str) -> bool:
    if not os.path.lexists(os.path.join(path, "HEAD")):
        return False
    if os.path.isfile(os.path.join(path, "commondir")):
        return True
    return os.path.isdir(os.path.join(path, "objects")) and os.path.isdir(os.path.join(path, "refs"))


def _read_pointer(path: str, prefix: bytes) -> str:
    with open(path, "rb") as file:
        content = file.read(_POINTER_BYTES_MAX)
    if not content.startswith(prefix) or b"\0" in content:
        raise RepositoryError(f"{path} is not what git writes there")
    return os.fsdecode(content[len(prefix) :].strip())
