"""Finding the run that a person means: by id or its beginning, commit, name, ``<experiment>~N``, ``@last``.

The index says which runs fit; the one that is given is read from git, and must fit there too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gittrack.errors import AmbiguousError, NotFoundError
from gittrack.git.repository import Repository
from gittrack.schema.names import is_run_id
from gittrack.store.index import drop_index
from gittrack.store.opened_runs import OpenedRuns, ask_runs
from gittrack.store.runs import StoredRun, get_run
from gittrack.store.search import load_found

_PREFIX_MIN = 4
_CANDIDATES_MAX = 20
_COUNTED = re.compile(r"(?P<experiment>.*)~(?P<number>[0-9]{1,18})", re.DOTALL)


class _Found(NamedTuple):
    """A run that fits, as the index has it; without a commit it is in flight."""

    id: str
    name: str
    started_at: int
    commit_id: str | None


def resolve(repository: Repository, asked: str) -> StoredRun:
    """The run that a person means.

    Raises:
        NotFoundError: nothing fits. AmbiguousError: several runs do.
    """
    if is_run_id(asked):
        return get_run(repository, asked)
    if any("\ud800" <= char <= "\udfff" for char in asked):  # bytes of a command line that are no UTF-8: no name
        raise NotFoundError(f"no run is called {asked!r}", "list the runs: gittrack ls")
    for _ in range(2):
        found = ask_runs(repository, lambda runs: _find(runs, asked))
        stored, _ = load_found(repository, [(found.id, found.commit_id)])
        if stored and _fits(stored[0], asked):
            return stored[0]
        drop_index(repository)  # it said something else than git does
    raise NotFoundError(f"no run is called {asked!r}", "list the runs: gittrack ls")


def _fits(stored: StoredRun, asked: str) -> bool:
    """Whether a run is what was asked for, as far as it can tell alone."""
    commit = stored.commit.id if stored.commit else ""
    if asked == stored.record.name or stored.record.id.startswith(asked) or commit.startswith(asked):
        return True
    is_counted = asked == "@last" or _COUNTED.fullmatch(asked) is not None
    return is_counted and stored.record.lifecycle == "active"


def _find(runs: OpenedRuns, asked: str) -> _Found:
    """The run that is meant."""
    if asked == "@last":
        return _nth(runs, "lifecycle = 'active'", (), 0, asked)
    counted = _COUNTED.fullmatch(asked)
    ids = _list_experiments(runs, counted["experiment"]) if counted else []
    if counted and ids:
        marks = ",".join("?" * len(ids))
        where = f"lifecycle = 'active' AND experiment_id IN ({marks})"
        return _nth(runs, where, ids, int(counted["number"]), asked)
    for fitting in _list_fitting(runs, asked):
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            shown = [f"{one.id[:12]}  {one.name}" for one in fitting[:_CANDIDATES_MAX]]
            if len(fitting) > _CANDIDATES_MAX:
                shown.append("…")
            raise AmbiguousError(f"{asked!r} fits {len(fitting)} runs", shown)
    raise NotFoundError(f"no run is called {asked!r}", "list the runs: gittrack ls")


def _list_fitting(runs: OpenedRuns, asked: str) -> Iterator[list[_Found]]:
    """What fits, the surest kind first: ids and commits by prefix, then active names, then any name."""
    if len(asked) >= _PREFIX_MIN and all(char in "0123456789abcdef" for char in asked):
        yield _select(runs, "id GLOB :asked || '*' OR commit_id GLOB :asked || '*'", {"asked": asked})
    yield _select(runs, "name = :asked AND lifecycle = 'active'", {"asked": asked})
    yield _select(runs, "name = :asked", {"asked": asked})


def _list_experiments(runs: OpenedRuns, name: str) -> list[str]:
    """The ids of the experiments that are, or were at first, called so."""
    asked = (
        "SELECT id FROM experiment WHERE name = :name UNION SELECT experiment_id FROM run WHERE experiment = :name"
    )
    if "live" in runs.schemas:
        asked += " UNION SELECT experiment_id FROM live.run WHERE experiment = :name"
    return [experiment_id for (experiment_id,) in runs.connection.execute(asked, {"name": name})]


def _select(runs: OpenedRuns, where: str, values: dict[str, str]) -> list[_Found]:
    ordered = f"{_from(runs, where)} ORDER BY started_at DESC, id DESC"
    return [_Found(*row) for row in runs.connection.execute(ordered, values)]


def _nth(runs: OpenedRuns, where: str, values: Sequence[str], number: int, asked: str) -> _Found:
    """The run that many places behind the newest."""
    bound = [*values] * len(runs.schemas)
    ordered = f"{_from(runs, where)} ORDER BY started_at DESC, id DESC LIMIT 1 OFFSET ?"
    row = runs.connection.execute(ordered, [*bound, number]).fetchone()
    if row is None:
        (count,) = runs.connection.execute(f"SELECT count(*) FROM ({_from(runs, where)})", bound).fetchone()
        raise NotFoundError(f"{asked!r} goes back further than there are runs ({count})", "list them: gittrack ls")
    return _Found(*row)


def _from(runs: OpenedRuns, where: str) -> str:
    """The runs that fit, with what orders them; those in flight hide what is committed of them."""
    columns = "id, name, started_at, CASE WHEN is_live THEN NULL ELSE commit_id END"
    arms = [f"SELECT {columns} AS commit_id FROM main.run WHERE ({where})"]
    if "live" in runs.schemas:
        arms = [
            f"{arms[0]} AND id NOT IN (SELECT id FROM live.run)",
            f"SELECT {columns} FROM live.run WHERE ({where})",
        ]
    return f"SELECT id, name, started_at, commit_id FROM ({' UNION ALL '.join(arms)})"
