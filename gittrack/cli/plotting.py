"""`gittrack plot`: metric histories as curves in the terminal or a file, as rows in a pipe."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gittrack.cli import output
from gittrack.cli.opening import open_reading

if TYPE_CHECKING:
    from gittrack.comparing.curves import Along, Curve
    from gittrack.store.runs import StoredRun
    from gittrack.store.store import Store

_RUNS_SHOWN = 5
_KEYS_LISTED = 20
_WIDTH_MIN = 20
_LOWER_IS_BETTER = re.compile(r"(?i)loss|err|mse|mae|rmse|perplexity|\bppl|nll|time|latency")
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
        typer.Option("--best", help="Not the newest but the best by a metric: 'acc', 'val/loss ASC', 'x DESC'."),
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
    from gittrack.tracking.histories import find_runs

    if named:
        return find_runs(store, named)
    wanted = experiment or os.environ.get("GITTRACK_EXPERIMENT_NAME")
    listing = store.list_runs(find_experiment_id(store, wanted) if wanted else None)
    runs = [stored for stored in listing.runs if stored.record.lifecycle == "active" and stored.record.metrics]
    if not runs:
        raise NotFoundError(
            f"no run of {wanted!r} has a metric" if wanted else "no run has a metric yet",
            "log one with gittrack.log(…), then plot it: gittrack plot @last",
        )
    if not wanted:
        runs = [stored for stored in runs if stored.record.experiment_id == runs[0].record.experiment_id]
    return (_order_best(runs, best) if best else runs)[:last]


def _order_best(runs: list[StoredRun], best: str) -> list[StoredRun]:
    """The runs that have a metric, best last value first; NaN is never best."""
    key, _, direction = best.rpartition(" ")
    if direction.upper() not in ("ASC", "DESC"):
        key, direction = best, "ASC" if _LOWER_IS_BETTER.search(best) else "DESC"
    key = key.strip().removeprefix("metrics.")
    _check_keys(runs, [key])
    sign = 1 if direction.upper() == "ASC" else -1
    having = [stored for stored in runs if key in stored.record.metrics]
    values = {stored.record.id: stored.record.metrics[key].last for stored in having}
    return sorted(
        having, key=lambda run: (values[run.record.id] != values[run.record.id], sign * values[run.record.id])
    )


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
