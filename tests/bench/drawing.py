"""The growth curves as a picture: ours beside the peer's, both axes logarithmic; a level line is no growth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from table import Row

_WHAT = {
    "points": "a point, by points in the run",
    "artifacts": "an artifact of 10 kB, by artifacts in the run",
    "runs": "one more run, by runs that are there",
    "processes": "a run, by processes that write at once",
}


def draw_curves(rows: Sequence[Row], path: Path) -> None:
    """Draw every curve among the rows, a panel each; PNG, SVG or PDF by the path's ending."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for panel, (curve, title) in zip(panels.flat, _WHAT.items(), strict=True):
        found = [row for row in rows if row.curve == curve]
        mine = [(row.size, row.ours.median) for row in found if row.ours]
        theirs = [(row.size, row.peer.median) for row in found if row.peer]
        if mine:
            panel.plot(*zip(*mine, strict=True), marker="o", color="C0", label="gittrack")
        if theirs:
            name = next(row.peer_name for row in found if row.peer)
            panel.plot(*zip(*theirs, strict=True), marker="s", color="C1", label=name)
        panel.set(xscale="log", yscale="log", title=title, ylabel=found[0].unit if found else "")
        panel.grid(alpha=0.3)
        if mine or theirs:
            panel.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
