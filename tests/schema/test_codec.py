"""Records to files and back: nothing is lost, and what does not fit is told with its place."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gittrack.errors import DamagedError
from gittrack.schema import codec
from gittrack.schema.codec import (
    encode_experiment,
    encode_run,
    format_time,
    parse_experiment,
    parse_run,
    parse_time,
)
from gittrack.schema.names import ExperimentId
from gittrack.schema.records import DatasetInput, ExperimentRecord, MetricSummary, RunRecord, Source

from .making import experiments, make_run, make_summary, runs, times

TABLES: list[tuple[type, tuple[tuple[str, str, str], ...]]] = [
    (RunRecord, codec.RUN_FIELDS),
    (Source, codec.SOURCE_FIELDS),
    (DatasetInput, codec.INPUT_FIELDS),
    (MetricSummary, codec.METRIC_FIELDS),
    (ExperimentRecord, codec.EXPERIMENT_FIELDS),
]


def read_back(run: RunRecord) -> RunRecord:
    run_yaml, params_yaml, metrics_yaml = encode_run(run).values()
    return parse_run(run_yaml, params_yaml, metrics_yaml, "run")


@given(runs)
def test_a_run_comes_back_whole(run: RunRecord) -> None:
    # repr tells NaN, signs of zero and types apart, where == does not
    assert repr(read_back(run)) == repr(run)


@given(runs)
def test_the_same_run_gives_the_same_bytes(run: RunRecord) -> None:
    assert encode_run(read_back(run)) == encode_run(run)


@given(experiments)
def test_an_experiment_comes_back_whole(experiment: ExperimentRecord) -> None:
    found = parse_experiment(encode_experiment(experiment), "experiment")
    assert repr(found) == repr(experiment)
    assert encode_experiment(found) == encode_experiment(experiment)


@pytest.mark.parametrize(("record", "table"), TABLES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_field_of_a_record_is_written(record: type, table: tuple[tuple[str, str, str], ...]) -> None:
    elsewhere = {"extra"} | ({"params", "metrics"} if record is RunRecord else set())
    assert {entry.rstrip("?") for entry, _, _ in table} == {field.name for field in fields(record)} - elsewhere


def test_what_stands_at_its_default_is_left_out() -> None:
    written = yaml.safe_load(encode_run(make_run())["run.yaml"])
    assert list(written) == [
        "id", "name", "experiment", "experiment_id", "status", "lifecycle", "revision", "started_at"
    ]  # fmt: skip
    assert encode_run(make_run(source=Source()))["run.yaml"].endswith(b'source:\n  kind: "LOCAL"\n')


def test_an_empty_dataset_and_the_epoch_are_not_taken_for_nothing() -> None:
    run = make_run(ended_at=0, inputs=(DatasetInput(name="d", digest="x", rows=0),))
    assert read_back(run) == run


def test_an_edit_keeps_what_a_later_version_wrote_at_every_level() -> None:
    files = encode_run(
        make_run(source=Source(), inputs=(DatasetInput(name="d", digest="x"),), metrics={"m": make_summary(1.0)})
    )
    run_yaml = files["run.yaml"].replace(b'kind: "LOCAL"\n', b'kind: "LOCAL"\n  gpu: "H100"\n')
    run_yaml = run_yaml.replace(b'digest: "x"\n', b'digest: "x"\n    license: "MIT"\n') + b"energy:\n  kwh: 1.5\n"
    metrics_yaml = files["metrics.yaml"] + b"  mean: 1.0\n"
    run = parse_run(run_yaml, files["params.yaml"], metrics_yaml, "run")
    edited = encode_run(replace(run, note="edited"))
    assert edited["run.yaml"].replace(b'note: "edited"\n', b"") == run_yaml
    assert edited["metrics.yaml"] == metrics_yaml


@given(times)
def test_times_come_back_to_the_millisecond(time_ms: int) -> None:
    text = format_time(time_ms)
    assert parse_time(text) == time_ms
    assert len(text) == len("2024-01-01T00:00:00.000Z")


@given(st.integers())
def test_a_time_that_no_calendar_has_loses_no_run(time_ms: int) -> None:
    run = read_back(make_run(started_at=time_ms, ended_at=time_ms))
    assert run.started_at == run.ended_at == min(max(time_ms, -62_135_596_800_000), 253_402_300_799_999)


def test_a_time_is_taken_with_any_offset_and_never_without() -> None:
    assert parse_time("2024-01-01T02:00:00+02:00") == parse_time("2024-01-01T00:00:00.000Z") == 1_704_067_200_000
    with pytest.raises(ValueError, match="no offset"):
        parse_time("2024-01-01T00:00:00")


def change(data: bytes, **changed: Any) -> bytes:
    loaded = yaml.safe_load(data) | changed
    return yaml.safe_dump({key: value for key, value in loaded.items() if value != "-"}).encode()


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "-"}, {"id": "abc"}, {"id": 5}, {"id": "0" * 31 + "G"}, {"name": 5}, {"name": "-"},
        {"status": "DONE"},
        {"status": None}, {"lifecycle": "gone"}, {"started_at": "soon"}, {"started_at": 5},
        {"started_at": "2024-01-01T00:00:00"}, {"revision": True}, {"revision": 1.5}, {"revision": "1"},
        {"tags": [1]},
        {"source": "x"}, {"source": {"name": "no kind"}}, {"source": {"kind": "LOCAL", "dirty": "no"}},
        {"inputs": {"1": "x"}}, {"inputs": {"1": {"name": "d"}}}, {"inputs": {"1": 5}}, {"inputs": 5},
        {"started_at": "9999-12-31T23:59:59-23:59", "ended_at": "0001-01-01"},
    ],
)  # fmt: skip
def test_a_field_that_does_not_fit_is_damage_with_its_place(changed: dict[str, Any]) -> None:
    files = encode_run(make_run())
    with pytest.raises(DamagedError, match="run 7"):
        parse_run(change(files["run.yaml"], **changed), b"", b"", "run 7")


@pytest.mark.parametrize(
    "metrics", [b"m: 5\n", b"m:\n  last: 1.0\n", b"m: {}\n", b"- m\n", b"m:\n  first: 1" + b"0" * 400 + b"\n"]
)
def test_a_summary_that_does_not_fit_is_damage(metrics: bytes) -> None:
    with pytest.raises(DamagedError):
        parse_run(encode_run(make_run())["run.yaml"], b"", metrics, "run")


@pytest.mark.parametrize("field", ["last_step", "count"])
@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1, 10**18 * 9999])
def test_a_whole_number_beyond_64_bits_is_damage(field: str, number: int) -> None:
    values = {"first": 1.0, "last": 1.0, "last_step": 0, "min": 1.0, "max": 1.0, "count": 1} | {field: number}
    metrics = "m:\n" + "".join(f"  {name}: {value}\n" for name, value in values.items())
    with pytest.raises(DamagedError, match="64 bits"):
        parse_run(encode_run(make_run())["run.yaml"], b"", metrics.encode(), "run")


@pytest.mark.parametrize("changed", [{"name": "-"}, {"lifecycle": "x"}, {"created_at": 1}, {"tags": 5}])
def test_an_experiment_that_does_not_fit_is_damage(changed: dict[str, Any]) -> None:
    experiment = ExperimentRecord(id="0", name="a", made_as="a", created_at=0, updated_at=0)  # type: ignore[arg-type]
    with pytest.raises(DamagedError):
        parse_experiment(change(encode_experiment(experiment), **changed), "experiment")


def test_an_experiment_without_stores_is_written_as_before_there_were_any() -> None:
    told = ExperimentRecord(
        id=ExperimentId("0"), name="Default", made_as="Default", created_at=0, updated_at=0, revision=2
    )
    data = encode_experiment(told)
    assert b"artifact_stores" not in data
    stores = ("s3://runs/new", "/mnt/nas")
    named = encode_experiment(replace(told, artifact_stores=stores))
    assert named == data + b'artifact_stores:\n  "1": "s3://runs/new"\n  "2": "/mnt/nas"\n'
    assert parse_experiment(named, "here").artifact_stores == stores
    with pytest.raises(DamagedError, match="is no string"):
        parse_experiment(data + b'artifact_stores:\n  "1": 5\n', "here")


def test_a_null_that_a_person_left_is_as_if_it_were_not_there() -> None:
    files = encode_run(make_run())
    run = parse_run(files["run.yaml"] + b"note:\nended_at: ~\ntags:\nsource:\n", b"lr:\n", b"", "run")
    assert run == make_run(params={"lr": None})


def test_lists_that_a_person_wrote_are_read_as_text() -> None:
    run = parse_run(encode_run(make_run())["run.yaml"] + b"tags: {a: 1}\n", b"p: [1, 2]\n", b"", "run")
    assert (run.params, run.tags) == ({"p": "[1, 2]"}, {"a": "1"})


@given(st.dictionaries(st.sampled_from(["a", "b/c", "x y", "no", "é", "1"]), st.floats(), max_size=6))
def test_summaries_are_read_alike_fast_or_slow(values: dict[str, float]) -> None:
    run = make_run(metrics={key: make_summary(value) for key, value in values.items()})
    files = encode_run(run)
    slow = parse_run(files["run.yaml"], b"", b"# edited\n" + files["metrics.yaml"], "run")
    assert repr(slow.metrics) == repr(read_back(run).metrics) == repr(run.metrics)
