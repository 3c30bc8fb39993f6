"""Printing: a table that fits the terminal, TSV for a pipe, JSON on request; colour and pager where wanted.

Honours NO_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM=dumb, GITTRACK_PAGER, PAGER and COLUMNS. What comes from a
repository is made harmless first: no escape sequence of a stranger reaches the terminal.
"""

from __future__ import annotations

import functools
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from gittrack.schema.names import escape_json, one_line

_STYLES = {"FINISHED": "32", "RUNNING": "36", "FAILED": "31", "KILLED": "31", "SCHEDULED": "33"}
_GAP = "  "
_COLUMN_MIN = 6
_LINES_AT_ONCE = 10_000
_READING_SHOWN = 5_000  # runs; fewer are read within half a second


@functools.cache
def is_terminal() -> bool:
    """Whether stdout is a person's terminal."""
    return sys.stdout.isatty()


def wants_colour() -> bool:
    """Whether to colour: <https://no-color.org> and <https://bixense.com/clicolors> say when."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return is_terminal() and os.environ.get("TERM") != "dumb" and os.environ.get("CLICOLOR") != "0"


def paint(text: str, code: str) -> str:
    """Text in an ANSI style, where colour is wanted."""
    return f"\x1b[{code}m{text}\x1b[0m" if code and wants_colour() else text


def paint_error(text: str) -> str:
    """Text in red, where stderr is a terminal that is coloured."""
    return f"\x1b[31m{text}\x1b[0m" if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else text


def note(text: str) -> None:
    """Say something that is no data, on stderr."""
    print(one_line(text, 2000), file=sys.stderr)


def print_json(value: Any) -> None:
    """Print a value as JSON: NaN and infinities as the texts "NaN", "Infinity", "-Infinity", which JSON lacks."""
    # what stdout cannot hold stands as an escape
    is_ascii = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(_json_ready(value), ensure_ascii=is_ascii, indent=2, allow_nan=False)
    show(escape_json(text) + "\n", page=False)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], empty: str = "") -> None:
    """Print rows: aligned and cut to the terminal's width, or whole as TSV where stdout is no terminal."""
    if not is_terminal():
        print_rows(columns, rows)
        return
    if not rows:
        note(empty or "nothing to show")
        return
    show(format_table(columns, rows))


def format_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The table that `print_table` prints on a terminal; empty where there are no rows."""
    if not rows:
        return ""
    return _layout(
        [one_line(column) for column in columns], [[format_cell(value) for value in row] for row in rows]
    )


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print any number of rows: as they come where stdout is no terminal, else as `print_table` does."""
    if is_terminal():
        print_table(columns, list(rows))
        return
    lines = ["\t".join(map(one_line, columns))]
    for row in rows:
        lines.append("\t".join(format_cell(value).replace("\t", " ") for value in row))
        if len(lines) == _LINES_AT_ONCE:
            show("\n".join(lines) + "\n", page=False)
            lines = []
    if lines:
        show("\n".join(lines) + "\n", page=False)


def print_fields(title: str, fields: Sequence[tuple[str, Any]]) -> str:
    """A titled block of names and values, as text."""
    shown = [(one_line(name), format_cell(value)) for name, value in fields if value not in (None, "")]
    if not shown:
        return ""
    width = max(width_of(name) for name, _ in shown)
    lines = [paint(title, "1")] if title else []
    lines += [f"  {pad(name, width)}  {value}" for name, value in shown]
    return "\n".join(lines) + "\n"


def show(text: str, *, page: bool = True) -> None:
    """Write text to stdout, through the pager where it is longer than the terminal."""
    height = shutil.get_terminal_size().lines
    if page and is_terminal() and text.count("\n") >= height and _page(text):
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader has seen enough, as `head` does: no error; Python must not flush into the pipe again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def format_cell(value: Any) -> str:
    """A value for a table: harmless, on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}" if is_terminal() else repr(value)
    return one_line(str(value), 10_000)


def format_moment(time_ms: int | None) -> str:
    """A time for a table: local and short on a terminal, ISO 8601 in UTC in a pipe."""
    if time_ms is None:
        return ""
    try:  # not as a fraction of seconds: far from now a float of them has lost the milliseconds
        moment = datetime.fromtimestamp(time_ms // 1000, UTC).replace(microsecond=time_ms % 1000 * 1000)
    except (OverflowError, ValueError, OSError):
        return str(time_ms)
    if not is_terminal():
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def duration_cell(start_ms: int, end_ms: int | None) -> str:
    """A duration for a table: seconds as a number in a pipe."""
    if is_terminal() or end_ms is None:
        return format_duration(start_ms, end_ms)
    return f"{max(0, end_ms - start_ms) / 1000:.3f}"


def format_duration(start_ms: int, end_ms: int | None) -> str:
    """A duration for a person: ``850ms``, ``12.3s``, ``4m05s``, ``3h20m``."""
    if end_ms is None:
        return ""
    seconds = max(0, end_ms - start_ms) / 1000
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def size_cell(size_bytes: int) -> str:
    """A size for a table: bytes as a number in a pipe."""
    return format_size(size_bytes) if is_terminal() else str(size_bytes)


def format_size(size_bytes: int) -> str:
    """A size for a person: ``1.2 MB``."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def cut(text: str, width: int) -> str:
    """Text of at most so many columns; what is left out stands as an ellipsis."""
    if width_of(text) <= width:
        return text
    kept, used = "", 0
    for char in text:
        used += _char_width(char)
        if used > width - 1:
            break
        kept += char
    return kept + "…"


def pad(text: str, width: int) -> str:
    """Text filled up with blanks to so many columns."""
    return text + " " * (width - width_of(text))


def width_of(text: str) -> int:
    """How many columns a text takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_char_width, text))


def tell_reading(done: int, total: int) -> None:
    """Show how far the index has come, where it takes long enough to be seen."""
    if total >= _READING_SHOWN:
        progress(done, total, "reading runs")


def is_watched() -> bool:
    """Whether a person at a terminal sees how far long work has come."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def progress(done: int, total: int, what: str) -> None:
    """Show on a terminal's stderr how far long work has come."""
    _show_progress(f"{what} {done}/{total}" if done < total else "")


def progress_bytes(done: int, total: int, what: str) -> None:
    """As `progress`, of bytes."""
    _show_progress(f"{what} {format_size(done)} of {format_size(total)}" if done < total else "")


def count_bytes(total: int, what: str) -> Callable[[int], None]:
    """What takes the bytes moved since its last call, from any thread, and shows how far they have come."""
    lock, done = threading.Lock(), 0

    def take(size_bytes: int) -> None:
        nonlocal done
        with lock:
            done += size_bytes
            progress_bytes(done, total, what)

    return take


def _show_progress(text: str) -> None:
    if is_watched():
        print(f"\r{one_line(text)}\x1b[K", end="\r", file=sys.stderr, flush=True)


def _json_ready(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): _json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(item) for item in value]
    return value


def _layout(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    widths = [max(width_of(column), *(width_of(row[at]) for row in cells)) for at, column in enumerate(columns)]
    shown = _fit(widths, shutil.get_terminal_size().columns)
    lines = [paint(_GAP.join(pad(columns[at].upper(), shown[at]) for at in range(len(shown))).rstrip(), "1")]
    for row in cells:
        parts = []
        for at in range(len(shown)):
            cell = pad(cut(row[at], shown[at]), shown[at])
            parts.append(paint(cell, _STYLES.get(row[at], "")))
        lines.append(_GAP.join(parts).rstrip())
    hidden = len(columns) - len(shown)
    if hidden:
        lines.append(paint(f"({hidden} more columns: widen the terminal, pipe, or use --json)", "2"))
    return "\n".join(lines) + "\n"


def _fit(widths: list[int], room: int) -> list[int]:
    """Column widths that fit: the widest give way first; columns that still do not fit go, from the right."""
    shown = list(widths)
    while len(shown) > 1 and sum(shown) + len(_GAP) * (len(shown) - 1) > room:
        widest = max(range(len(shown)), key=lambda at: shown[at])
        if shown[widest] > 2 * _COLUMN_MIN:
            shown[widest] -= 1
        else:
            shown.pop()
    return shown


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _page(text: str) -> bool:
    command = os.environ.get("GITTRACK_PAGER", os.environ.get("PAGER", "less"))
    if not command or command == "cat":
        return False
    environment = {"LESS": "FRX", **os.environ}
    try:
        argv = shlex.split(command)
        done = subprocess.run(argv, input=text, text=True, env=environment, check=False, encoding="utf-8")
    except (OSError, ValueError):
        return False
    return done.returncode in (0, 141)
