"""The search language: MLflow's filter grammar as it stands, and what its users have missed in it.

``metrics.acc > 0.9 and (params.opt = 'adam' or params.lr between 0.01 and 0.1) and not tags.team like 'x%'``

What a comparison says of a run:

- A comparison of what a run lacks is false, ``!=`` too, as in MLflow; ``not`` turns exactly that round.
- A metric is its last value; ``.min``, ``.max``, ``.first``, ``.last``, ``.count``, ``.last_step`` are the others.
  NaN compares as IEEE 754 says: only ``!=`` holds.
- A param compared with text is what ``str`` makes of it, as in MLflow; compared with a number it is its value, or
  what its text reads as. One that is no number fits no comparison with one.
- ``LIKE`` minds upper and lower case, ``ILIKE`` does not; ``%`` is any text, ``_`` one character.
- A dataset comparison holds where it holds of any of the run's datasets.
- A version compares as PEP 440 says, and ``=`` as its ``==``, ``'2.1.*'`` included; what is none of its versions
  compares as text for ``=`` and ``!=``, and fits nothing else.
- A commit is equal to each beginning of it.

Source of the grammar that is MLflow's: https://mlflow.org/docs/latest/ml/search/search-runs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gittrack.errors import InvalidQueryError
from gittrack.schema.query_fields import FIELD_PATTERN, Field, Kind, parse_field
from gittrack.schema.query_values import (
    DURATION_PATTERN,
    NUMBER_PATTERN,
    STRING_PATTERN,
    Value,
    read_pattern,
    read_value,
)
from gittrack.schema.query_values import Literal as WrittenLiteral

Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "IN", "IS NULL"]

LENGTH_MAX = 20_000
_DEPTH_MAX = 200
_LIST_MAX = 1_000
_ORDERED = ("<", "<=", ">", ">=")
_COMPARED_BY = {
    Kind.NUMBER: ("=", "!=", *_ORDERED, "IN"),
    Kind.DURATION: ("=", "!=", *_ORDERED, "IN"),
    Kind.TIME: ("=", "!=", *_ORDERED, "IN"),
    Kind.TEXT: ("=", "!=", "LIKE", "ILIKE", "IN"),
    Kind.PARAM: ("=", "!=", *_ORDERED, "LIKE", "ILIKE", "IN"),
    Kind.VERSION: ("=", "!=", *_ORDERED, "LIKE", "ILIKE", "IN"),
    Kind.COMMIT: ("=", "!=", "IN"),
    Kind.BOOL: ("=", "!="),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field, an operator, and the values to its right: one, what ``IN`` lists, or none for ``IS NULL``."""

    field: Field
    operator: Operator
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """What holds where its part does not."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Both:
    """What holds where all its parts do."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """What holds where any of its parts does."""

    parts: tuple[Condition, ...]


Condition: TypeAlias = Comparison | Not | Both | Either


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One field to order by; NaN comes behind all values, what is missing behind NaN, in either direction."""

    field: Field
    is_descending: bool = False


def parse_query(text: str, now_ms: int) -> Condition | None:
    """The condition that a filter states; None for an empty one.

    Args:
        now_ms: what ``now`` is, in milliseconds since the epoch.

    Raises:
        InvalidQueryError: it cannot be read; the hint shows where.
    """
    if len(text) > LENGTH_MAX:
        raise InvalidQueryError(
            f"the filter has {len(text)} characters", text, LENGTH_MAX, f"it may have {LENGTH_MAX}"
        )
    if not text.strip():
        return None
    condition: Condition = _Builder(text, now_ms).build(_parse(text, "filter"), 0)
    return condition


def parse_order(text: str) -> OrderTerm:
    """The field and direction that a term such as ``metrics.loss DESC`` names.

    Raises:
        InvalidQueryError: it cannot be read; the hint shows where.
    """
    if len(text) > LENGTH_MAX or not text.strip():
        raise InvalidQueryError(
            "a term to order by is empty or too long", text[:80], 0, "such as: metrics.loss DESC"
        )
    field, *direction = _parse(text, "order").children
    return OrderTerm(
        parse_field(str(field), text, field.start_pos), bool(direction) and direction[0].type == "DESC"
    )


_IN_GRAMMAR = FIELD_PATTERN.replace("/", r"\/")
_GRAMMAR = rf"""
filter: _either
_either: either | _both
_both: both | _part
either: _both (_OR _both)+
both: _part (_AND _part)+
_part: comparison | negation | "(" _either ")"
negation: NOT _part

comparison: FIELD OPERATOR value
    | FIELD [NOT] LIKE value
    | FIELD [NOT] ILIKE value
    | FIELD [NOT] IN "(" value ("," value)* ")"
    | FIELD [NOT] BETWEEN value _AND value
    | FIELD IS [NOT] NULL

value: STRING | NUMBER | TRUE | FALSE | DURATION [AGO] | (NOW | TODAY | YESTERDAY) ((PLUS | MINUS) DURATION)*

order: FIELD [ASC | DESC]

_AND.3: /and(?!\w)/i
_OR.3: /or(?!\w)/i
NOT.3: /not(?!\w)/i
LIKE.3: /like(?!\w)/i
ILIKE.3: /ilike(?!\w)/i
IN.3: /in(?!\w)/i
BETWEEN.3: /between(?!\w)/i
IS.3: /is(?!\w)/i
NULL.3: /null(?!\w)/i
TRUE.3: /true(?!\w)/i
FALSE.3: /false(?!\w)/i
AGO.3: /ago(?!\w)/i
NOW.3: /now(?!\w)/i
TODAY.3: /today(?!\w)/i
YESTERDAY.3: /yesterday(?!\w)/i
ASC.3: /asc(?!\w)/i
DESC.3: /desc(?!\w)/i
PLUS: "+"
MINUS: "-"
OPERATOR: "!=" | "<=" | ">=" | "=" | "<" | ">"
DURATION.2: /{DURATION_PATTERN}/
NUMBER.1: /{NUMBER_PATTERN}/
STRING: /{STRING_PATTERN}/
FIELD: /{_IN_GRAMMAR}/
%ignore /\s+/
"""
_WORDS = {
    "FIELD": "a field",
    "OPERATOR": "=, !=, <, <=, >, >=",
    "STRING": "text in quotes",
    "NUMBER": "a number",
    "DURATION": "a duration",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": "a comma",
    "PLUS": "+",
    "MINUS": "-",
    "$END": "the end",
}


@functools.cache
def _parser() -> Any:
    from lark import Lark

    return Lark(_GRAMMAR, start=["filter", "order"], parser="lalr", maybe_placeholders=False)


def _parse(text: str, start: str) -> Any:
    from lark.exceptions import UnexpectedCharacters, UnexpectedInput

    try:
        return _parser().parse(text, start=start)
    except UnexpectedInput as error:
        position = error.pos_in_stream if isinstance(error, UnexpectedCharacters) else None
        token = getattr(error, "token", None)
        if position is None:
            is_end = token is None or token.type == "$END"
            position = len(text.rstrip()) if is_end or token is None else token.start_pos
        expected = getattr(error, "accepts", None) or getattr(error, "expected", None) or ()
        if isinstance(error, UnexpectedCharacters):
            expected = error.allowed or ()
        raise _unexpected(text, position, expected) from None


def _unexpected(text: str, position: int, expected: Sequence[str]) -> InvalidQueryError:
    rest = text[position:].split()
    found = f"{rest[0][:40]!r}" if rest else "the end"
    fitting = sorted({_WORDS.get(name, name.strip("_").lower()) for name in expected})
    advice = f"what would fit here: {', '.join(fitting)}" if fitting else "it is not part of the language"
    return InvalidQueryError(f"the filter cannot be read at {found}", text, position, advice)


class _Builder:
    """Makes conditions of the parser's tree."""

    def __init__(self, text: str, now_ms: int) -> None:
        self._text = text
        self._now_ms = now_ms

    def build(self, tree: Any, depth: int) -> Condition:
        if depth > _DEPTH_MAX:
            raise InvalidQueryError("the filter nests too deeply", self._text, 0, f"{_DEPTH_MAX} levels are read")
        if tree.data == "filter":
            return self.build(tree.children[0], depth)
        if tree.data == "comparison":
            return self._compare(tree.children)
        if tree.data == "negation":
            return Not(self.build(tree.children[1], depth + 1))
        parts = tuple(self.build(child, depth + 1) for child in tree.children)
        return Both(parts) if tree.data == "both" else Either(parts)

    def _compare(self, children: list[Any]) -> Condition:
        name, *words = children
        field = parse_field(str(name), self._text, name.start_pos)
        written = [word for word in words if hasattr(word, "children")]
        operators = [word for word in words if not hasattr(word, "children")]
        is_negated = any(word.type == "NOT" for word in operators)
        (operator,) = (word for word in operators if word.type not in ("NOT", "NULL"))
        found = self._condition(field, operator, [self._literal(value) for value in written])
        return Not(found) if is_negated and operator.type == "IS" else self._negated(found, field, is_negated)

    def _negated(self, found: Condition, field: Field, is_negated: bool) -> Condition:
        """``NOT IN``, ``NOT LIKE`` and ``NOT BETWEEN`` hold of what is there, as ``!=`` does."""
        return Both((found_field(field), Not(found))) if is_negated else found

    def _condition(self, field: Field, operator: Any, literals: list[WrittenLiteral]) -> Condition:
        if operator.type == "IS":
            return Comparison(field, "IS NULL")
        if operator.type == "BETWEEN":
            self._require(field, "<", operator, "BETWEEN")
            low, high = (self._read(literal, field, "<") for literal in literals)
            return Both((Comparison(field, ">=", (low,)), Comparison(field, "<=", (high,))))
        sign: Any = str(operator) if operator.type == "OPERATOR" else operator.type
        self._require(field, sign, operator, sign)
        if sign in ("LIKE", "ILIKE"):
            return Comparison(field, sign, (read_pattern(literals[0]),))
        if len(literals) > _LIST_MAX:
            raise InvalidQueryError("a list is too long", self._text, literals[0].position, f"up to {_LIST_MAX}")
        return Comparison(field, sign, tuple(self._read(literal, field, sign) for literal in literals))

    def _require(self, field: Field, sign: str, operator: Any, shown: str) -> None:
        known = _COMPARED_BY[field.kind]
        if sign not in known:
            raise InvalidQueryError(
                f"{shown} does not compare {field.kind.value}",
                self._text,
                operator.start_pos,
                f"what would fit here: {', '.join(known)}, is null",
            )

    def _read(self, literal: WrittenLiteral, field: Field, sign: str) -> Value:
        """A value; a param that is put in an order is compared as a number."""
        value = read_value(literal, field.kind, self._now_ms)
        if field.kind is Kind.PARAM and sign in _ORDERED and (isinstance(value, str | bool)):
            raise InvalidQueryError(
                f"a param is put in an order as a number, and {literal.words[0][1]} is none",
                self._text,
                literal.position,
                "leave the quotes out, as in params.lr > 0.01",
            )
        return value

    def _literal(self, tree: Any) -> WrittenLiteral:
        words = [(word.type, str(word)) for word in tree.children]
        return WrittenLiteral(words, self._text, tree.children[0].start_pos)


def found_field(field: Field) -> Condition:
    """That a run has a field."""
    return Not(Comparison(field, "IS NULL"))
