"""Git's settings as git itself has them, from all its files; one is written, or taken back, by ``git config``.

For what a person must be able to trust: includes are followed, and a file is changed under git's own lock.
`config` reads the files without git.
"""

from __future__ import annotations

from gittrack.errors import CommandError
from gittrack.git.command import run_git
from gittrack.git.repository import Repository

_NOT_SET = 1  # git-config(1): the exit code where the key is not there
_NO_SUCH_VALUE = 5


def list_values(repository: Repository, key: str) -> list[tuple[str, str]]:
    """The scope (system, global, local, worktree) and the value of each setting of a key; the last counts.

    Paths keep their ``~``. Raises as `run_git`.
    """
    try:
        told = run_git(repository.git_dir, "config", "--null", "--show-scope", "--get-all", key)
    except CommandError as error:
        if error.returncode == _NOT_SET:
            return []
        raise
    words = told.decode(errors="surrogateescape").split("\0")[:-1]
    pairs = zip(words[::2], words[1::2], strict=True)
    return [(scope, value) for scope, value in pairs if scope != "command"]  # what `run_git` itself sets


def list_own_values(repository: Repository, key: str) -> list[str]:
    """The values of a key in the repository's own config, in order."""
    return [value for scope, value in list_values(repository, key) if scope == "local"]


def add_value(repository: Repository, key: str, value: str) -> None:
    """Add one more value of a key to the repository's own config. Raises as `run_git`."""
    run_git(repository.common_dir, "config", "--local", "--add", key, value)


def remove_value(repository: Repository, key: str, value: str) -> bool:
    """Remove a value of a key from the repository's own config; False where it is not there.

    Needs git 2.30. Raises as `run_git`.
    """
    try:
        run_git(repository.common_dir, "config", "--local", "--fixed-value", "--unset-all", key, value)
    except CommandError as error:
        if error.returncode == _NO_SUCH_VALUE:
            return False
        raise
    return True
