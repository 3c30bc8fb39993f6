"""A comparison as plain text: what ``str()`` gives and, with colours, what a terminal shows."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from gittrack.comparing.tables import Cell, Table, heading, tables
from gittrack.schema.names import one_line

if TYPE_CHECKING:
    from gittrack.schema.differences import RunDiff

_STYLES = {"good": "32", "bad": "31", "faint": "2", "": ""}
_PADDED_MAX = 60  # a wider cell does not push the others


def format_text(
    diff: RunDiff,
    problems: Sequence[str] = (),
    *,
    everything: bool = False,
    parts: Collection[str] = (),
    paint: Callable[[str, str], str] = lambda text, style: text,
    cell_max: int = 10_000,
) -> str:
    """Tables, then the texts of what differs; every line harmless to show.

    Args:
        paint: gives a text the style of an ANSI code.
        cell_max: characters of a cell that are shown.
    """
    pieces = [_lay_out(heading(diff), paint, cell_max)]
    shown = tables(diff, everything=everything, parts=parts)
    pieces += [_lay_out(table, paint, cell_max) for table in shown]
    for name in ("code", "artifacts"):
        if not parts or name in parts:
            pieces += _patch_block(getattr(diff, name).patch, paint)
    if not shown:
        pieces.append("no difference\n")
    pieces += [f"note: {one_line(problem, 2000)}\n" for problem in problems]
    return "\n".join(pieces)


def harmless_line(line: str) -> str:
    """A line of a file as it can be shown: its tabs stay."""
    return "\t".join(one_line(piece, 10_000) for piece in line.split("\t"))


def _patch_block(patch: str, paint: Callable[[str, str], str]) -> list[str]:
    if not patch:
        return []
    lines = []
    for line in patch.removesuffix("\n").split("\n"):
        style = ""
        if line.startswith(("diff ", "--- ", "+++ ")):
            style = "1"
        elif line[:1] in "@+-":
            style = {"@": "36", "+": "32", "-": "31", "": ""}[line[:1]]
        lines.append(paint(harmless_line(line), style))
    return ["\n".join(lines) + "\n"]


def _lay_out(table: Table, paint: Callable[[str, str], str], cell_max: int) -> str:
    columns = [Cell(name) for name in table.columns]
    rows = [[Cell(one_line(cell.text, cell_max), cell.tone) for cell in row] for row in (columns, *table.rows)]
    used = table.used_columns()
    widths = {at: min(_PADDED_MAX, max(_width(row[at].text) for row in rows)) for at in used}
    lines = [paint(_join(rows[0], used, widths, lambda text, style: text), "1")]
    lines += ["  " + _join(row, used, widths, paint) for row in rows[1:]]
    lines[0] = "  " + lines[0] if table.title == "runs" else lines[0]
    return "\n".join(lines) + "\n"


def _join(
    row: Sequence[Cell], used: Sequence[int], widths: dict[int, int], paint: Callable[[str, str], str]
) -> str:
    parts = []
    for at in used:
        pad = "" if at == used[-1] else " " * max(0, widths[at] - _width(row[at].text))
        parts.append((paint(row[at].text, _STYLES[row[at].tone]) if row[at].text else "") + pad)
    return "  ".join(parts).rstrip()


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
