"""Files that a stranger may have planted in a repository: opened only where they are plain.

A repository may come as an archive, with links that lead out of it and pipes that nobody writes to where
gittrack keeps its own files. None is followed, and none is waited for.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader

from gittrack.errors import RepositoryError
from gittrack.git.repository import Repository

_OWN_PLACES = (
    "",
    "live",
    "tmp",
    "lock",
    "folding",
    "bringing",
    "brought",
    "checkpoints",
    "sharing",
    "sharing-next",
    "refreshed",
)


def open_plain(path: str) -> BufferedReader:
    """A regular file, opened to read; the caller closes it.

    Raises:
        OSError: it is a link, a pipe, a folder or a device, or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", path)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def is_plain_folder(path: str) -> bool:
    """Whether a folder stands there, and no link to one."""
    return os.path.isdir(path) and not os.path.islink(path)


def require_own_places(repository: Repository) -> None:
    """See that gittrack's own folders and locks are no links: what is written there stays in the repository.

    Raises:
        RepositoryError: one leads elsewhere, or is a pipe or device.
    """
    foreign = _find_foreign(repository)
    if foreign is not None:
        raise RepositoryError(
            f"{foreign} is a link, a pipe or a device, and none of gittrack's; it is not used",
            "look where it leads, then remove it: gittrack makes its own",
        )


def refuse_foreign_places(repository: Repository) -> None:
    """As `require_own_places`, for where a disk that does not do its work is gone on without.

    Raises:
        OSError: one of the places leads elsewhere, or is a pipe or device.
    """
    foreign = _find_foreign(repository)
    if foreign is not None:
        raise OSError(errno.ELOOP, "it is a link, a pipe or a device", foreign)


def _find_foreign(repository: Repository) -> str | None:
    """The first place that leads elsewhere; one of another kind that only refuses to be written is no danger."""
    for name in _OWN_PLACES:
        path = os.path.join(repository.state_dir, name).rstrip("/")
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            continue
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            return path
    return None
