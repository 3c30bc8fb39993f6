"""Runs as they stand: committed ones by their winning revision, those in flight by their journals.

Read from git and the journals alone, so never stale; over very many runs the index answers sooner (`search`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gittrack.errors import DamagedError, GittrackError, NotFoundError
from gittrack.git.objects import Commit
from gittrack.git.repository import Repository
from gittrack.schema.events import RunFold
from gittrack.schema.names import RunId, check_run_id
from gittrack.schema.records import RunRecord
from gittrack.store.checkpoints import find_checkpoint, is_checkpoint, is_silent, list_checkpoints
from gittrack.store.folding import fold_live
from gittrack.store.history import Revision, find_revisions, find_winners
from gittrack.store.live import LiveRun, find_live, list_live
from gittrack.store.records import load_records

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it stands: its record, its newest commit if it has one.

    Of a run in flight also its live folder, and what its journal had told by then. Of one in flight on another
    machine the commit is its newest checkpoint.
    """

    record: RunRecord
    commit: Commit | None
    live: LiveRun | None = None
    fold: RunFold | None = field(default=None, repr=False, compare=False)

    @property
    def is_live(self) -> bool:
        """Whether it is in flight: here, or on another machine that has been heard of lately."""
        if self.live is not None or self.commit is None:
            return self.live is not None
        return is_checkpoint(self.commit) and not is_silent(self.commit, time.time())

    @property
    def heard_at(self) -> int | None:
        """When another machine, where it is in flight, last told of it; milliseconds since the epoch."""
        if self.live is not None or self.commit is None or not is_checkpoint(self.commit):
            return None
        return self.commit.committed_at_s * 1000


@dataclass(frozen=True, slots=True)
class Listing:
    """Runs, newest first, and what could not be read: one line each."""

    runs: list[StoredRun]
    problems: list[str]


def list_runs(repository: Repository, experiment_id: str | None = None) -> Listing:
    """Every run, deleted ones too, of one experiment or all; newest start first."""
    # those in flight first: what is committed meanwhile is then among the branches' runs
    flying = list_flying(repository)
    winners, _ = find_winners(repository)
    for run_id, checkpoint in list_checkpoints(repository).items():
        if run_id not in winners or checkpoint.rank > winners[run_id].rank:
            winners[run_id] = checkpoint
    found, problems = load_runs(repository, list(winners.values()))
    by_id = {stored.record.id: stored for stored in found}
    for live in flying:
        revisions = find_revisions(repository, live.run_id) if live.run_id in winners else []
        try:
            stored = load_flying(repository, live, revisions)
        except GittrackError as error:
            problems.append(error.message)
            continue
        if stored is not None:
            by_id[stored.record.id] = stored
    runs = [stored for stored in by_id.values() if experiment_id in (None, stored.record.experiment_id)]
    runs.sort(key=lambda stored: (stored.record.started_at, stored.record.id), reverse=True)
    return Listing(runs, problems)


def list_flying(repository: Repository) -> list[LiveRun]:
    """The runs in flight that have a first record."""
    return [live for live in list_live(repository) if live.has_begun()]


def get_run(repository: Repository, run_id: str) -> StoredRun:
    """The run with a full id, as it stands now.

    Raises:
        NotFoundError: there is none. DamagedError: its record cannot be read.
    """
    run_id = check_run_id(run_id)
    while True:
        live = find_live(repository, RunId(run_id))
        is_flying = live is not None and live.has_begun()
        revisions = find_revisions(repository, run_id)  # last: what is committed meanwhile is among them
        if live is None or not is_flying:
            break
        stored = _load_live(repository, live, revisions)
        if stored is not None:
            return stored
    newest = revisions[-1] if revisions else None
    newest = find_checkpoint(repository, run_id, newest) or newest
    if newest is None:
        raise NotFoundError(f"no run has the id {run_id}", "list the runs: gittrack ls")
    found, problems = load_runs(repository, [newest])
    if not found:
        raise DamagedError(f"run {run_id}", problems[0], "see what else is damaged: gittrack verify")
    return found[0]


def load_runs(repository: Repository, winners: Sequence[Revision]) -> tuple[list[StoredRun], list[str]]:
    """The runs that these revisions hold, and what could not be read."""
    found, problems = [], []
    for loaded in load_records(repository, winners):
        if loaded.record is None:
            problems.append(loaded.problem)
        else:
            found.append(StoredRun(loaded.record, loaded.revision.commit))
    return found, problems


def load_flying(repository: Repository, live: LiveRun, revisions: Sequence[Revision]) -> StoredRun | None:
    """A run that was in flight, as it stands; None where its process died at the first record.

    Args:
        revisions: those that it has been committed by before, the one that counts last.

    Raises:
        DamagedError: its record cannot be read.
    """
    try:
        return _load_live(repository, live, revisions) or get_run(repository, live.run_id)
    except NotFoundError:
        return None


def read_live(live: LiveRun, read: Callable[[], _T]) -> _T | None:
    """What some reading of a live folder gives; None where it went meanwhile: the run has been committed."""
    try:
        found = read()
    except FileNotFoundError:
        return None
    return found if live.exists() else None


def merge_taken(revisions: Sequence[Revision]) -> dict[str, int]:
    """How many bytes of each stream these revisions have taken."""
    taken: dict[str, int] = {}
    for revision in revisions:
        taken.update(revision.journal)
    return taken


def _load_live(repository: Repository, live: LiveRun, revisions: Sequence[Revision]) -> StoredRun | None:
    """A run in flight as it stands; None where it has been committed while it was read."""
    record, base = None, revisions[-1] if revisions else None
    if base is not None:
        loaded, problems = load_runs(repository, [base])
        if not loaded:
            raise DamagedError(f"run {live.run_id}", problems[0])
        record = loaded[0].record
    fold = read_live(live, lambda: fold_live(live, record, merge_taken(revisions)))
    if fold is None:
        return None
    shown = fold.freeze()
    if shown.status == "RUNNING" and not live.is_alive():
        shown = replace(shown, status="KILLED", ended_at=fold.latest_at or shown.started_at)
    return StoredRun(shown, base.commit if base else None, live, fold)
