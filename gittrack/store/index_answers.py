"""Short answers that the index has without a search: how many runs an experiment has, what code they ran."""

from __future__ import annotations

from typing import NamedTuple

from gittrack.git.repository import Repository
from gittrack.store.learning import Told
from gittrack.store.opened_runs import OpenedRuns, ask_runs

_ACTIVE, _FINISHED = "lifecycle = 'active'", "status = 'FINISHED'"


class CodeOfRun(NamedTuple):
    """A run, and the commit and branch of the code that it ran, each None where nobody knows."""

    run_id: str
    commit: str | None
    branch: str | None


def count_runs(repository: Repository, told: Told | None = None) -> dict[str, int]:
    """How many active runs each experiment has that has any, by the experiment's id."""

    def ask(runs: OpenedRuns) -> dict[str, int]:
        found = _from(runs, "experiment_id", _ACTIVE)
        asked = f"SELECT experiment_id, count(*) FROM ({found}) GROUP BY experiment_id"
        return dict(runs.connection.execute(asked))

    return ask_runs(repository, ask, told)


def list_experiments_in_use(repository: Repository) -> tuple[str, ...]:
    """The ids of the experiments that have runs and are not deleted, sorted."""

    def ask(runs: OpenedRuns) -> tuple[str, ...]:
        deleted = "SELECT id FROM main.experiment WHERE lifecycle = 'deleted'"
        asked = f"SELECT DISTINCT experiment_id FROM ({_from(runs, 'experiment_id', '1')})"
        rows = runs.connection.execute(f"{asked} WHERE experiment_id NOT IN ({deleted}) ORDER BY experiment_id")
        return tuple(experiment_id for (experiment_id,) in rows)

    return ask_runs(repository, ask)


def list_finished_code(repository: Repository, experiment_id: str | None = None) -> list[CodeOfRun]:
    """The code of the active runs that finished, of one experiment or all; newest start first."""

    def ask(runs: OpenedRuns) -> list[CodeOfRun]:
        where, values = f"{_ACTIVE} AND {_FINISHED}", []
        if experiment_id is not None:
            where += " AND experiment_id = ?"
            values = [experiment_id] * len(runs.schemas)
        found = _from(runs, "id, code_commit, branch, started_at", where)
        asked = f"SELECT id, code_commit, branch FROM ({found}) ORDER BY started_at DESC, id DESC"
        return [CodeOfRun(*row) for row in runs.connection.execute(asked, values)]

    return ask_runs(repository, ask)


def _from(runs: OpenedRuns, columns: str, where: str) -> str:
    """Columns of the runs that fit; those in flight hide what is committed of them."""
    if "live" not in runs.schemas:
        return f"SELECT {columns} FROM main.run WHERE {where}"
    return (
        f"SELECT {columns} FROM main.run WHERE ({where}) AND id NOT IN (SELECT id FROM live.run)"
        f" UNION ALL SELECT {columns} FROM live.run WHERE {where}"
    )
