"""The runs that this process has open, so that a run asked for by id is found and not opened twice."""

from __future__ import annotations

import os
import threading

from gittrack.store.store import Store
from gittrack.tracking.active import ActiveRun


class _OpenedRuns:
    """Open runs by repository and id; those of a parent process are not a forked child's to end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, str], ActiveRun] = {}

    def add(self, run: ActiveRun) -> ActiveRun:
        with self._lock:
            self._sweep()
            self._runs[_key(run)] = run
        return run

    def find(self, store: Store, run_id: str) -> ActiveRun | None:
        """The open run with an id, or None."""
        run = self._runs.get((store.repository.common_dir, run_id))
        return run if run is not None and run.is_open else None

    def list_own(self) -> list[ActiveRun]:
        """Runs that this very process opened and has not ended, oldest first."""
        runs = list(self._runs.values())
        return [run for run in runs if run.is_open and run._session.pid == os.getpid()]

    def _sweep(self) -> None:
        self._runs = {key: run for key, run in self._runs.items() if run.is_open}


def _key(run: ActiveRun) -> tuple[str, str]:
    return run._session.store.repository.common_dir, run._session.run_id


opened_runs = _OpenedRuns()
os.register_at_fork(after_in_child=lambda: setattr(opened_runs, "_lock", threading.Lock()))
