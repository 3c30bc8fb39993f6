"""The search language: a filter's text as a tree of what must hold of a run, and terms to order runs by.

The grammar is MLflow's (https://mlflow.org/docs/latest/ml/search/search-runs), and beyond it ``or``, ``not``,
parentheses, BETWEEN, params as numbers, summaries of metrics, times, durations, commits and versions:

    metrics.loss.min < 0.1 and (params.opt in ('adam', 'sgd') or not tags.team is null) and started > now - 7d

What a comparison means:

- It is true or false, never unknown. Of what a run lacks every comparison is false, ``!=`` and NOT IN too, and
  ``not`` turns the answer round: ``not params.lr = 1`` holds of runs without that param, ``params.lr != 1`` does
  not. An attribute of empty text (no note, no error) is lacking.
- A metric is its last value, if no other part of its summary is asked for. NaN compares as IEEE 754 says: only
  ``!=`` holds of it. ``metrics.loss.min`` is the key ``loss.min`` where such a metric exists, as in MLflow;
  ``metrics.`loss`.min`` is always the least of ``loss``, ``metrics.`loss.min``` always the key.
- A param compares as text with text in quotes, and by its value with a number: text that reads as one has that
  value, and what is none differs (``!=``) from every number. ``true`` and ``false`` are the params of that value,
  or of that text as Python, YAML and shells spell it (``true``, ``True``, ``TRUE``).
- A comparison of datasets holds when it holds of one of them.
- In LIKE, ``%`` is any text and ``_`` one character; ILIKE compares both sides as `str.casefold` folds them.
- A tag that MLflow makes of the record (``mlflow.user``, ``mlflow.runName`` …) can be searched as one; a tag of
  that name that was set comes first.
- Versions compare as specifiers of PEP 440 do (``= '2.1.*'`` too). What is no version compares as text for ``=``
  and ``!=``, and nothing else holds of it. A commit equals each of its prefixes.
- Text doubles its own quote to hold it, as in SQL. Keywords are of any case; fields are not.

Order: NaN comes after all numbers and what is lacking after NaN, in both directions, as in MLflow. Params go by
value where they are numbers, then come the other texts; MLflow, which knows texts alone, puts '10' before '9'.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from gittrack.errors import InvalidQueryError
from gittrack.schema.query_fields import (
    FIELD_PATTERN,
    Dataset,
    Field,
    Kind,
    Package,
    parse_field,
)
from gittrack.schema.query_values import (
    DURATION_PATTERN,
    NUMBER_PATTERN,
    STRING_PATTERN,
    Literal,
    Value,
    read_pattern,
    read_value,
)

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

CHARS_MAX = 50_000
COMPARISONS_MAX = 200
VALUES_MAX = 1000  # of one list
DEPTH_MAX = 50


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field against a value by ``=``, ``!=``, ``<``, ``<=``, ``>`` or ``>=``."""

    field: Field
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Between:
    """Low <= field <= high; negated, field < low or field > high."""

    field: Field
    low: Value
    high: Value
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class OneOf:
    """Equal to one of the values; negated, different from each."""

    field: Field
    values: tuple[Value, ...]
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Like:
    """LIKE or ILIKE; negated, the field has text, and the pattern does not fit it."""

    field: Field
    pattern: str
    is_case_sensitive: bool = True
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class IsNull:
    """The run lacks it."""

    field: Field


@dataclass(frozen=True, slots=True)
class Not:
    """What does not hold."""

    part: Query


@dataclass(frozen=True, slots=True)
class And:
    """All of the parts; everything where there are none."""

    parts: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of the parts at least."""

    parts: tuple[Query, ...]


Leaf: TypeAlias = Comparison | Between | OneOf | Like  # false where the run lacks the field, negated or not
Query: TypeAlias = Leaf | IsNull | Not | And | Or


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """What to order by, and whether the greatest comes first."""

    field: Field
    is_descending: bool = False


def parse_query(text: str, now_ms: int) -> Query:
    """What a filter says; of blank text, what holds of every run.

    Args:
        now_ms: the time that ``now``, ``today`` and ``7d ago`` count from, milliseconds since the epoch.

    Raises:
        InvalidQueryError: the text cannot be read, or is longer or deeper than any question needs to be.
    """
    _check_text("filter", text)
    if not text.strip():
        return And(())
    from lark import UnexpectedInput

    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise _unexpected(text, error) from None
    return _Reader(text, now_ms).read(tree)


def parse_order(text: str) -> OrderTerm:
    """What a term such as ``metrics.loss DESC`` orders by; ascending where nothing is said.

    Raises:
        InvalidQueryError: it cannot be read, or runs cannot be ordered by it.
    """
    _check_text("term to order by", text)
    start = len(text) - len(text.lstrip())
    found = _FIELD.match(text, start)
    if found is None:
        raise InvalidQueryError("no field to order by", text, start, _WORDS["FIELD"] + " would fit here")
    field = parse_field(found[0], text, start)
    direction = text[found.end() :].strip()
    if direction.upper() not in ("", "ASC", "DESC") or text[found.end() : found.end() + 1].strip():
        place = text.index(direction, found.end())
        raise InvalidQueryError(
            f"{text.strip()!r} is no term to order by", text, place, f"ASC or DESC would fit here{_QUOTING}"
        )
    if isinstance(field, Dataset) or field.kind is Kind.VERSION:
        what = "versions" if isinstance(field, Package) or field.kind is Kind.VERSION else "datasets"
        raise InvalidQueryError(
            f"runs have no order by {what}", text, start, "metrics, params, tags and attributes have one"
        )
    return OrderTerm(field, direction.upper() == "DESC")


_FIELD = re.compile(FIELD_PATTERN)
_QUOTING = "; a key with other characters than letters, digits and '_./-' stands in backticks"
_FIELD_IN_GRAMMAR = FIELD_PATTERN.replace("/", r"\/")
_GRAMMAR = rf"""
    ?start: disjunction
    ?disjunction: conjunction (_OR conjunction)*
    ?conjunction: negation (_AND negation)*
    ?negation: _NOT negation -> negation
        | "(" disjunction ")"
        | comparison
    ?comparison: FIELD OPERATOR value -> compare
        | FIELD [NOT] LIKE value -> like
        | FIELD [NOT] _IN "(" value ("," value)* ")" -> one_of
        | FIELD [NOT] _BETWEEN value _AND value -> between
        | FIELD _IS [NOT] _NULL -> is_null
    value: STRING | NUMBER | TRUE | FALSE | DURATION AGO? | (NOW | TODAY | YESTERDAY) (SIGN DURATION)*

    OPERATOR: "==" | "=" | "!=" | "<>" | ">=" | "<=" | ">" | "<"
    SIGN: "+" | "-"
    _OR.2: /or\b/i
    _AND.2: /and\b/i
    _NOT.2: /not\b/i
    NOT.2: /not\b/i
    LIKE.2: /i?like\b/i
    _IN.2: /in\b/i
    _BETWEEN.2: /between\b/i
    _IS.2: /is\b/i
    _NULL.2: /null\b/i
    TRUE.2: /true\b/i
    FALSE.2: /false\b/i
    NOW.2: /now\b/i
    TODAY.2: /today\b/i
    YESTERDAY.2: /yesterday\b/i
    AGO.2: /ago\b/i
    DURATION.2: /{DURATION_PATTERN}/
    NUMBER.2: /{NUMBER_PATTERN}/
    STRING.1: /{STRING_PATTERN}/
    FIELD: /{_FIELD_IN_GRAMMAR}/
    %ignore /\s+/
"""
_WORDS = {
    "FIELD": "a field such as metrics.loss, params.lr or status",
    "_NOT": "not",
    "LPAR": "(",
    "STRING": "text in quotes",
    "NUMBER": "a number",
    "NOW": "a time",
    "OPERATOR": "= != < <= > >=",
    "LIKE": "LIKE, ILIKE",
    "_IN": "IN",
    "_BETWEEN": "BETWEEN",
    "_IS": "IS",
    "NOT": "NOT",
    "_NULL": "NULL",
    "_AND": "and",
    "_OR": "or",
    "COMMA": "a comma",
    "RPAR": ")",
    "AGO": "ago",
    "DURATION": "a duration such as 7d",
    "$END": "the end",
}


@functools.cache
def _parser() -> Lark:
    from lark import Lark

    return Lark(_GRAMMAR, parser="lalr")


class _Reader:
    """Makes the query of the tree that the parser gives."""

    def __init__(self, text: str, now_ms: int) -> None:
        self._text, self._now_ms = text, now_ms
        self._comparisons = 0

    def read(self, tree: Tree[Token], depth: int = 0) -> Query:
        if tree.data in ("disjunction", "conjunction", "negation"):
            self._check_depth(tree, depth)
            parts = tuple(self.read(part, depth + 1) for part in tree.children if not isinstance(part, str))
            return Not(parts[0]) if tree.data == "negation" else _JOINS[tree.data](parts)
        return self._read_comparison(tree)

    def _read_comparison(self, tree: Tree[Token]) -> Query:
        name, *rest = tree.children
        place = _place(name)
        self._comparisons += 1
        if self._comparisons > COMPARISONS_MAX:
            raise self._excess("comparisons", COMPARISONS_MAX, place)
        field = parse_field(str(name), self._text, place)
        if tree.data == "compare":
            return self._compare(field, rest)
        is_negated = rest.pop(0) is not None
        if tree.data == "is_null":
            return Not(IsNull(field)) if is_negated else IsNull(field)
        if tree.data == "like":
            return self._like(field, rest, is_negated)
        literals = [self._literal(value) for value in rest]
        if len(literals) > VALUES_MAX:
            raise self._excess("values in one list", VALUES_MAX, literals[VALUES_MAX].position)
        if tree.data == "between":
            self._check_ordered(field, literals[0].position)
            low, high = (read_value(literal, _ordered(field), self._now_ms) for literal in literals)
            return Between(field, low, high, is_negated)
        values = [read_value(literal, field.kind, self._now_ms) for literal in literals]
        return OneOf(field, tuple(values), is_negated)

    def _compare(self, field: Field, rest: list[Any]) -> Query:
        operator = {"==": "=", "<>": "!="}.get(rest[0], str(rest[0]))
        literal = self._literal(rest[1])
        kind = field.kind
        if operator not in ("=", "!="):
            self._check_ordered(field, _place(rest[0]))
            kind = _ordered(field)
        return Comparison(field, operator, read_value(literal, kind, self._now_ms))

    def _like(self, field: Field, rest: list[Any], is_negated: bool) -> Query:
        if field.kind not in (Kind.TEXT, Kind.PARAM, Kind.COMMIT, Kind.VERSION):
            raise InvalidQueryError(
                f"LIKE compares text, and this is {field.kind.value}",
                self._text,
                _place(rest[0]),
                "= != < <= > >= or BETWEEN would fit here",
            )
        pattern = read_pattern(self._literal(rest[1]))
        return Like(field, pattern, rest[0].upper() == "LIKE", is_negated)

    def _check_ordered(self, field: Field, place: int) -> None:
        if field.kind in (Kind.TEXT, Kind.COMMIT, Kind.BOOL):
            fitting = "= or !=" if field.kind is Kind.BOOL else "=, !=, LIKE, ILIKE, IN or IS NULL"
            raise InvalidQueryError(
                f"{field.kind.value} has no order to compare by", self._text, place, f"{fitting} would fit here"
            )

    def _literal(self, value: Any) -> Literal:
        words = [(token.type, str(token)) for token in value.children]
        return Literal(words, self._text, _place(value.children[0]))

    def _check_depth(self, tree: Tree[Token], depth: int) -> None:
        if depth >= DEPTH_MAX:
            first: Tree[Token] | Token = tree
            while not isinstance(first, str):  # not by lark's own walk, which calls itself for every level
                first = next(child for child in first.children if child is not None)
            raise self._excess("levels of not, and, or", DEPTH_MAX, _place(first))

    def _excess(self, what: str, most: int, place: int) -> InvalidQueryError:
        return InvalidQueryError(
            f"the filter has more than {most} {what}", self._text, place, "what stands here is one too many"
        )


_JOINS: dict[str, Callable[[tuple[Query, ...]], Query]] = {"disjunction": Or, "conjunction": And}


def _ordered(field: Field) -> Kind:
    """What a field compares with by < and BETWEEN: a param only with numbers."""
    return Kind.NUMBER if field.kind is Kind.PARAM else field.kind


def _place(token: Any) -> int:
    return int(token.start_pos)


def _check_text(what: str, text: str) -> None:
    if len(text) > CHARS_MAX:
        message = f"the {what} has {len(text)} characters; the limit is {CHARS_MAX}"
        raise InvalidQueryError(message, text, CHARS_MAX, "what stands here is one too many")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidQueryError(
            f"the {what} has a lone surrogate, which no run has", text, error.start, "leave it out"
        ) from None


def _unexpected(text: str, error: Any) -> InvalidQueryError:
    """What the parser found where nothing of the grammar goes on, told in the language's own words."""
    token = getattr(error, "token", None)
    is_end = token is not None and token.type == "$END"
    place = len(text.rstrip()) if is_end else int(error.pos_in_stream)
    found = "the end" if is_end else repr(str(token)) if token is not None else repr(text[place])
    fitting = getattr(error, "accepts", None) or getattr(error, "allowed", None) or set()
    words = [word for name, word in _WORDS.items() if name in fitting and name != "$END"]
    advice = f"{', '.join(words) or 'nothing more'} would fit here"
    if "STRING" in fitting and token is not None and token.type == "FIELD":
        advice += f"; text stands in quotes: '{token}'"
    elif "OPERATOR" in fitting and not is_end:
        advice += _QUOTING
    elif text[place : place + 1] in ("'", '"') and not is_end:
        advice += "; this quote is never closed" if text.count(text[place], place) % 2 else ""
    return InvalidQueryError(f"the filter makes no sense from {found} on", text, place, advice)
