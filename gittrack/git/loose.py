"""Loose objects that others wrote: git does not sync them by default (git-config(1), ``core.fsync``).

A run names its code by trees that the user's own commit made, maybe seconds ago; after a power cut those objects
are empty files, though the run's commit is whole.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from gittrack.git.packs import fsync_folder
from gittrack.git.repository import Repository

_YOUNG_S = 600.0  # the kernel writes back what is older: after half a minute, laptops after ten
_MARGIN_S = 2.0  # the file system's clock is coarser than ours
_synced_at_s: dict[str, float] = {}  # when this process last looked, by objects folder


def sync_young_objects(repository: Repository) -> None:
    """Make the loose objects durable that are so young that they may be in memory only.

    Raises:
        OSError: the disk is failing.
    """
    top, now = repository.objects_dir, time.time()
    since = max(now - _YOUNG_S, _synced_at_s.get(top, 0.0) - _MARGIN_S)
    is_new_folder = False
    for folder in _list_young(top, since):
        if len(folder.name) == 2 and folder.is_dir(follow_symlinks=False):
            for entry in _list_young(folder.path, since):
                _sync(entry.path)
            _sync_folder(folder.path)
            is_new_folder = True
    if is_new_folder:
        fsync_folder(top)
    _synced_at_s[top] = now


def _list_young(folder: str, since: float) -> list[os.DirEntry[str]]:
    """What was changed last after a moment; nothing where the folder has gone."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if _changed_at_s(entry) >= since]
    except FileNotFoundError:
        return []


def _changed_at_s(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return 0.0


def _sync_folder(folder: str) -> None:
    try:
        fsync_folder(folder)
    except FileNotFoundError:  # git gc has emptied and removed it meanwhile
        pass


def _sync(path: str) -> None:
    """Sync a regular file: a link that a stranger planted is not followed, and a pipe not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:  # git gc has packed it meanwhile, synced
        return
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            return
        raise
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
