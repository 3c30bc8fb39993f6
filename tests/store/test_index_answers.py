"""Short answers of the index: as a reading of all runs gives them, those in flight among them."""

from __future__ import annotations

import gittrack
from gittrack.store.index_answers import CodeOfRun, count_runs, list_experiments_in_use, list_finished_code
from gittrack.store.search import find_by_ids
from tests.harness import Repo


def log_runs() -> dict[str, str]:
    """Runs of two experiments by name: one failed, one deleted, one of a later commit; ``flying`` is open."""
    made = {}
    for name, experiment in (("a", "x"), ("b", "x"), ("failed", "y"), ("deleted", "y"), ("c", "y")):
        gittrack.set_experiment(experiment)
        run = gittrack.start_run(run_name=name)
        gittrack.end_run("FAILED" if name == "failed" else "FINISHED")
        made[name] = run.info.run_id
    gittrack.Client().delete_run(made["deleted"])
    made["flying"] = gittrack.start_run(run_name="flying").info.run_id
    gittrack.start_run(run_id=made["a"], nested=True)
    return made


def test_runs_are_counted_by_experiment_and_their_code_is_told(repo: Repo) -> None:
    assert (count_runs(repo.repository), list_experiments_in_use(repo.repository)) == ({}, ())
    made = log_runs()
    x, y = (gittrack.get_experiment_by_name(name).experiment_id for name in "xy")  # type: ignore[union-attr]
    assert count_runs(repo.repository) == {x: 2, y: 3}
    assert list_experiments_in_use(repo.repository) == tuple(sorted([x, y]))
    code = repo.git("rev-parse", "HEAD").strip()

    def told(*names: str) -> list[CodeOfRun]:
        return [CodeOfRun(made[name], code, "main") for name in names]

    assert list_finished_code(repo.repository) == told("c", "b")  # a is running again
    assert list_finished_code(repo.repository, y) == told("c")
    gittrack.end_run()
    gittrack.end_run()
    assert list_finished_code(repo.repository) == told("flying", "c", "b", "a")
    assert count_runs(repo.repository) == {x: 2, y: 3}
    gittrack.Client().delete_experiment(x)
    assert list_experiments_in_use(repo.repository) == (y,)
    assert list_finished_code(repo.repository, "nonesuch") == []


def test_runs_are_found_whole_by_many_ids_in_their_order(repo: Repo) -> None:
    made = log_runs()
    asked = [made["c"], "0" * 32, made["flying"], made["a"], made["deleted"], "no id"]
    found = find_by_ids(repo.repository, asked)
    whole = [repo.store.get_run(made[name]) for name in ("c", "flying", "a", "deleted")]
    assert [(one.record, one.commit) for one in found] == [(one.record, one.commit) for one in whole]
    assert [stored.is_live for stored in found] == [False, True, True, False]
    assert len(find_by_ids(repo.repository, asked * 300)) == 4 * 300
    assert find_by_ids(repo.repository, []) == []
    gittrack.end_run()
    gittrack.end_run()
