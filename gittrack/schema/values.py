"""Values as they are logged: what is taken as a metric's number, its step and its time, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gittrack.errors import InvalidValueError
from gittrack.schema.names import check_key

_YEAR_1_S, _YEAR_9999_S = -62_135_596_800, 253_370_764_800


METRICS_MAX = 100_000  # of one call; what reads a journal takes no more for true


def check_metrics(metrics: Mapping[str, Any]) -> list[float]:
    """The values of a dict of metrics as float64, in its order.

    Raises:
        InvalidValueError: it is no dict, a key is not taken, or a value is no number.
    """
    if not isinstance(metrics, Mapping):
        raise InvalidValueError(
            f"metrics are a dict of numbers by key, not {type(metrics).__name__}",
            'as in log({"loss": 0.5}, step=1)',
        )
    if len(metrics) > METRICS_MAX:
        raise InvalidValueError(f"{len(metrics)} metrics are too many for one call", f"the limit is {METRICS_MAX}")
    return [_check_value(check_key("metric", key), value) for key, value in metrics.items()]


def shown(value: Any) -> str:
    """A value for a message: the beginning of its `repr`, or its type where that raises (a long integer)."""
    try:
        return f"{value!r:.80}"
    except Exception:
        return f"this {type(value).__name__}"


def _check_value(key: str, value: Any) -> float:
    """A metric's value as ``float()`` makes it: of numbers, NumPy and torch scalars, numeric text."""
    try:
        if hasattr(value, "item") and getattr(value, "size", 1) == 1:
            value = value.item()
        return float(value)
    except OverflowError as error:  # infinity would be another value
        raise InvalidValueError(f"metric {key!r} is an integer too great for a float64") from error
    except Exception as error:
        raise InvalidValueError(
            f"metric {key!r} is no number: {shown(value)} ({type(value).__name__})",
            "log text with log_param or set_tag",
        ) from error


def check_step(step: Any) -> int:
    """A step as an integer of 64 bits; a float is taken where it is whole, a text where it is one's digits.

    Raises:
        InvalidValueError: it is none.
    """
    try:
        number = int(step)
        is_whole = isinstance(step, str | bytes) or bool(number == step)
    except Exception as error:
        raise InvalidValueError(f"a step is a whole number, not {shown(step)}") from error
    if not is_whole:
        raise InvalidValueError(f"a step is a whole number, not {shown(step)}")
    if not -(1 << 63) <= number < 1 << 63:
        raise InvalidValueError(f"a step of {number.bit_length() + 1} bits does not fit 64")
    return number


def check_time(time_s: Any) -> float:
    """A point's time, in seconds since the epoch, that a calendar can show.

    Raises:
        InvalidValueError: it is none; most often its unit is another.
    """
    try:
        moment = float(time_s)
    except Exception as error:
        raise InvalidValueError(f"a timestamp is a number, not {shown(time_s)}") from error
    if not _YEAR_1_S <= moment < _YEAR_9999_S:
        raise InvalidValueError(
            f"timestamp {moment * 1000:.0f} lies outside the years 1 to 9998", "give milliseconds since the epoch"
        )
    return moment
