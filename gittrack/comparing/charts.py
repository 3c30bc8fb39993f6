"""Drawing curves: a Matplotlib figure, image files of it, and one HTML file by plotly that needs no network."""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gittrack.comparing.curves import (
    Along,
    Curve,
    find_axes,
    labels,
    read_curves,
    shared_keys,
    thin_out,
)
from gittrack.errors import InvalidValueError, MissingToolError
from gittrack.schema.names import one_line
from gittrack.tracking import settings
from gittrack.tracking.histories import find_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf", ".html")
_BUCKETS = 2000  # more than an image has columns
_TITLES = {"step": "step", "time": "time (UTC)", "relative": "seconds since the run began"}


def plot(
    runs: Any,
    keys: str | Iterable[str] | None = None,
    *,
    x: Along = "step",
    smooth: float = 0.0,
    log: bool = False,
    log_x: bool = False,
) -> Figure:
    """A Matplotlib figure of metric histories: a panel a metric, a line a run.

    Args:
        runs, keys: as `gittrack.metrics` takes them; without keys the few metrics that most of the runs share.
        x: ``step``, ``time`` or ``relative`` (seconds since the run began).
        smooth: weight of what came before, 0 to 0.99; see `gittrack.comparing.curves.smooth`.
        log, log_x: logarithmic axes; values of zero and below are not drawn.

    Raises:
        MissingToolError: Matplotlib is not installed. InvalidValueError: an argument is not taken. As
        `gittrack.metrics` for the rest.
    """
    store = settings.open_store()
    found = find_runs(store, runs)
    curves = read_curves(store, found, shared_keys(found) if keys is None else keys, x, smooth)
    return draw_figure(curves, x, log=log, log_x=log_x)


def draw_figure(curves: Sequence[Curve], along: Along, *, log: bool = False, log_x: bool = False) -> Figure:
    """A figure with a panel for each metric, and a line for each run in one colour throughout.

    Raises:
        MissingToolError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise _missing("matplotlib") from error
    panels = by_key(curves)
    colours = number_runs(curves)
    figure = Figure(figsize=(8, 1 + 3.2 * max(1, len(panels))), layout="constrained")
    for number, (key, lines) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(len(panels), 1, number)
        for curve in _thin(lines, log_x=log_x and along != "time"):
            axes.plot(
                _moments(curve) if along == "time" else curve.x,
                curve.y,
                color=f"C{colours[curve.run_id] % 10}",
                marker="o" if len(curve.x) == 1 else None,
            )
        axes.set_title(key, parse_math=False)
        axes.set_xlabel(_TITLES[along])
        axes.set_yscale("log" if log else "linear", **({"nonpositive": "mask"} if log else {}))
        if log_x and along != "time":
            axes.set_xscale("log", nonpositive="mask")
        legend = axes.legend(axes.lines, [str(at) for at in range(len(axes.lines))], fontsize="small")
        for text, label in zip(legend.get_texts(), labels(lines), strict=True):
            text.set_parse_math(False)  # set apart: Matplotlib reads "_" and "$"
            text.set_text(one_line(label, 60))
    return figure


def write_chart(
    path: str, curves: Sequence[Curve], along: Along, *, log: bool = False, log_x: bool = False
) -> None:
    """Write a chart to a file: .png, .svg and .pdf by Matplotlib, .html by plotly, with its script inside.

    Raises:
        InvalidValueError: another ending. MissingToolError: what draws it is not installed. OSError: as open.
    """
    suffix = check_suffix(path)
    if suffix == ".html":
        text = _to_html(curves, along, log=log, log_x=log_x)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    figure = draw_figure(curves, along, log=log, log_x=log_x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a font without a name's letters
        figure.savefig(path, dpi=150)


def check_suffix(path: str) -> str:
    """How a chart file's name ends.

    Raises:
        InvalidValueError: as no chart can be written.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        raise InvalidValueError(f"no chart can be written to {path!r}", f"its name ends in {', '.join(SUFFIXES)}")
    return suffix


def by_key(curves: Iterable[Curve]) -> dict[str, list[Curve]]:
    """The curves of each metric."""
    panels: dict[str, list[Curve]] = {}
    for curve in curves:
        panels.setdefault(curve.key, []).append(curve)
    return panels


def number_runs(curves: Iterable[Curve]) -> dict[str, int]:
    """Each run's number, from 0 on: its colour in every panel."""
    return {run_id: at for at, run_id in enumerate(dict.fromkeys(curve.run_id for curve in curves))}


def _to_html(curves: Sequence[Curve], along: Along, *, log: bool, log_x: bool) -> str:
    try:
        import plotly.graph_objects as go
        from plotly.colors import qualitative
        from plotly.subplots import make_subplots
    except ImportError as error:
        raise _missing("plotly") from error
    panels, colours = by_key(curves), number_runs(curves)
    figure = make_subplots(rows=max(1, len(panels)), cols=1, subplot_titles=[html.escape(key) for key in panels])
    named: set[str] = set()
    for row, lines in enumerate(panels.values(), 1):
        for curve, label in zip(_thin(lines, log_x=log_x and along != "time"), labels(lines), strict=True):
            line = go.Scatter(
                x=_moments(curve) if along == "time" else curve.x.tolist(),
                y=curve.y.tolist(),
                name=html.escape(one_line(label, 60)),  # plotly reads tags in names
                mode="markers" if len(curve.x) == 1 else "lines",
                line_color=qualitative.Plotly[colours[curve.run_id] % 10],
                legendgroup=curve.run_id,
                showlegend=curve.run_id not in named,
            )
            named.add(curve.run_id)
            figure.add_trace(line, row=row, col=1)
    figure.update_layout(height=120 + 360 * max(1, len(panels)), showlegend=True)
    figure.update_xaxes(title_text=_TITLES[along], type="log" if log_x and along != "time" else None)
    figure.update_yaxes(type="log" if log else None)
    return str(figure.to_html(include_plotlyjs=True, full_html=True))


def _thin(curves: Sequence[Curve], *, log_x: bool) -> list[Curve]:
    """The curves with no more points than an image shows; of a logarithmic x without those that have no place."""
    import numpy as np

    if log_x:
        above = [curve.x > 0 for curve in curves]
        curves = [
            replace(curve, x=curve.x[keep], y=curve.y[keep]) for curve, keep in zip(curves, above, strict=True)
        ]
    along = [np.log10(curve.x) if log_x else curve.x for curve in curves]
    axes = find_axes([replace(curve, x=x) for curve, x in zip(curves, along, strict=True)])
    if axes is None:
        return list(curves)
    return [thin_out(curve, axes[0].place(x), _BUCKETS) for curve, x in zip(curves, along, strict=True)]


def _moments(curve: Curve) -> Any:
    return (curve.x * 1000).round().astype("M8[ms]")


def _missing(package: str) -> MissingToolError:
    return MissingToolError(
        f"{package} draws this chart, and is not installed",
        "pip install 'gittrack[figures]', or plot to the terminal",
    )
