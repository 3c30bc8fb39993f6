"""Plotting: curves on a terminal, files that open, rows for a pipe; nothing a run holds can break a chart."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.harness import run_child

from .conftest import Shell

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
LOG_THREE = """
import gittrack
for number, name in enumerate(("first", "second", "evil\\x1b]0;owned\\x07\\u202e$x_{$ <b>&")):
    with gittrack.start_run(run_name=name, experiment_id=None):
        for step in range(50):
            gittrack.log({"loss": 1 / (step + 1 + number), "val/acc": step / 50}, step=step)
"""


@pytest.fixture
def three(shell: Shell) -> Shell:
    """A repository of three runs, the newest with a hostile name."""
    run_child(LOG_THREE, shell.folder, HOME=str(shell.home))
    return shell


def log(shell: Shell, values: str, name: str = "one") -> None:
    """A run whose metric ``loss`` has these values, an expression of Python."""
    code = f"""
        import gittrack, math
        nan, inf = math.nan, math.inf
        with gittrack.start_run(run_name={name!r}):
            for step, value in enumerate({values}):
                gittrack.log({{"loss": value}}, step=step)
    """
    run_child(code, shell.folder, HOME=str(shell.home))


def columns_of(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in ESCAPE.sub("", line))


@pytest.mark.parametrize("columns", [30, 80, 200])
def test_a_chart_fits_the_terminal_and_its_legend_tells_runs_apart(three: Shell, columns: int) -> None:
    shown = three.on_terminal("plot", "-m", "loss", columns=columns)
    lines = shown.splitlines()
    assert ESCAPE.sub("", lines[0]) == "loss"
    assert max(map(columns_of, lines)) <= columns
    assert "\x1b[3" in shown
    plain = ESCAPE.sub("", shown)
    assert "\x1b" not in plain
    assert not {"\x07", "\u202e"} & set(plain)
    legend = plain.splitlines()[-3:]
    assert [line.split()[0] for line in legend] == ["o", "x", "+"]
    assert [line.split()[1][:4] for line in legend] == ["evil", "seco", "firs"]
    chart = "\n".join(plain.splitlines()[1:-3])
    assert all(mark in chart for mark in "ox+")
    assert plain.splitlines()[1].split()[0] == "1"  # the greatest value, and the least
    assert "0.01923 ┤" in plain
    assert re.search(r"\b0 .*\b49$", plain, re.MULTILINE)


def test_without_words_the_newest_runs_and_the_metrics_they_share(three: Shell) -> None:
    three.gittrack("start", "-e", "other", "--name", "else")
    three.gittrack("log", "metric", "else=1")
    three.gittrack("finish")
    three.extra = {"NO_COLOR": "1"}
    assert three.on_terminal("plot").splitlines()[0] == "else"
    lines = three.on_terminal("plot", "-e", "Default", "--last", "2").splitlines()
    assert [line for line in lines if line in ("loss", "val/acc")] == ["loss", "val/acc"]
    assert [line.split()[1] for line in lines if line.startswith(("  o", "  x", "  +"))][1::2] == ["second"] * 2
    three.extra |= {"GITTRACK_EXPERIMENT_NAME": "Default"}
    assert three.on_terminal("plot", "-m", "val/*").splitlines()[0] == "val/acc"


def test_the_best_runs_are_those_of_least_loss_and_of_greatest_accuracy(three: Shell) -> None:
    def drawn(*words: str) -> list[str]:
        curves = json.loads(three.gittrack("plot", "-m", "loss", "--json", "--last", "1", *words))["curves"]
        return [curve["name"][:6] for curve in curves]

    assert drawn("--best", "loss") == ["evil\x1b]"]
    assert drawn("--best", "loss DESC") == ["first"]
    assert drawn("--best", "metrics.loss asc") == ["evil\x1b]"]
    assert drawn("--best", "val/acc") == ["evil\x1b]"]
    assert "has a metric 'los'" in three.error("plot", "--best", "los")


def test_no_colour_where_it_is_not_wanted_and_ascii_where_there_is_no_more(three: Shell) -> None:
    three.extra = {"NO_COLOR": "1"}
    shown = three.on_terminal("plot", "-m", "loss")
    assert "\x1b" not in shown
    assert any("\u2800" < char <= "\u28ff" for char in shown)
    for extra in ({"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}):
        three.extra = extra
        shown = three.on_terminal("plot", "first", "second", "-m", "loss")
        assert "\x1b" not in shown
        assert shown.isascii()
        assert re.search(r"\+[o':.]", shown)


@pytest.mark.parametrize(
    ("values", "words", "expected"),
    [
        ("[1.0]", (), "last 1"),
        ("[2.5] * 9", (), "min 2.5  max 2.5  9 points"),
        ("[nan, 1.0, inf, 2.0, -inf]", (), "3 points are NaN or infinite: not drawn"),
        ("[nan, nan]", (), "nothing to draw"),
        ("[-1.0, 0.0, 10.0, 100.0]", ("--log",), "2 points are not above zero: not drawn on a log scale"),
        ("[-1.0, -2.0]", ("--log",), "nothing to draw"),
        ("[1.0, 2.0, 3.0]", ("--log-x",), "1 point is not above zero"),
        ("[1.7e308, -1.7e308, 5e-324]", ("--smooth", "0.5"), "max 1.7e+308"),
        ("[1.7e308, 5e-324]", ("--log",), "2 points"),
        ("[1.0, 1.0000000000000002]", (), "2 points"),
        ("range(300)", ("--x", "time"), "300 points"),
        ("range(300)", ("--x", "relative", "--log-x"), "300 points"),
    ],
)
def test_odd_histories_are_drawn_or_said(shell: Shell, values: str, words: tuple[str, ...], expected: str) -> None:
    log(shell, values)
    shell.extra = {"NO_COLOR": "1"}
    shown = shell.on_terminal("plot", *words)
    assert expected in shown
    assert max(map(columns_of, shown.splitlines())) <= 80


def test_width_and_height_are_obeyed(three: Shell) -> None:
    three.extra = {"NO_COLOR": "1"}
    lines = three.on_terminal("plot", "first", "-m", "loss", "--width", "40", "--height", "5").splitlines()
    assert len(lines) == 1 + 5 + 2 + 1
    assert max(map(columns_of, lines)) == 40


def test_a_pipe_gets_every_point_as_a_row(three: Shell) -> None:
    lines = [line.split("\t") for line in three.gittrack("plot", "first", "second", "-m", "loss").splitlines()]
    assert lines[0] == ["run", "name", "metric", "step", "value"]
    assert [line[1:] for line in lines[1:]] == [
        [name, "loss", str(step), repr(1 / (step + 1 + number))]
        for number, name in enumerate(("first", "second"))
        for step in range(50)
    ]
    seconds = three.gittrack("plot", "first", "-m", "loss", "--x", "relative").splitlines()
    assert seconds[0].split("\t")[3] == "relative_s"
    assert all(0 <= float(line.split("\t")[3]) < 60 for line in seconds[1:])
    moments = three.gittrack("plot", "first", "-m", "loss", "--x", "time").splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z", moments[1].split("\t")[3])


def test_json_holds_what_would_be_drawn(three: Shell) -> None:
    told = json.loads(three.gittrack("plot", "first", "-m", "val/acc", "--smooth", "0.5", "--json"))
    (curve,) = told["curves"]
    assert (told["x"], told["smooth"], curve["name"], curve["metric"]) == ("step", 0.5, "first", "val/acc")
    assert curve["x"] == list(range(50))
    assert curve["y"][:2] == [0.0, pytest.approx(1 / 50 / 1.5)]


def test_image_files_open_and_hold_no_markup_of_a_name(three: Shell) -> None:
    for name in ("chart.png", "chart.svg", "chart.pdf"):
        assert three.gittrack("plot", "--smooth", "0.6", "--log", "--out", name) == f"{name}\n"
    with Image.open(three.folder / "chart.png") as image:
        image.load()
        assert image.width > 800
    assert ElementTree.parse(three.folder / "chart.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert (three.folder / "chart.pdf").read_bytes().startswith(b"%PDF-")


def test_an_html_file_asks_nobody_for_anything(three: Shell) -> None:
    three.gittrack("plot", "-m", "loss", "--out", "chart.html")
    text = (three.folder / "chart.html").read_text(encoding="utf-8")
    assert not re.search(r"""<(script|link|img|iframe)[^>]*\b(src|href)\s*=\s*["']?\s*(https?:)?//""", text)
    data = text[text.rindex("Plotly.newPlot(") :]
    assert "first" in data
    assert "<b>" not in data
    assert "\x1b" not in data


def test_mistakes_are_one_line_with_a_hint(three: Shell) -> None:
    said = three.error("plot", "-m", "los")
    assert said.splitlines()[0] == "error: none of the 3 runs has a metric 'los'"
    assert said.splitlines()[1] == "hint: did you mean 'loss'? there are: loss, val/acc"
    assert "run " in three.error("plot", "first", "-m", "z/*")
    assert "no run is called 'nobody'" in three.error("plot", "nobody")
    assert "no experiment is called 'x'" in three.error("plot", "-e", "x")
    assert "its name ends in .png" in three.error("plot", "--out", "a.gif", code=2)
    assert "smoothing is a number from 0 to 0.99" in three.error("plot", "--smooth", "1", code=2)
    assert "it is one of step, time, relative" in three.error("plot", "--x", "epoch", code=2)
    assert "none/a.png" in three.error("plot", "--out", "none/a.png")
    for package, name in (("matplotlib", "a.png"), ("plotly", "a.html")):
        hidden = Path(three.home / package)
        hidden.mkdir()
        (hidden / f"{package}.py").write_text("raise ImportError\n")
        three.extra = {"PYTHONPATH": str(hidden)}
        said = three.error("plot", "--out", name)
        assert f"{package} draws this chart, and is not installed" in said
        assert "pip install 'gittrack[figures]'" in said


def test_a_run_in_flight_is_drawn_as_far_as_it_has_come(shell: Shell) -> None:
    shell.gittrack("start", "--name", "flying")
    for loss in ("3", "2"):
        shell.gittrack("log", "metric", f"loss={loss}")
    assert [line.split("\t")[3:] for line in shell.gittrack("plot").splitlines()] == [
        ["step", "value"],
        ["0", "3.0"],
        ["1", "2.0"],
    ]
    shell.gittrack("finish")


def test_neighbours_of_one_colour_are_coloured_at_once(shell: Shell) -> None:
    log(shell, "[1.0] * 100")
    line = shell.on_terminal("plot", "--height", "3").splitlines()[2]
    assert re.fullmatch(r" *│\x1b\[34m[^\x1b]{70,}\x1b\[0m", line)


def test_no_run_yet_and_no_metric_are_one_line(shell: Shell) -> None:
    assert "no run has a metric yet" in shell.error("plot")
    shell.gittrack("start")
    shell.gittrack("finish")
    assert "no run has a metric yet" in shell.error("plot")
    assert "the runs have no metrics" in shell.error("plot", "@last")


def test_a_run_has_one_mark_in_every_chart(shell: Shell) -> None:
    run_child(
        """
        import gittrack
        for name, keys in (("both", "ab"), ("less", "b")):
            with gittrack.start_run(run_name=name):
                for key in keys:
                    gittrack.log({key: 1.0})
        """,
        shell.folder,
        HOME=str(shell.home),
    )
    shell.extra = {"NO_COLOR": "1"}
    lines = shell.on_terminal("plot", "both", "less").splitlines()
    assert [line.split()[:2] for line in lines if "last" in line] == [["o", "both"], ["x", "less"], ["o", "both"]]


def test_a_spike_in_a_million_points_is_seen(shell: Shell) -> None:
    log(shell, "(5.0 if step == 654_321 else 1.0 for step in range(1_000_000))")
    shell.extra = {"NO_COLOR": "1"}
    lines = shell.on_terminal("plot", "--height", "6").splitlines()
    assert "max 5  1000000 points" in lines[-1]
    top = lines[1].split("┤")[1]
    assert len(top.strip()) == 1
    assert 0.6 < len(top) / 76 < 0.7
