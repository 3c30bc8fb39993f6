"""What a search finds by SQL is what a plain reading of the same runs finds, whatever is asked of them."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import Specifier
from packaging.version import InvalidVersion, Version

from gittrack.schema.names import ExperimentId, RunId
from gittrack.schema.query import parse_order, parse_query
from gittrack.schema.records import LIFECYCLES, STATUSES, DatasetInput, MetricSummary, RunRecord, Source
from gittrack.store import search_sql
from gittrack.store.index_tables import KEY_INDEXES, TABLES, IndexedRun, TableWriter
from gittrack.store.search_sql import Scope, compile_count, compile_search, register_functions

from ..schema.making import make_run, make_summary

NOW = 1_700_000_000_000
DAY = 86_400_000
SHOWN = {"e1": "first, renamed"}
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "f" * 40: {"torch": "2.1.0+cu118", "scikit-learn": "1.3"},
    "e" * 40: {"torch": "2.2rc1", "odd": "not a version"},
    "d" * 40: {"torch": "2.10", "odd": "1.0.post1"},
}


@dataclass(frozen=True)
class Known:
    """A run as the reading by hand sees it: its record and commit, and the names of all metrics there are."""

    run: IndexedRun
    metrics: frozenset[str]

    @property
    def record(self) -> RunRecord:
        return self.run.record


Holds: TypeAlias = Callable[[Known], bool]
Question: TypeAlias = tuple[str, Holds]

# runs

TEXTS = [
    "adam", "Adam", "ADAM x", "a%b_c", "[a]*?", "it's", 'say "hi"', "ß", "SS", "日本語", "a\nb", "\\", "`",
    "0.1", "1e-1", " 1 ", "1_0", "inf", "nan", "9", "10", "true", "True", "FALSE", "None",
]  # fmt: skip
FLOATS = [0.0, -0.0, 0.1, 0.5, 1.0, -3.5, 2.0**53, 2.0**53 + 2, 1e308, 5e-324, math.inf, -math.inf, math.nan]
PARAMS = [*TEXTS, "", *FLOATS, 0, 1, -3, 2**53 + 1, 2**70, 10**400, True, False, None]
HEX = ["abcd" + "0" * 36, "abcd1" + "f" * 35, "1234" * 10]
maybe_empty = st.sampled_from(["", *TEXTS])

summaries = st.builds(
    MetricSummary,
    first=st.sampled_from(FLOATS),
    last=st.sampled_from(FLOATS),
    min=st.sampled_from(FLOATS),
    max=st.sampled_from(FLOATS),
    last_step=st.sampled_from([0, 1, -5, 2**53 + 1]),
    count=st.sampled_from([1, 2, 10]),
)
sources = st.builds(
    Source,
    kind=st.sampled_from(["LOCAL", "JOB", ""]),
    name=maybe_empty,
    command=maybe_empty,
    commit=st.none() | st.sampled_from(HEX),
    branch=st.none() | maybe_empty,
    dirty=st.none() | st.booleans(),
    remote=st.none() | maybe_empty,
    python=st.sampled_from(["", "3.11.7", "3.9", "odd"]),
    platform=maybe_empty,
)
records = st.builds(
    RunRecord,
    id=st.integers(0, 9).map(lambda number: RunId(f"{number:032x}")),
    name=st.sampled_from(TEXTS),
    experiment=st.sampled_from(["first", "second"]),
    experiment_id=st.sampled_from([ExperimentId("e1"), ExperimentId("e2")]),
    status=st.sampled_from(STATUSES),
    lifecycle=st.sampled_from(LIFECYCLES),
    started_at=st.sampled_from([NOW, NOW - 7 * DAY, NOW - 7 * DAY - 1, NOW - DAY, 0]),
    ended_at=st.none() | st.sampled_from([NOW, NOW + 90_000, NOW + 90_570, NOW - 7 * DAY]),
    revision=st.integers(1, 3),
    user=maybe_empty,
    host=maybe_empty,
    parent=st.none() | st.sampled_from(["0" * 32, ""]),
    note=maybe_empty,
    error=maybe_empty,
    tags=st.dictionaries(st.sampled_from(["team", "mlflow.user", "mlflow.note.content"]), maybe_empty),
    source=st.none() | sources,
    inputs=st.lists(
        st.builds(DatasetInput, name=st.sampled_from(TEXTS), digest=maybe_empty, context=maybe_empty), max_size=2
    ).map(tuple),
    params=st.dictionaries(st.sampled_from(["lr", "opt", "a b.c"]), st.sampled_from(PARAMS)),
    metrics=st.dictionaries(st.sampled_from(["loss", "loss.min", "a b"]), summaries),
)
indexed_runs = st.builds(
    IndexedRun,
    record=records,
    commit_id=st.none() | st.sampled_from(HEX),
    environment=st.none() | st.sampled_from(list(ENVIRONMENTS)),
    is_live=st.booleans(),
)
# the fields, and what each run has of them

Has: TypeAlias = Callable[[Known], list[Any]]


def metric(key: str, part: str = "last") -> Has:
    return lambda known: [getattr(known.record.metrics[key], part)] if key in known.record.metrics else []


def param(key: str) -> Has:
    return lambda known: [known.record.params[key]] if key in known.record.params else []


def told(value: Any) -> list[Any]:
    return [] if value in (None, "") else [value]


def of_record(name: str) -> Has:
    return lambda known: told(getattr(known.record, name))


def of_source(name: str) -> Has:
    return lambda known: told(getattr(known.record.source, name)) if known.record.source else []


def tag(key: str, otherwise: Has = lambda known: []) -> Has:
    return lambda known: [known.record.tags[key]] if key in known.record.tags else otherwise(known)


def dataset(part: str) -> Has:
    return lambda known: [value for one in known.record.inputs for value in told(getattr(one, part))]


def package(name: str) -> Has:
    return lambda known: told(ENVIRONMENTS.get(known.run.environment or "", {}).get(name))


def loss_min(known: Known) -> list[Any]:
    return metric("loss.min")(known) if "loss.min" in known.metrics else metric("loss", "min")(known)


def duration(known: Known) -> list[Any]:
    ended = known.record.ended_at
    return [] if ended is None else [(ended - known.record.started_at) / 1000]


NUMBERS: dict[str, Has] = {
    "metrics.loss": metric("loss"),
    "metric.`a b`": metric("a b"),
    'metrics."loss.min"': metric("loss.min"),
    "metrics.loss.min": loss_min,
    "metrics.`loss`.min": metric("loss", "min"),
    "metrics.loss.first": metric("loss", "first"),
    "metrics.`loss`.last": metric("loss"),
    "metrics.loss.max": metric("loss", "max"),
    "metrics.`never`": metric("never"),
}
COUNTS: dict[str, Has] = {
    "metrics.loss.count": metric("loss", "count"),
    "metrics.`a b`.last_step": metric("a b", "last_step"),
    "revision": of_record("revision"),
}
PARAM_FIELDS = {"params.lr": param("lr"), "parameter.opt": param("opt"), "param.`a b.c`": param("a b.c")}
TEXT_FIELDS: dict[str, Has] = {
    "tags.team": tag("team"),
    "tag.`never`": tag("never"),
    "tags.mlflow.user": tag("mlflow.user", lambda known: [known.record.user]),
    "tags.`mlflow.note.content`": tag("mlflow.note.content", of_record("note")),
    "tags.mlflow.runName": lambda known: [known.record.name],
    "tags.mlflow.parentRunId": of_record("parent"),
    "tags.mlflow.source.name": lambda known: [known.record.source.name] if known.record.source else [],
    "tags.mlflow.source.type": lambda known: [known.record.source.kind] if known.record.source else [],
    "tags.mlflow.source.git.commit": of_source("commit"),
    "tags.mlflow.source.git.branch": of_source("branch"),
    "tags.mlflow.source.git.repoURL": of_source("remote"),
    "datasets.name": dataset("name"),
    "dataset.digest": dataset("digest"),
    "datasets.`context`": dataset("context"),
    "run_id": of_record("id"),
    "attributes.`Run name`": of_record("name"),
    "run.status": of_record("status"),
    "attr.user_id": of_record("user"),
    "artifact_uri": lambda known: [f"runs:/{known.record.id}"],
    "experiment": lambda known: [SHOWN.get(known.record.experiment_id, known.record.experiment)],
    "experiment_id": of_record("experiment_id"),
    "host": of_record("host"),
    "parent": of_record("parent"),
    "note": of_record("note"),
    "error": of_record("error"),
    "lifecycle": of_record("lifecycle"),
    "code.branch": of_source("branch"),
    "attributes.source.name": of_source("name"),
    "source.kind": of_source("kind"),
    "command": of_source("command"),
    "platform": of_source("platform"),
}
TIMES: dict[str, Has] = {
    "start_time": lambda known: [known.record.started_at],
    "attributes.created": lambda known: [known.record.started_at],
    "ended": lambda known: [] if known.record.ended_at is None else [known.record.ended_at],
}
BOOLS: dict[str, Has] = {
    "live": lambda known: [known.run.is_live],
    "code.dirty": lambda known: (
        [] if known.record.source is None or known.record.source.dirty is None else [known.record.source.dirty]
    ),
}
COMMITS: dict[str, Has] = {"commit": lambda known: told(known.run.commit_id), "code.commit": of_source("commit")}
VERSIONS: dict[str, Has] = {
    "env.torch": package("torch"),
    "env.`Scikit_Learn`": package("scikit-learn"),
    "env.odd": package("odd"),
    "env.python": of_source("python"),
    "python": of_source("python"),
    "env.never": package("never"),
}
ORDERABLE = NUMBERS | COUNTS | PARAM_FIELDS | TIMES | BOOLS | COMMITS | {"duration": duration}
ORDERABLE |= {name: has for name, has in TEXT_FIELDS.items() if not name.startswith("dataset")}
ALL_FIELDS = ORDERABLE | TEXT_FIELDS | VERSIONS

# values as they are written, and what they are worth

Written: TypeAlias = tuple[str, Any]
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: one == other,
    "==": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<>": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}
EQUAL = ["=", "==", "!=", "<>"]


@st.composite
def written_texts(draw: st.DrawFn, texts: st.SearchStrategy[str] = maybe_empty) -> Written:
    text, quote = draw(texts), draw(st.sampled_from("'\""))
    return quote + text.replace(quote, quote * 2) + quote, text


written_reals = st.sampled_from([value for value in FLOATS if not math.isnan(value)]).map(
    lambda value: (repr(value), value)
) | st.sampled_from([("9007199254740993", 2.0**53), ("1", 1.0), ("+.5", 0.5), ("1E-1", 0.1), ("1e999", math.inf)])
written_integers = st.sampled_from([0, 1, 2, 10, -5, 2**53, 2**53 + 1]).map(lambda value: (str(value), value))
written_bools = st.sampled_from([("true", True), ("FALSE", False)])
written_times = st.sampled_from(
    [
        (str(NOW), NOW),
        (f"{NOW}.5", NOW + 0.5),
        ("'2023-11-14T22:13:20Z'", NOW),
        ('"2023-11-14 23:13:20+01:00"', NOW),
        ("now", NOW),
        ("NOW - 7d", NOW - 7 * DAY),
        ("now-6d-24h", NOW - 7 * DAY),
        ("1w ago", NOW - 7 * DAY),
        ("now + 1m30s", NOW + 90_000),
    ]
)
written_durations = st.sampled_from(
    [("90", 90), ("90s", 90), ("1m30.57s", 90.57), ("90570ms", 90.57), ("1d", 86400), ("-1", -1), ("0", 0)]
)
written_commits = written_texts(st.sampled_from(["abcd", "ABCD1", *HEX, "123412", "ffff"]))
written_versions = written_texts(
    st.sampled_from(["2.1", "2.1.0+cu118", "2.1.*", "2.2", "2.2rc1", "1.0", "not a version", "3.11.7", "1.3.0"])
)
# the grammar: a question's text with what it means


def comparisons(
    fields: dict[str, Has],
    written: st.SearchStrategy[Written],
    fits: Callable[[str, Any, Any], bool],
    ordered: bool,
) -> st.SearchStrategy[Question]:
    """Each operator that takes values: what holds of any of a run's values by ``fits``."""

    @st.composite
    def compare(draw: st.DrawFn) -> Question:
        name, (text, value) = draw(st.sampled_from(sorted(fields))), draw(written)
        operator = draw(st.sampled_from(list(OPERATORS) if ordered else EQUAL))
        blank = draw(st.sampled_from(["", " ", "\n\t"]))
        plain = {"==": "=", "<>": "!="}.get(operator, operator)
        return f"{name}{blank}{operator}{blank}{text}", lambda k: any(
            fits(plain, h, value) for h in fields[name](k)
        )

    @st.composite
    def list_values(draw: st.DrawFn) -> Question:
        name, values = draw(st.sampled_from(sorted(fields))), draw(st.lists(written, min_size=1, max_size=3))
        listed = ", ".join(text for text, _ in values)
        if draw(st.booleans()):
            return f"{name} NOT in ({listed})", lambda k: any(
                all(fits("!=", h, value) for _, value in values) for h in fields[name](k)
            )
        return f"{name} In ({listed})", lambda k: any(
            any(fits("=", h, value) for _, value in values) for h in fields[name](k)
        )

    @st.composite
    def between(draw: st.DrawFn) -> Question:
        name, (low, least), (high, most) = draw(st.sampled_from(sorted(fields))), draw(written), draw(written)
        if draw(st.booleans()):
            return f"{name} not BETWEEN {low} AND {high}", lambda k: any(
                fits("<", h, least) or fits(">", h, most) for h in fields[name](k)
            )
        return f"{name} between {low} and {high}", lambda k: any(
            fits(">=", h, least) and fits("<=", h, most) for h in fields[name](k)
        )

    return compare() | list_values() | (between() if ordered else compare())


@st.composite
def likes(draw: st.DrawFn) -> Question:
    fields = TEXT_FIELDS | PARAM_FIELDS | COMMITS | VERSIONS
    name = draw(st.sampled_from(sorted(fields)))
    pieces = draw(
        st.lists(st.sampled_from(["%", "_", "a", "A", "d", "[", "]", "*", "?", "ß", "ss", "日", "'", "1"]))
    )
    pattern = "".join(pieces) if draw(st.booleans()) else draw(st.sampled_from(TEXTS))
    keyword = draw(st.sampled_from(["LIKE", "like", "ILIKE", "not like", "NOT ILike"]))
    folded: Callable[[str], str] = str.casefold if "ilike" in keyword.lower() else str
    regex = "".join({"%": ".*", "_": "."}.get(char, re.escape(char)) for char in folded(pattern))
    wanted = not keyword.lower().startswith("not")
    quoted = "'" + pattern.replace("'", "''") + "'"
    return f"{name} {keyword} {quoted}", lambda k: any(
        bool(re.fullmatch(regex, folded(str(h)), re.DOTALL)) == wanted for h in fields[name](k)
    )


@st.composite
def nulls(draw: st.DrawFn) -> Question:
    name = draw(st.sampled_from(sorted(ALL_FIELDS)))
    if draw(st.booleans()):
        return f"{name} is NULL", lambda k: not ALL_FIELDS[name](k)
    return f"{name} IS not null", lambda k: bool(ALL_FIELDS[name](k))


def worth(value: Any) -> float:
    """What a param is worth as a number; NaN, which is unlike all, where it is none."""
    try:
        return math.nan if value is None or isinstance(value, bool) else float(value)
    except OverflowError:  # beyond all floats
        return math.inf if value > 0 else -math.inf
    except ValueError:
        return math.nan


def fits_number(operator: str, has: Any, value: Any) -> bool:
    return OPERATORS[operator](has, value)


def fits_param(operator: str, has: Any, value: Any) -> bool:
    if isinstance(value, str):
        return OPERATORS[operator](str(has), value)
    if isinstance(value, bool):
        spelled = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
        return OPERATORS[operator](spelled.get(str(has)), value)
    return OPERATORS[operator](worth(has), value)


def fits_commit(operator: str, has: str, value: str) -> bool:
    return has.startswith(value.lower()) == (operator == "=")


def fits_version(operator: str, has: str, value: str) -> bool:
    try:
        found, bare = Version(has), Version(value.removesuffix(".*"))
    except InvalidVersion:
        return operator in ("=", "!=") and OPERATORS[operator](has, value)
    if value.endswith(".*") and operator not in ("=", "!="):
        return False
    if bare.local and operator not in ("=", "!="):
        return OPERATORS[operator](found, bare)
    return Specifier(f"{operator.replace('=', '==') if operator == '=' else operator}{value}").contains(
        found, True
    )


leaves = st.one_of(
    comparisons(NUMBERS, written_reals, fits_number, ordered=True),
    comparisons(COUNTS, written_integers, fits_number, ordered=True),
    comparisons(PARAM_FIELDS, written_texts(), fits_param, ordered=False),
    comparisons(PARAM_FIELDS, written_bools, fits_param, ordered=False),
    comparisons(PARAM_FIELDS, written_reals, fits_param, ordered=True),
    comparisons(PARAM_FIELDS, written_reals | written_texts() | written_bools, fits_param, ordered=False),
    comparisons(TEXT_FIELDS, written_texts(), fits_number, ordered=False),
    comparisons(TIMES, written_times, fits_number, ordered=True),
    comparisons({"duration": duration}, written_durations, fits_number, ordered=True),
    comparisons(
        {"run_id": of_record("id")}, written_texts(records.map(lambda r: r.id)), fits_number, ordered=False
    ),
    comparisons(COMMITS, written_commits, fits_commit, ordered=False),
    comparisons(VERSIONS, written_versions, fits_version, ordered=True),
    st.sampled_from(sorted(BOOLS)).flatmap(
        lambda name: st.tuples(st.sampled_from(EQUAL), written_bools).map(
            lambda drawn: (
                f"{name} {drawn[0]} {drawn[1][0]}",
                lambda k: any(OPERATORS[drawn[0]](has, drawn[1][1]) for has in BOOLS[name](k)),
            )
        )
    ),
    likes(),
    nulls(),
)


def join(parts: Sequence[Question], word: str, fold: Callable[[list[bool]], bool]) -> Question:
    text = f" {word} ".join(f"({text})" for text, _ in parts)
    return text, lambda known: fold([holds(known) for _, holds in parts])


def extend(inner: st.SearchStrategy[Question]) -> st.SearchStrategy[Question]:
    lists = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(
        lists.map(lambda parts: join(parts, "and", all)),
        lists.map(lambda parts: join(parts, "OR", any)),
        inner.map(lambda part: (f"not ({part[0]})", lambda known: not part[1](known))),
    )


questions = st.recursive(leaves, extend, max_leaves=6)
orders = st.lists(
    st.tuples(st.sampled_from(sorted(ORDERABLE)), st.sampled_from(["", " asc", " DESC"])), max_size=3
)
scopes = st.builds(
    Scope,
    experiment_ids=st.none() | st.lists(st.sampled_from(["e1", "e2", "e3"]), max_size=2).map(tuple),
    lifecycle=st.none() | st.sampled_from(LIFECYCLES),
)
# searching, by SQL and by hand


def make_tables(main: Sequence[IndexedRun], live: Sequence[IndexedRun] | None = None) -> sqlite3.Connection:
    """The tables with their runs: those in flight in a schema of their own, which has no indexes by key."""
    connection = sqlite3.connect(":memory:")
    register_functions(connection)
    connection.execute("ATTACH ':memory:' AS live")
    for schema, runs in (("main", main), ("live", live)):
        if runs is None:
            continue
        connection.executescript(TABLES.format(schema=schema))
        writer = TableWriter(connection, schema)
        writer.put_runs(runs)
        for environment, packages in ENVIRONMENTS.items():
            writer.put_packages(environment, packages)
    connection.executemany("INSERT INTO main.experiment VALUES (?, ?, 'active', '', 1, 0)", SHOWN.items())
    connection.executescript(KEY_INDEXES.format(schema="main"))
    return connection


def search(
    connection: sqlite3.Connection,
    text: str = "",
    order: Sequence[str] = (),
    scope: Scope = Scope(lifecycle=None),  # noqa: B008 it is frozen
    limit: int | None = None,
    offset: int = 0,
) -> list[str]:
    statement = compile_search(
        connection,
        parse_query(text, NOW),
        [parse_order(term) for term in order],
        scope,
        limit=limit,
        offset=offset,
    )
    return [row[2] for row in connection.execute(statement.sql, statement.values)]


def rank_of(values: list[Any]) -> int:
    return 2 if not values else 1 if isinstance(values[0], float) and math.isnan(values[0]) else 0


def sort_by_hand(known: list[Known], order: Sequence[tuple[str, str]]) -> list[Known]:
    known = sorted(sorted(known, key=lambda k: k.record.id), key=lambda k: k.record.started_at, reverse=True)
    for name, direction in reversed(order):
        has, down = ORDERABLE[name], direction == " DESC"
        present = [k for k in known if rank_of(has(k)) == 0]
        if name in PARAM_FIELDS:
            numbers = [k for k in known if has(k) and not math.isnan(worth(has(k)[0]))]
            others = [k for k in known if has(k) and math.isnan(worth(has(k)[0]))]
            numbers.sort(key=lambda k: str(has(k)[0]), reverse=down)
            numbers.sort(key=lambda k: worth(has(k)[0]), reverse=down)
            others.sort(key=lambda k: str(has(k)[0]), reverse=down)
            known = numbers + others + [k for k in known if not has(k)]
            continue
        present.sort(key=lambda k: has(k)[0], reverse=down)
        known = present + [k for k in known if rank_of(has(k)) == 1] + [k for k in known if rank_of(has(k)) == 2]
    return known


def unique(runs: list[IndexedRun]) -> list[IndexedRun]:
    return list({run.record.id: run for run in runs}.values())


@pytest.fixture(params=[0, 1, 5000], ids="few is {}".format)
def _few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs count as few, so that every way to the first runs is taken."""
    monkeypatch.setattr(search_sql, "_FEW", request.param)


@pytest.mark.usefixtures("_few")
@settings(max_examples=int(__import__("os").environ.get("EX", "150")))
@given(
    main=st.lists(indexed_runs, max_size=8).map(unique),
    live=st.none() | st.lists(indexed_runs, max_size=3).map(unique),
    question=questions,
    order=orders,
    scope=scopes,
    limit=st.none() | st.integers(0, 4),
    offset=st.integers(0, 2),
)
def test_sql_finds_what_reading_by_hand_finds(
    main: list[IndexedRun],
    live: list[IndexedRun] | None,
    question: Question,
    order: list[tuple[str, str]],
    scope: Scope,
    limit: int | None,
    offset: int,
) -> None:
    scope = replace(scope, schemas=("main",) if live is None else ("main", "live"))
    connection = make_tables(main, live)
    hidden = {run.record.id for run in live or ()}
    metrics = frozenset(name for run in [*main, *(live or ())] for name in run.record.metrics)
    known = [Known(run, metrics) for run in [*(r for r in main if r.record.id not in hidden), *(live or ())]]
    text, holds = question
    wanted = [
        k
        for k in known
        if (scope.lifecycle in (None, k.record.lifecycle))
        and (scope.experiment_ids is None or k.record.experiment_id in scope.experiment_ids)
        and holds(k)
    ]
    expected = [k.record.id for k in sort_by_hand(wanted, order)]
    terms = [name + direction for name, direction in order]
    end = None if limit is None else offset + limit
    assert search(connection, text, terms, scope, limit, offset) == expected[offset:end]
    counted = compile_count(connection, parse_query(text, NOW), scope)
    assert connection.execute(counted.sql, counted.values).fetchone() == (len(expected),)
    connection.close()


def find(connection: sqlite3.Connection, text: str) -> list[int]:
    """The numbers of the runs that `table` made, oldest first."""
    return sorted(int(run_id, 16) for run_id in search(connection, text))


def table(*changes: dict[str, Any]) -> sqlite3.Connection:
    """Tables of runs that differ in what is given of each, numbered from 0."""
    return make_tables(
        [IndexedRun(make_run(id=RunId(f"{at:032x}"), **change)) for at, change in enumerate(changes)]
    )


def test_what_a_run_lacks_compares_as_false_and_not_turns_that_round() -> None:
    runs = table({"metrics": {"a": make_summary(1)}, "params": {"p": "x"}, "note": "n"}, {})
    for clause in ("metrics.a = 1", "params.p = 'x'", "note = 'n'", "params.p like 'x'", "metrics.a in (1)"):
        assert (find(runs, clause), find(runs, f"not {clause}")) == ([0], [1])
    for clause in (
        "metrics.a != 1",
        "params.p != 'x'",
        "note <> 'n'",
        "params.p not like 'x'",
        "params.p not in ('x')",
    ):
        assert (find(runs, clause), find(runs, f"not ({clause})")) == ([], [0, 1])
    assert find(runs, "note is null and tags.t is null and datasets.name is null and env.torch is null") == [1]


def test_a_comparison_of_datasets_holds_when_it_holds_of_one_that_says_something() -> None:
    runs = table(
        {"inputs": (DatasetInput(name="a", digest="1"), DatasetInput(name="b", digest="2", context="test"))},
        {"inputs": (DatasetInput(name="b", digest="2"),)},
        {},
    )
    assert find(runs, "datasets.name = 'a' and datasets.name = 'b'") == [0]
    assert find(runs, "datasets.name != 'b'") == [0]
    assert find(runs, "not datasets.name = 'b'") == [2]
    assert find(runs, "datasets.context != 'train'") == [0]
    assert find(runs, "datasets.context is null") == [1, 2]


def test_nan_differs_from_every_number_and_is_none() -> None:
    runs = table({"metrics": {"a": make_summary(math.nan)}}, {"metrics": {"a": make_summary(math.inf)}}, {})
    assert find(runs, "metrics.a != 0") == [0, 1]
    assert find(runs, "metrics.a not in (1, 2)") == [0, 1]
    assert find(runs, "metrics.a >= 0 or metrics.a < 0 or metrics.a = 0") == [1]
    assert find(runs, "metrics.a is not null and not metrics.a <= inf") == [0]


def test_a_pattern_means_its_percents_and_underscores_alone() -> None:
    texts = ["[ab]", "a", "a*", "a?b", "axb", "a]b", "A\nB", "ab", "%"]
    runs = table(*({"params": {"p": text}} for text in texts))
    cases = {"[ab]": ["[ab]"], "a*": ["a*"], "a?b": ["a?b"], "a]%": ["a]b"], "a_b": ["a?b", "axb", "a]b"]}
    for pattern, fitting in cases.items():
        assert [texts[at] for at in find(runs, f"params.p like '{pattern}'")] == fitting
    assert [texts[at] for at in find(runs, "params.p ilike 'A_b'")] == ["a?b", "axb", "a]b", "A\nB"]
    assert len(find(runs, "params.p like '%'")) == len(texts)
    assert [texts[at] for at in find(runs, "params.p = '%'")] == ["%"]


def test_params_compare_by_value_with_numbers_and_by_text_with_text() -> None:
    values = [0.1, "0.1", "1e-1", 1, "adam", True, None, 10**400, "9", "10"]
    runs = table(*({"params": {"p": value}} for value in values))
    assert find(runs, "params.p = 0.1") == [0, 1, 2]
    assert find(runs, "params.p = '0.1'") == [0, 1]
    assert find(runs, "params.p between 1 and 9.5") == [3, 8]
    assert find(runs, "params.p != 1") == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert find(runs, "params.p in ('adam', 10, true)") == [4, 5, 9]
    assert find(runs, f"params.p = '{10**400}'") == [7]
    by_param = search(runs, order=["params.p desc"])
    assert [int(run_id, 16) for run_id in by_param] == [7, 9, 8, 3, 2, 0, 1, 4, 5, 6]


def test_a_summary_of_a_metric_gives_way_to_a_metric_of_that_name() -> None:
    def summary(last: float, least: float) -> MetricSummary:
        return replace(make_summary(last), min=least)

    only_loss = table({"metrics": {"loss": summary(1, 0.25)}})
    assert find(only_loss, "metrics.loss.min = 0.25") == [0]
    both = table({"metrics": {"loss": summary(1, 0.25)}}, {"metrics": {"loss.min": summary(7, 6)}})
    assert find(both, "metrics.loss.min = 0.25") == []
    assert find(both, "metrics.loss.min = 7") == [1]
    assert find(both, "metrics.`loss`.min = 0.25") == [0]
    assert find(both, "metrics.loss.min.min = 6 and metrics.`loss.min` = 7") == [1]


def test_a_run_in_flight_hides_what_was_committed_of_it() -> None:
    known = IndexedRun(make_run(params={"p": 1}))
    now = IndexedRun(make_run(params={"p": 2}), is_live=True)
    connection = make_tables([known], [now])
    scope = Scope(schemas=("main", "live"))
    statement = compile_search(connection, parse_query("", NOW), [parse_order("params.p")], scope, limit=10)
    assert [row[0] for row in connection.execute(statement.sql, statement.values)] == ["live"]
    assert search(connection, "params.p = 1", scope=scope) == []


def test_no_text_of_the_user_becomes_sql() -> None:
    odd = "x') or 1 --"
    connection = table({"params": {"a b": odd}})
    text = f"params.`{odd}` = '{odd.replace(chr(39), chr(39) * 2)}' or tags.\"{odd}\" like '%--%'"
    scope = Scope(experiment_ids=(odd,), lifecycle=None)
    order = [parse_order("metrics.`--`"), parse_order("tags.`'`")]
    statement = compile_search(connection, parse_query(text, NOW), order, scope, limit=1)
    assert "--" not in statement.sql
    assert odd in statement.values.values()
    assert connection.execute(statement.sql, statement.values).fetchall() == []


@pytest.mark.parametrize(
    ("order", "step"),
    [
        ("metrics.a desc", "SEARCH o0 USING COVERING INDEX metric_by_key"),
        ("params.p", "SEARCH o0 USING COVERING INDEX param_by_key"),
        ("started desc", "SCAN r USING INDEX run_by_start"),
    ],
)
def test_an_index_with_the_order_is_walked_where_many_runs_fit(
    order: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_sql, "_FEW", 1)
    runs = table(*({"metrics": {"a": make_summary(at)}, "params": {"p": at}} for at in range(3)))
    query = parse_query("metrics.a >= 0 and not params.p = 7", NOW)
    statement = compile_search(runs, query, [parse_order(order)], Scope(), limit=3)
    plan = [row[3] for row in runs.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.values)]
    assert any(line.startswith(step) for line in plan), plan
