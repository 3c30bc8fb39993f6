"""All runs of a repository as tables to ask: the index, and those in flight beside it in a schema of their own."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from gittrack.errors import DamagedError, GittrackError, NotFoundError, RepositoryError
from gittrack.git.objects import ObjectId
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository
from gittrack.schema.messages import parse_run_trailers
from gittrack.schema.packages import parse_packages
from gittrack.store.checkpoints import list_checkpoints
from gittrack.store.history import Revision, find_winners
from gittrack.store.index import build_in_memory, drop_index, make_tables, open_index
from gittrack.store.index_tables import KEY_INDEXES, IndexedRun, TableWriter
from gittrack.store.learning import Told
from gittrack.store.live import LiveRun
from gittrack.store.records import load_records
from gittrack.store.runs import StoredRun, list_flying, load_flying, load_runs

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class OpenedRuns:
    """Tables that are up to date, open for reading.

    Attributes:
        schemas: where they stand: ``main``, and ``live`` where runs are in flight; those hide what ``main`` has of
            them.
        problems: what could not be read, one line each.
    """

    connection: sqlite3.Connection
    schemas: tuple[str, ...]
    problems: list[str]


def ask_runs(repository: Repository, ask: Callable[[OpenedRuns], _T], told: Told | None = None) -> _T:
    """What a question to the tables gives; asked again, of tables in memory, where the index turns out damaged."""
    try:
        with _open_runs(repository, told) as opened:
            return ask(opened)
    except sqlite3.Error:
        drop_index(repository)
        with _open_runs(repository, told, in_memory=True) as opened:
            return ask(opened)


@contextmanager
def _open_runs(repository: Repository, told: Told | None, *, in_memory: bool = False) -> Iterator[OpenedRuns]:
    # those in flight first: what is committed meanwhile is then in the index
    flying = list_flying(repository)
    opening = build_in_memory if in_memory else open_index
    try:
        with opening(repository, told) as connection:
            found = connection.execute("SELECT problem FROM unread ORDER BY owner")
            yield _add_flying(repository, connection, flying, [problem for (problem,) in found])
            return
    except RepositoryError:
        pass  # the history cannot be walked to its end, and the index wants to know all of it
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        problems = _put_what_is_sound(repository, connection)
        yield _add_flying(repository, connection, flying, problems)


def _put_what_is_sound(repository: Repository, connection: sqlite3.Connection) -> list[str]:
    """Fill tables with the runs that can be read; returns what cannot."""
    make_tables(connection)
    winners, _ = find_winners(repository)
    writer, problems = TableWriter(connection), []
    for loaded in load_records(repository, list(winners.values())):
        if loaded.record is None:
            problems.append(loaded.problem)
        else:
            writer.put_runs([loaded.indexed()])
    connection.executescript(KEY_INDEXES.format(schema="main"))
    return problems


def _add_flying(
    repository: Repository, connection: sqlite3.Connection, flying: Sequence[LiveRun], problems: list[str]
) -> OpenedRuns:
    elsewhere = _list_elsewhere(repository, connection, {live.run_id for live in flying})
    if not flying and not elsewhere:
        return OpenedRuns(connection, ("main",), problems)
    connection.execute("ATTACH ':memory:' AS live")
    make_tables(connection, "live")
    writer = TableWriter(connection, "live")
    for live in flying:
        try:
            stored = load_flying(repository, live, _list_revisions(repository, connection, live))
        except GittrackError as error:
            problems.append(error.message)
            continue
        if stored is not None:
            _put_flying(writer, stored)
    loaded, unread = load_runs(repository, elsewhere)
    for stored in loaded:
        _put_flying(writer, stored)
    connection.executescript(KEY_INDEXES.format(schema="live"))
    return OpenedRuns(connection, ("main", "live"), [*problems, *unread])


def _list_elsewhere(
    repository: Repository, connection: sqlite3.Connection, here: Container[str]
) -> list[Revision]:
    """The checkpoints of runs in flight elsewhere that count for more than what is committed of them."""
    found = []
    for run_id, checkpoint in list_checkpoints(repository).items():
        asked = "SELECT revision, committed_at, commit_id FROM main.run WHERE id = ?"
        committed = connection.execute(asked, (run_id,)).fetchone()
        if run_id not in here and (committed is None or checkpoint.rank > committed):
            found.append(checkpoint)
    return found


def _put_flying(writer: TableWriter, stored: StoredRun) -> None:
    commit, fold = stored.commit, stored.fold
    packages = fold.environment if fold is not None else ""
    environment = f"live-{hashlib.sha256(packages.encode()).hexdigest()[:16]}" if packages else None
    writer.put_runs(
        [
            IndexedRun(
                stored.record,
                commit.id if commit else None,
                commit.committed_at_s if commit else None,
                fold.code_tree if fold is not None else None,
                environment,
                stored.is_live,
            )
        ]
    )
    if environment is not None:
        writer.put_packages(environment, parse_packages(packages))


def _list_revisions(repository: Repository, connection: sqlite3.Connection, live: LiveRun) -> list[Revision]:
    """The revisions of a run that has been committed before and is in flight again, the winner last."""
    asked = (
        "SELECT commit_id FROM run WHERE id = :id UNION SELECT commit_id FROM older WHERE owner = :id "
        "UNION SELECT commit_id FROM unread WHERE owner = :id"
    )
    found = []
    with ObjectReader(repository) as reader:
        for (commit_id,) in connection.execute(asked, {"id": live.run_id}):
            try:
                commit = reader.read_commit(ObjectId(commit_id))
            except (NotFoundError, DamagedError):
                continue
            named = parse_run_trailers(commit.message)
            if named is not None:
                found.append(Revision(named[0], named[1], commit))
    return sorted(found, key=lambda revision: revision.rank)
