"""Settings in git's own config, the repository's, the user's, the system's, as git reads them.

What is written or taken back goes through ``git config``, under git's own lock, and only into the repository's.
"""

from __future__ import annotations

from gittrack.errors import CommandError, InvalidValueError
from gittrack.git.command import find_git, run_git
from gittrack.git.config import list_config_files, parse_settings, read_settings
from gittrack.git.repository import Repository
from gittrack.git.settings import is_true

_NONE, _UNITS = 1, {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6}
_UNITS |= {"g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12}
_NO_SUCH_VALUE = 5


def list_values(repository: Repository, key: str) -> list[str]:
    """Every value of a setting (``gittrack.trustedStore``, say), the one that counts most last."""
    if not find_git():
        return _read_values(repository, key)
    try:
        told = run_git(repository.git_dir, "config", "--includes", "--null", "--get-all", key)
    except CommandError as error:
        if error.returncode == _NONE:
            return []
        raise
    return told.decode(errors="surrogateescape").split("\0")[:-1]


def find_value(repository: Repository, key: str) -> str | None:
    """The value of a setting that counts; None where it is not set."""
    values = list_values(repository, key)
    return values[-1] if values else None


def is_switched_off(repository: Repository, key: str) -> bool:
    """Whether a setting says no, in git's words for it."""
    return not is_true(find_value(repository, key), default=True)


def find_size_bytes(repository: Repository, key: str) -> int | None:
    """A setting that is a size, as ``5GB`` (10^9 bytes each) or a number of bytes; None where it is not set.

    Raises:
        InvalidValueError: it is no size.
    """
    value = find_value(repository, key)
    if value is None:
        return None
    text = value.strip().lower().replace(" ", "")
    number = text.rstrip("bkmgt")
    try:
        size = float(number) * _UNITS[text[len(number) :]]
    except (ValueError, KeyError):
        size = -1.0
    if not 0 <= size < 2**63:
        raise InvalidValueError(f"git config {key} is {value!r}", f"give a size: git config {key} 5GB")
    return int(size)


def add_value(repository: Repository, key: str, value: str) -> None:
    """Add a value of a setting to the repository's own config.

    Raises:
        CommandError: it cannot be written. RepositoryError: there is no git.
    """
    run_git(repository.git_dir, "config", "--local", "--add", key, value)


def list_scoped_values(repository: Repository, key: str) -> list[tuple[str, str]]:
    """The scope (system, global, local, worktree) and the value of each setting of a key; the last counts.

    Unlike `list_values` it leaves out what gittrack itself sets for its gits.

    Raises:
        CommandError: git cannot read its config. RepositoryError: there is no git.
    """
    try:
        told = run_git(repository.git_dir, "config", "--null", "--show-scope", "--get-all", key)
    except CommandError as error:
        if error.returncode == _NONE:
            return []
        raise
    words = told.decode(errors="surrogateescape").split("\0")[:-1]
    pairs = zip(words[::2], words[1::2], strict=True)
    return [(scope, value) for scope, value in pairs if scope != "command"]


def list_own_values(repository: Repository, key: str) -> list[str]:
    """The values of a key in the repository's own config, in order; raises as `list_scoped_values`."""
    return [value for scope, value in list_scoped_values(repository, key) if scope == "local"]


def remove_value(repository: Repository, key: str, value: str) -> bool:
    """Remove a value of a key from the repository's own config (git 2.30); False where it is not there.

    Raises:
        CommandError: it cannot be written. RepositoryError: there is no git.
    """
    try:
        run_git(repository.git_dir, "config", "--local", "--fixed-value", "--unset-all", key, value)
    except CommandError as error:
        if error.returncode == _NO_SUCH_VALUE:
            return False
        raise
    return True


def _read_values(repository: Repository, key: str) -> list[str]:
    section, _, name = key.lower().partition(".")
    settings = [item for path in list_config_files() for item in read_settings(path)]
    settings += parse_settings(repository.read_config())
    return [item.value for item in settings if (item.section, item.subsection, item.key) == (section, "", name)]
