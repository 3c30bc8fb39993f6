"""`ls`: a leaderboard of runs; which of them, in what order, and in which form."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gittrack.cli import output
from gittrack.cli.opening import find_experiment_id, open_reading, tell_if_cut
from gittrack.errors import InvalidValueError, MissingToolError
from gittrack.schema.names import one_line

if TYPE_CHECKING:
    from gittrack.cli.ranking import Ranking
    from gittrack.cli.run_table import Column
    from gittrack.store.search import RunQuestion
    from gittrack.store.search_rows import RunRow
    from gittrack.store.store import Store

_LIMIT = 100
_REFRESH_S = 2.0
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_OTHER_SCREEN, _FIRST_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # without the cursor, and with it
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_NONE_FITS = "no run fits; all of them: gittrack ls"
_EMPTY = "no runs yet: log one with gittrack.log(…) or gittrack exec -- CMD"

_Shown = tuple[list[str], list[list[Any]]]
_Tell = Callable[[str], None]


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command("ls")(list_runs)


def list_runs(
    experiment: Annotated[str | None, typer.Argument(help="Only runs of this experiment.")] = None,
    fitting: Annotated[
        str, typer.Option("--filter", "-f", help="Only what fits: \"metrics.acc > 0.9 and params.opt = 'adam'\".")
    ] = "",
    sort: Annotated[
        list[str] | None, typer.Option("--sort", "-s", help="Order: metrics.loss, 'metrics.acc desc', duration …")
    ] = None,
    best: Annotated[
        str | None, typer.Option("--best", "-b", help="The best of a metric first: metrics.acc, 'metrics.x min'.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", help=f"At most so many; 0 for all.  [default: {_LIMIT}]", min=0),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", "-c", help="Columns: name,metrics.acc,params.lr,tags.team,started …")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", "-g", help="A row a group: params.opt,tags.team,status …")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Show it again and again, until Ctrl-C.")] = False,
    deleted: Annotated[bool, typer.Option("--deleted", help="Show deleted runs instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; all runs unless --limit is given.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV; all runs unless --limit is given.")] = False,
    parquet: Annotated[
        str | None,
        typer.Option("--parquet", help="Write Parquet; all runs unless --limit is given.", metavar="FILE"),
    ] = None,
) -> None:
    """List runs, newest first: their metrics, and the params in which they differ."""
    from gittrack.cli.ranking import parse_best
    from gittrack.cli.run_table import parse_columns
    from gittrack.store.search import RunQuestion

    chosen = parse_columns(columns) if columns else None
    groups = parse_columns(group_by) if group_by else None
    ranking = parse_best(best) if best is not None else None
    is_export = as_csv or parquet is not None
    if as_json + as_csv + (parquet is not None) > 1:
        raise InvalidValueError("the list has one form", "give one of --json, --csv and --parquet")
    if live:
        _require_terminal(is_plain=not (as_json or is_export))
    store = open_reading()
    tell_if_cut(store)
    question = RunQuestion(
        filter=fitting,
        order_by=_order_by(sort or [], ranking),
        experiment_ids=(find_experiment_id(store, experiment),) if experiment else None,
        lifecycle="deleted" if deleted else "active",
        limit=(None if is_export or as_json or groups else _LIMIT) if limit is None else (limit or None),
    )
    empty = _NONE_FITS if fitting or experiment or deleted else _EMPTY
    is_told = limit is None or output.is_terminal()  # a script knows what it has asked for

    def find(tell: _Tell) -> list[RunRow]:
        return _find(store, question, ranking, tell, is_told=is_told)

    if live:
        _refresh(lambda tell: _layout(find(tell), chosen, groups), empty)
    elif as_json and groups is None:
        _print_json(store, question)
    elif is_export or as_json:
        titles, cells = _lay_out_file(find(output.note), chosen, groups)
        if parquet is not None:
            _write_parquet(parquet, titles, cells)
        elif as_csv:
            output.show(_format_csv(titles, cells), page=False)
        else:
            output.print_json([dict(zip(titles, row, strict=True)) for row in cells])
    else:
        output.print_table(*_layout(find(output.note), chosen, groups), empty)


def _find(
    store: Store, question: RunQuestion, ranking: Ranking | None, tell: _Tell, *, is_told: bool
) -> list[RunRow]:
    """The runs that are asked for; what else is to be said of them goes to ``tell``, a line each.

    Args:
        is_told: say how many there are beside those that a limit lets through.
    """
    from gittrack.cli.run_table import read_metric
    from gittrack.store.search import search

    found = search(store.repository, question, output.tell_reading)
    for problem in found.problems:
        tell(f"warning: {problem}")
    if len(found.rows) < found.total and is_told:
        tell(f"{len(found.rows)} of {found.total} runs; all of them: --limit 0")
    if ranking and found.rows and read_metric(found.rows[0], ranking.key) is None:
        tell(f"none of these runs has a metric {ranking.key!r}")
    return found.rows


def _layout(rows: Sequence[RunRow], chosen: list[Column] | None, groups: list[Column] | None) -> _Shown:
    from gittrack.cli.run_table import choose_columns, group_rows

    if groups is not None:
        return group_rows(rows, groups, chosen=chosen)
    columns = chosen or choose_columns(rows)
    return [column.title for column in columns], [[column.show(row) for column in columns] for row in rows]


def _lay_out_file(rows: Sequence[RunRow], chosen: list[Column] | None, groups: list[Column] | None) -> _Shown:
    from gittrack.cli.run_table import Column, all_columns, group_rows

    if groups is not None:
        titles, cells = group_rows(rows, groups, Column.export, chosen)
        return [column.file_title for column in groups] + titles[len(groups) :], cells
    columns = chosen or all_columns(rows)
    return [column.file_title for column in columns], [[column.export(row) for column in columns] for row in rows]


def _print_json(store: Store, question: RunQuestion) -> None:
    from gittrack.cli.describing import run_json
    from gittrack.store.search import search_runs

    runs, problems = search_runs(store.repository, question, output.tell_reading)
    for problem in problems:
        output.note(f"warning: {problem}")
    output.print_json([run_json(stored) for stored in runs])


def _order_by(sort: Sequence[str], ranking: Ranking | None) -> tuple[str, ...]:
    """The terms of the order; '-' before one turns it round."""
    terms = [f"{term[1:]} desc" if term.startswith("-") else term for term in sort]
    return (ranking.term, *terms) if ranking else tuple(terms)


def _require_terminal(*, is_plain: bool) -> None:
    if not is_plain:
        raise InvalidValueError("--live shows a table: it goes with no --json, --csv or --parquet")
    if not output.is_terminal() or os.environ.get("TERM") == "dumb":
        raise InvalidValueError("--live needs a terminal", "leave it out, or run gittrack ls again and again")


def _refresh(make: Callable[[_Tell], _Shown], empty: str) -> None:
    """Show a table in place, on a screen of its own, until the person has seen enough; the last one stays."""
    text = ""
    sys.stdout.write(_OTHER_SCREEN)
    try:
        while True:
            told: list[str] = []
            titles, cells = make(told.append)
            lines = (output.format_table(titles, cells) or empty).splitlines()
            lines += [output.cut(one_line(line), shutil.get_terminal_size().columns) for line in told]
            text = "\n".join(lines)
            room = max(1, shutil.get_terminal_size().lines - 1)
            shown = "".join(f"{line}{_CLEAR_LINE}\n" for line in lines[:room])
            sys.stdout.write(f"{_HOME}{shown}{time.strftime('%H:%M:%S')}, Ctrl-C ends{_CLEAR_LINE}{_CLEAR_BELOW}")
            sys.stdout.flush()
            time.sleep(_REFRESH_S)
    except KeyboardInterrupt:
        pass
    finally:
        sys.stdout.write(_FIRST_SCREEN)
        sys.stdout.flush()
    print(text)


def _format_csv(titles: Sequence[str], cells: Sequence[Sequence[Any]]) -> str:
    """CSV (RFC 4180) that a spreadsheet takes for data: text that it would run as a formula begins with "'"."""
    text = io.StringIO()
    # with another end of line the writer would leave a carriage return inside of a field without quotes
    writer = csv.writer(text, lineterminator="\r\n")
    lines = []
    for row in (titles, *cells):
        writer.writerow(map(_harmless, row))
        lines.append(text.getvalue().removesuffix("\r\n") + "\n")
        text.seek(text.truncate(0))
    return "".join(lines)


def _harmless(cell: Any) -> Any:
    if isinstance(cell, str):
        if output.is_terminal():  # no escape sequence of a stranger reaches it
            cell = one_line(cell, 10_000)
        return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return "" if cell is None else repr(cell) if isinstance(cell, float) else cell


def _write_parquet(path: str, titles: Sequence[str], cells: Sequence[Sequence[Any]]) -> None:
    """Write a Parquet file; a column of several types is written as text.

    Raises:
        MissingToolError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingToolError("writing Parquet needs pyarrow", "pip install 'gittrack[parquet]'") from error
    columns = []
    for values in zip(*cells, strict=True) if cells else ((),) * len(titles):
        try:
            columns.append(pyarrow.array(values))
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OverflowError):  # of several types, or huge
            columns.append(pyarrow.array([None if value is None else str(value) for value in values]))
    with open(path, "wb") as file:  # not by its name, which pyarrow would take for a URL where it looks like one
        parquet.write_table(pyarrow.table(columns, names=list(titles)), file)
    output.note(f"{len(cells)} rows in {path}")
