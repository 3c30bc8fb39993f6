"""The user's own history, read by git: commits from one to another, what a commit changed, what differs in code.

Read only; ids and revisions go to git behind ``--end-of-options``, and no diff driver of a repository is used.
"""

from __future__ import annotations

from dataclasses import dataclass

from gittrack.git.command import run_git
from gittrack.git.repository import Repository

_PLAIN_DIFF = ("--numstat", "-z", "-r", "--no-renames", "--no-ext-diff", "--no-textconv")


@dataclass(frozen=True, slots=True)
class FileChange:
    """Lines added to and removed from one file; None for what is no text."""

    path: str
    added: int | None
    removed: int | None

    def __str__(self) -> str:
        return f"{self.path} (binary)" if self.added is None else f"{self.path}: +{self.added} -{self.removed}"


@dataclass(frozen=True, slots=True)
class CommitTold:
    """A commit as a person knows it; ``changes`` against its first parent."""

    id: str
    subject: str
    author: str
    committed_at_s: int
    changes: tuple[FileChange, ...]


def list_first_parents(repository: Repository, newest: str) -> list[str]:
    """The ids of a commit's first-parent history, oldest first, the commit itself last.

    Raises:
        CommandError: the history cannot be walked.
    """
    return (
        run_git(repository.git_dir, "rev-list", "--first-parent", "--reverse", "--end-of-options", newest)
        .decode()
        .split()
    )


def tell_commit(repository: Repository, commit: str) -> CommitTold:
    """Subject, author and changed files of a commit.

    Raises:
        CommandError: it cannot be read.
    """
    form = "--format=%s%x00%an <%ae>%x00%ct%x00"
    told = run_git(repository.git_dir, "log", "-1", "--no-patch", form, "--end-of-options", commit)
    subject, author, time_s, _ = told.decode(errors="replace").split("\0")
    words = (
        "diff-tree",
        "--root",
        "--no-commit-id",
        "--diff-merges=first-parent",
        *_PLAIN_DIFF,
        "--end-of-options",
        commit,
    )
    changes = _parse_numstat(run_git(repository.git_dir, *words))
    return CommitTold(commit, subject, author, int(time_s), changes)


def list_changes(repository: Repository, one: str, other: str) -> tuple[FileChange, ...]:
    """The files in which two trees differ.

    Raises:
        CommandError: a tree cannot be read.
    """
    return _parse_numstat(run_git(repository.git_dir, "diff-tree", *_PLAIN_DIFF, "--end-of-options", one, other))


def _parse_numstat(output: bytes) -> tuple[FileChange, ...]:
    found = []
    for entry in output.decode(errors="replace").split("\0"):
        added, _, rest = entry.partition("\t")
        removed, _, path = rest.partition("\t")
        if path:
            is_text = added.isdigit() and removed.isdigit()
            found.append(FileChange(path, int(added) if is_text else None, int(removed) if is_text else None))
    return tuple(found)
