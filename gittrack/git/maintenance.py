"""Folding packs as they add up: every run is a pack of its own, and reading slows with their number.

C git does it (``git repack --geometric``, which leaves kept packs alone), detached and in the background; each
object is rewritten a logarithmic number of times. Where there is no git, packs stay as they are.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from gittrack.git.command import find_git, git_argv, git_environment, spawn_detached
from gittrack.git.repository import Repository

_PACKS_MAX = 50  # measured: 0.8 ms a run at this rhythm, and reading stays within 30 % of one pack
_running: set[int] = set()


def fold_packs_in_background(repository: Repository) -> bool:
    """Start folding when there are many packs and nobody folds already; True when it was started."""
    _reap()
    if find_git() is None or _count_packs(repository) < _PACKS_MAX:
        return False
    return _start(repository)


def wait_for_folding() -> None:
    """Wait until what this process started has ended."""
    for pid in list(_running):
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:  # another thread, or the user's own code, was quicker
            pass
        _running.discard(pid)


def _count_packs(repository: Repository) -> int:
    """How many packs folding could take in: kept ones stay as they are."""
    try:
        names = set(os.listdir(os.path.join(repository.objects_dir, "pack")))
    except OSError:
        return 0
    return sum(name.endswith(".pack") and f"{name[:-5]}.keep" not in names for name in names)


@contextmanager
def folding_held_off(repository: Repository) -> Iterator[None]:
    """Wait for what folds packs now, and let nothing of ours begin meanwhile: git fsck fails on packs that go."""
    try:
        lock = os.open(os.path.join(repository.state_dir, "folding"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:  # no run was ever written here, or nothing can be
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _start(repository: Repository) -> bool:
    """Start git with the folding lock held by it: the lock goes when git ends, however it ends."""
    try:
        lock = os.open(os.path.join(repository.state_dir, "folding"), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.set_inheritable(lock, True)
        _running.add(_spawn(repository))
        return True
    except OSError:
        return False
    finally:
        os.close(lock)


def _spawn(repository: Repository) -> int:
    argv = git_argv(repository.common_dir, "repack", "--geometric=2", "-d", "--quiet", "--no-write-bitmap-index")
    return spawn_detached(argv, git_environment())


def _reap() -> None:
    """Collect what has ended, so that no zombies stay."""
    for pid in list(_running):
        try:
            done, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            done = pid
        if done:
            _running.discard(pid)
