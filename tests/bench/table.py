"""What a benchmark found, as rows, and the one table that shows them. Pure: it prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from samples import Sample

HEAD = ("benchmark", "what", "ours", "peer", "ratio", "target", "met?")


@dataclass(frozen=True, slots=True)
class Target:
    """What a row should reach: a ratio to the peer, a figure at most, or a figure exactly."""

    kind: Literal["ratio", "most", "exactly"]
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. ``ours`` or ``peer`` is None where it could not be measured.

    Args:
        unit: of both figures. peer_name: what stands beside the peer's figure.
        note: why a figure is missing, or what else there is to say; for ``--json``, and below the table.
        curve, size: the growth curve that it is a point of, and where.
    """

    benchmark: str
    what: str
    unit: str
    ours: Sample | None
    peer: Sample | None = None
    peer_name: str = ""
    target: Target | None = None
    note: str = ""
    curve: str = ""
    size: int = 0

    @property
    def ratio(self) -> float | None:
        """Ours by the peer's, of medians."""
        if self.ours is None or self.peer is None or self.peer.median <= 0:
            return None
        return self.ours.median / self.peer.median

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None where there is none, or a figure is missing."""
        if self.target is None:
            return None
        figure = self.ratio if self.target.kind == "ratio" else self.ours and self.ours.median
        if figure is None:
            return None
        return figure == self.target.limit if self.target.kind == "exactly" else figure <= self.target.limit


def format_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, aligned for a terminal."""
    lines = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(shown)


def encode_row(row: Row) -> dict[str, Any]:
    """A row as ``--json`` keeps it: the spread of every sample, the target, and whether it is met."""
    return {
        "benchmark": row.benchmark,
        "what": row.what,
        "unit": row.unit,
        "ours": row.ours and row.ours.spread(),
        "peer": row.peer and {"name": row.peer_name, **row.peer.spread()},
        "ratio": row.ratio,
        "target": row.target and {"kind": row.target.kind, "limit": row.target.limit},
        "met": row.is_met,
        "note": row.note,
        "curve": row.curve,
        "size": row.size,
    }


def _cells(row: Row) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: "n/a" if row.target else ""}[row.is_met]
    peer = f"{_figure(row.peer, row.unit)} {row.peer_name}".strip() if row.peer_name else ""
    ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
    return row.benchmark, row.what, _figure(row.ours, row.unit), peer, ratio, _target(row), met


def _figure(sample: Sample | None, unit: str) -> str:
    if sample is None:
        return "n/a"
    value = sample.median
    text = f"{value:.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    limit = f"{row.target.limit:.3g}"
    if row.target.kind == "ratio":
        return f"<= {limit} x"
    return f"{'=' if row.target.kind == 'exactly' else '<='} {limit} {row.unit}".rstrip()
