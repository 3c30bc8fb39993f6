"""Whose a repository is: one of another user is read only where git, too, has been told that it is safe.

Its config could name programs, and what a command writes there would be in a stranger's hands: git-config(1),
"safe.directory". Git's own check does not apply where ``--git-dir`` is given, as gittrack always does.
"""

from __future__ import annotations

import os
import subprocess

from gittrack.errors import RepositoryError
from gittrack.git.command import find_git, git_environment
from gittrack.git.repository import Repository


def require_trusted(repository: Repository) -> None:
    """Refuse a repository of another user that git would refuse; costs nothing for one's own.

    Raises:
        RepositoryError: it is another's, and ``safe.directory`` does not name it.
    """
    if _is_own(repository) or _is_safe(repository):
        return
    raise RepositoryError(
        f"{repository.label} belongs to another user, and may be made to trick you",
        f"if you trust it: git config --global --add safe.directory {repository.label}",
    )


def _is_own(repository: Repository) -> bool:
    places = {repository.git_dir, repository.common_dir, repository.work_tree or repository.git_dir}
    users = {os.geteuid()}
    if os.geteuid() == 0 and os.environ.get("SUDO_UID", "").isdigit():  # as git: root by sudo is the user too
        users.add(int(os.environ["SUDO_UID"]))
    try:
        return all(os.lstat(place).st_uid in users for place in places)
    except OSError:
        return True  # whoever reads on will be told what is wrong


def _is_safe(repository: Repository) -> bool:
    """What git says, asked in the folder itself and for nothing but its name."""
    if find_git() is None:
        return True
    done = subprocess.run(
        [find_git() or "git", "rev-parse", "--git-dir"],
        cwd=repository.label,
        env=git_environment(),
        capture_output=True,
        check=False,
    )
    return done.returncode == 0 or b"safe.directory" not in done.stderr
