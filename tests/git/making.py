"""Real repositories to try things on, and what git says is in them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from gittrack.git.objects import ObjectId, ObjectSet
from gittrack.git.packs import write_pack
from gittrack.git.repository import Repository, discover_repository
from gittrack.git.worktree import CodeState, read_code_state

IDENTITY = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always")


def git(folder: Path, *words: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["git", *IDENTITY, *words], cwd=folder, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def write(top: Path, files: dict[str, str | bytes]) -> None:
    for path, content in files.items():
        full = top / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content if isinstance(content, bytes) else content.encode())


def make(top: Path, files: dict[str, str | bytes] | None = None) -> Path:
    """A repository whose files are committed on ``main``."""
    top.mkdir(parents=True)
    git(top, "init", "-q", "-b", "main")
    if files:
        write(top, files)
        git(top, "add", "-A", "-f")
        git(top, "commit", "-q", "-m", "first")
    return top


def find(folder: Path) -> Repository:
    repository = discover_repository(str(folder))
    assert repository is not None
    return repository


def state_of(folder: Path) -> CodeState:
    return read_code_state(find(folder))


def record(repository: Repository, tree: ObjectId | None, objects: ObjectSet) -> dict[bytes, tuple[str, bytes]]:
    """Commit a tree for real, let git check it, and list it: mode and content by path."""
    assert tree is not None
    folder = Path(repository.git_dir)
    with write_pack(repository, objects):
        commit = git(folder, "commit-tree", tree, "-m", "run").decode().strip()
        git(folder, "update-ref", "refs/heads/gittrack/test", commit)
    git(folder, "fsck", "--strict", "--no-dangling", "--full")
    found = {}
    for line in git(folder, "ls-tree", "-r", "-z", commit).split(b"\0")[:-1]:
        head, _, path = line.partition(b"\t")
        mode, kind, object_id = head.decode().split()
        content = git(folder, "cat-file", "blob", object_id) if kind == "blob" else object_id.encode()
        found[path] = (mode, content)
    return found


def recorded(folder: Path) -> dict[bytes, tuple[str, bytes]]:
    state = state_of(folder)
    return record(find(folder), state.tree, state.objects)


def contents(folder: Path) -> dict[str, bytes]:
    return {os.fsdecode(path): content for path, (_, content) in recorded(folder).items()}


def head_tree(folder: Path) -> str:
    return git(folder, "rev-parse", "HEAD^{tree}").decode().strip()


def head(folder: Path) -> str:
    return git(folder, "rev-parse", "HEAD").decode().strip()


def make_racy(*paths: Path) -> None:
    """Let git doubt a file whose content is as committed."""
    for path in paths:
        os.utime(path, ns=(10**18, 10**18))


def make_with_submodule(tmp_path: Path) -> Path:
    make(tmp_path / "lib", {"lib.py": "1\n"})
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "submodule", "--quiet", "add", str(tmp_path / "lib"), "sub")
    git(top, "commit", "-q", "-m", "sub")
    return top


def config_value(canary: Path) -> str:
    """A filter that leaves a trace when it runs."""
    return f"touch {canary}; cat"
