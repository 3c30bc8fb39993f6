"""HTML of runs and experiments for notebooks: no script, styles inline, every text escaped.

A notebook that is not trusted shows it all the same, in a light and in a dark theme: colours are the page's own,
lines half transparent grey.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from gittrack.schema.names import one_line
from gittrack.schema.records import RunRecord

_CHARS_MAX = 300
_ROWS_MAX = 200
_LINE = "border-bottom:1px solid rgba(128,128,128,.3)"
_CELL = f"text-align:left;padding:2px 10px 2px 0;{_LINE}"
_FAINT = "opacity:.7"


def text(value: object) -> str:
    """A value as harmless text on one line; a float in six digits, None as nothing."""
    if value is None:
        return ""
    shown = f"{value:.6g}" if isinstance(value, float) else str(value)
    return escape(one_line(shown, _CHARS_MAX), quote=True)


def moment(time_ms: int | None) -> str:
    """A time in milliseconds since the epoch as text, UTC to the second."""
    if not time_ms:
        return ""
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return str(time_ms)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], rows_max: int = _ROWS_MAX) -> str:
    """A table of values; of very many rows the first ones, and how many more there are."""
    head = "".join(f'<th style="{_CELL}">{text(column)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{text(value)}</td>' for value in row) + "</tr>"
        for row in rows[:rows_max]
    )
    more = f'<div style="{_FAINT}">and {len(rows) - rows_max} more</div>' if len(rows) > rows_max else ""
    return (
        f'<table style="border-collapse:collapse;margin:4px 24px 4px 0"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>{more}"
    )


def heading(title: object, *facts: object) -> str:
    """A title, and facts about it in faint letters; those that are empty are left out."""
    told = " · ".join(shown for shown in map(text, facts) if shown)
    faint = f' <span style="{_FAINT}">{told}</span>' if told else ""
    return f'<div style="margin:4px 0"><b>{text(title)}</b>{faint}</div>'


def beside(parts: Iterable[str]) -> str:
    """Blocks beside each other where there is room; nothing of empty ones."""
    blocks = "".join(
        f'<div style="display:inline-block;vertical-align:top">{part}</div>' for part in parts if part
    )
    return f"<div>{blocks}</div>"


def folded(summary: str, inner: str) -> str:
    """A block that a click unfolds; nothing where it is empty."""
    return f"<details><summary>{text(summary)}</summary>{inner}</details>" if inner else ""


def pairs(columns: tuple[str, str], mapping: Mapping[str, object]) -> str:
    """A mapping as a table of two columns; nothing where it is empty."""
    return table(columns, list(mapping.items())) if mapping else ""


def run_block(record: RunRecord) -> str:
    """A run: its name, id and status, params beside metrics, its tags and its note folded away."""
    took = "" if record.ended_at is None else f"{max(0, record.ended_at - record.started_at) / 1000:.1f} s"
    state = "deleted" if record.lifecycle == "deleted" else ""
    last = {key: summary.last for key, summary in record.metrics.items()}
    return (
        "<div>"
        + heading(record.name, record.id, record.status, state, record.experiment, moment(record.started_at), took)
        + (heading("error", record.error) if record.error else "")
        + beside([pairs(("param", "value"), record.params), pairs(("metric", "last"), last)])
        + folded(f"tags ({len(record.tags)})", pairs(("tag", "value"), record.tags))
        + folded(
            "note", f'<div style="white-space:pre-wrap">{escape(_lines(record.note))}</div>' if record.note else ""
        )
        + "</div>"
    )


def _lines(note: str) -> str:
    return "\n".join(one_line(line, 2000) for line in note.split("\n")[:_ROWS_MAX])
