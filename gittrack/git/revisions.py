"""Which commit a person's word for one means, asked of git: a branch, a tag, an id, ``HEAD~2``."""

from __future__ import annotations

from gittrack.errors import CommandError, NotFoundError
from gittrack.git.command import run_git
from gittrack.git.objects import ObjectId
from gittrack.git.repository import Repository


def find_commit(repository: Repository, revision: str) -> ObjectId | None:
    """The commit that a revision names (gitrevisions(7)), or None; of a bare branch name a remote's will do.

    Raises:
        RepositoryError: there is no git.
    """
    if not revision or "\0" in revision:
        return None
    for spelled in (revision, f"refs/remotes/origin/{revision}"):
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{spelled}^{{commit}}")
        try:
            # in its own git folder: a linked work tree has a HEAD of its own
            told = run_git(repository.git_dir, *words).decode().split()
            return ObjectId(told[-1])  # some versions of git repeat --end-of-options
        except CommandError:
            continue
    return None


def get_commit(repository: Repository, revision: str) -> ObjectId:
    """As `find_commit`.

    Raises:
        NotFoundError: it names none. RepositoryError: there is no git.
    """
    found = find_commit(repository, revision)
    if found is None:
        raise NotFoundError(f"{revision!r} is no run and no commit", "name one of either")
    return found
