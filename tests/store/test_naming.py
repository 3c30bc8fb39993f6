"""A run is found by whatever a person calls it, as a reading of all runs would find it; an index that lies is not
believed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gittrack
from gittrack.errors import AmbiguousError, NotFoundError
from gittrack.store import experiments, index
from gittrack.store.index import INDEX_FILE, index_folder
from gittrack.store.purging import purge
from gittrack.store.runs import StoredRun
from gittrack.tracking import session
from gittrack.tracking.starting import new_record
from tests.harness import Repo, make_repo, run_child

NAMES = ("alpha", "beta", "dead", "beef00", "1234", "Default~1", "it's", 'a"b', "a*b", "[ab]", "100%", "@first")
IDS = ("beef" + "0" * 28, "beef" + "1" * 28, "12345678" + "a" * 24, "dead" * 8)


def make(repo: Repo, **fields: object) -> str:
    run = session.begin(repo.store, replace(new_record(repo.store, None, None), **fields))  # type: ignore[arg-type]
    assert run.finish("FINISHED")
    return run.run_id


def delete(repo: Repo, run_id: str) -> None:
    repo.store.edit_run(run_id, lambda record: replace(record, lifecycle="deleted"), "deleted")


def find(repo: Repo, asked: str) -> str | list[str]:
    """The id of the run that is found, or those of the candidates, none where nothing fits."""
    try:
        return repo.store.resolve(asked).record.id
    except AmbiguousError as error:
        return [line.partition(" ")[0] for line in error.candidates]
    except NotFoundError:
        return []


def search_all(repo: Repo, asked: str) -> str | list[str]:
    """What `find` gives, by a reading of all runs."""
    runs = repo.store.list_runs().runs
    active = [run for run in runs if run.record.lifecycle == "active"]
    if asked == "@last":
        return active[0].record.id if active else []
    name, tilde, number = asked.rpartition("~")
    if tilde and number.isdecimal():
        known = experiments.list_experiments(repo.repository)
        ids = {record.id for record in known if name in (record.name, record.made_as)}
        of_it = [run.record.id for run in active if run.record.experiment_id in ids]
        if of_it:
            return of_it[int(number)] if int(number) < len(of_it) else []
    is_prefix = len(asked) >= 4 and set(asked) <= set("0123456789abcdef")
    for fitting in (
        [run for run in runs if is_prefix and has_prefix(run, asked)],
        [run for run in active if run.record.name == asked],
        [run for run in runs if run.record.name == asked],
    ):
        if fitting:
            return fitting[0].record.id if len(fitting) == 1 else [run.record.id[:12] for run in fitting]
    return []


def has_prefix(run: StoredRun, asked: str) -> bool:
    return run.record.id.startswith(asked) or (run.commit is not None and run.commit.id.startswith(asked))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """Runs whose names look like ids, prefixes and places; deleted ones among them, and one in flight."""
    repo = make_repo(tmp_path_factory.mktemp("many") / "repo")
    other = experiments.create_experiment(repo.repository, "x~1", {})
    renamed = experiments.create_experiment(repo.repository, "before", {})
    places = [{}, *({"experiment": one.made_as, "experiment_id": one.id} for one in (other, renamed))]
    for number, name in enumerate((*NAMES, *NAMES[:4], *NAMES[:2])):
        ids = {"id": IDS[number]} if number < len(IDS) else {}
        run_id = make(repo, name=name, started_at=1_000 * (number // 2), **places[number % 3], **ids)
        if number in (0, 5, 12, 17):
            delete(repo, run_id)
    experiments.rename_experiment(repo.repository, renamed.id, "after")
    for name in ("flying", "alpha"):
        session.begin(repo.store, replace(new_record(repo.store, None, None), name=name))
    return repo


def ways(repo: Repo) -> list[str]:
    """All that may be meant by something."""
    runs = repo.store.list_runs().runs
    texts = [run.record.id for run in runs] + [run.commit.id for run in runs if run.commit]
    prefixes = [text[:length] for text in texts for length in (3, 4, 7, 12, 31, 39)]
    counted = [f"{name}~{number}" for name in ("Default", "x~1", "before", "after", "none") for number in range(9)]
    return [*NAMES, *texts, *prefixes, *counted, "@last", "flying", "", "~", "~0", "al", "alpha%", "ALPHA", "BEEF"]


def test_every_way_to_name_a_run_finds_what_a_reading_of_all_runs_finds(many: Repo) -> None:
    expected = {asked: search_all(many, asked) for asked in ways(many)}
    assert {asked: find(many, asked) for asked in expected} == expected
    found = list(expected.values())
    assert sum(isinstance(one, str) for one in found) > 100
    assert sum(isinstance(one, list) and len(one) > 1 for one in found) > 2


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.one_of(
        st.text(max_size=12),
        st.text("0123456789abcdef~@ladrout*?['\"\0", max_size=9),
        st.builds("{}~{}".format, st.sampled_from(["Default", "x~1", ""]), st.text("0123456789²-", max_size=30)),
    )
)
def test_whatever_is_asked_for_is_found_or_told(many: Repo, asked: str) -> None:
    assert find(many, asked) == search_all(many, asked)


def test_a_place_may_be_any_number(repo: Repo) -> None:
    run_id = make(repo)
    assert find(repo, "Default~0") == find(repo, "Default~000") == run_id
    for place in ("1", "999999999999999999", "9" * 5000, "²", "-1", "+0", "0x0", "٠"):
        assert find(repo, f"Default~{place}") == []
    with pytest.raises(NotFoundError, match=r"'Default~1' goes back further than there are runs \(1\)"):
        repo.store.resolve("Default~1")


def test_candidates_are_the_newest_twenty(repo: Repo) -> None:
    ids = [make(repo, name="twin", started_at=number) for number in range(22)]
    with pytest.raises(AmbiguousError, match="'twin' fits 22 runs") as raised:
        repo.store.resolve("twin")
    assert list(raised.value.candidates) == [*(f"{run_id[:12]}  twin" for run_id in ids[:1:-1]), "…"]


def test_a_run_in_flight_is_found_as_it_stands_and_hides_its_commit(repo: Repo) -> None:
    run_id = make(repo, name="before")
    with gittrack.start_run(run_id=run_id):
        gittrack.Client().set_tag(run_id, "mlflow.runName", "now")
        gittrack.log({"loss": 0.5})
        found = repo.store.resolve(run_id[:10])
        assert (found.record.id, found.record.status, found.is_live) == (run_id, "RUNNING", True)
        assert find(repo, "@last") == find(repo, found.record.name) == run_id
    assert repo.store.resolve("@last").record.status == "FINISHED"


def test_a_killed_process_run_is_found_before_anybody_recovers_it(repo: Repo) -> None:
    run_child(
        """
        import gittrack, os
        gittrack.start_run(run_name="killed")
        gittrack.log({"loss": 0.5})
        os.kill(os.getpid(), 9)
        """,
        repo.path,
        expect=-9,
    )
    assert repo.store.resolve("killed").record.status == "KILLED"


def test_a_run_that_is_purged_is_not_found(repo: Repo) -> None:
    gone, kept = make(repo, name="gone"), make(repo, name="kept")
    assert find(repo, "gone") == gone
    purge(repo.repository, gone)
    assert [find(repo, asked) for asked in ("gone", gone[:8], "@last")] == [[], [], kept]


# -- an index that lies ------------------------------------------------------------------------------------------


def lie(repo: Repo, statement: str, values: Sequence[str] = ()) -> None:
    """Change the index, and say that gittrack did."""
    folder = Path(index_folder(repo.repository))
    connection = sqlite3.connect(folder / INDEX_FILE)
    with connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()
    index._write_stamp(str(folder))


def test_what_the_index_alone_says_is_not_believed(repo: Repo) -> None:
    first, second = make(repo, name="first"), make(repo, name="second")
    delete(repo, second)
    truth = {asked: find(repo, asked) for asked in ("first", "second", "@last", "Default~0", first[:8])}
    assert list(truth.values()) == [first, second, first, first, first]
    swapped = "CASE name WHEN 'first' THEN 'second' ELSE 'first' END"
    for asked, statement, values in (
        ("first", f"UPDATE run SET name = {swapped}", ()),
        ("second", f"UPDATE run SET name = {swapped}", ()),
        (first[:8], "UPDATE run SET id = ? WHERE id = ?", (first[:8] + "0" * 24, first)),
        ("first", "UPDATE run SET id = ? WHERE id = ?", ("0" * 32, first)),
        ("@last", "UPDATE run SET lifecycle = 'active', started_at = started_at * 2 WHERE id = ?", (second,)),
        ("Default~0", "UPDATE run SET lifecycle = 'active', started_at = started_at * 2 WHERE id = ?", (second,)),
    ):
        lie(repo, statement, values)
        assert find(repo, asked) == truth[asked], (asked, statement)
        assert {other: find(repo, other) for other in truth} == truth
