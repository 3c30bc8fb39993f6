"""A comparison as tables of cells: what `text`, `markdown` and `web_page` write out, each in its own way."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gittrack.schema.codec import format_time
from gittrack.schema.differences import (
    COUNTED,
    PARTS,
    FileFact,
    FileRow,
    MetricRow,
    Missing,
    Row,
    RunDiff,
    RunFacts,
)

Tone: TypeAlias = Literal["", "good", "bad", "faint"]

_TEXT_LIKE_OTHER = re.compile(r"|true|false|none|null|[-+]?(nan|inf(inity)?)|[-+.\d].*", re.IGNORECASE)
_HASH_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a place of a table: any text of a stranger's, not yet made harmless."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One part: its name, its columns' names, its rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def used_columns(self) -> list[int]:
        """Those in which something stands."""
        return [at for at in range(len(self.columns)) if any(row[at].text for row in self.rows)]


def label(number: int) -> str:
    """What a side is called in the tables: A, B, … Z, then R27 and so on."""
    return chr(ord("A") + number) if number < 26 else f"R{number + 1}"


def heading(found: RunDiff) -> Table:
    """Which runs are compared; nothing of this counts as a difference."""
    columns = ("", "run", "id", "experiment", "status", "started", "took", "code")
    return Table("runs", columns, tuple(_head_row(number, side) for number, side in enumerate(found.runs)))


def tables(found: RunDiff, *, everything: bool = False, parts: Collection[str] = ()) -> list[Table]:
    """A table for each part in which something differs; for all that was compared with ``everything``.

    Args:
        parts: only these, of `PARTS`.
    """
    names = tuple(label(number) for number in range(len(found.runs)))
    shown = []
    for name in PARTS:
        if (parts and name not in parts) or (not parts and not everything and name not in COUNTED):
            continue
        part = getattr(found, name)
        rows = part.rows if everything else tuple(part)
        if rows:
            shown.append(_table(name, rows, names))
    return shown


def format_scalar(value: object) -> str:
    """A value by which its type can be told: a text that looks like another kind stands in quotes."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if _TEXT_LIKE_OTHER.fullmatch(value) else value
    return repr(value)


def format_numbers(values: Sequence[float | Missing]) -> list[str]:
    """Numbers with six digits, or with all of them where two that differ would look the same."""
    known = {value for value in values if not isinstance(value, Missing)}
    is_enough = len({f"{value:.6g}" for value in known}) == len(known)
    return [
        value.value if isinstance(value, Missing) else f"{value:.6g}" if is_enough else repr(value)
        for value in values
    ]


def format_change(row: MetricRow) -> str:
    """``+0.01 (+1.2%)``; empty where there is no difference to tell."""
    if row.delta is None or not row.differs:
        return ""
    if row.delta == 0 or (math.isnan(row.delta) and row.verdict == "same"):
        return f"same; other: {', '.join(row.also)}" if row.also else ""
    share = f" ({row.relative:+.2%})" if row.relative is not None else ""
    return f"{row.delta:+.6g}{share}"


def _head_row(number: int, side: RunFacts) -> tuple[Cell, ...]:
    record, source = side.record, side.source
    code = ""
    if source is not None and source.commit:
        code = source.commit[:_HASH_SHOWN] + (" + changes" if source.dirty else "")
    texts = [label(number), side.title, "", "", "", "", "", code]
    if record is not None:
        state = " (deleted)" if record.lifecycle == "deleted" else " (running)" if side.is_live else ""
        took = "" if record.ended_at is None else f"{max(0, record.ended_at - record.started_at) / 1000:.1f}s"
        texts[2:7] = [record.id, record.experiment, record.status + state, format_time(record.started_at), took]
    return tuple(Cell(text) for text in texts)


def _table(name: str, rows: Iterable[Row | MetricRow | FileRow], names: tuple[str, ...]) -> Table:
    extra: tuple[str, ...] = ()
    is_pair = len(names) == 2
    if name in ("metrics", "system"):
        extra = ("change", "") if is_pair else ("better",)
    elif name in ("artifacts", "code"):
        extra = ("change",) if is_pair else ()
    elif name == "data":
        extra = ("other",)
    shown = []
    for row in rows:
        if isinstance(row, MetricRow):
            shown.append(_metric_cells(row, is_pair=is_pair))
        elif isinstance(row, FileRow):
            shown.append(_file_cells(row, is_pair=is_pair))
        else:
            cells = [Cell(row.name), *map(_scalar_cell, row.values)]
            shown.append((*cells, Cell(", ".join(row.also))) if name == "data" else tuple(cells))
    return Table(name, (name, *names, *extra), tuple(shown))


def _scalar_cell(value: object) -> Cell:
    return Cell(value.value, "faint") if isinstance(value, Missing) else Cell(format_scalar(value))


def _metric_cells(row: MetricRow, *, is_pair: bool) -> tuple[Cell, ...]:
    cells = [Cell(row.name)]
    for at, (value, text) in enumerate(zip(row.values, format_numbers(row.values), strict=True)):
        tone: Tone = "faint" if isinstance(value, Missing) else "good" if at == row.best and not is_pair else ""
        cells.append(Cell(text, tone))
    goal = {"max": "greater", "min": "less", None: ""}[row.goal]
    if not is_pair:
        return (*cells, Cell(goal))
    tone = "good" if row.verdict == "better" else "bad" if row.verdict == "worse" else ""
    verdict = row.verdict if row.verdict in ("better", "worse") else ""
    return (*cells, Cell(format_change(row), tone), Cell(verdict, tone))


def _file_cells(row: FileRow, *, is_pair: bool) -> tuple[Cell, ...]:
    cells = [Cell(row.name), *map(_file_cell, row.values)]
    if not is_pair:
        return tuple(cells)
    patch, told = row.patch, str(row.change)
    if row.renamed_from:
        told = f"renamed from {row.renamed_from}"
    elif patch is not None and row.differs:
        told += f" ({patch.note})" if patch.note else f" +{patch.added} -{patch.removed}"
    return (*cells, Cell(told, {"added": "good", "removed": "bad"}.get(row.change, "")))  # type: ignore[arg-type]


def _file_cell(value: FileFact | Missing) -> Cell:
    if isinstance(value, Missing):
        return Cell(value.value, "faint")
    mode = {0o100755: " (executable)", 0o120000: " (link)", 0o160000: " (submodule)"}.get(value.mode, "")
    size = f" {value.size_bytes} B" if value.size_bytes is not None else ""
    return Cell(f"{value.id[:_HASH_SHOWN]}{size}{mode}")
