"""The search language: what a text means, and that every mistake is told with its place and what would fit."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gittrack.errors import InvalidQueryError, InvalidValueError
from gittrack.schema.query import (
    CHARS_MAX,
    COMPARISONS_MAX,
    DEPTH_MAX,
    VALUES_MAX,
    And,
    Between,
    Comparison,
    IsNull,
    Like,
    Not,
    OneOf,
    Or,
    OrderTerm,
    Query,
    parse_order,
    parse_query,
)
from gittrack.schema.query_fields import Attribute, Dataset, Field, Metric, Package, Param, Tag

NOW = 1_700_000_000_000  # 2023-11-14T22:13:20Z
DAY = 86_400_000
STATUS, STARTED = Attribute("status"), Attribute("start_time")


def read(text: str) -> Query:
    return parse_query(text, NOW)


def field_of(text: str) -> Field:
    query = read(f"{text} is null")
    assert isinstance(query, IsNull)
    return query.field


def value_of(text: str) -> object:
    query = read(text)
    assert isinstance(query, Comparison)
    return query.value


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> object:
    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", And(())),
        (" \n", And(())),
        ("status = 'FINISHED'", Comparison(STATUS, "=", "FINISHED")),
        ("status=='a'", Comparison(STATUS, "=", "a")),
        ("status<>'a'", Comparison(STATUS, "!=", "a")),
        ("metrics.a>=-.5", Comparison(Metric("a"), ">=", -0.5)),
        ("params.p like 'a%'", Like(Param("p"), "a%")),
        ('tags.t NOT iLike "A_"', Like(Tag("t"), "A_", is_case_sensitive=False, is_negated=True)),
        ("run_id IN ('a', \"b\")", OneOf(Attribute("run_id"), ("a", "b"))),
        ("params.p not in (1, 'x', TRUE)", OneOf(Param("p"), (1, "x", True), is_negated=True)),
        ("revision Between 2 AND 3", Between(Attribute("revision"), 2, 3)),
        ("metrics.a not between 2 and 3", Between(Metric("a"), 2, 3, is_negated=True)),
        ("params.p IS NULL", IsNull(Param("p"))),
        ("params.p is  not\nnull", Not(IsNull(Param("p")))),
        ("not not live = true", Not(Not(Comparison(Attribute("live"), "=", True)))),
    ],
)
def test_each_form_of_a_comparison(text: str, query: Query) -> None:
    assert read(text) == query


def test_not_binds_before_and_and_before_or() -> None:
    a, b, c = (Comparison(Metric(name), ">", 1) for name in "abc")
    assert read("not metrics.a > 1 and metrics.b > 1 or metrics.c > 1") == Or((And((Not(a), b)), c))
    assert read("NOT (metrics.a > 1 AND (metrics.b > 1 OR metrics.c > 1))") == Not(And((a, Or((b, c)))))
    assert read("metrics.a between 1 and 2 and metrics.b > 1") == And((Between(Metric("a"), 1, 2), b))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("metric.loss", Metric("loss")),
        ("metrics.val.loss", Metric("val.loss")),
        ("`metrics`.`val/loss`", Metric("val/loss")),
        ('metrics."f1 score"', Metric("f1 score")),
        ("metrics.2nd", Metric("2nd")),
        ("metrics.val/cross-entropy.min", Metric("val/cross-entropy", "min", plain="val/cross-entropy.min")),
        ("metrics.min", Metric("min")),
        ("metrics.loss.min", Metric("loss", "min", plain="loss.min")),
        ("metrics.val.loss.last_step", Metric("val.loss", "last_step", plain="val.loss.last_step")),
        ("metrics.`val/loss`.count", Metric("val/loss", "count")),
        ("metrics.`loss.min`", Metric("loss.min")),
        ("param.été", Param("été")),
        ("parameters.a", Param("a")),
        ("parameter.`a.min`", Param("a.min")),
        ("tags.mlflow.user", Tag("mlflow.user")),
        ("datasets.digest", Dataset("digest")),
        ("dataset.`context`", Dataset("context")),
        ("env.torch", Package("torch")),
        ("env.Scikit_Learn", Package("scikit-learn")),
        ("env.`ruamel.yaml`", Package("ruamel-yaml")),
        ("env.python", Attribute("python")),
        ("attributes.Created", STARTED),
        ("attr.`run name`", Attribute("run_name")),
        ('run."Run Name"', Attribute("run_name")),
        ("`Run name`", Attribute("run_name")),
        ("ended", Attribute("end_time")),
        ("attribute.code.commit", Attribute("code.commit")),
        ("source.name", Attribute("source.name")),
    ],
)
def test_each_name_of_a_field(text: str, field: Field) -> None:
    assert field_of(text) == field


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("status = 'it''s'", "it's"),
        ('status = "say ""hi"" \'so\'"', "say \"hi\" 'so'"),
        ("status = 'C:\\'", "C:\\"),
        ("metrics.a = 1e-3", 0.001),
        ("metrics.a = +1.", 1.0),
        ("metrics.a = -inf", float("-inf")),
        ("metrics.a = 123456789012345678", 123456789012345678),
        ("duration = 90", 90),
        ("duration = 1h30m", 5400.0),
        ("duration = 1.5s500ms", 2.0),
        ("duration = 2d", 172_800.0),
        ("commit = 'ABC12'", "abc12"),
        ("start_time > 1664067852747", 1664067852747),
        ("started > '2023-11-14T22:13:20.5Z'", NOW + 500),
        ("started > '2023-11-14 23:13:20+01:00'", NOW),
        ("started > now", NOW),
        ("started > NOW - 7d + 1h", NOW - 7 * DAY + 3_600_000),
        ("ended < 7d ago", NOW - 7 * DAY),
    ],
)
def test_each_form_of_a_value(text: str, value: object) -> None:
    found = value_of(text)
    assert (type(found), found) == (type(value), value)


def test_dates_and_days_begin_at_midnight_of_this_machines_zone(in_zone: object) -> None:
    assert callable(in_zone)
    in_zone("Europe/Berlin")
    midnight = 1_699_916_400_000  # 2023-11-14T00:00+01:00
    assert value_of("started > '2023-11-14'") == midnight
    assert value_of("started > today") == midnight
    assert value_of("started > yesterday") == midnight - DAY
    assert value_of("started > '2023-07-01'") == 1_688_162_400_000  # in summer two hours before UTC
    in_zone("America/New_York")
    assert value_of("started > today") == 1_699_938_000_000
    assert value_of("started > '2023-11-14 17:13:20'") == NOW


@pytest.mark.parametrize(
    ("text", "caret", "said"),
    [
        ("metrics.loss >> 3", "              ^", "text in quotes, a number"),
        ("metrics.loss", "            ^", "= != < <= > >=, LIKE, ILIKE, IN, BETWEEN, IS, NOT would fit"),
        ("metrics.a > 1 metrics.b > 2", "              ^", "and, or would fit"),
        ("metrics.a > 1 and", "                 ^", "a field such as"),
        ("(metrics.a > 1", "              ^", ") would fit"),
        ("metrics.a > 1)", "             ^", "nothing more would fit"),
        ("params.x in ()", "             ^", "text in quotes"),
        ("params.opt = adam", "             ^", "text stands in quotes: 'adam'"),
        ("metrics.f1 score < 1", "           ^", "stands in backticks"),
        ("tags.'test' = 'x'", "    ^", "stands in backticks"),
        ("status = 'a", "         ^", "never closed"),
        ("1 < metrics.m", "^", "a field such as"),
        ("metrics.x > nan", "            ^", "a number"),
        ("lifecycle is nul", "             ^", "NULL would fit"),
        ("start_time > now - 7", "                   ^", "a duration such as 7d"),
        ("duration > 1y", "           ^", "a number"),
        ("statsu = 'x'", "^", "did you mean status?"),
        ("parms.lr = 3", "^", "did you mean params.lr?"),
        ("status = 'a' and attributes.foo = 'x'", "                 ^", "one of run_id, run_name"),
        ("METRICS.a > 1", "^", "a field is metrics."),
        ("metrics.a.`b c` > 1", "          ^", "backticks around all"),
        ("datasets.nam = 'x'", "^", "datasets.name"),
        ("metrics.a > 'x'", "            ^", "a number without quotes"),
        ("params.lr > '3'", "            ^", "a number without quotes"),
        ("status = 3", "         ^", "text in quotes would fit"),
        ("status > 'a'", "       ^", "LIKE, ILIKE, IN"),
        ("status between 'a' and 'b'", "               ^", "LIKE, ILIKE, IN"),
        ("live = 3", "       ^", "true or false"),
        ("live > true", "     ^", "= or != would fit"),
        ("metrics.a like 'x'", "          ^", "BETWEEN would fit"),
        ("params.a like 3", "              ^", "% stands for any text"),
        ("params.a in (1, now)", "                ^", "text in quotes, a number"),
        ("start_time > '2023-13-01'", "             ^", "'2026-03-01'"),
        ("start_time > 7d", "             ^", "2h ago"),
        ("start_time > now - 999999999999w", "             ^", "2h ago"),
        ("duration < '3'", "           ^", "1h30m"),
        ("commit = 'ab'", "         ^", "4 hex digits"),
        ("env.torch >= 2.1", "             ^", "a version in quotes"),
        ("status = '\ud800'", "          ^", "leave it out"),
    ],
)
def test_a_mistake_is_shown_in_its_place_with_what_fits(text: str, caret: str, said: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        read(text)
    assert caught.value.position == len(caret) - 1
    assert "\n" not in caught.value.message
    advice, shown, below = caught.value.hint.split("\n")
    assert (shown, below) == ("    " + text.replace("\ud800", " "), "    " + caret)
    assert said in advice
    assert isinstance(caught.value, InvalidValueError)
    assert caught.value.text == text


def test_a_mistake_in_a_long_text_is_shown_with_what_is_around_it() -> None:
    text = "status = 'a'\nand " * 50 + "statsu = 'a'" + "\nand status = 'b'" * 50
    with pytest.raises(InvalidQueryError) as caught:
        read(text)
    _, shown, below = caught.value.hint.split("\n")
    assert len(shown) < 110
    assert shown[below.index("^") :].startswith("statsu")


@pytest.mark.parametrize(
    "text",
    [
        "metrics.a > 1 and " * COMPARISONS_MAX + "metrics.a > 1",
        "not " * (DEPTH_MAX + 1) + "metrics.a > 1",
        "not " * 3000 + "metrics.a > 1",
        "not (metrics.a > 1 or " * DEPTH_MAX + "metrics.a > 1" + ")" * DEPTH_MAX,
        f"params.p in ({'1,' * VALUES_MAX}1)",
        "status = '" + "x" * CHARS_MAX + "'",
        "(" * CHARS_MAX,
        "not " * (CHARS_MAX // 4),
        "'" * CHARS_MAX,
        "1h" * (CHARS_MAX // 2),
        "`" * CHARS_MAX,
        f"start_time > now{' - 1h' * 8000} - ",
    ],
)
def test_what_is_longer_or_deeper_than_any_question_is_refused_at_once(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(InvalidQueryError):
        read(text)
    assert time.process_time() - begun < 5


def test_parentheses_alone_are_no_depth() -> None:
    assert read("(" * 1000 + "live = true" + ")" * 1000) == Comparison(Attribute("live"), "=", True)


@given(st.text(alphabet="metricspaon.`\"' ()=<>!%1d7,-\\\n\0é") | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (read, parse_order):
        try:
            parse(text)
        except InvalidQueryError as error:
            refused = error
        else:
            continue
        assert 0 <= refused.position <= len(text)
        assert refused.text == text


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("metrics.loss DESC", OrderTerm(Metric("loss"), is_descending=True)),
        ("metrics.`f1 score` desc", OrderTerm(Metric("f1 score"), is_descending=True)),
        ('metrics."f1 score" ASC', OrderTerm(Metric("f1 score"))),
        ("params.x aSc", OrderTerm(Param("x"))),
        (" start_time ", OrderTerm(STARTED)),
        ("attribute.created DESC", OrderTerm(STARTED, is_descending=True)),
        ("tags.`mlflow.user`", OrderTerm(Tag("mlflow.user"))),
        ("duration", OrderTerm(Attribute("duration"))),
        ("metrics.loss.min", OrderTerm(Metric("loss", "min", plain="loss.min"))),
    ],
)
def test_each_form_of_a_term_to_order_by(text: str, term: OrderTerm) -> None:
    assert parse_order(text) == term


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("  -", 2),
        ("metrics.a sideways", 10),
        ("metrics.a:b DESC", 9),
        ("metrics.a, metrics.b", 9),
        ("metrics.`a`desc", 11),
        ("datasets.name", 0),
        ("env.torch desc", 0),
        ("statsu desc", 0),
    ],
)
def test_a_mistake_in_a_term_to_order_by_is_shown_in_its_place(text: str, position: int) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        parse_order(text)
    assert caught.value.position == position
