"""A comparison as HTML for a notebook: no script, no style of its own, every text escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gittrack.comparing.tables import Table, heading, tables
from gittrack.comparing.text import harmless_line
from gittrack.schema.names import one_line

if TYPE_CHECKING:
    from gittrack.comparing.diffing import Comparison

_CELL_MAX = 300
_PATCH_CHARS_MAX = 200_000


def format_html(found: Comparison) -> str:
    """What differs, as tables, and the texts folded away."""
    shown = tables(found.diff)
    pieces = [_format_table(table) for table in (heading(found.diff), *shown)]
    if not shown:
        pieces.append("<p>No difference.</p>")
    for name in ("code", "artifacts"):
        patch = getattr(found, name).patch
        if patch:
            lines = "\n".join(harmless_line(line) for line in patch[:_PATCH_CHARS_MAX].split("\n"))
            rest = "\n…" if len(patch) > _PATCH_CHARS_MAX else ""
            text = escape(lines + rest)
            pieces.append(f"<details><summary>Text of {name}</summary><pre>{text}</pre></details>")
    pieces += [f"<p>{_shown(problem)}</p>" for problem in found.problems]
    return "<div>" + "\n".join(pieces) + "</div>"


def _format_table(table: Table) -> str:
    head = "".join(f"<th>{_shown(name)}</th>" for name in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_shown(cell.text)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _shown(text: str) -> str:
    return escape(one_line(text, _CELL_MAX))
