"""What MLflow's search finds, gittrack's finds: the same runs logged to both give the same rows in the same order.

The filters are all those of MLflow's own pages, with their runs:
https://mlflow.org/docs/latest/ml/search/search-runs (the guide, its ten runs and its queries),
https://mlflow.org/docs/2.0.1/search-runs.html (the page before it, with more forms of names), and the examples of
``search_runs`` at https://mlflow.org/docs/latest/python_api/mlflow.html and .../mlflow.client.html. Where MLflow's
answer is a defect, the difference is stated.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from gittrack.errors import InvalidQueryError
from gittrack.schema.messages import format_run_message
from gittrack.schema.names import RunId
from gittrack.schema.query import parse_query
from gittrack.schema.records import DatasetInput, RunRecord
from gittrack.store.committing import Draft, open_branches
from gittrack.store.search import RunQuestion
from gittrack.store.search import search as search_store
from gittrack.store.trees import record_files
from tests.harness import Repo, find_mlflow_python, make_repo

from ..schema.making import make_run, make_summary

START = 1_670_628_787_000


def a_run(name: str, **changed: Any) -> dict[str, Any]:
    run: dict[str, Any] = {
        "name": name,
        "user": "john@mlflow.com",
        "started_at": START,
        "ended_at": START + 1000,
        "status": "FINISHED",
        "metrics": {},
        "params": {},
        "tags": {},
        "datasets": [],
    }
    return run | changed


def guide_run(at: int) -> dict[str, Any]:
    """One of the ten runs of the guide; where it gives None, ``log_params`` and ``set_tags`` make it 'None'."""
    accuracy, loss = at * 0.1, 1 - at * 0.1
    return a_run(
        f"guide-{at}",
        started_at=START + at * 100,
        ended_at=START + at * 100 + 50,
        metrics={"loss": loss, "accuracy": accuracy, "log-scale-loss": math.log(loss), "f1 score": accuracy},
        params={
            "batch_size": "2" if at < 5 else "4",
            "learning rate": ["0.001", "0.01"][at % 2],
            "model": str([*["GPT-2", "GPT-3", "GPT-3.5", "GPT-4"], *[None] * 6][at]),
        },
        tags={
            "task": str([*["classification", "regression", "causal lm"], *[None] * 7][at]),
            "environment": "notebook" if at < 5 else "None",
        },
        datasets=[
            (
                "custom" if at < 5 else "also custom",
                ["s8ds293b", "jks834s2"][at] if at < 2 else f"{at:08x}",
                "train" if at < 5 else "test",
            )
        ],
    )


PAGES = [  # what the other queries of the pages speak of
    a_run(
        "alpha", params={"model": "LogisticRegression", "lambda": "0.001", "alpha": "0.3"}, metrics={"error": 0.05}
    ),
    a_run("my-alphabet", tags={"model": "sklearn.svm", "type": "logistic regression"}, status="FAILED"),
    a_run(
        "beta",
        metrics={"error rate": 0.5, "2019-04-02 error rate": 0.2, "m": 1.55},
        tags={"s.release": "1.1.0-RC"},
    ),
    a_run("gamma", params={"model-type": "a", "lr": "0.1"}, metrics={"m": 2.5}, tags={"s.release": "1.2.0-GA"}),
    a_run("rmse", metrics={"rmse": 0.5, "accuracy_score": 3}, tags={"production": "true"}, params={"lr": "0.2"}),
    a_run("now", status="RUNNING", ended_at=None, user="somebody", tags={"mlflow.parentRunId": "0" * 32}),
]
ODD_TEXTS = [
    "adam", "Adam", "ADAM", "a%b", "a_b", "axb", "a*b", "a[b]c", "a?b", "[a-z]", "it's", 'say "hi"', "100%", "",
    "ÉTÉ", "été", "日本語", "a\nb", "  x ", "None", "10", "9", "-1", "1e3",
]  # fmt: skip
ODD_VALUES = [0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 5e-324, 1e308, 0.1, 2.0**53, 3.0]
ODD = [
    a_run(f"text-{at}", **({"params": {"p": text}, "tags": {"t": text}} if text else {}), started_at=START + at)
    for at, text in enumerate(ODD_TEXTS)
] + [
    a_run(f"value-{at}", metrics={"v": value, "w": float(at % 2)}, started_at=START - at % 3)
    for at, value in enumerate(ODD_VALUES)
] + [
    a_run("two sets", datasets=[("one", "d1", "train"), ("two", "d2", "test")]),
    a_run("no context", datasets=[("one", "d3", "")]),
    a_run("keys", metrics={"a.b": 1, "a-b": 2, "a/b": 3, "a b": 4, "1st": 5, "select": 6, "été": 7, "loss.min": 8,
                           "count": 9}),
]  # fmt: skip
RUNS = [*map(guide_run, range(10)), *PAGES, *ODD]

GUIDE = """
metrics.loss > 0.8
metrics.accuracy > 0.72
metrics.loss <= 0.15
metrics.accuracy != 0.15
params.model = "GPT-4o"
params.model LIKE "GPT%"
params.model ILIKE "gpt%"
datasets.name IN ('custom', 'also custom', 'another custom name')
datasets.digest IN ('s8ds293b', 'jks834s2')
attributes.run_id IN ('{guide-3}')
metrics."accuracy" > 0.72
metrics.`log-scale-loss` <= 0
metrics.`f1 score` >= 0.5
metrics.accuracy > 0.72 AND metrics.loss <= 0.15
metrics.`cross-entropy-loss` < 0.5
params.`1st_iteration_timestamp` = "2022-01-01"
params.batch_size = "2"
params.model ILIKE "gPt%"
params.model LIKE "GPT%" AND params.batch_size = "2"
tags."environment" = "notebook"
tags.environment = "notebook"
tags.task = "Classification"
tags.task ILIKE "classif%"
datasets.name LIKE "custom"
datasets.context = "train"
attributes.status = "ACTIVE"
attributes.user_id LIKE "user1"
attributes.run_name = "my-run"
attributes.run_id = "a1b2c3d4"
attributes.run_id IN ('a1b2c3d4', 'e5f6g7h8')
attributes.start_time >= 1664067852747
attributes.end_time < 1664067852747
attributes.created > 1664067852747
datasets.name IN ('custom', 'also custom')
metrics.accuracy > 0.72 AND metrics.batch_size != 0
metrics.accuracy > 0.72 AND metrics.batch_size != 0 AND attributes.run_id IN ('a1b2c3d4', 'e5f6g7h8')
metrics.loss <= 0.15 AND metrics.loss >= 0.1
params.batch_size != "None"
tag.`test` = 'abc'
tag.`test` = "abc"
tag."test" = 'abc'
attributes.run_id IN ('{guide-0}','{guide-2}') AND metrics.loss > 0.3 AND metrics."f1 score" < 0.5 AND params.model LIKE "GPT%"
params.model = 'GPT-4'
metrics.rmse < 0.9 and tags.production = 'true'
metrics.accuracy_score < 99.90
"""  # noqa: E501
EARLIER_PAGES = """
metrics.accuracy > 0.92
attributes.status = "FINISHED"
attributes.status = "FAILED"
attributes.created > 1670628787527
attributes.Created > 1670628787527
attributes.start_time > 1670628787527
metrics.`f1 score` > 0.5
tags.`mlflow.user` = 'john@mlflow.com'
tags.`model` LIKE 'sklearn%'
tags.`type` ILIKE '%Logistic%'
attributes.`run_name` ILIKE "%alpha%"
attributes.`run name` ILIKE "%alpha%"
attributes.`Run name` ILIKE "%alpha%"
attributes.`Run Name` ILIKE "%alpha%"
params.alpha = "0.3" and params.lambda = "0.001" and metrics.error <= 0.05
params.model = "LogisticRegression" and params.lambda = "0.001" and metrics.error <= 0.05
params."model-type" = 'a'
metrics.`error rate` > 0
metrics."2019-04-02 error rate" < 1
tags.`mlflow.parentRunId` LIKE '0000%'
tags.s.release ILIKE '%rc%'
"""
EDGES = """
metrics.v = 0
metrics.v != 0
metrics.v > 0
metrics.v >= -1e999
metrics.v = .1
metrics.v <= 9007199254740992
metrics.v = 9007199254740993
metrics.v > -0.5 and metrics.w = 1
metrics.never = 0
metrics.never != 0
metrics.a.b = 1
metrics.`a-b` = 2
metrics."a/b" = 3
metric.`a b` >= 4
metrics.`1st` = 5
metrics.1st = 5
metrics.select = 6
metrics.été = 7
metrics.loss.min = 8
metrics.count = 9
`metrics`.select = 6
params.p = 'adam'
param.p = "adam"
parameter.p != 'adam'
parameters.`p` != "adam"
params."p" = ''
params.never != 'x'
params.p = 'say "hi"'
params.p = "it's"
params.p = '100%'
params.p like 'a%b'
params.p LIKE 'a_b'
params.p LIKE '%'
params.p LIKE ''
params.p LIKE 'a*b'
params.p LIKE 'a[b]c'
params.p LIKE '[a-z]'
params.p LIKE 'a?b'
params.p LIKE '%_%'
params.p Like 'Adam'
params.p LIKE '100%'
params.p LIKE '__'
params.p LIKE '日_語'
params.p iLike 'ADAM'
params.p ILIKE 'a%B'
params.p ILIKE '[A-Z]'
params.p ILIKE '%HI%'
params.p IS NULL
params.p is null
params.p IS NOT NULL and params.p != 'None'
tags.t = 'None'
tag.t ILIKE 'aDaM'
tags.t IS NULL AND metrics.w = 1
tags.never IS NOT NULL
tags.mlflow.runName = 'keys'
tags.`mlflow.runName` LIKE 'text-_'
tags.mlflow.user != 'john@mlflow.com'
run_id = '{keys}'
run_id != '{keys}' and metrics.count > 0
run_id in ('{keys}', '{two sets}')
run.run_id NOT IN ('{keys}') and datasets.name = 'one'
attr.run_id LIKE '%'
status != 'FINISHED'
attribute.status LIKE 'F%'
attributes.status ILIKE 'failed'
user_id = 'somebody'
run_name = 'two sets'
"run_name" = 'two sets'
`run name` LIKE '%set_'
start_time = 1670628787000
start_time < 1670628787000.5
start_time != 1670628787000 and metrics.w >= 0
end_time > 0
end_time != 0
datasets.name = 'one'
dataset.name != 'one'
datasets.`name` LIKE 'o%'
datasets.name NOT IN ('one')
datasets.name = 'one' and datasets.name = 'two'
datasets.context != 'train'
datasets.context ILIKE 'TR%'
datasets.digest ILIKE 'D_'
datasets.context = 'train' AND datasets.digest = 'd2'
"""
ORDERS: list[list[str]] = [
    [],
    ["metrics.rmse"],
    ["metrics.accuracy DESC"],
    ["metrics.m DESC"],
    ["params.lr DESC"],
    ["metrics.loss DESC", "params.x", "start_time ASC"],
    ["metrics.v"],
    ["metrics.v DESC"],
    ["metrics.v aSc", "metrics.w desc"],
    ["metrics.w", "metrics.v DESC"],
    ["metrics.`f1 score` DESC"],
    ['metrics."f1 score" ASC', "start_time"],
    ["metrics.never"],
    ["tags.t"],
    ["tags.`t` DESC"],
    ["tag.environment", "tags.task DESC"],
    ["tags.`mlflow.runName` DESC"],
    ["params.model"],
    ["parameter.model DESC", "metrics.loss"],
    ["start_time"],
    ["attributes.start_time DESC"],
    ["created DESC", "metrics.w DESC"],
    ["end_time"],
    ["end_time DESC", "run_id DESC"],
    ["attribute.status", "attributes.run_name DESC"],
    ["user_id DESC"],
    ["run_id"],
]
REFUSED_BY_BOTH = """
tag.`test` = `abc`
tag.`test` = abc
metrics.accuracy != "None"
metrics.a > 'x'
metrics.m > nan
params.p = adam
params.lr > '3'
params.p LIKE 3
METRICS.a > 1
mlflow.user = 'x'
metrics.a like '1%'
status = FINISHED
status > 'A'
unknown = 'x'
attributes.unknown = 'x'
datasets.size = '3'
attributes.run name = 'x'
start_time > 'x'
start_time LIKE '1'
run_id IN ()
1 < metrics.m
metrics.m > 1 --
metrics.m > 1;
"""


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


class Both:
    """The runs in MLflow's store and in a repository, by the ids that MLflow gave them."""

    def __init__(self, child: subprocess.Popen[str], repo: Repo) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._to_mlflow: IO[str] = child.stdin
        self._from_mlflow: IO[str] = child.stdout
        ids = self._ask(RUNS)
        self._names = dict(zip(ids, [run["name"] for run in RUNS], strict=True))
        self.ids = {name: run_id for run_id, name in self._names.items()}
        self._repository = repo.repository
        commit(repo, [to_record(run, run_id) for run, run_id in zip(RUNS, ids, strict=True)])

    def _ask(self, question: object) -> Any:
        print(json.dumps(question), file=self._to_mlflow, flush=True)
        return json.loads(self._from_mlflow.readline())

    def by_mlflow(self, text: str, order: Sequence[str] = ()) -> list[str] | str:
        """The names of the runs that MLflow finds, or its error."""
        found: list[str] | str = self._ask([self._named(text), list(order)])
        return found if isinstance(found, str) else [self._names[run_id] for run_id in found]

    def by_gittrack(self, text: str, order: Sequence[str] = ()) -> list[str]:
        """The names of the runs that gittrack finds."""
        question = RunQuestion(filter=self._named(text), order_by=tuple(order))
        return [self._names[row.id] for row in search_store(self._repository, question).rows]

    def _named(self, text: str) -> str:
        for name, run_id in self.ids.items():
            text = text.replace(f"{{{name}}}", run_id)
        return text


def to_record(run: dict[str, Any], run_id: str) -> RunRecord:
    return make_run(
        id=RunId(run_id),
        name=run["name"],
        status=run["status"],
        started_at=run["started_at"],
        ended_at=run["ended_at"],
        user=run["user"],
        tags={"logged": "yes", **run["tags"]},
        params=run["params"],
        metrics={key: make_summary(float(value)) for key, value in run["metrics"].items()},
        inputs=tuple(
            DatasetInput(name=name, digest=digest, context=context) for name, digest, context in run["datasets"]
        ),
    )


def commit(repo: Repo, runs: list[RunRecord]) -> None:
    """Put runs of chosen ids on their branch."""
    with open_branches(repo.repository) as branches:
        for run in runs:
            objects = branches.new_objects()
            tree = objects.add_files(record_files(run, objects))
            message = format_run_message(run, "", {})
            branches.commit(objects, Draft(run.experiment, tree, message, run.started_at // 1000))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    program = Path(__file__).with_name("mlflow_child.py")
    child = subprocess.Popen(
        [find_mlflow_python(), str(program)],
        cwd=tmp_path_factory.mktemp("mlflow"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with child:
        yield Both(child, make_repo(tmp_path_factory.mktemp("gittrack") / "repo"))


@pytest.mark.parametrize("text", [*lines(GUIDE), *lines(EARLIER_PAGES), *lines(EDGES)])
def test_a_filter_gives_the_same_rows_in_the_same_order(both: Both, text: str) -> None:
    found = both.by_mlflow(text)
    assert isinstance(found, list), found
    assert both.by_gittrack(text) == found


def test_the_filters_tell_runs_apart(both: Both) -> None:
    counts = [len(both.by_gittrack(text)) for text in lines(EDGES)]
    assert sum(0 < count < len(RUNS) for count in counts) > len(counts) * 0.8


@pytest.mark.parametrize("order", ORDERS, ids=", ".join)
@pytest.mark.parametrize("text", ["", "metrics.w >= 0", "params.model IS NOT NULL"])
def test_terms_to_order_by_give_the_same_order(both: Both, text: str, order: list[str]) -> None:
    found = both.by_mlflow(text, order)
    assert isinstance(found, list), found
    assert both.by_gittrack(text, order) == found


@pytest.mark.parametrize("text", lines(REFUSED_BY_BOTH))
def test_what_mlflow_cannot_read_is_refused_too(both: Both, text: str) -> None:
    assert isinstance(both.by_mlflow(text), str)
    with pytest.raises(InvalidQueryError):
        parse_query(text, START)


@pytest.mark.parametrize(
    ("text", "theirs", "ours"),
    [
        # '' stands for one quote, as in SQL; MLflow has no way to write a text with both kinds of quotes
        ("params.p = 'it''s'", [], ["text-10"]),
        # upper and lower case are Unicode's; SQLite's lower(), which MLflow calls, knows ASCII alone
        ("params.p ILIKE 'été'", ["text-15"], ["text-15", "text-14"]),
        # MLflow keeps an infinity as the greatest finite number
        ("metrics.v > 1e308 and metrics.v < 1e309", ["value-5"], []),
        ("metrics.v = 1.7976931348623157e308", ["value-5"], []),
        ("metrics.v = 1e309", [], ["value-5"]),
    ],
)
def test_where_gittrack_differs(both: Both, text: str, theirs: list[str], ours: list[str]) -> None:
    assert both.by_mlflow(text) == theirs
    assert both.by_gittrack(text) == ours


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics.w = 0 metrics.v = 1", "and, or would fit"),  # MLflow takes a missing AND for one
        ("metrics.w = 0 AND", "a field such as"),  # and leaves out an AND with nothing behind it
        ("metrics.w = 0 and and metrics.v = 1", "a field such as"),
        ("tag.'test' = 'abc'", "stands in backticks"),  # its guide says that this is no field
    ],
)
def test_what_mlflow_guesses_is_refused(both: Both, text: str, message: str) -> None:
    assert isinstance(both.by_mlflow(text), list)
    with pytest.raises(InvalidQueryError, match=message):
        parse_query(text, START)


def test_params_are_ordered_by_value_where_mlflow_orders_their_text(both: Both) -> None:
    numbers = {"text-20": 10, "text-21": 9, "text-22": -1, "text-23": 1000}
    ours = [name for name in both.by_gittrack("", ["params.p"]) if name in numbers]
    theirs = [name for name in both.by_mlflow("", ["params.p"]) if name in numbers]
    assert ours == sorted(numbers, key=lambda name: numbers[name])
    assert theirs == ["text-22", "text-20", "text-23", "text-21"]
