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

_OWN_FOLDERS = ("", "live", "tmp")
_OWN_FILES = ("lock", "folding")


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
        RepositoryError: one leads elsewhere, or is something else.
    """
    for names, is_right in ((_OWN_FOLDERS, is_plain_folder), (_OWN_FILES, _is_plain_file)):
        for name in names:
            path = os.path.join(repository.state_dir, name).rstrip("/")
            if os.path.lexists(path) and not is_right(path):
                raise RepositoryError(
                    f"{path} is a link, or not what gittrack keeps there; it is not used",
                    "look where it leads, then remove it: gittrack makes its own",
                )


def _is_plain_file(path: str) -> bool:
    return stat.S_ISREG(os.lstat(path).st_mode)
