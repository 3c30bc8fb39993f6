"""The values of the search language: what stands right of an operator, turned into what its field compares with.

Times become milliseconds since the epoch, durations seconds. A date or time without a zone is of this machine's
zone; what is relative counts from the ``now_ms`` that is given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from gittrack.errors import InvalidQueryError
from gittrack.schema.query_fields import Kind

Value: TypeAlias = str | int | float | bool

NUMBER_PATTERN = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])|[-+]?(?i:inf|infinity)\b"
DURATION_PATTERN = r"(?:\d{1,12}(?:\.\d{1,9})?(?:ms|[wdhms]))+(?!\w)"
STRING_PATTERN = r"""'(?:[^']|'')*'|"(?:[^"]|"")*\""""

_UNIT_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[wdhms])")
_COMMIT = re.compile(r"[0-9a-f]{4,64}")
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_ADVICE = {
    Kind.NUMBER: "a number without quotes would fit here, such as 0.9 or 1e-3",
    Kind.TEXT: "text in quotes would fit here, such as 'adam'",
    Kind.PARAM: "text in quotes, a number, or true or false would fit here",
    Kind.TIME: "a time would fit here: '2026-03-01', '2026-03-01 12:30', today, now - 7d, 2h ago, or milliseconds",
    Kind.DURATION: "a duration would fit here, such as 90 (seconds), 90s, 1h30m or 2d",
    Kind.BOOL: "true or false would fit here",
    Kind.COMMIT: "at least 4 hex digits in quotes would fit here, such as 'abc12'",
    Kind.VERSION: "a version in quotes would fit here, such as '2.1'",
}


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as it is written: its words, their first one's place in the text."""

    words: Sequence[tuple[str, str]]  # type and text
    text: str
    position: int


def read_value(literal: Literal, kind: Kind, now_ms: int) -> Value:
    """The value for a field of some kind.

    Raises:
        InvalidQueryError: it is none that the field could be compared with.
    """
    sort, word = literal.words[0]
    value: Value | None = None
    if sort == "STRING":
        value = _read_text(word, kind, literal)
    elif sort == "NUMBER" and kind in (Kind.NUMBER, Kind.PARAM, Kind.TIME, Kind.DURATION):
        value = read_number(word)
    elif sort in ("TRUE", "FALSE") and kind in (Kind.BOOL, Kind.PARAM):
        value = sort == "TRUE"
    elif sort == "DURATION" and kind is Kind.DURATION and len(literal.words) == 1:
        value = float(_milliseconds(word) / 1000)
    elif kind is Kind.TIME and sort in ("NOW", "TODAY", "YESTERDAY", "DURATION"):
        value = _read_moment(literal, now_ms)
    if value is None:
        raise _misfit(literal, kind)
    return value


def read_number(word: str) -> int | float:
    """An integer exactly where it has up to 18 digits; any other number as the nearest float64."""
    return int(word) if _INTEGER.fullmatch(word) else float(word)


def read_pattern(literal: Literal) -> str:
    """The text to compare with by LIKE."""
    sort, word = literal.words[0]
    if sort != "STRING":
        raise InvalidQueryError(
            f"LIKE takes text in quotes, not {word!r}",
            literal.text,
            literal.position,
            "in it, % stands for any text, _ for one character",
        )
    return _unquote(word)


def _read_text(word: str, kind: Kind, literal: Literal) -> Value | None:
    text = _unquote(word)
    if kind is Kind.COMMIT:
        return text.lower() if _COMMIT.fullmatch(text.lower()) else None
    if kind is Kind.TIME:
        return _read_time(text, literal)
    return text if kind in (Kind.TEXT, Kind.PARAM, Kind.VERSION) else None


def _read_time(text: str, literal: Literal) -> int:
    try:
        return _to_ms(datetime.fromisoformat(text))
    except (ValueError, OverflowError, OSError):
        raise _misfit(literal, Kind.TIME) from None


def _read_moment(literal: Literal, now_ms: int) -> int | None:
    (sort, word), *rest = literal.words
    if sort == "DURATION":
        return now_ms - int(_milliseconds(word)) if rest else None  # "7d ago"; 7d alone is no time
    moment = now_ms
    if sort != "NOW":
        midnight = datetime.fromtimestamp(now_ms / 1000).replace(hour=0, minute=0, second=0, microsecond=0)
        moment = _to_ms(midnight - timedelta(days=sort == "YESTERDAY"))
    for (_, sign), (_, duration) in zip(rest[::2], rest[1::2], strict=True):
        moment += int(_milliseconds(duration)) * (1 if sign == "+" else -1)
    return moment if abs(moment) < 1 << 62 else None


def _to_ms(moment: datetime) -> int:
    """Exactly, for a time of any zone; one without is of this machine's."""
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * 1000 + moment.microsecond // 1000


def _milliseconds(word: str) -> Decimal:
    return sum((Decimal(number) * _UNIT_MS[unit] for number, unit in _DURATION_PART.findall(word)), Decimal(0))


def _unquote(word: str) -> str:
    quote = word[0]
    return word[1:-1].replace(quote * 2, quote)


def _misfit(literal: Literal, kind: Kind) -> InvalidQueryError:
    written = " ".join(word for _, word in literal.words)
    shown = written if len(written) <= 40 else written[:39] + "…"
    return InvalidQueryError(
        f"{shown} is not {kind.value} to compare with", literal.text, literal.position, _ADVICE[kind]
    )
