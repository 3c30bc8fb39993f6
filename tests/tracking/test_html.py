"""What a notebook shows of runs, of lists of them and of experiments: sound HTML, whatever they are called."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gittrack
from gittrack.entities import Experiment, Run, RunList
from gittrack.schema.names import DEFAULT_EXPERIMENT_ID, RunId
from gittrack.schema.records import MetricSummary, RunRecord
from gittrack.tracking import html
from gittrack.tracking.run_lists import differing_params, shared_metrics
from tests.harness import ROOT, Repo

NOW = 1_700_000_000_000
HOSTILE = "<script>alert('x')</script>\n\"onload=\"x\x1b[31m\u202e&amp;</td>"
SHOWN = "<script>alert('x')</script> \"onload=\"x\\x1b[31m\\u202e&amp;</td>"
TAGS = {"b", "details", "div", "span", "summary", "table", "tbody", "td", "th", "thead", "tr"}
# A notebook, and where to write it with what came out.
RUN_NOTEBOOK = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=100).execute()
nbformat.write(notebook, sys.argv[2])
"""


class Reader(HTMLParser):
    """Reads HTML that must be balanced, of few tags, with no attribute but ``style``; keeps the texts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.seen: set[str] = set()
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert all(name == "style" and value and "url" not in value for name, value in attrs)
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        assert self.open
        if data != " ":
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def summary(last: float) -> MetricSummary:
    return MetricSummary(first=last, last=last, last_step=0, min=last, max=last, count=1)


def record(number: int = 0, **changes: Any) -> RunRecord:
    made = RunRecord(
        id=RunId(f"{number:032x}"),
        name=f"run-{number}",
        experiment="Default",
        experiment_id=DEFAULT_EXPERIMENT_ID,
        status="FINISHED",
        started_at=NOW,
        ended_at=NOW + 1500,
    )
    return replace(made, **changes)


def test_a_run_shows_its_params_beside_its_metrics_and_its_tags_folded() -> None:
    shown = Reader(
        Run(
            record(params={"lr": 0.1, "n": 3}, metrics={"acc": summary(0.123456789)}, tags={"t": "v"})
        )._repr_html_()
    )
    assert shown.texts == [
        *("run-0", f"{0:032x} · FINISHED · Default · 2023-11-14 22:13:20 UTC · 1.5 s"),
        *("param", "value", "lr", "0.1", "n", "3", "metric", "last", "acc", "0.123457"),
        *("tags (1)", "tag", "value", "t", "v"),
    ]
    assert "details" in shown.seen


def test_hostile_names_stay_text() -> None:
    hostile = record(
        name=HOSTILE,
        experiment=HOSTILE,
        error=HOSTILE,
        note=HOSTILE,
        params={HOSTILE: HOSTILE},
        metrics={HOSTILE: summary(math.nan)},
        tags={HOSTILE: HOSTILE},
        lifecycle="deleted",
    )
    assert Reader(Run(hostile)._repr_html_()).texts.count(SHOWN) == 7
    assert SHOWN in Reader(RunList([Run(hostile), Run(record())])._repr_html_()).texts
    experiment = Experiment("0", HOSTILE, "", "deleted", {HOSTILE: HOSTILE}, NOW, None, HOSTILE)
    assert Reader(experiment._repr_html_()).texts == [
        *(SHOWN, f"0 · deleted · 2023-11-14 22:13:20 UTC · {SHOWN}"),
        *("tags (1)", "tag", "value", SHOWN, SHOWN),
    ]


@given(text=st.text(st.characters(exclude_categories=())))
def test_any_text_is_sound_html(text: str) -> None:
    Reader(Run(record(name=text, params={text: text}, tags={text: text}, note=text, error=text))._repr_html_())
    Reader(RunList([Run(record(name=text))], token=text)._repr_html_())


def test_a_list_of_runs_is_a_table_of_shared_metrics_and_differing_params() -> None:
    runs = RunList(
        [
            Run(record(1, params={"lr": 0.1, "same": 1}, metrics={"acc": summary(0.5), "system/cpu": summary(1)})),
            Run(record(2, params={"lr": 0.2, "same": 1}, status="FAILED")),
        ],
        token="next",
    )
    assert Reader(runs._repr_html_()).texts == [
        *("2 runs", "more by its token"),
        *("run", "name", "status", "acc", "lr", "started"),
        *("00000000", "run-1", "FINISHED", "0.5", "0.1", "2023-11-14 22:13:20 UTC"),
        *("00000000", "run-2", "FAILED", "0.2", "2023-11-14 22:13:20 UTC"),
    ]


def test_a_list_of_runs_is_a_list_with_a_token() -> None:
    one, two = Run(record(1)), Run(record(2))
    runs = RunList([one, two], "next")
    assert (list(runs), runs[0], runs.token, len(runs)) == ([one, two], one, "next", 2)
    assert type(runs.to_list()) is list
    assert (RunList(), RunList().token) == ([], None)
    assert Reader(RunList()._repr_html_()).texts == ["0 runs"]


def test_of_very_many_rows_the_first_are_shown() -> None:
    shown = Reader(html.table(["n"], [[number] for number in range(205)]))
    assert shown.texts == ["n", *map(str, range(200)), "and 5 more"]


def test_params_differ_by_value_and_type_and_a_single_run_shows_all() -> None:
    one, two = record(params={"a": 1, "b": 1, "c": 1}), record(params={"a": 1, "b": 1.0})
    assert differing_params([one, two]) == ["b", "c"]
    assert differing_params([one]) == ["a", "b", "c"]
    some, more = record(metrics={"x": summary(1)}), record(metrics={"y": summary(1), "x": summary(1)})
    assert shared_metrics([some, more]) == ["x", "y"]


def test_a_time_that_no_calendar_has_is_a_number() -> None:
    assert html.moment(1 << 62) == str(1 << 62)
    assert html.moment(None) == ""


@pytest.mark.slow
def test_a_notebook_shows_a_run_its_list_and_its_experiment(repo: Repo, tmp_path: Path) -> None:
    with gittrack.start_run(run_name=HOSTILE) as run:
        gittrack.log({"acc": 0.5})
    lines = [
        f"import gittrack\nrun = gittrack.get_run('{run.info.run_id}')\nrun",
        "gittrack.entities.RunList([run])",
        "gittrack.get_experiment('0')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(line) for line in lines])
    nbformat.write(notebook, tmp_path / "in.ipynb")
    argv = [sys.executable, "-c", RUN_NOTEBOOK, str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=repo.path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = [cell.outputs[-1].data["text/html"] for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells]
    assert [Reader(source).texts[0] for source in shown] == [SHOWN, "1 run", "Default"]
