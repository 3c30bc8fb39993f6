"""A repository with very many runs, quickly: `git fast-import` of the files that gittrack itself would write.

Each is a valid run: its files, its ids and its message come from gittrack's own codec. Source of the stream's
format: git-fast-import(1).
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from places import Bench

from gittrack.git.objects import BLOB, FILE_MODE, TREE_MODE, ObjectId, ObjectSet
from gittrack.schema.messages import format_run_message
from gittrack.schema.names import (
    DEFAULT_EXPERIMENT,
    DEFAULT_EXPERIMENT_ID,
    RunId,
    experiment_ref,
    metric_path,
)
from gittrack.schema.points import CSV_HEADER, Summary, format_rows
from gittrack.schema.records import MetricSummary, RunRecord, Source
from gittrack.store.trees import REQUIREMENTS_FILE, Files, record_files

_BEGAN_AT = 1_700_000_000_000  # ms since the epoch; every run begins a minute after the one before
_METRICS = ("train/loss", "val/loss", "val/accuracy", "val/f1", "val/auc")
_POINTS = 10
_REQUIREMENTS = "".join(f"package-{number}=={number % 7}.{number % 11}.0\n" for number in range(60)).encode()


def write_history(bench: Bench, place: Path, count: int) -> None:
    """Put ``count`` finished runs on the branch of the Default experiment, in one pack.

    Raises:
        CalledProcessError: git did not take them.
    """
    code = ObjectId(bench.git(place, "rev-parse", "HEAD^{tree}"))
    argv = ["git", "fast-import", "--quiet", "--done"]
    with subprocess.Popen(argv, cwd=place, env=bench.environment, stdin=subprocess.PIPE) as importer:
        assert importer.stdin is not None
        _Stream(importer.stdin, code).write(make_runs(count))
        importer.stdin.close()
        code_of_exit = importer.wait()
    if code_of_exit:
        raise subprocess.CalledProcessError(code_of_exit, argv)


def make_runs(count: int) -> Iterator[tuple[RunRecord, dict[str, bytes]]]:
    """Finished runs, oldest first, each with its metrics' CSVs by key; the same ones every time."""
    draw = random.Random(20)
    for number in range(count):
        started_at = _BEGAN_AT + number * 60_000
        summaries, histories = {}, {}
        for key in _METRICS:
            summaries[key], histories[key] = _make_history(draw, started_at)
        yield _make_run(draw, number, started_at, summaries), histories


def _make_run(draw: random.Random, number: int, started_at: int, metrics: dict[str, MetricSummary]) -> RunRecord:
    return RunRecord(
        id=RunId(f"{draw.getrandbits(128):032x}"),
        name=f"calm-otter-{number}",
        experiment=DEFAULT_EXPERIMENT,
        experiment_id=DEFAULT_EXPERIMENT_ID,
        status="FINISHED",
        started_at=started_at,
        ended_at=started_at + 42_000,
        user="bench",
        host="localhost",
        tags={"team": "vision" if number % 3 else "language"},
        source=Source(name="train.py", command="train.py", python="3.11.0", platform="Linux"),
        params={
            "lr": round(10 ** draw.uniform(-4, -1), 6),
            "dropout": round(draw.random(), 4),
            "optimizer": draw.choice(("adam", "sgd", "lion")),
            "epochs": draw.choice((10, 20, 40)),
            "augment": number % 2 == 0,
        },
        metrics=metrics,
    )


def _make_history(draw: random.Random, started_at: int) -> tuple[MetricSummary, bytes]:
    steps = range(_POINTS)
    times_s = [started_at / 1000 + step for step in steps]
    values = [draw.random() for _ in steps]
    summary = Summary()
    summary.add(steps, times_s, values)
    return summary.freeze(), (CSV_HEADER + format_rows(steps, times_s, values)).encode()


class _Stream:
    """Writes runs as a fast-import stream; a blob that comes again is named and not sent again."""

    def __init__(self, out: IO[bytes], code: ObjectId) -> None:
        self._out = out
        self._code = code
        self._shared: set[ObjectId] = set()
        self._ref = experiment_ref(DEFAULT_EXPERIMENT).encode()

    def write(self, runs: Iterator[tuple[RunRecord, dict[str, bytes]]]) -> None:
        for run, histories in runs:
            objects = ObjectSet("sha1")
            files = record_files(run, objects)
            for key, csv in histories.items():
                files[metric_path(key)] = (FILE_MODE, objects.add_blob(csv))
            files[REQUIREMENTS_FILE] = (FILE_MODE, objects.add_blob(_REQUIREMENTS))
            files["code"] = (TREE_MODE, self._code)
            self._write_blobs(objects)
            self._write_commit(run, files)
        self._out.write(b"done\n")

    def _write_blobs(self, objects: ObjectSet) -> None:
        for object_id, kind, data in objects:
            assert kind == BLOB
            if object_id not in self._shared:
                self._out.write(b"blob\ndata %d\n%s\n" % (len(data), data))
                self._shared.add(object_id)

    def _write_commit(self, run: RunRecord, files: Files) -> None:
        message = format_run_message(run, "", {f"{int(run.id[:16], 16):016x}": 4096}).encode()
        author = b"Bench <bench@localhost> %d +0000" % (run.started_at // 1000)
        committer = b"Bench <bench@localhost> %d +0000" % ((run.ended_at or 0) // 1000)
        lines = [b"commit " + self._ref, b"author " + author, b"committer " + committer]
        lines += [b"data %d\n%s" % (len(message), message), b"deleteall"]
        lines += [b"M %06o %s %s" % (mode, blob.encode(), path.encode()) for path, (mode, blob) in files.items()]
        self._out.write(b"\n".join(lines) + b"\n\n")
