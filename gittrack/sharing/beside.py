"""Starting the process beside a run that shares it, `gittrack.sharing.checkpointing`, and never waiting for it."""

from __future__ import annotations

import logging
import os
import sys

from gittrack.git.command import spawn_detached
from gittrack.git.repository import Repository
from gittrack.schema.names import RunId

_MODULE = "gittrack.sharing.checkpointing"
_log = logging.getLogger("gittrack")
_started: dict[int, int] = {}  # processes that this one has begun and not collected, and by whom


class Sharing:
    """One run as a process of its own shares it: shown while it runs where that is wished, pushed at its end.

    Args:
        interval_s: seconds between two checkpoints; None for none.
    """

    def __init__(self, repository: Repository, run_id: RunId, interval_s: float | None) -> None:
        self._repository = repository
        self._run_id = run_id
        self._interval_s = interval_s
        self._pid = 0

    def begin(self) -> None:
        """Start the process, where there is something to do while the run runs."""
        if self._interval_s is not None:
            self._start()

    def end(self) -> None:
        """See that the run is pushed, now that it has ended: by the process, or another where that was killed."""
        _collect()
        if self._pid not in _started:
            self._start()

    def _start(self) -> None:
        argv = [
            *(sys.executable, "-P", "-m", _MODULE),
            *(self._repository.git_dir, self._run_id, repr(self._interval_s or 0.0)),
        ]
        _collect()
        try:
            self._pid = _spawn(argv)
        except OSError as error:
            _log.debug("nothing shares run %s: %s", self._run_id, error)
            return
        _started[self._pid] = os.getpid()


def wait_for_sharing() -> None:
    """Wait until the processes that this one has started have ended."""
    for pid in _list_own():
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass
        _started.pop(pid, None)


def _spawn(argv: list[str]) -> int:
    if not argv[0]:
        raise FileNotFoundError("this Python does not know its own program")
    return spawn_detached(argv, {key: value for key, value in os.environ.items() if key != "GITTRACK_RUN_ID"})


def _collect() -> None:
    """Collect those that have ended, so that no zombies stay."""
    for pid in _list_own():
        try:
            done, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # the user's own code was quicker
            done = pid
        if done:
            _started.pop(pid, None)


def _list_own() -> list[int]:
    """Those of this process, not of the one that it was forked from."""
    return [pid for pid, parent in _started.items() if parent == os.getpid()]
