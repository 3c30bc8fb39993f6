"""Figures for a notebook: a panel a metric, a line a run, and names that stay text."""

from __future__ import annotations

import pytest

import gittrack
from gittrack.errors import InvalidValueError
from tests.harness import Repo


def test_plot_gives_a_figure_of_the_metrics_that_runs_share(repo: Repo) -> None:
    for name in ("_hidden", "$x_{$"):
        with gittrack.start_run(run_name=name):
            for step in range(3):
                gittrack.log({"a": step / 2, "b": -1.0}, step=step)
    figure = gittrack.plot(["@last", "_hidden"])
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    first = figure.axes[0]
    assert [line.get_ydata().tolist() for line in first.lines] == [[0.0, 0.5, 1.0]] * 2
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["$x_{$", "_hidden"]
    figure.canvas.draw()
    logarithmic = gittrack.plot("@last", "a", log=True, x="relative").axes[0]
    assert (logarithmic.get_yscale(), logarithmic.get_xlabel()) == ("log", "seconds since the run began")
    with pytest.raises(InvalidValueError, match="no x axis is called 'epoch'"):
        gittrack.plot("@last", x="epoch")  # type: ignore[arg-type]


def test_a_long_history_is_thinned_out_and_its_peak_kept(repo: Repo) -> None:
    with gittrack.start_run():
        for step in range(30_000):
            gittrack.log({"a": 7.0 if step == 12_345 else 1.0}, step=step)
    for log_x in (False, True):
        (line,) = gittrack.plot("@last", log_x=log_x).axes[0].lines
        assert len(line.get_xdata()) < 9000
        assert line.get_xdata()[list(line.get_ydata()).index(7.0)] == 12_345
        assert line.get_xdata()[-1] == 29_999


def test_a_time_that_no_calendar_shows_is_refused_in_one_line(repo: Repo) -> None:
    with gittrack.start_run() as run:
        run.log_metric("a", 1.0, 0, timestamp=-62_135_596_800_000)
    with pytest.raises(
        InvalidValueError, match="has a at times that no calendar shows\n  plot it along its steps"
    ):
        gittrack.plot("@last", x="time")
    assert len(gittrack.plot("@last", x="relative").axes) == 1
