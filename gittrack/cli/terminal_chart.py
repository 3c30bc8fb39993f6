"""One chart of curves as text: braille dots by plotille, or plain ASCII where the terminal has no more.

Each run has a mark of its own along its curve and in the legend, so that runs are told apart without colour too.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gittrack.cli import output
from gittrack.comparing import curves as making

if TYPE_CHECKING:
    from gittrack.comparing.curves import Along, Axis, Curve

_COLOURS = (("blue", "34"), ("red", "31"), ("green", "32"), ("magenta", "35"), ("cyan", "36"), ("yellow", "33"))
_MARKS = "ox+*#@%&=$ABCDEFGHIJKLMNPQRSTUVWYZ"
_MARKS_A_CURVE = 4
_RESET = "\x1b[0m"
_SAME_COLOUR = re.compile(r"(\x1b\[\d+m).\x1b\[0m(?:\1.\x1b\[0m)*")  # plotille colours letter by letter
_BRAILLE = 0x2800
_UPPER_DOTS, _LOWER_DOTS = 0x1B, 0xE4  # of a braille letter's four rows of dots, ISO/TR 11548-1


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How charts are drawn: what lies along x, the scales, the size in columns and lines, each run's number.

    A run's number gives its colour and its mark, the same ones in every chart.
    """

    along: Along
    log: bool
    log_x: bool
    width: int
    height: int
    numbers: Mapping[str, int]

    def mark(self, curve: Curve) -> str:
        """What stands for the run; a dash for one alone, whose curve bears no marks."""
        return _MARKS[self.numbers[curve.run_id] % len(_MARKS)] if len(self.numbers) > 1 else "-"

    def colour(self, curve: Curve) -> tuple[str, str]:
        """The run's colour: plotille's name for it, and its ANSI code."""
        return _COLOURS[self.numbers[curve.run_id] % len(_COLOURS)]


def draw(title: str, curves: list[Curve], look: Look) -> str:
    """A titled chart of one metric, its legend and what could not be drawn; no line is wider than it may be."""
    log, log_x, width = look.log, look.log_x, look.width
    is_plain = _wants_ascii()
    strange = making.count_strange(curves)
    shown, without_log = list(curves), 0
    if log or log_x:
        told = [making.to_log(curve, x=log_x, y=log) for curve in curves]
        shown, without_log = [curve for curve, _ in told], sum(count for _, count in told)
    axes = making.find_axes(shown, log_x=log_x, log_y=log)
    lines = [output.paint(output.cut(output.format_cell(title), width), "1")]
    lines += ["  nothing to draw"] if axes is None else _chart(shown, axes, look, is_plain)
    lines += _legend(curves, look)
    if strange:
        lines.append(output.cut(f"  {_points(strange)} NaN or infinite: not drawn", width))
    if without_log:
        lines.append(output.cut(f"  {_points(without_log)} not above zero: not drawn on a log scale", width))
    return "\n".join(lines) + "\n"


def _chart(curves: list[Curve], axes: tuple[Axis, Axis], look: Look, is_plain: bool) -> list[str]:
    (x_axis, y_axis), width, height = axes, look.width, look.height
    labels = _y_labels(y_axis, height)
    side = min(max(len(text) for text in labels.values()), width // 3)
    room = width - side - 2
    bar, tick, corner, line = "|++-" if is_plain else "│┤└─"
    rows = []
    for number, row in enumerate(_plot(curves, axes, look, room, is_plain)):
        label = labels.get(height - 1 - number)
        rows.append(f"{(label or '')[:side]:>{side}} {bar if label is None else tick}{row}".rstrip())
    rows.append(f"{'':>{side}} {corner}{line * room}")
    rows.append(f"{'':>{side}}  {_x_labels(x_axis, look.along, room)}".rstrip())
    return rows


def _plot(curves: list[Curve], axes: tuple[Axis, Axis], look: Look, width: int, is_plain: bool) -> list[str]:
    """The rows of the canvas itself; a letter holds 2 by 4 dots, whose coordinates count from the lower left."""
    import numpy as np
    from plotille import Canvas

    x_axis, y_axis = axes
    columns, lines = 2 * width, 4 * look.height
    canvas = Canvas(width, look.height, 0, 0, columns, lines)
    is_coloured = output.wants_colour()
    for curve in curves:
        thin = making.thin_out(curve, x_axis.place(curve.x), columns)
        colour = look.colour(curve)[0] if is_coloured else None
        is_drawn = np.isfinite(thin.y)
        x = np.rint(x_axis.place(thin.x) * (columns - 1))
        y = np.rint(np.where(is_drawn, y_axis.place(np.where(is_drawn, thin.y, y_axis.low)), 0) * (lines - 1))
        dots = [
            dot if drawn else None
            for dot, drawn in zip(zip(x.tolist(), y.tolist(), strict=True), is_drawn, strict=True)
        ]
        _draw_line(canvas, dots, colour)
        if len(look.numbers) > 1:
            share = (look.numbers[curve.run_id] + 0.5) / len(look.numbers)
            _draw_marks(canvas, [dot for dot in dots if dot], share, look.mark(curve), colour)
    text: str = canvas.plot(linesep="\n")
    text = _SAME_COLOUR.sub(_join_coloured, text)
    return text.translate(_ASCII if is_plain else {_BRAILLE: " "}).split("\n")


def _join_coloured(found: re.Match[str]) -> str:
    """Letters of one colour as one coloured text: a fifth of the bytes, which matters to a slow line."""
    return found[1] + found[0].replace(found[1], "").replace(_RESET, "") + _RESET


def _draw_line(canvas: Any, dots: list[tuple[float, float] | None], colour: str | None) -> None:
    before = None
    for dot in dots:
        if dot is not None:
            canvas.line(*(before or dot), *dot, color=colour)
        before = dot


def _draw_marks(canvas: Any, dots: list[tuple[float, float]], share: float, mark: str, colour: str | None) -> None:
    """A mark at a few places along a curve, each so far into its part: other curves have theirs elsewhere."""
    if dots:
        places = {round((part + share) / _MARKS_A_CURVE * (len(dots) - 1)) for part in range(_MARKS_A_CURVE)}
        for place in sorted(places):
            canvas.point(*dots[place], color=colour, marker=mark)


def _y_labels(axis: Axis, height: int) -> dict[int, str]:
    """What stands beside which row, counted from the lowest: the range's ends, and round numbers not too near."""
    labels = {round(place * (height - 1)): text for place, text in axis.ends()}
    for place, text in axis.ticks(max(2, height // 4)):
        row = round(place * (height - 1))
        if 2 <= row <= height - 3:
            labels[row] = text
    return labels


def _x_labels(axis: Axis, along: Along, width: int) -> str:
    """The range's ends, and round numbers between them where there is room."""
    marks = axis.ends()
    if along == "step" or axis.is_log:
        marks += axis.ticks(max(2, width // 12))
    else:
        show = _moment if along == "time" else _span
        marks = [(0.0, show(axis.low, axis)), (1.0, show(axis.high, axis))]
    taken: dict[int, str] = {}
    for place, text in marks:
        begin = max(0, min(round(place * (width - 1)) - len(text) // 2, width - len(text)))
        if all(begin > at + len(other) + 1 or at > begin + len(text) + 1 for at, other in taken.items()):
            taken[begin] = text
    row = ""
    for begin, text in sorted(taken.items()):
        row = row.ljust(begin) + text
    return output.cut(row, width)


def _moment(time_s: float, axis: Axis) -> str:
    moment = datetime.fromtimestamp(time_s, UTC).astimezone()
    return f"{moment:%Y-%m-%d %H:%M}" if axis.high - axis.low > 300 else f"{moment:%H:%M:%S}"


def _span(seconds: float, axis: Axis) -> str:
    return output.format_duration(0, round(seconds * 1000)) if seconds > 0 else f"{making.format_number(seconds)}s"


def _legend(curves: list[Curve], look: Look) -> list[str]:
    """A line a run: its mark, its name, its last value, the range."""
    names = [output.format_cell(label) for label in making.labels(curves)]
    longest = min(max(map(output.width_of, names), default=0), max(8, look.width // 2))
    lines = []
    for name, curve in zip(names, curves, strict=True):
        text = output.pad(output.cut(name, longest), longest) + f"  {_told(curve)}"
        shown = f"{look.mark(curve)} {output.cut(text, look.width - 4)}".rstrip()
        lines.append("  " + output.paint(shown, look.colour(curve)[1]))
    return lines


def _points(count: int) -> str:
    return "1 point is" if count == 1 else f"{count} points are"


def _told(curve: Curve) -> str:
    import numpy as np

    finite = curve.y[np.isfinite(curve.y)]
    last, count = output.format_cell(float(curve.y[-1])), len(curve.y)
    if not len(finite) or count == 1:
        return f"last {last}"
    low, high = (output.format_cell(float(value)) for value in (finite.min(), finite.max()))
    return f"last {last}  min {low}  max {high}  {count} points"


def _wants_ascii() -> bool:
    """Whether the terminal cannot be trusted with braille and lines."""
    return os.environ.get("TERM") == "dumb" or not (sys.stdout.encoding or "").lower().startswith("utf")


def _to_ascii(dots: int) -> str:
    upper, lower = dots & _UPPER_DOTS, dots & _LOWER_DOTS
    return ":" if upper and lower else "'" if upper else "." if lower else " "


_ASCII = {_BRAILLE + dots: _to_ascii(dots) for dots in range(256)}
