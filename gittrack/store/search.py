"""Searching runs: a question in the search language, answered by the index, with runs in flight beside it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gittrack.errors import GittrackError
from gittrack.git.bulk import read_commits
from gittrack.git.objects import ObjectId
from gittrack.git.repository import Repository
from gittrack.schema.messages import parse_run_trailers
from gittrack.schema.names import RunId
from gittrack.schema.query import And, parse_order, parse_query
from gittrack.schema.records import Lifecycle
from gittrack.store.history import Revision
from gittrack.store.learning import Told
from gittrack.store.opened_runs import OpenedRuns, ask_runs
from gittrack.store.runs import StoredRun, get_run, load_runs
from gittrack.store.search_rows import (
    RunColumns,
    RunRow,
    fetch_columns,
    fetch_commits,
    fetch_rows,
    note_selected,
)
from gittrack.store.search_sql import (
    Scope,
    compile_count,
    compile_search,
    register_functions,
)

_AT_ONCE = 500  # ids in a statement
_COUNT_MAX = 1 << 61  # SQLite's whole numbers have 64 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuestion:
    """Which runs are wanted, in what order: a filter, terms to order by, experiments by id, a slice.

    Attributes:
        order_by: terms such as ``metrics.loss DESC``; what they leave equal goes newest start first, then by id.
        experiment_ids: only runs of these; all where None.
        lifecycle: only runs in this state; all where None.
    """

    filter: str = ""
    order_by: tuple[str, ...] = ()
    experiment_ids: tuple[str, ...] | None = None
    lifecycle: Lifecycle | None = "active"
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The runs that fit, in order; how many fit before the slice was cut; what could not be read, a line each."""

    rows: list[RunRow]
    total: int
    problems: list[str]


def search(repository: Repository, question: RunQuestion, told: Told | None = None) -> SearchResult:
    """The runs that a question asks for.

    Args:
        told: is called with how many of how many new runs have been read.

    Raises:
        InvalidQueryError: the filter or the order cannot be read; it says where.
    """
    asked = _Asked(question)

    def ask(runs: OpenedRuns) -> SearchResult:
        count = asked.note(runs)
        return SearchResult(fetch_rows(runs, count), asked.count(runs, count), runs.problems)

    return ask_runs(repository, ask, told)


def search_runs(
    repository: Repository, question: RunQuestion, told: Told | None = None
) -> tuple[list[StoredRun], list[str]]:
    """The runs that a question asks for, whole, as git and their journals hold them, and what could not be read.

    Raises:
        InvalidQueryError: as `search`.
    """
    asked = _Asked(question)

    def ask(runs: OpenedRuns) -> tuple[list[tuple[str, str | None]], list[str]]:
        asked.note(runs)
        return fetch_commits(runs), runs.problems

    found, problems = ask_runs(repository, ask, told)
    loaded, unread = load_found(repository, found)
    return loaded, [*problems, *unread]


def find_by_ids(repository: Repository, run_ids: Sequence[str]) -> list[StoredRun]:
    """The runs with these ids, whole, in their order; what is not there or cannot be read is left out."""

    def ask(runs: OpenedRuns) -> list[tuple[str, str | None]]:
        known: dict[str, str | None] = {}
        for schema in runs.schemas:  # those in flight last
            for start in range(0, len(run_ids), _AT_ONCE):
                part = run_ids[start : start + _AT_ONCE]
                commit = "CASE WHEN is_live THEN NULL ELSE commit_id END"
                asked = f"SELECT id, {commit} FROM {schema}.run WHERE id IN ({', '.join('?' * len(part))})"
                known.update(runs.connection.execute(asked, part))
        return [(run_id, known[run_id]) for run_id in run_ids if run_id in known]

    return load_found(repository, ask_runs(repository, ask))[0]


def load_found(
    repository: Repository, found: Sequence[tuple[str, str | None]]
) -> tuple[list[StoredRun], list[str]]:
    """The runs that the index has found by their ids and commits, whole, and what could not be read.

    Without a commit it is one in flight. Looking for the revisions of one through a history of 100,000 runs would
    take half a second.
    """
    problems = []
    committed = [(run_id, ObjectId(commit_id)) for run_id, commit_id in found if commit_id is not None]
    revisions = []
    for (run_id, _), commit in zip(
        committed, read_commits(repository, [commit_id for _, commit_id in committed]), strict=True
    ):
        named = parse_run_trailers(commit.message) if commit is not None else None
        if commit is not None and named is not None and named[0] == run_id:
            revisions.append(Revision(run_id, named[1], commit))
    loaded, unread = load_runs(repository, revisions)
    by_id = {stored.record.id: stored for stored in loaded}
    for run_id, commit_id in found:
        if commit_id is None:
            try:
                by_id[RunId(run_id)] = get_run(repository, run_id)
            except GittrackError as error:
                problems.append(error.message)
    return [by_id[RunId(run_id)] for run_id, _ in found if run_id in by_id], [*problems, *unread]


def search_columns(
    repository: Repository, question: RunQuestion, told: Told | None = None
) -> tuple[RunColumns, list[str]]:
    """The runs that a question asks for by column, and what could not be read; raises as `search`."""
    asked = _Asked(question)
    return ask_runs(repository, lambda runs: (fetch_columns(runs, asked.note(runs)), runs.problems), told)


class _Asked:
    """A question that has been read, so that a mistake in it is told before anything is opened."""

    def __init__(self, question: RunQuestion) -> None:
        limit = None if question.limit is None else min(question.limit, _COUNT_MAX)
        self._question = replace(question, limit=limit, offset=min(question.offset, _COUNT_MAX))
        self._query = parse_query(question.filter, round(time.time() * 1000)) if question.filter else And(())
        self._order = tuple(map(parse_order, question.order_by)) if question.order_by else ()

    def note(self, runs: OpenedRuns) -> int:
        """Leave the runs that fit, in order, in a table to fetch them from; returns how many they are."""
        question, connection = self._question, runs.connection
        register_functions(connection)
        asked = compile_search(
            connection,
            self._query,
            self._order,
            self._scope(runs),
            limit=question.limit,
            offset=question.offset,
        )
        return note_selected(runs, asked.sql, asked.values)

    def count(self, runs: OpenedRuns, found: int) -> int:
        """How many fit; ``found`` of them have been noted."""
        question = self._question
        if (found or not question.offset) and (question.limit is None or found < question.limit):
            return question.offset + found  # none behind an offset says nothing of how many stand before it
        asked = compile_count(runs.connection, self._query, self._scope(runs))
        (count,) = runs.connection.execute(asked.sql, asked.values).fetchone()
        return int(count)

    def _scope(self, runs: OpenedRuns) -> Scope:
        question = self._question
        return Scope(schemas=runs.schemas, experiment_ids=question.experiment_ids, lifecycle=question.lifecycle)
