"""What differs between runs, as data: types count, what is not recorded does not, and NaN is NaN."""

from __future__ import annotations

import math

from hypothesis import given

from gittrack.schema.diff import compare_runs
from gittrack.schema.differences import FileFact, Missing, RunDiff, RunFacts
from gittrack.schema.records import DatasetInput, RunRecord, Source

from .making import make_run, make_summary, runs

ABSENT, UNRECORDED = Missing.ABSENT, Missing.UNRECORDED


def facts(record: RunRecord | None = None, **fields: object) -> RunFacts:
    record = record or make_run()
    return RunFacts(title=record.name, record=record, source=record.source, **fields)  # type: ignore[arg-type]


def compare(*records: RunRecord) -> RunDiff:
    return compare_runs([facts(record) for record in records])


@given(runs)
def test_a_run_does_not_differ_from_itself(run: RunRecord) -> None:
    found = compare(run, run, run)
    assert not found
    assert [name for name in RunDiff.__dataclass_fields__ if name != "runs" and getattr(found, name)] == []


def test_values_of_another_type_differ() -> None:
    params = {"a": 1, "b": 1, "c": 1, "d": 1.0, "e": math.nan, "f": None, "g": "x"}
    others = {"a": "1", "b": 1.0, "c": True, "d": 1.0, "e": math.nan, "g": "x"}
    found = compare(make_run(params=params), make_run(params=others))
    assert found.params.names == ["a", "b", "c", "f"]
    assert found.params["f"].values == (None, ABSENT)
    assert [row.name for row in found.params.rows] == list("abcdefg")


def test_a_metric_tells_how_far_it_went_and_whether_that_is_better() -> None:
    one = make_run(metrics={"acc": make_summary(0.8), "loss": make_summary(2.0), "x": make_summary(0.0)})
    other = make_run(metrics={"acc": make_summary(0.6), "loss": make_summary(1.0), "x": make_summary(1.0)})
    found = compare(one, other).metrics
    told = {row.name: (row.delta, row.relative, row.goal, row.verdict, row.best) for row in found}
    assert told == {
        "acc": (0.6 - 0.8, (0.6 - 0.8) / 0.8, "max", "worse", 0),
        "loss": (-1.0, -0.5, "min", "better", 1),
        "x": (1.0, None, None, "unknown", None),
    }


def test_nan_is_the_same_as_nan_and_never_better() -> None:
    number, nan = (make_run(metrics={"loss": make_summary(value)}) for value in (1.0, math.nan))
    assert not compare(nan, nan)
    assert compare(number, nan).metrics["loss"].verdict == "worse"
    assert compare(nan, number).metrics["loss"].verdict == "better"
    assert compare(nan, number, nan).metrics["loss"].best is None


def test_a_tag_says_which_way_a_metric_is_better() -> None:
    one, other = (make_run(metrics={"x": make_summary(value)}) for value in (1.0, 2.0))
    sides = [facts(one), facts(other, experiment_tags={"gittrack.goal.x": "min"})]
    assert compare_runs(sides).metrics["x"].verdict == "worse"


def test_metrics_of_the_machine_are_told_apart_and_count_for_nothing() -> None:
    one, other = (make_run(metrics={"system/cpu": make_summary(value)}) for value in (1.0, 2.0))
    found = compare(one, other)
    assert not found
    assert found.system.names == ["system/cpu"]


def test_what_is_not_recorded_is_no_difference() -> None:
    run = make_run(params={"lr": 1}, source=Source(command="python a.py", python="3.11"))
    tree = RunFacts(title="work tree", source=Source(command="gittrack diff", python="3.11"))
    found = compare_runs([facts(run, packages={"a": "1"}, artifacts={"x": FileFact(0o100644, "0")}), tree])
    assert not found
    assert found.params["lr"].values == (1, UNRECORDED)
    assert found.source["command"].values == ("python a.py", UNRECORDED)
    assert found.environment["a"].values == ("1", UNRECORDED)
    assert found.artifacts["x"].values[1] is UNRECORDED


def test_id_name_times_and_the_commits_name_are_no_difference() -> None:
    one = make_run(name="a", started_at=1, ended_at=2, source=Source(commit="1" * 40, branch="x", dirty=False))
    other = make_run(name="b", started_at=3, ended_at=9, source=Source(commit="2" * 40, branch="y", dirty=True))
    assert not compare(one, other)


def test_data_is_told_by_name_context_and_digest() -> None:
    def with_data(*digests: str, source: str = "s3://a") -> RunRecord:
        return make_run(
            inputs=tuple(
                DatasetInput(name="d", digest=digest, context="train", source=source) for digest in digests
            )
        )

    found = compare(with_data("1", "2"), with_data("1", "3"))
    assert [(row.name, row.values) for row in found.data] == [("d (train) #2", ("2", "3"))]
    [row] = compare(with_data("1"), with_data("1", source="s3://b")).data
    assert (row.values, row.also) == (("1", "1"), ("source",))


def test_packages_are_added_removed_and_changed() -> None:
    found = compare_runs(
        [facts(packages={"a": "1", "b": "1", "c": "1"}), facts(packages={"b": "2", "c": "1", "d": "1"})]
    )
    assert {row.name: row.values for row in found.environment} == {
        "a": ("1", ABSENT),
        "b": ("1", "2"),
        "d": (ABSENT, "1"),
    }


def test_a_file_of_the_same_bytes_elsewhere_is_renamed_the_one_of_its_base_name_first() -> None:
    def code(*files: tuple[str, str]) -> RunFacts:
        return facts(code={path: FileFact(0o100644, object_id) for path, object_id in files})

    empty = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    found = compare_runs(
        [code(("a/x.py", "1"), ("a/y.py", "1"), ("e", empty)), code(("b/y.py", "1"), ("f", empty), ("n", "2"))]
    )
    assert [(row.name, row.change, row.renamed_from) for row in found.code] == [
        ("a/x.py", "removed", None),
        ("b/y.py", "renamed", "a/y.py"),
        ("e", "removed", None),
        ("f", "added", None),
        ("n", "added", None),
    ]


def test_three_sides_have_a_value_each() -> None:
    found = compare(*(make_run(params={"lr": rate}, tags={"t": "x"}) for rate in (1, 1, 2)))
    assert [(row.name, row.values) for row in found.params] == [("lr", (1, 1, 2))]
    assert not found.tags
