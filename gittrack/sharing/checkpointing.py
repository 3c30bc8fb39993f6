"""A process of its own beside a run: shows it to others while it runs, and pushes it when it has ended.

It is started as ``python -m gittrack.sharing.checkpointing <git folder> <run id> <seconds>``; with 0 seconds it
only pushes. It reads the journal as every reader does, so that the training loop never waits for it, and may be
killed at any time: what it has not pushed waits for the next push. It ends by itself when the run has.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass

from gittrack.errors import GittrackError
from gittrack.git.remotes import Remote, find_remote
from gittrack.git.repository import Repository, open_repository
from gittrack.schema.names import RunId, check_run_id
from gittrack.sharing.handover import share_run
from gittrack.sharing.showing import Showcase, open_showcase
from gittrack.store.checkpoints import Checkpointer
from gittrack.store.folding import commit_live
from gittrack.store.live import LiveRun, find_live

HEARTBEAT_S = 600.0  # a run that logs nothing is shown anew so often, or nobody knew that it lives
_LOOK_S = 1.0  # how soon the end of a run is seen
_LIVES_EVERY_S = 5.0
_BACKOFF_MAX_S = 900.0
_SHARE_OF_CPU = 20  # a checkpoint that takes long to make comes less often: a twentieth of the time at most
_NICE = 10

_log = logging.getLogger("gittrack")


def main(argv: list[str]) -> int:
    """Run beside a run until it has ended and is pushed, as far as that can be done."""
    git_dir, run_id, seconds = argv
    os.nice(_NICE)
    repository = open_repository(git_dir)
    with open_showcase(repository, check_run_id(run_id)) as showcase:
        if showcase is None:  # another process is at it
            return 0
        remote = find_remote(repository)
        if remote is None:
            return 0
        is_shown = float(seconds) > 0
        if is_shown:
            _Watch(repository, RunId(run_id), showcase, remote, float(seconds)).run()
        share_run(repository, remote, RunId(run_id), showcase if is_shown else None)
    return 0


@dataclass(slots=True)
class _Pace:
    """When the next checkpoint is made: by the interval, later where the remote is away or the work is long."""

    interval_s: float
    next_at: float = 0.0
    shown_at: float = 0.0
    failures: int = 0

    def has_come(self, now: float) -> bool:
        return now >= self.next_at

    def succeed(self, now: float, took_s: float) -> None:
        self.failures, self.shown_at = 0, now
        self.next_at = now + max(self.interval_s, took_s * _SHARE_OF_CPU)

    def fail(self, now: float) -> None:
        self.failures += 1
        self.next_at = now + min(self.interval_s * 2**self.failures, max(_BACKOFF_MAX_S, self.interval_s))


class _Watch:
    """One run while it runs."""

    def __init__(
        self, repository: Repository, run_id: RunId, showcase: Showcase, remote: Remote, interval_s: float
    ) -> None:
        self._repository = repository
        self._run_id = run_id
        self._showcase = showcase
        self._remote = remote
        self._pace = _Pace(interval_s)
        self._due_s = round(max(interval_s, HEARTBEAT_S))
        self._checkpointer: Checkpointer | None = None
        self._has_news = False
        self._looked_at = 0.0

    def run(self) -> None:
        """Show it again and again; returns when it has been committed, by its process or else by this one."""
        while (live := find_live(self._repository, self._run_id)) is not None:
            now = time.monotonic()
            if now - self._looked_at >= _LIVES_EVERY_S:
                self._looked_at = now
                if not live.is_alive() and self._commit(live):
                    return
            if self._pace.has_come(now):
                self._show(live)
            time.sleep(_LOOK_S)

    def _commit(self, live: LiveRun) -> bool:
        """Commit a run whose process is dead, as any command would."""
        try:
            commit_live(self._repository, live, is_new=False, lost_as="KILLED")
        except (GittrackError, OSError) as error:
            _log.debug("cannot commit run %s yet: %s", self._run_id, error)
        return not live.exists()

    def _show(self, live: LiveRun) -> None:
        begun, worked = time.monotonic(), time.process_time()
        try:
            if self._checkpointer is None:
                self._checkpointer = Checkpointer(self._repository, live)
            self._has_news = self._checkpointer.read() or self._has_news
            if self._has_news or begun - self._pace.shown_at >= HEARTBEAT_S:
                self._showcase.show(self._remote, self._checkpointer.build(self._due_s))
                self._has_news = False
                self._pace.succeed(begun, time.process_time() - worked)
            else:
                self._pace.next_at = begun + self._pace.interval_s
        except (GittrackError, OSError) as error:
            _log.debug("no checkpoint of run %s: %s", self._run_id, error)
            self._pace.fail(begun)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (GittrackError, OSError) as problem:
        sys.exit(str(problem))
