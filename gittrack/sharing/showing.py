"""The refs that show runs in flight to others: ``refs/gittrack/live/<run id>`` on a remote.

Checkpoints are pushed from a scratch repository of their own, whose config takes in the user's: his objects and
refs stay untouched, nothing waits for his next gc, and all of it goes with the run.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from gittrack.git.config import quote_value
from gittrack.git.network import NetworkError, run_network_git
from gittrack.git.packs import write_pack
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository, create_bare_repository
from gittrack.schema.names import RunId, live_ref
from gittrack.store.checkpoints import Checkpoint

_FOLDER = "checkpoints"
_PUSH = ("push", "--quiet", "--force", "--no-verify", "--no-follow-tags", "--no-signed", "--recurse-submodules=no")


class Showcase:
    """Where one run's checkpoints lie on their way; made by `open_showcase`."""

    def __init__(self, repository: Repository, folder: str, run_id: RunId) -> None:
        # a relative URL counts from where the user's own git would run
        self._scratch = replace(_make_scratch(repository, folder), work_tree=repository.label)
        self._run_id = run_id

    def show(self, remote: Remote, checkpoint: Checkpoint) -> None:
        """Let a remote show a checkpoint in the place of the one before.

        Raises:
            RemoteError: it is not reached, or refuses. OSError: the disk is full or failing.
        """
        before = self._list_packs()
        with write_pack(self._scratch, checkpoint.objects):
            pass
        self._push(remote, f"+{checkpoint.commit}:{live_ref(self._run_id)}")
        for path in before:  # git made the difference to them; the next one is made to what was pushed now
            _unlink_if_there(path)

    def close(self, remote: Remote) -> None:
        """Let a remote show the run in flight no longer.

        Raises:
            RemoteError: it is not reached, or refuses.
        """
        try:
            self._push(remote, f":{live_ref(self._run_id)}")
        except NetworkError as error:
            if "remote ref does not exist" not in error.told:  # it never came so far, or somebody else was quicker
                raise

    def _push(self, remote: Remote, refspec: str) -> None:
        mirrored = ("-c", f"remote.{remote.name}.mirror=false") if remote.name else ()
        run_network_git(self._scratch, remote, *mirrored, *_PUSH, "--end-of-options", remote.asked_as, refspec)

    def _list_packs(self) -> list[str]:
        folder = os.path.join(self._scratch.objects_dir, "pack")
        return [os.path.join(folder, name) for name in os.listdir(folder)]


@contextmanager
def open_showcase(repository: Repository, run_id: RunId) -> Iterator[Showcase | None]:
    """Hold the right to show a run to others; None where another process has it. What it leaves is removed."""
    folder = os.path.join(repository.state_dir, _FOLDER, run_id)
    os.makedirs(folder, exist_ok=True)
    lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        try:
            yield Showcase(repository, folder, run_id)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _make_scratch(repository: Repository, folder: str) -> Repository:
    """A bare repository that knows the user's remotes, and how to reach them."""
    place = os.path.join(folder, "objects.git")
    shutil.rmtree(place, ignore_errors=True)  # of a process that was killed
    scratch = create_bare_repository(place)
    is_other = repository.object_format != "sha1"
    lines = [
        "[include]",
        f"\tpath = {quote_value(os.path.join(repository.common_dir, 'config'))}",
        "[core]",
        f"\trepositoryformatversion = {int(is_other)}",
        "\tbare = true",
        "[extensions]" if is_other else "",
        f"\tobjectformat = {repository.object_format}" if is_other else "",
    ]
    with open(os.path.join(place, "config"), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("\n".join(line for line in lines if line) + "\n")
    return scratch


def _unlink_if_there(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
