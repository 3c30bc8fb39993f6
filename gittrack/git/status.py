"""What ``git status`` says of a work tree, with every filter switched off and nothing of the user's touched.

Format of the answer: git-status(1), "Porcelain Format Version 2".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from gittrack.errors import CommandError
from gittrack.git.command import Question, find_git, git_argv
from gittrack.git.filters import find_filters, switch_off
from gittrack.git.objects import ObjectId
from gittrack.git.repository import Repository


class Change(NamedTuple):
    """A tracked path that git reports: XY code, mode on disk, mode and id in HEAD, id in the index."""

    code: bytes
    mode: int
    head_mode: int
    head_id: ObjectId
    index_id: ObjectId
    path: bytes


@dataclass(slots=True)
class Status:
    """What ``git status`` printed."""

    head: ObjectId | None = None
    branch: str | None = None
    changes: list[Change] = field(default_factory=list)
    untracked: list[bytes] = field(default_factory=list)
    filters: list[str] = field(default_factory=list)  # that were switched off for it


class StatusQuestion:
    """``git status`` of a work tree, started and not waited for; it is gone at the end of the ``with``."""

    def __init__(self, repository: Repository, top: str) -> None:
        self._filters: list[str] = []
        self._question: Question | None = None
        if not find_git():
            return
        argv = git_argv(repository.git_dir, f"--work-tree={top}", "status", "--porcelain=v2", "-z", "--branch")
        argv += ["--no-ahead-behind", "--untracked-files=all", "--no-renames", "--ignore-submodules=dirty"]
        try:
            self._filters = find_filters(repository, top)
            self._question = Question(argv, top, switch_off(self._filters))
        except (OSError, CommandError, ValueError):
            pass

    def __enter__(self) -> StatusQuestion:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._question is not None:
            self._question.__exit__()

    def read_answer(self) -> Status | None:
        """What git says of the work tree; None where there is no git, or it fails."""
        if self._question is None:
            return None
        try:
            status = _parse_status(self._question.read_answer())
        except (OSError, CommandError, ValueError):
            return None
        status.filters = self._filters
        return status


def read_status(repository: Repository, top: str) -> Status | None:
    """What git says of a work tree; None where there is no git, or it fails."""
    with StatusQuestion(repository, top) as question:
        return question.read_answer()


def _parse_status(output: bytes) -> Status:
    status = Status()
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


def _change(code: bytes, mode: bytes, head_mode: bytes, head_id: bytes, index_id: bytes, path: bytes) -> Change:
    ids = ObjectId(head_id.decode("ascii")), ObjectId(index_id.decode("ascii"))
    return Change(code, int(mode, 8), int(head_mode, 8), *ids, path)
