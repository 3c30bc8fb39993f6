"""`ls`: a leaderboard of runs; which of them, in what order, and in which form."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gittrack.cli import output
from gittrack.cli.opening import find_experiment_id, open_reading
from gittrack.errors import InvalidValueError, MissingToolError

if TYPE_CHECKING:
    from gittrack.cli.run_table import Column
    from gittrack.store.search import RunQuestion
    from gittrack.store.search_rows import RunRow
    from gittrack.store.store import Store

_LIMIT = 100
_REFRESH_S = 2.0
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_EMPTY = "no runs yet: log one with gittrack.log(…) or gittrack exec -- CMD"

_Shown = tuple[list[str], list[list[Any]]]


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV; all runs unless --limit is given.")] = False,
    parquet: Annotated[
        str | None,
        typer.Option("--parquet", help="Write Parquet; all runs unless --limit is given.", metavar="FILE"),
    ] = None,
) -> None:
    """List runs, newest first: their metrics, and the params in which they differ."""
    from gittrack.cli.run_table import parse_columns
    from gittrack.store.search import RunQuestion

    chosen = parse_columns(columns) if columns else None
    groups = parse_columns(group_by) if group_by else None
    store = open_reading()
    is_export = as_csv or parquet is not None
    question = RunQuestion(
        filter=fitting,
        order_by=_order_by(sort or [], best),
        experiment_ids=(find_experiment_id(store, experiment),) if experiment else None,
        lifecycle="deleted" if deleted else "active",
        limit=(None if is_export or groups else _LIMIT) if limit is None else (limit or None),
    )
    if live:
        _refresh(lambda: _layout(_find(store, question), chosen, groups))
    elif as_json and groups is None:
        _print_json(store, question)
    elif is_export:
        _export(_find(store, question), chosen, groups, parquet)
    else:
        titles, cells = _layout(_find(store, question), chosen, groups)
        if as_json:
            output.print_json([dict(zip(titles, row, strict=True)) for row in cells])
        else:
            output.print_table(titles, cells, _EMPTY)


def _find(store: Store, question: RunQuestion) -> list[RunRow]:
    from gittrack.store.search import search

    found = search(store.repository, question, output.tell_reading)
    for problem in found.problems:
        output.note(f"warning: {problem}")
    if len(found.rows) < found.total:
        output.note(f"{len(found.rows)} of {found.total} runs; all of them: --limit 0")
    return found.rows


def _layout(rows: Sequence[RunRow], chosen: list[Column] | None, groups: list[Column] | None) -> _Shown:
    from gittrack.cli.run_table import choose_columns, group_rows

    if groups is not None:
        return group_rows(rows, groups)
    columns = chosen or choose_columns(rows)
    return [column.title for column in columns], [[column.show(row) for column in columns] for row in rows]


def _print_json(store: Store, question: RunQuestion) -> None:
    from gittrack.cli.describing import run_json
    from gittrack.store.search import search_runs

    runs, problems = search_runs(store.repository, question, output.tell_reading)
    for problem in problems:
        output.note(f"warning: {problem}")
    output.print_json([run_json(stored) for stored in runs])


def _order_by(sort: Sequence[str], best: str | None) -> tuple[str, ...]:
    """The terms of the order; '-' before one turns it round.

    Raises:
        InvalidValueError: nobody can tell which way a metric is better.
    """
    terms = [f"{term[1:]} desc" if term.startswith("-") else term for term in sort]
    if best is None:
        return tuple(terms)
    metric, _, way = best.strip().partition(" ")
    if not metric.startswith(("metrics.", "metric.")):
        metric = f"metrics.{metric}"
    return (f"{metric} {'asc' if _is_lower_better(metric, way.strip().lower()) else 'desc'}", *terms)


def _is_lower_better(metric: str, way: str) -> bool:
    from gittrack.schema.directions import find_goal

    goal = way or find_goal(metric.partition(".")[2])
    if goal not in ("min", "max"):
        raise InvalidValueError(
            f"whether a lower or a higher {metric} is better is not known", f"say it: --best '{metric} max'"
        )
    return goal == "min"


def _refresh(make: Callable[[], _Shown]) -> None:
    """Show a table in place, again and again, until the person has seen enough.

    Raises:
        InvalidValueError: stdout is no terminal.
    """
    if not output.is_terminal():
        raise InvalidValueError("--live needs a terminal", "leave it out, or run gittrack ls again and again")
    try:
        while True:
            text = output.format_table(*make()) or f"{_EMPTY}\n"
            shown = text.replace("\n", f"{_CLEAR_LINE}\n")
            sys.stdout.write(f"{_HOME}{shown}{time.strftime('%H:%M:%S')}, Ctrl-C ends{_CLEAR_LINE}{_CLEAR_BELOW}")
            sys.stdout.flush()
            time.sleep(_REFRESH_S)
    except KeyboardInterrupt:
        print()


def _export(
    rows: Sequence[RunRow], chosen: list[Column] | None, groups: list[Column] | None, parquet: str | None
) -> None:
    from gittrack.cli.run_table import all_columns, group_rows

    if groups is not None:
        titles, cells = group_rows(rows, groups)
    else:
        columns = chosen or all_columns(rows)
        titles = [column.title for column in columns]
        cells = [[column.export(row) for column in columns] for row in rows]
    if parquet is not None:
        _write_parquet(parquet, titles, cells)
    else:
        output.show(_format_csv(titles, cells), page=False)


def _format_csv(titles: Sequence[str], cells: Sequence[Sequence[Any]]) -> str:
    """CSV (RFC 4180) that a spreadsheet takes for data: text that it would run as a formula begins with "'"."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_harmless, titles))
    writer.writerows([_harmless(cell) for cell in row] for row in cells)
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    if isinstance(cell, str):
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
    columns = {}
    for title, values in zip(titles, zip(*cells, strict=True) if cells else ((),) * len(titles), strict=True):
        try:
            columns[title] = pyarrow.array(values)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
            columns[title] = pyarrow.array([None if value is None else str(value) for value in values])
    parquet.write_table(pyarrow.table(columns), path)
    output.note(f"{len(cells)} rows in {path}")
