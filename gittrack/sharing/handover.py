"""A run that has ended is pushed in the background, and the ref that showed it in flight goes.

Runs that end one after the other are pushed together: while one process pushes, one more waits, which takes along
what comes meanwhile; all others have nothing to do.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gittrack.errors import GittrackError
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.schema.names import RunId, experiment_ref
from gittrack.sharing.showing import Showcase
from gittrack.store.live import find_live
from gittrack.store.store import Store

_PAUSES_S = (2.0, 10.0, 60.0)  # then it waits for the next run's end, or for whoever pushes

_log = logging.getLogger("gittrack")


def share_run(repository: Repository, remote: Remote, run_id: RunId, showcase: Showcase | None) -> bool:
    """Push the experiment of a run that has ended; True when the remote has it. What cannot go stays here.

    Args:
        showcase: where the run was shown while it ran: it is shown there no longer. None where it was not.
    """
    for pause_s in (*_PAUSES_S, None):
        with _turn(repository, is_needed=showcase is not None) as is_ours:
            if not is_ours:
                return False
            try:
                _push(repository, remote, run_id, showcase)
                return True
            except (GittrackError, OSError) as error:
                _log.debug("cannot push run %s: %s", run_id, error)
        if pause_s is not None:
            time.sleep(pause_s)
    return False


def _push(repository: Repository, remote: Remote, run_id: RunId, showcase: Showcase | None) -> None:
    from gittrack.sharing.pushing import push

    if find_live(repository, run_id) is not None:  # it was resumed, or waits for a disk to have room
        return
    record = Store(repository).get_run(run_id).record
    push(repository, remote, [experiment_ref(record.experiment)])
    if showcase is not None:
        showcase.close(remote)


@contextmanager
def _turn(repository: Repository, *, is_needed: bool) -> Iterator[bool]:
    """Wait for the turn to push; False where another waits already, and will take along what is there now.

    Args:
        is_needed: wait all the same: there is something else to be done after the push.
    """
    waiting = _open_lock(repository, "sharing-next")
    pushing = _open_lock(repository, "sharing")
    try:
        try:
            fcntl.flock(waiting, fcntl.LOCK_EX | (0 if is_needed else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        fcntl.flock(pushing, fcntl.LOCK_EX)
        fcntl.flock(waiting, fcntl.LOCK_UN)
        yield True
    finally:
        os.close(pushing)
        os.close(waiting)


def _open_lock(repository: Repository, name: str) -> int:
    os.makedirs(repository.state_dir, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(os.path.join(repository.state_dir, name), flags, 0o644)
