"""Histories in bulk: one long DataFrame that says what the client says point by point, whatever was logged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gittrack
from gittrack.errors import ArtifactMissingError, DamagedError, InvalidValueError, NotFoundError
from gittrack.tracking.histories import choose_keys
from tests.harness import Repo, finish_child, start_child

NOW = 1_700_000_000_000
COLUMNS = ["run_id", "key", "step", "timestamp", "value"]
STEPS = st.integers(-(1 << 63), (1 << 63) - 1)
TIMES = st.integers(-62_135_596_800_000, 253_370_764_799_999)
Row = tuple[str, str, int, int, str]


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """Every row in plain types; values as text, which tells NaN and signed zeros apart."""
    assert list(frame.columns) == COLUMNS
    assert [str(frame[column].dtype) for column in COLUMNS[2:]] == ["int64", "datetime64[ms, UTC]", "float64"]
    assert list(frame.index) == list(range(len(frame)))
    times = frame["timestamp"].dt.tz_localize(None).to_numpy().astype("M8[ms]").astype("i8")
    columns = zip(frame["run_id"], frame["key"], frame["step"], times, frame["value"], strict=True)
    return [(run_id, key, int(step), int(at), repr(float(value))) for run_id, key, step, at, value in columns]


def told_by_client(run_id: str, keys: Sequence[str]) -> list[Row]:
    client = gittrack.Client()
    return [
        (run_id, key, point.step, point.timestamp, repr(point.value))
        for key in keys
        for point in client.get_metric_history(run_id, key)
    ]


def make_run(**values: Sequence[float]) -> str:
    with gittrack.start_run() as run:
        for key, logged in values.items():
            for step, value in enumerate(logged):
                run.log_metric(key, value, step, timestamp=NOW + step)
    return run.info.run_id


def rows_or_message(read: Callable[[], list[Row]]) -> list[Row] | str:
    try:
        return read()
    except DamagedError as error:
        return error.message


def rewrite_history(repo: Repo, csv: bytes) -> None:
    """Put other bytes in the place of the newest run's only history, as a person with plain git would."""
    (repo.path / "edited.csv").write_bytes(csv)
    blob = repo.git("hash-object", "-w", "edited.csv").strip()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_INDEX_FILE", str(repo.path / "other.index"))
        repo.git("read-tree", "gittrack/Default")
        repo.git("update-index", "--cacheinfo", f"100644,{blob},metrics/a.csv")
        tree = repo.git("write-tree").strip()
    message = repo.git("log", "-1", "--format=%B", "gittrack/Default")
    repo.git("update-ref", "refs/heads/gittrack/Default", repo.git("commit-tree", tree, "-m", message).strip())


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=st.lists(st.tuples(STEPS, TIMES, st.floats()), min_size=1, max_size=30), resumed=st.booleans())
def test_a_finished_a_resumed_and_an_open_run_give_what_the_client_gives(
    repo: Repo, points: list[tuple[int, int, float]], resumed: bool
) -> None:
    with gittrack.start_run() as run:
        for step, at, value in points:
            run.log_metric("a", value, step, timestamp=at)
            run.log_metric("deep/b", -value, step, timestamp=at)
        in_flight = rows_of(gittrack.metrics(run))
        assert in_flight == told_by_client(run.info.run_id, ["a", "deep/b"])
        assert sorted(in_flight) == sorted(
            (run.info.run_id, key, step, at, repr(sign * value))
            for key, sign in (("a", 1), ("deep/b", -1))
            for step, at, value in points
        )
    if resumed:
        with gittrack.start_run(run_id=run.info.run_id) as run:
            run.log_metric("a", 1.5, 3, timestamp=NOW)
            assert rows_of(gittrack.metrics(run)) == told_by_client(run.info.run_id, ["a", "deep/b"])
    assert rows_of(gittrack.metrics(run)) == told_by_client(run.info.run_id, ["a", "deep/b"])


def test_a_run_of_another_process_is_read_while_it_runs(repo: Repo) -> None:
    child = start_child(
        """
        import gittrack
        run = gittrack.start_run()
        for step in range(1000):
            gittrack.log({"loss": 1 / (step + 1), "acc": step / 7}, step=step)
        print(run.info.run_id, flush=True)
        input()
        """,
        repo.path,
    )
    child_out = child.stdout
    assert child_out is not None
    run_id = child_out.readline().strip()
    frame = gittrack.metrics(run_id, "acc")
    assert frame["value"].tolist() == [step / 7 for step in range(1000)]
    assert rows_of(frame) == told_by_client(run_id, ["acc"])
    child.kill()
    child.communicate()


def test_runs_are_taken_in_every_form_and_each_once(repo: Repo) -> None:
    one, two = make_run(a=[1.0, 2.0]), make_run(a=[3.0], b=[4.0])
    expected = told_by_client(one, ["a"]) + told_by_client(two, ["a", "b"])
    run = gittrack.get_run(one)
    for runs in (
        [one, two],
        (one[:10], "@last"),
        [run, two, one],
        [run.record, gittrack.get_run(two)],
        pd.DataFrame({"run_id": [one, two], "other": [0, 0]}),
        iter([one, two]),
        [[one], [two] * 6],
    ):
        assert rows_of(gittrack.metrics(runs)) == expected
    with pytest.raises(NotFoundError, match="no run is called 'nobody'"):
        gittrack.metrics("nobody")
    for wrong in (3, None, {"a": 1}, [one, 3.5]):
        with pytest.raises(InvalidValueError, match="runs are named by ids"):
            gittrack.metrics(wrong)
    with pytest.raises(InvalidValueError, match="no column 'run_id'"):
        gittrack.metrics(pd.DataFrame({"id": [one]}))


def test_keys_are_chosen_by_name_or_pattern_and_what_a_run_lacks_is_absent() -> None:
    known = ["train/loss", "val/loss", "train/deep/acc", "lr"]
    assert choose_keys(known, None) == known
    assert choose_keys(known, "lr") == ["lr"]
    assert choose_keys(known, ["lr", "train/*", "lr", "none"]) == ["lr", "train/loss", "train/deep/acc"]
    assert choose_keys(known, "*/loss") == ["train/loss", "val/loss"]
    assert choose_keys(known, "TRAIN/*") == []


def test_nothing_is_an_empty_frame_of_the_same_types(repo: Repo) -> None:
    run_id = make_run(a=[1.0])
    for frame in (gittrack.metrics(run_id, "other"), gittrack.metrics([]), gittrack.metrics(run_id, [])):
        assert rows_of(frame) == []
        full = gittrack.metrics(run_id)
        assert frame.dtypes.to_dict() == full.dtypes.to_dict()
        assert len(pd.concat([frame, full])) == 1


def test_a_history_kept_in_lfs_is_read_whole_or_said_to_be_missing(repo: Repo) -> None:
    values = np.random.default_rng(7).standard_normal(60_000)
    values[[5, 6, 7]] = math.nan, math.inf, -math.inf
    run_id = make_run(a=values.tolist())
    assert repo.git("show", "gittrack/Default:metrics/a.csv").startswith("version https://git-lfs")
    frame = gittrack.metrics(run_id)
    assert frame["value"].to_numpy().tobytes() == values.tobytes()
    assert frame["step"].tolist() == list(range(60_000))
    for kept in (Path(repo.repository.common_dir) / "lfs/objects").rglob("*"):
        if kept.is_file():
            kept.unlink()
    with pytest.raises(ArtifactMissingError, match="is not on this machine"):
        gittrack.metrics(run_id)


CELLS: list[st.SearchStrategy[Any]] = [
    st.integers(-5, 5).map(str),
    st.sampled_from(["", " ", "1_0", "1.0", "nan", "-inf", "x", "9223372036854775807", "\r", '"1"', "#", "١"]),
]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.booleans(),
    lines=st.lists(st.lists(st.one_of(CELLS), min_size=1, max_size=4).map(",".join), max_size=4),
    end=st.sampled_from(["\n", ""]),
)
def test_edited_by_hand_it_is_read_or_refused_as_the_client_does(
    repo: Repo, header: bool, lines: list[str], end: str
) -> None:
    run_id = make_run(a=[1.0])
    text = "\n".join([*(["step,timestamp,value"] if header else []), *lines]) + end
    rewrite_history(repo, text.encode())
    assert rows_or_message(lambda: rows_of(gittrack.metrics(run_id))) == rows_or_message(
        lambda: told_by_client(run_id, ["a"])
    )


def test_a_step_beyond_64_bits_is_refused_in_one_line(repo: Repo) -> None:
    run_id = make_run(a=[1.0])
    rewrite_history(repo, b"step,timestamp,value\n9223372036854775808,1,2.0\n")
    with pytest.raises(DamagedError, match=f"run {run_id} metric a: a step or a time does not fit 64 bits"):
        gittrack.metrics(run_id)


def test_a_run_that_is_committed_while_it_is_read_is_whole(repo: Repo) -> None:
    child = start_child(
        """
        import gittrack
        run = gittrack.start_run()
        for step in range(100):
            gittrack.log({"loss": step / 3}, step=step)
        print(run.info.run_id, flush=True)
        input()
        """,
        repo.path,
        GITTRACK_SYNC="1",
    )
    child_out = child.stdout
    assert child_out is not None
    stored = repo.store.get_run(child_out.readline().strip())
    finish_child(child, 1)  # its input has ended: the run ends as failed, and its folder goes
    parts = list(repo.store.read_histories(stored, ["loss"]))
    (key, chunks) = parts[0]
    assert (key, len(parts)) == ("loss", 1)
    assert not isinstance(chunks, tuple)
