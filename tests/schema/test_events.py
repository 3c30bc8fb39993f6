"""The fold of a journal: who wins, what is kept, and what a run goes on with."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gittrack.schema.codec import encode_run, parse_run
from gittrack.schema.events import Event, PointBlock, RunFold
from gittrack.schema.names import experiment_id
from gittrack.schema.records import Artifact, DatasetInput, RunRecord, Source

from .making import RUN_ID, make_run, make_summary

START = {"name": "first", "experiment": "tune", "started_at": 1000, "user": "ada", "host": "box", "parent": None}


def fold_of(*events: tuple[str, dict[str, Any]], base: RunRecord | None = None) -> RunFold:
    fold = RunFold(RUN_ID, base)
    for number, (kind, fields) in enumerate(events, 1):
        fold.add_event(Event(kind, float(number), fields))
    return fold


def test_a_run_is_what_its_events_say() -> None:
    fold = fold_of(
        ("start", START),
        ("source", {"source": {"name": "train.py"}, "requirements": "a==1\n", "tree": "4" * 40}),
        ("param", {"params": {"lr": 0.1, "n": 3}}),
        ("tag", {"tags": {"a": "1", "b": "2"}}),
        ("untag", {"key": "b"}),
        ("set", {"name": "second", "note": "a note"}),
        ("input", {"dataset": {"name": "d", "digest": "x"}}),
        ("artifact", {"path": "m.bin", "oid": "0" * 64, "size_bytes": 3}),
        ("end", {"status": "FAILED", "ended_at": 2000, "error": "boom"}),
    )
    fold.add_points(PointBlock("loss", [0, 1], [1.0, 9.0], [0.5, 0.25]))
    expected = make_run(
        name="second",
        experiment="tune",
        experiment_id=experiment_id("tune"),
        status="FAILED",
        started_at=1000,
        ended_at=2000,
        user="ada",
        host="box",
        note="a note",
        error="boom",
        tags={"a": "1"},
        source=Source(name="train.py"),
        inputs=(DatasetInput(name="d", digest="x"),),
        params={"lr": 0.1, "n": 3},
        metrics=fold.freeze().metrics,
    )
    assert fold.freeze() == expected
    assert fold.artifacts == {"m.bin": Artifact(path="m.bin", oid="0" * 64, size_bytes=3)}
    assert (fold.environment, fold.code_tree, fold.latest_at) == ("a==1\n", "4" * 40, 9000)
    assert fold.freeze().metrics["loss"].last == 0.25


def test_a_run_whose_start_is_lost_keeps_what_was_logged() -> None:
    run = fold_of(("param", {"params": {"lr": 1}})).freeze()
    assert (run.id, run.name, run.status, run.started_at, run.params) == (
        RUN_ID, "recovered-01234567", "RUNNING", 1000, {"lr": 1},
    )  # fmt: skip
    assert RunFold(RUN_ID).freeze().started_at == 0


def test_the_first_start_counts_when_several_processes_join() -> None:
    run = fold_of(("start", START), ("start", {**START, "name": "joined", "started_at": 5})).freeze()
    assert (run.name, run.started_at) == ("first", 1000)


def test_of_a_param_logged_twice_the_first_counts_and_the_other_is_seen() -> None:
    run = fold_of(
        ("param", {"params": {"a": 1, "b": math.nan, "c": 1}}),
        ("param", {"params": {"a": 2, "b": math.nan, "c": 1.0, "d": None}}),
    ).freeze()
    assert repr(run.params) == repr({"a": 1, "b": math.nan, "c": 1, "d": None})
    assert run.tags == {"gittrack.conflict.a": "2", "gittrack.conflict.c": "1.0"}


def test_of_a_tag_the_last_counts_and_a_removed_one_is_gone() -> None:
    run = fold_of(
        ("tag", {"tags": {"a": "1"}}), ("untag", {"key": "a"}), ("untag", {"key": "x"}), ("tag",
        {"tags": {"b": "1"}}),
        ("tag", {"tags": {"b": "2"}}),
    ).freeze()  # fmt: skip
    assert run.tags == {"b": "2"}


def test_a_dataset_logged_twice_is_kept_once() -> None:
    fields = {"dataset": {"name": "d", "digest": "x", "context": "training"}}
    other = {"dataset": {"name": "d", "digest": "x", "context": "test"}}
    run = fold_of(("input", fields), ("input", other), ("input", fields)).freeze()
    assert [dataset.context for dataset in run.inputs] == ["training", "test"]


def test_of_an_artifact_the_last_counts() -> None:
    fields = {"path": "a", "oid": "1" * 64, "size_bytes": 1}
    fold = fold_of(("artifact", fields), ("artifact", {**fields, "oid": "2" * 64}))
    assert [artifact.oid for artifact in fold.artifacts.values()] == ["2" * 64]


def test_of_a_file_and_a_folder_of_one_name_the_last_counts() -> None:
    def paths(*logged: str) -> list[str]:
        return list(
            fold_of(*(("artifact", {"path": path, "oid": "1" * 64, "size_bytes": 1}) for path in logged)).artifacts
        )

    assert paths("a", "d/b", "d") == ["a", "d"]
    assert paths("d", "d/b", "dd", "d") == ["dd", "d"]
    assert paths("d", "dd", "d/b/c", "d/b/e") == ["dd", "d/b/c", "d/b/e"]
    assert paths("d/b/c", "d/e", "d/b") == ["d/e", "d/b"]


def test_a_resumed_run_goes_on_with_all_it_had_but_how_it_ended() -> None:
    base = make_run(
        status="FAILED", ended_at=5, error="boom", revision=3, note="n", tags={"a": "1"}, params={"p": 1},
        metrics={"m": make_summary(1.0), "other": make_summary(7.0)}, extra={"later": 1},
        inputs=(DatasetInput(name="d", digest="x"),), source=Source(name="a.py"),
    )  # fmt: skip
    fold = fold_of(("start", START), ("resume", {}), ("param", {"params": {"p": 1, "q": 2}}), base=base)
    fold.add_points(PointBlock("m", [1], [9.0], [3.0]))
    run = fold.freeze()
    assert (run.status, run.ended_at, run.error, run.revision) == ("RUNNING", None, "", 3)
    assert (run.name, run.experiment, run.note, run.tags, run.extra) == (
        base.name, "Default", "n", {"a": "1"}, {"later": 1},
    )  # fmt: skip
    assert (run.params, run.inputs, run.source) == ({"p": 1, "q": 2}, base.inputs, base.source)
    assert (run.metrics["m"].first, run.metrics["m"].last, run.metrics["m"].count) == (1.0, 3.0, 2)
    assert run.metrics["other"] == base.metrics["other"]


def test_an_edit_of_nothing_leaves_the_record_as_it_was() -> None:
    base = make_run(metrics={"m": make_summary(1.0)}, tags={"a": "1"}, extra={"later": {"x": 1}})
    assert RunFold(RUN_ID, base).freeze() == base


def test_events_and_fields_of_a_later_version_are_passed_over() -> None:
    fold = fold_of(
        ("start", {**START, "later": 1}),
        ("teleport", {"where": "moon"}),
        ("source", {"source": {"name": "a.py", "gpu": "H100"}}),
        ("input", {"dataset": {"name": "d", "digest": "x", "license": "MIT"}}),
        ("artifact", {"path": "a", "oid": "0" * 64, "size_bytes": 1, "chunks": []}),
    )
    run = fold.freeze()
    assert (run.source, run.inputs) == (Source(name="a.py"), (DatasetInput(name="d", digest="x"),))
    assert list(fold.artifacts) == ["a"]


def test_a_status_that_there_is_not_is_no_end() -> None:
    assert fold_of(("start", START), ("end", {"status": "DONE", "ended_at": 1})).freeze().status == "RUNNING"


@pytest.mark.parametrize(
    ("time_s", "ended_at"), [(math.inf, 1000), (math.nan, 2000), (1e300, 253_402_300_799_999)]
)
def test_a_time_that_no_clock_shows_loses_no_run(time_s: float, ended_at: int) -> None:
    fold = fold_of(("start", START))
    fold.add_points(PointBlock("m", [0, 1], [2.0, time_s], [1.0, 2.0]))
    run = fold.freeze()
    ended = RunRecord(**{name: getattr(run, name) for name in run.__slots__} | {"ended_at": fold.latest_at})
    run_yaml, params_yaml, metrics_yaml = encode_run(ended).values()
    assert parse_run(run_yaml, params_yaml, metrics_yaml, "run").ended_at == ended_at


def test_the_latest_time_is_that_of_any_point_whatever_the_order() -> None:
    fold = RunFold(RUN_ID)
    fold.add_points(PointBlock("m", [0, 1], [5.0, 2.0], [1.0, 2.0]))
    assert fold.latest_at == 5000


def test_the_sink_is_given_every_block() -> None:
    blocks: list[PointBlock] = []

    class Sink:
        def add(self, block: PointBlock) -> None:
            blocks.append(block)

    given = [PointBlock("a", [0], [0.0], [1.0]), PointBlock("b", [0, 1], [0.0, 1.0], [1.0, 2.0])]
    fold = RunFold(RUN_ID, sink=Sink())
    for block in given:
        fold.add_points(block)
    assert blocks == given


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("start", {}),
        ("start", {"experiment": 5}),
        ("param", {"params": [1]}),
        ("param", {"params": {"a": {"b": 1}}}),
        ("tag", {"tags": 5}),
        ("tag", {"tags": {"a": 1}}),
        ("untag", {"key": []}),
        ("set", {"name": 7}),
        ("set", {"status": "PWNED"}),
        ("set", {"note": "x", "lifecycle": []}),
        ("source", {"source": 5}),
        ("source", {"source": {"commit": 5}}),
        ("source", {"source": {}, "tree": "../../x"}),
        ("input", {"dataset": 1}),
        ("input", {"dataset": {"name": "d", "digest": "x", "tags": {"a": 1}}}),
        ("end", {"status": "PWNED", "ended_at": 1}),
        ("end", {"status": "FINISHED", "ended_at": "x"}),
        ("end", {"status": "FINISHED", "ended_at": 10**400}),
        ("artifact", {}),
        ("artifact", {"path": "../x", "oid": "0" * 64, "size_bytes": 3}),
        ("artifact", {"path": "x", "oid": "/etc/passwd", "size_bytes": 3}),
        ("artifact", {"path": "x", "oid": "0" * 64, "size_bytes": -3}),
        ("artifact", {"path": "x", "oid": "0" * 64, "size_bytes": True}),
        ("artifact", {"path": "x", "oid": "0" * 64, "size_bytes": 3, "mode": 0o160000}),
    ],
)
def test_an_event_that_does_not_fit_costs_only_itself(kind: str, fields: dict[str, Any]) -> None:
    with_it = fold_of(("start", START), (kind, fields), ("tag", {"tags": {"a": "1"}}))
    without = fold_of(("start", START), ("later", {}), ("tag", {"tags": {"a": "1"}}))
    assert with_it.freeze() == without.freeze()
    assert (with_it.artifacts, with_it.environment, with_it.code_tree) == ({}, "", None)
    assert with_it.left_out == (kind not in ("start", "untag"))  # these change nothing anyway
