"""Odd values for `exact_data`, and what Python's own rules say they must be read back as."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import strategies as st

_INT64 = (-(1 << 63), (1 << 63) - 1)
_TIMES_MS = (-62_135_596_800_000, 253_370_764_799_999)  # the years 1 to 9998

_ODD_TEXTS = [
    "", " ", "no", "Yes", "null", "~", "true", "1e5", "017", "0x1f", "12:30:45", "2026-01-01", "=", "<<", "- a",
    "a: b", "#x", " lead", "trail ", "\n", "a\nb\n", "\r\n", "\r", "\t", "\0", "a\0b", "\x1b[31m", "\x7f", "\x85",
    "\xa0", "\u2028", "\u2029", "\ufeff", "\ufffe", "\uffff", "\ud800", "a\udc80", "\\ud800", "é", "e\u0301", "Å",
    "A\u030a", "\u202eabc", "\u200d", "שלום", "日本語", "🏳️‍🌈", "\U0010ffff", "{}", "[]", "&a", "*a", "!x", "%41",
    "@", "`", "|", ">", '"', "'", "\\", '\\"', "NaN", ".nan", "-.inf", "x" * 5000, "Gittrack-Run: " + "0" * 32,
]  # fmt: skip
_ODD_KEYS = [
    "a", "A", "a/b", "a/B", "a.csv", "a.csv/b", "a ", "a.", "a/ ", "b /c", "..", ".", "../a", "/a", "a/", "a//b",
    "a/./b", "-a", "--help", ".git", ".GIT/x", "x/.gitmodules", "CON", "nul.csv", "aux/x", "c:d", "é", "e\u0301",
    "ß", "SS", "日" * 250, "k" * 250, "k" * 251, "x/" * 124 + "xy", "y", "no", "null", "a:", ": a", "a\n", "", "~",
    "%41", "%", "a\\b", "metrics", "ǆ", "ǅ", "\ud800", "a\0b", "0", "１", " a",
]  # fmt: skip
_ODD_PATHS = [
    "a.txt", "A.txt", "a/b.txt", "..", "../a", "/etc/passwd", "a/../b", ".git/config", "a/.GIT", "git~1", "CON",
    "a.", "a ", "é", "e\u0301", "日" * 80, "x" * 256, "a\\b", "c:d", "a\nb", "\udc80", "-rf", "a//b", "", "%2e",
    "\u200c.git", ".gitattributes", "a\u202eb", "params.yaml", " a",
]  # fmt: skip

_ANY_TEXT = st.text(st.integers(0, 0x10FFFF).map(chr), max_size=20)
_TEXTS = st.sampled_from(_ODD_TEXTS) | st.text(max_size=20) | _ANY_TEXT
_KEYS = st.sampled_from(_ODD_KEYS) | st.text("abAB_-./: é日0", min_size=1, max_size=12) | _ANY_TEXT
_PATHS = st.sampled_from(_ODD_PATHS) | st.text("abAB_-./: é日0~", min_size=1, max_size=12) | _ANY_TEXT
_INTS = st.integers() | st.sampled_from(
    [1 << 53, (1 << 53) + 1, 1 << 63, (1 << 64) - 1, 10**308, 10**309, -(10**400)]
)
_HUGE = st.sampled_from([4298, 4300, 5000]).map(
    lambda digits: -(10**digits)
)  # mapped: Python writes no such number
_DECIMALS = st.decimals(allow_nan=False) | st.sampled_from([Decimal("0.1"), Decimal("1e-400"), Decimal("NaN")])
_NUMPY = (
    st.floats(width=16).map(np.float16)
    | st.floats(width=32).map(np.float32)
    | st.floats().map(np.float64)
    | st.integers(*_INT64).map(np.int64)
    | st.integers(0, (1 << 64) - 1).map(np.uint64)
    | st.booleans().map(np.bool_)
)
_NUMBERS = st.floats() | _INTS | _HUGE | st.booleans() | _DECIMALS | _NUMPY | st.fractions()
_PARAMS = (
    st.none()
    | _NUMBERS
    | _TEXTS
    | _TEXTS.map(np.str_)
    | st.binary(max_size=5)
    | st.lists(st.integers(), max_size=3)
)
_METRICS = _NUMBERS | st.sampled_from(
    ["1.5", "nan", "-inf", "x", "", None, [1], 1j, np.array([2.5]), np.array([1, 2])]
)
_STEPS = (
    st.none()
    | _HUGE
    | st.integers(*_INT64)
    | st.sampled_from([*_INT64, 1 << 63, -(1 << 63) - 1, 1.0, 1.5, -0.5, math.nan, math.inf, "7", "x", "", True])
    | st.integers(*_INT64).map(np.int64)
    | st.floats(allow_nan=False, width=32).map(np.float32)
    | st.decimals(allow_nan=False, places=1, min_value=-99, max_value=99)
)
_TIMES = (
    st.none()
    | _HUGE
    | st.integers(*_TIMES_MS)
    | st.sampled_from(
        [
            0,
            -1,
            *_TIMES_MS,
            _TIMES_MS[1] + 1,
            _TIMES_MS[0] - 1,
            10**400,
            math.nan,
            math.inf,
            "x",
            True,
        ]
    )
    | st.integers(*_TIMES_MS).map(np.int64)
    | st.integers(*_TIMES_MS).map(float)
)


@dataclass(frozen=True)
class Made:
    """What one made run is asked to hold."""

    name: str
    note: str
    params: dict[str, Any]
    tags: dict[str, Any]
    points: list[tuple[str, Any, Any, Any]]
    artifacts: dict[str, bytes]
    experiment: str | None


MADE = st.builds(
    Made,
    name=_TEXTS,
    note=_TEXTS,
    params=st.dictionaries(_KEYS, _PARAMS, max_size=5),
    tags=st.dictionaries(_KEYS, _PARAMS, max_size=3),
    points=st.lists(st.tuples(_KEYS, _METRICS, _STEPS, _TIMES), max_size=6),
    artifacts=st.dictionaries(_PATHS, st.binary(max_size=9), max_size=2),
    experiment=st.none() | st.none() | _TEXTS,
)


def may_be(key: str, sound: bool) -> bool | None:
    """Whether a call must be taken: its key is plain and its value sound; None where that is not for us to say."""
    parts = key.split("/")
    plain = len(key) <= 250 and all(char == "_" or char.isalnum() or char in "-.:/ " for char in key)
    is_plain = bool(key) and plain and not any(part in ("", ".", "..") for part in parts)
    return True if is_plain and sound else None


def show(value: Any) -> str:
    is_long = isinstance(value, int) and value.bit_length() > 999
    return f"{value.bit_length()} bits" if is_long else f"{value!r:.99}"


def is_text(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)


def text_of(value: Any) -> str | None:
    try:
        return str.__str__(value) if isinstance(value, str) else str(value)
    except ValueError:  # an integer of more digits than Python writes
        return None


def wanted_param(value: Any) -> tuple[Any, bool]:
    """What a param must be read as, and whether it must be taken."""
    if isinstance(value, str):
        return str.__str__(value), is_text(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and not isinstance(value, bool):
        return value, abs(value) < 10**4298
    if value is None or isinstance(value, bool | float):
        return value, True
    text = str(value)
    return text, is_text(text)


def wanted_metric(value: Any) -> float | None:
    """What ``float()`` makes of it; None where that refuses."""
    try:
        return float(value.item() if isinstance(value, np.ndarray) else value)
    except (TypeError, ValueError, OverflowError):
        return None


def wanted_step(step: Any) -> int | None:
    if step is None:
        return 0
    try:
        whole = int(step)
    except (TypeError, ValueError, OverflowError):
        return None
    is_exact = isinstance(step, str) or whole == step
    return whole if is_exact and _INT64[0] <= whole <= _INT64[1] else None


def wanted_time(timestamp: Any) -> int | None:
    if timestamp is None or isinstance(timestamp, str | bool):
        return None
    return int(timestamp) if _TIMES_MS[0] <= timestamp <= _TIMES_MS[1] else None  # NaN is neither
