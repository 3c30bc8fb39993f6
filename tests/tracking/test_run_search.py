"""Searching runs: MLflow's arguments and columns, and the same answers as a reading of all runs gives."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import gittrack
from gittrack.errors import InvalidQueryError, InvalidValueError
from gittrack.schema.records import RunRecord
from gittrack.tracking import session
from gittrack.tracking.entities import Run, ViewType
from gittrack.tracking.run_lists import RunList
from gittrack.tracking.starting import new_record
from tests.harness import Repo, make_repo

HEAD = ["run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time"]
TIMES_MS = (-62_135_596_800_000, 253_370_764_799_999)


def log_three() -> list[str]:
    """Three runs, the ids from the oldest on."""
    ids = []
    for number, loss in enumerate((0.5, math.nan, 0.25)):
        with gittrack.start_run(run_name=f"run-{number}") as run:
            gittrack.log_params({"lr": 0.1 * number, "opt": "adam"} if number else {"lr": 1, "deep": True})
            gittrack.log({"loss": loss})
            gittrack.set_tag("team", f"team {number}")
            ids.append(run.info.run_id)
    return ids


def ids_of(found: Any) -> list[str]:
    return [run.info.run_id for run in found] if isinstance(found, list) else list(found.get("run_id", []))


# -- the frame ---------------------------------------------------------------------------------------------------


def test_the_columns_are_mlflows_with_their_types(repo: Repo) -> None:
    first, second, third = log_three()
    frame = gittrack.search_runs()
    keys = ["metrics.loss", "params.deep", "params.lr", "params.opt"]
    tags = [column for column in frame.columns if column.startswith("tags.")]
    assert list(frame.columns) == [*HEAD, *keys, *tags]
    assert {"tags.team", "tags.mlflow.runName", "tags.mlflow.user", "tags.mlflow.source.name"} <= set(tags)
    assert tags == sorted(tags)
    types = {
        "start_time": "datetime64[ns, UTC]",
        "end_time": "datetime64[ns, UTC]",
        "metrics.loss": "float64",
        "params.lr": "object",
        "tags.team": "object",
    }
    assert {column: str(frame[column].dtype) for column in types} == types
    assert list(frame["run_id"]) == [third, second, first]
    assert list(frame["artifact_uri"]) == [f"runs:/{run_id}" for run_id in (third, second, first)]
    assert list(frame["experiment_id"]) == ["0"] * 3
    assert list(frame["params.lr"]) == ["0.2", "0.1", "1"]
    assert list(frame["params.opt"]) == ["adam", "adam", None]
    assert list(frame["params.deep"]) == [None, None, "True"]
    np.testing.assert_array_equal(frame["metrics.loss"], [0.25, math.nan, 0.5])
    assert list(frame.index) == [0, 1, 2]


def test_params_have_their_own_types_where_that_is_asked_for(repo: Repo) -> None:
    log_three()
    frame = gittrack.search_runs(typed=True)
    assert [list(frame[f"params.{key}"]) for key in ("lr", "deep")] == [[0.2, 0.1, 1], [None, None, True]]
    assert [type(value) for value in frame["params.lr"]] == [float, float, int]


def test_no_runs_are_an_empty_frame(repo: Repo) -> None:
    frame = gittrack.search_runs()
    assert (list(frame.columns), len(frame)) == (HEAD, 0)
    assert str(frame["start_time"].dtype) == "datetime64[ns, UTC]"
    assert gittrack.search_runs(output_format="list") == []


def test_a_run_in_flight_is_there_with_what_it_has_logged(repo: Repo) -> None:
    log_three()
    with gittrack.start_run(run_name="flying") as run:
        gittrack.log({"loss": 0.125})
        gittrack.log_param("lr", 5)
        frame = gittrack.search_runs(max_results=1)
        found = {key: frame[key][0] for key in ("run_id", "status", "metrics.loss", "params.lr")}
        assert found == {
            "run_id": run.info.run_id, "status": "RUNNING", "metrics.loss": 0.125, "params.lr": "5",
        }  # fmt: skip
        assert frame["end_time"][0] is pd.NaT
        (listed,) = gittrack.search_runs(filter_string="status = 'RUNNING'", output_format="list")
        assert listed.data.metrics == {"loss": 0.125}
    assert list(gittrack.search_runs(max_results=1)["status"]) == ["FINISHED"]


# -- which runs --------------------------------------------------------------------------------------------------


def test_order_and_number_are_as_asked(repo: Repo) -> None:
    first, second, third = log_three()
    for arguments, expected in (
        ({"order_by": ["metrics.loss"]}, [third, first, second]),  # NaN is never best
        ({"order_by": ["metrics.loss DESC"]}, [first, third, second]),
        ({"order_by": ["params.opt", "params.lr ASC"]}, [second, third, first]),
        ({"order_by": ["start_time"], "max_results": 2}, [first, second]),
        ({"max_results": 0}, []),
        ({"max_results": 10**30}, [third, second, first]),
        ({"order_by": "start_time"}, [first, second, third]),
        ({"filter_string": "metrics.loss > 0.3"}, [first]),
        ({"filter_string": "tags.team = 'team 1' or params.deep = 'True'"}, [second, first]),
        ({"filter_string": None}, [third, second, first]),
    ):
        assert ids_of(gittrack.search_runs(**arguments)) == expected, arguments  # type: ignore[arg-type]
        assert ids_of(gittrack.search_runs(output_format="list", **arguments)) == expected  # type: ignore[call-overload]


def test_deleted_runs_are_seen_in_their_view(repo: Repo) -> None:
    first, second, third = log_three()
    gittrack.Client().delete_run(second)
    views = (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY, ViewType.ALL)
    expected = [[third, first], [second], [third, second, first]]
    assert [ids_of(gittrack.search_runs(run_view_type=view)) for view in views] == expected
    assert [ids_of(gittrack.Client().search_runs(["0"], "", view)) for view in views] == expected


def log_in(*names: str) -> dict[str, str]:
    """One run in each experiment; the current one is then none of them."""
    made = {}
    for name in names:
        experiment = gittrack.set_experiment(name)
        with gittrack.start_run() as run:
            made[name] = run.info.run_id
        made[f"{name} id"] = getattr(experiment, "experiment_id", None) or experiment.id  # type: ignore[attr-defined]
    gittrack.set_experiment("empty")
    return made


def test_experiments_are_chosen_by_id_by_name_or_all(repo: Repo, caplog: pytest.LogCaptureFixture) -> None:
    made = log_in("a", "b", "gone")
    gittrack.Client().delete_experiment(made["gone id"])
    a, b, gone, a_id, b_id = (made[key] for key in ("a", "b", "gone", "a id", "b id"))
    search = gittrack.search_runs
    assert ids_of(search([a_id])) == [a]
    assert ids_of(search([b_id, a_id])) == [b, a]
    assert ids_of(search(a_id)) == [a]
    assert ids_of(search(["nonesuch"])) == []
    assert ids_of(search(experiment_names=["b", "a"])) == [b, a]
    assert ids_of(search(experiment_names="a")) == [a]
    assert ids_of(search(search_all_experiments=True)) == [b, a]  # those that are not deleted, as by MLflow
    assert ids_of(search([a_id], search_all_experiments=True)) == [a]
    assert ids_of(search([made["gone id"]])) == [gone]
    assert ids_of(search()) == ids_of(search([])) == ids_of(search(experiment_names=[])) == []
    assert ids_of(search([], search_all_experiments=True)) == [b, a]
    with caplog.at_level(logging.WARNING):
        assert ids_of(search(experiment_names=["a", "nobody"])) == [a]
    assert [record.getMessage() for record in caplog.records] == ["gittrack: no experiment is called 'nobody'"]


def test_the_current_experiment_is_searched_and_not_made(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    (default, *_) = log_three()
    made = log_in("a")
    gittrack.set_experiment("a")
    assert ids_of(gittrack.search_runs()) == [made["a"]]
    gittrack.set_tracking_uri("")  # forgets what was set
    assert default in ids_of(gittrack.search_runs())
    for name, found in (("a", [made["a"]]), ("never made", [])):
        monkeypatch.setenv("GITTRACK_EXPERIMENT_NAME", name)
        assert ids_of(gittrack.search_runs()) == found
        assert ids_of(gittrack.search_runs(output_format="list")) == found
    assert gittrack.get_experiment_by_name("never made") is None
    monkeypatch.setenv("GITTRACK_EXPERIMENT_ID", made["a id"])
    assert ids_of(gittrack.search_runs()) == [made["a"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"experiment_ids": ["0"], "experiment_names": ["a"]},
            "experiment_ids and experiment_names are both given",
        ),
        ({"output_format": "polars"}, "output_format is 'polars'"),
        ({"max_results": -1}, "max_results is -1"),
        ({"max_results": True}, "max_results is True"),
        ({"max_results": 1.5}, "max_results is 1.5"),
        ({"run_view_type": 7}, "run_view_type is 7"),
        ({"run_view_type": [1]}, "run_view_type is [1]"),
        ({"filter_string": 5}, "filter_string is 5"),
        ({"order_by": 5}, "order_by is 5"),
        ({"experiment_names": 5}, "experiment_names is 5"),
        ({"experiment_ids": 5}, "experiment_ids is 5"),
        ({"filter_string": "metrics.loss >"}, "the filter "),
        ({"order_by": ["metrics.loss SIDEWAYS"]}, ""),
    ],
)
def test_mistakes_are_told(repo: Repo, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError) as raised:
        gittrack.search_runs(**arguments)
    assert message in raised.value.message
    assert isinstance(raised.value, InvalidQueryError) == ("^" in (raised.value.hint or ""))


# -- lists and pages ---------------------------------------------------------------------------------------------


def test_a_list_holds_whole_runs_and_shows_itself(repo: Repo) -> None:
    first, second, third = log_three()
    gittrack.Client().set_note(first, "a <b>note</b>")
    found = gittrack.search_runs(output_format="list")
    assert isinstance(found, RunList)
    assert all(type(run) is Run for run in found)
    assert [run.record for run in found] == [repo.store.get_run(one).record for one in (third, second, first)]
    shown = found._repr_html_()
    assert "3 runs" in shown
    assert all(run_id[:8] in shown for run_id in (first, second, third))
    assert found.token is None


def test_pages_cover_every_run_once_and_in_order(repo: Repo) -> None:
    ids = log_three() + log_three() + log_three()
    client = gittrack.Client()
    for size in (1, 2, 3, 4, 9, 10):
        pages, token = list[list[str]](), None
        while True:
            page = client.search_runs(["0"], max_results=size, order_by=["metrics.loss"], page_token=token)
            pages.append(ids_of(page))
            token = page.token
            if token is None:
                break
        assert [len(page) for page in pages] == [size] * (9 // size) + [9 % size] * (9 % size > 0)
        whole = [run_id for page in pages for run_id in page]
        assert sorted(whole) == sorted(ids)
        assert whole == ids_of(gittrack.search_runs(order_by=["metrics.loss"]))


@pytest.mark.parametrize("token", ["x", "éé", "b2Zmc2V0Oi0x", "b2Zmc2V0OnR3bw==", "c2tpcDox", "b2Zmc2V0OjFlOQ=="])
def test_a_token_that_none_gave_is_refused(repo: Repo, token: str) -> None:
    with pytest.raises(InvalidValueError, match="page_token is"):
        gittrack.Client().search_runs(["0"], page_token=token)


def test_a_page_is_bounded_and_a_token_too_far_is_an_empty_page(repo: Repo) -> None:
    log_three()
    client = gittrack.Client()
    with pytest.raises(InvalidValueError, match="max_results is 50001"):
        client.search_runs(["0"], max_results=50_001)
    token = client.search_runs(["0"], max_results=2).token
    client.delete_run(ids_of(client.search_runs(["0"]))[0])
    client.delete_run(ids_of(client.search_runs(["0"]))[0])
    page = client.search_runs(["0"], page_token=token)
    assert (list(page), page.token) == ([], None)
    assert ids_of(client.search_runs([])) == []
    assert list(client.search_runs(["0"], page_token="b2Zmc2V0OjEwMDAwMDAwMDAwMDAwMDAwMDAwMDA=")) == []
    for wrong in (None, 5):
        with pytest.raises(InvalidValueError, match="experiment_ids is"):
            client.search_runs(wrong)  # type: ignore[arg-type]


# -- the same as a reading of all runs ---------------------------------------------------------------------------

KEYS = st.text("ab./ -_", min_size=1, max_size=4).filter(
    lambda key: key.strip(" ./") == key and not any(part in ("", ".", "..") for part in key.split("/"))
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
PARAMS = st.one_of(
    TEXTS,
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.just(10**400),
    st.just("1e400"),
)
TOLD_TAGS = st.sampled_from(["mlflow.runName", "mlflow.user", "mlflow.source.name", "mlflow.source.git.branch"])


EDGE: dict[str, Any] = {
    "name": "edge",
    "user": "",
    "note": "",
    "parent": None,
    "source": False,
    "params": {},
    "metrics": {},
    "tags": {},
    "ends": False,
}


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    start = draw(st.one_of(st.integers(*TIMES_MS), st.integers(1_500_000_000_000, 2_500_000_000_000), st.just(0)))
    return {
        "name": draw(TEXTS.filter(str.strip)),
        "started_at": start,
        "user": draw(TEXTS),
        "note": draw(st.sampled_from(["", "note", "two\nlines"])),
        "parent": draw(st.sampled_from([None, "a" * 32])),
        "source": draw(st.booleans()),
        "params": draw(st.dictionaries(KEYS, PARAMS, max_size=4)),
        "metrics": draw(st.dictionaries(KEYS, st.floats(), max_size=3)),
        "tags": draw(st.dictionaries(st.one_of(KEYS, TOLD_TAGS), TEXTS, max_size=3)),
        "ends": draw(st.booleans()),
    }


def log_run(repo: Repo, told: dict[str, Any]) -> Callable[[], None]:
    """Make a run of all this; returns what ends it where it is left in flight."""
    record = new_record(repo.store, None, told["name"])
    fields = {key: told[key] for key in ("started_at", "user", "note", "parent", "tags")}
    run = session.begin(repo.store, replace(record, source=record.source if told["source"] else None, **fields))
    run.log_params(told["params"])
    for key, value in told["metrics"].items():
        run.journal.append({key: value}, 0)
    if told["ends"]:
        run.finish("FINISHED")
        return lambda: None
    return lambda: run.finish("FINISHED") and None  # type: ignore[func-returns-value]


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Repo]:
    """Makes a new repository, and goes into it."""

    def begin() -> Repo:
        made = make_repo(tmp_path_factory.mktemp("drawn") / "repo")
        monkeypatch.chdir(made.path)
        return made

    return begin


def same(value: Any) -> str:
    """A value as text that tells its type, NaN and missing ones apart."""
    return "missing" if value is None or value is pd.NaT else repr(value)


def time_cell(time_ms: int | None) -> str:
    """What a frame shows for a time: nanoseconds reach from 1677 to 2262."""
    is_shown = time_ms is not None and -9_223_372_036_854 <= time_ms <= 9_223_372_036_854
    return same(pd.Timestamp(time_ms, unit="ms", tz="UTC")) if is_shown else "missing"


def row_of(record: RunRecord, columns: list[str], *, typed: bool) -> list[str]:
    run = Run(record)
    cells = {
        "run_id": same(record.id), "experiment_id": same("0"), "status": same(record.status),
        "artifact_uri": same(f"runs:/{record.id}"),
        "start_time": time_cell(record.started_at), "end_time": time_cell(record.ended_at),
    }  # fmt: skip
    cells |= {f"metrics.{key}": repr(value) for key, value in run.data.metrics.items()}
    cells |= {f"params.{key}": same(value) for key, value in (run.params if typed else run.data.params).items()}
    cells |= {f"tags.{key}": same(value) for key, value in run.data.tags.items()}
    assert set(cells) <= set(columns)
    return [cells.get(column, "nan" if column.startswith("metrics.") else "missing") for column in columns]


@example(
    runs=[EDGE | {"started_at": at} for at in (9_223_372_036_854, -9_223_372_036_854, 9_223_372_036_855)],
    typed=True,
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(runs=st.lists(changes(), max_size=4), typed=st.booleans())
def test_a_frame_says_what_the_runs_say(
    fresh: Callable[[], Repo], runs: list[dict[str, Any]], typed: bool
) -> None:
    repo = fresh()
    endings = [log_run(repo, told) for told in runs]
    try:
        records = [stored.record for stored in repo.store.list_runs().runs]
        records.sort(key=lambda record: (-record.started_at, record.id))
        frame = gittrack.search_runs(typed=typed)
        columns = list(frame.columns)
        expected = {key for record in records for key in _columns_of(record)}
        assert columns[: len(HEAD)] == HEAD
        assert set(columns[len(HEAD) :]) == expected
        rows = [[same(value) for value in row] for row in frame.astype(object).itertuples(index=False)]
        assert rows == [row_of(record, columns, typed=typed) for record in records]
        found = gittrack.search_runs(output_format="list")
        assert [same(run.record) for run in found] == [same(record) for record in records]
    finally:
        for end in endings:
            end()


def _columns_of(record: RunRecord) -> list[str]:
    data = Run(record).data
    return [
        *(f"metrics.{key}" for key in data.metrics),
        *(f"params.{key}" for key in data.params),
        *(f"tags.{key}" for key in data.tags),
    ]
