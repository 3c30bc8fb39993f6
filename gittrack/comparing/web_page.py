"""A comparison as HTML for a notebook: no script, every text escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gittrack.comparing.tables import Table, heading, tables
from gittrack.comparing.text import harmless_line
from gittrack.tracking import html

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gittrack.schema.differences import RunDiff

_PATCH_CHARS_MAX = 200_000


def format_html(diff: RunDiff, problems: Sequence[str] = ()) -> str:
    """What differs, as tables, and the texts folded away."""
    shown = tables(diff)
    pieces = [_format_table(table) for table in (heading(diff), *shown)]
    if not shown:
        pieces.append(html.heading("no difference"))
    for name in ("code", "artifacts"):
        patch = getattr(diff, name).patch
        pieces.append(html.folded(f"text of {name}", _format_patch(patch) if patch else ""))
    pieces += [html.heading("note", problem) for problem in problems]
    return f"<div>{''.join(pieces)}</div>"


def _format_table(table: Table) -> str:
    used = table.used_columns()
    rows = [[row[at].text for at in used] for row in table.rows]
    return html.table([table.columns[at] for at in used], rows)


def _format_patch(patch: str) -> str:
    lines = "\n".join(harmless_line(line) for line in patch[:_PATCH_CHARS_MAX].split("\n"))
    rest = "\n…" if len(patch) > _PATCH_CHARS_MAX else ""
    return f"<pre>{escape(lines + rest)}</pre>"
