"""A comparison as Markdown for a pull request: GitHub Flavored Markdown, <https://github.github.com/gfm/>.

Every text of a run stands in a code span or a code block, in which nothing is Markdown, HTML, a link or a mention.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gittrack.comparing.tables import Table, heading, tables
from gittrack.comparing.text import harmless_line
from gittrack.schema.names import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gittrack.schema.differences import RunDiff

_CELL_MAX, _ROWS_MAX = 300, 100
_PATCH_CHARS_MAX = 20_000  # of code, and of artifacts; a comment on GitHub holds 65,536


def format_markdown(
    diff: RunDiff, problems: Sequence[str] = (), *, everything: bool = False, parts: Collection[str] = ()
) -> str:
    """Tables, then the texts folded away."""
    shown = tables(diff, everything=everything, parts=parts)
    pieces = [format_table(table) for table in (heading(diff), *shown)]
    if not shown:
        pieces.append("No difference.\n")
    for name in ("code", "artifacts"):
        patch = getattr(diff, name).patch if not parts or name in parts else ""
        if patch:
            pieces.append(f"<details><summary>Text of {name}</summary>\n\n{format_block(patch)}\n</details>\n")
    pieces += [f"Note: {code_span(problem)}\n" for problem in problems]
    return "\n".join(pieces)


def format_table(table: Table) -> str:
    """A table; columns in which nothing stands are left out, and rows after the hundredth."""
    used = table.used_columns()
    lines = [" | ".join(table.columns[at] for at in used), " | ".join("---" for _ in used)]
    lines += [" | ".join(code_span(row[at].text) for at in used) for row in table.rows[:_ROWS_MAX]]
    more = len(table.rows) - _ROWS_MAX
    rest = f"\nand {more} more; `gittrack diff` shows all of them.\n" if more > 0 else ""
    return "".join(f"| {line} |\n" for line in lines) + rest


def code_span(text: str) -> str:
    """A text as an inline code span that fits a table's cell: <https://github.github.com/gfm/#code-spans>."""
    shown = one_line(text, _CELL_MAX)
    if not shown.strip():
        return ""
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    room = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return fence + room + shown.replace("|", "\\|") + room + fence  # in a table a bar ends a cell even in a span


def format_block(patch: str) -> str:
    """A patch as a code block; what is too long for a comment is cut, and that is said."""
    cut = patch[:_PATCH_CHARS_MAX]
    lines = [harmless_line(line) for line in cut.removesuffix("\n").split("\n")]
    fence = "`" * max(3, max(map(len, re.findall("`+", cut)), default=0) + 1)
    rest = "\nThe text is cut here; `gittrack diff` shows all of it.\n" if len(patch) > len(cut) else ""
    return f"{fence}diff\n" + "\n".join(lines) + f"\n{fence}\n{rest}"
