"""`gittrack plot`: metric histories as curves in the terminal or a file, as rows in a pipe."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gittrack.cli import output
from gittrack.cli.opening import open_reading

if TYPE_CHECKING:
    from gittrack.comparing.curves import Along, Curve
    from gittrack.store.runs import StoredRun
    from gittrack.store.search_rows import RunRow
    from gittrack.store.store import Store

_RUNS_SHOWN = 5
_KEYS_LISTED = 20
_WIDTH_MIN = 20
_LOOKED_BEYOND = 50  # runs without a metric are few
_COLUMNS = {"step": "step", "time": "time", "relative": "relative_s"}


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command("plot")(plot_runs)


def plot_runs(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Runs: id or its beginning, name, commit, <experiment>~N, @last.", metavar="[RUN]..."),
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help="Metric to plot, or a pattern ('train/*'); again for more."),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", help="Runs of this experiment, where none is named.")
    ] = None,
    last: Annotated[
        int, typer.Option("--last", "-n", help="So many runs, the newest, where none is named.", min=1)
    ] = _RUNS_SHOWN,
    best: Annotated[
        str | None,
        typer.Option("--best", help="Not the newest but the best by a metric: 'acc', 'val/loss', 'x min'."),
    ] = None,
    smooth: Annotated[
        float, typer.Option("--smooth", help="Moving average: weight of what came before, 0 to 0.99.")
    ] = 0.0,
    log: Annotated[bool, typer.Option("--log", help="Logarithmic y axis.")] = False,
    log_x: Annotated[bool, typer.Option("--log-x", help="Logarithmic x axis.")] = False,
    along: Annotated[str, typer.Option("--x", help="What lies along x: step, time or relative.")] = "step",
    width: Annotated[
        int | None,
        typer.Option("--width", help="Columns of a chart; the terminal's without it.", min=_WIDTH_MIN, max=1000),
    ] = None,
    height: Annotated[int, typer.Option("--height", help="Lines of a chart.", min=3, max=500)] = 14,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Write the chart to a file: .png, .svg, .pdf or .html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the curves as JSON.")] = False,
) -> None:
    """Plot the metric histories of runs; a pipe gets them as rows."""
    from gittrack.comparing.charts import check_suffix, write_chart
    from gittrack.comparing.curves import read_curves, shared_keys

    if out is not None:
        check_suffix(out)
    store = open_reading()
    chosen = _choose_runs(store, runs or [], experiment, last, best)
    asked = keys or shared_keys(chosen)
    _check_keys(chosen, asked)
    curves = read_curves(store, chosen, asked, _check_along(along), smooth)
    if out is not None:
        write_chart(out, curves, _check_along(along), log=log, log_x=log_x)
        print(out)
    elif as_json:
        output.print_json(
            {"x": _COLUMNS[along], "smooth": smooth, "curves": [_curve_json(curve) for curve in curves]}
        )
    elif output.is_terminal():
        _show(curves, _check_along(along), log=log, log_x=log_x, width=width, height=height)
    else:
        _print_rows(curves, along)


def _choose_runs(
    store: Store, named: list[str], experiment: str | None, last: int, best: str | None
) -> list[StoredRun]:
    """The runs named; without any the newest or the best of one experiment, that of the newest run at last."""
    from gittrack.cli.opening import find_experiment_id
    from gittrack.errors import NotFoundError
    from gittrack.store.search import find_by_ids
    from gittrack.tracking.histories import find_runs

    if named:
        return find_runs(store, named)
    wanted = experiment or os.environ.get("GITTRACK_EXPERIMENT_NAME")
    experiment_id = find_experiment_id(store, wanted) if wanted else None
    newest = _find_newest(store, experiment_id, last)
    if not newest:
        raise NotFoundError(
            f"no run of {wanted!r} has a metric" if wanted else "no run has a metric yet",
            "log one with gittrack.log(…), then plot it: gittrack plot @last",
        )
    rows = _find_best(store, newest[0].experiment_id, last, best) if best else newest
    return find_by_ids(store.repository, [row.id for row in rows])


def _find_newest(store: Store, experiment_id: str | None, count: int) -> list[RunRow]:
    """The newest runs that have a metric, of one experiment: where none is given, of that of the newest."""
    from gittrack.store.search import RunQuestion, search

    found: list[RunRow] = []
    offset, limit = 0, count + _LOOKED_BEYOND
    while len(found) < count:
        ids = (experiment_id,) if experiment_id is not None else None
        page = search(store.repository, RunQuestion(experiment_ids=ids, limit=limit, offset=offset)).rows
        offset += len(page)
        having = [row for row in page if row.metrics]
        if experiment_id is None and having:  # from here on only runs of this one, counted from the first
            experiment_id, offset, found = having[0].experiment_id, 0, []
            continue
        found += having
        if len(page) < limit:
            break
    return found[:count]


def _find_best(store: Store, experiment_id: str, count: int, best: str) -> list[RunRow]:
    """The runs that have a metric, best last value first; NaN is never best.

    Raises:
        NotFoundError: none has it. InvalidValueError: nobody can tell which way it is better.
    """
    from gittrack.cli.ranking import parse_best
    from gittrack.cli.run_table import read_metric
    from gittrack.store.search import RunQuestion, search, search_runs

    ranking, everything = parse_best(best), RunQuestion(experiment_ids=(experiment_id,))
    found: list[RunRow] = []
    if ranking.goal is not None:
        rows = search(store.repository, replace(everything, order_by=(ranking.term,), limit=count)).rows
        found = [row for row in rows if read_metric(row, ranking.key) is not None]
    if not found:
        _check_keys(search_runs(store.repository, everything)[0], [ranking.key])
    return found or search(store.repository, replace(everything, order_by=(ranking.term,), limit=count)).rows


def _check_keys(runs: list[StoredRun], keys: list[str]) -> None:
    """Say so where a metric is of none of the runs, and what is most like it; or where there is none at all."""
    from difflib import get_close_matches

    from gittrack.errors import NotFoundError
    from gittrack.tracking.histories import choose_keys

    known = list(dict.fromkeys(key for stored in runs for key in stored.record.metrics))
    if not known:
        raise NotFoundError("the runs have no metrics", "see what they have: gittrack show RUN")
    for key in keys:
        if not choose_keys(known, key):
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            has = ", ".join(known[:_KEYS_LISTED])
            has += f" and {len(known) - _KEYS_LISTED} more" if len(known) > _KEYS_LISTED else ""
            who = (
                f"run {runs[0].record.id[:8]} has no" if len(runs) == 1 else f"none of the {len(runs)} runs has a"
            )
            raise NotFoundError(f"{who} metric {key!r}", f"{hint}there are: {has}")


def _check_along(along: str) -> Along:
    from gittrack.comparing.curves import ALONG
    from gittrack.errors import InvalidValueError

    for known in ALONG:
        if along == known:
            return known
    raise InvalidValueError(f"no x axis is called {along!r}", f"it is one of {', '.join(ALONG)}")


def _curve_json(curve: Curve) -> dict[str, Any]:
    return {
        "run_id": curve.run_id,
        "name": curve.name,
        "metric": curve.key,
        "x": curve.x.tolist(),
        "y": curve.y.tolist(),
    }


def _print_rows(curves: list[Curve], along: str) -> None:
    rows = (
        (curve.run_id, curve.name, curve.key, output.format_moment(round(x * 1000)) if along == "time" else x, y)
        for curve in curves
        for x, y in zip(_plain(curve.x.tolist(), along), curve.y.tolist(), strict=True)
    )
    output.print_rows(("run", "name", "metric", _COLUMNS[along], "value"), rows)


def _plain(values: list[float], along: str) -> list[Any]:
    return [int(value) for value in values] if along == "step" else values


def _show(curves: list[Curve], along: Along, *, log: bool, log_x: bool, width: int | None, height: int) -> None:
    from gittrack.cli.terminal_chart import Look, draw
    from gittrack.comparing.charts import by_key, number_runs

    look = Look(
        along=along,
        log=log,
        log_x=log_x,
        width=width or max(_WIDTH_MIN, shutil.get_terminal_size().columns),
        height=height,
        numbers=number_runs(curves),
    )
    output.show("\n".join(draw(key, lines, look) for key, lines in by_key(curves).items()))
