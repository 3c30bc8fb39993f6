"""Listing: which runs, in what order and form; on a terminal, in a pipe, into files."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import select
import signal
import statistics
import time
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tests.harness import WAIT_S, run_child

from .conftest import GITTRACK, Shell, clean_environment

STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
FOUR = """
import gittrack
nan = float("nan")
for name, acc, loss, opt, lr in (
    ("a", 0.5, [3.0, 1.0, 2.0], "adam", 0.1),
    ("b", 0.9, [2.0], "adam", 0.2),
    ("c", nan, [1.5], "sgd", 0.3),
    ("d", None, [0.5], "sgd", 0.4),
):
    with gittrack.start_run(run_name=name):
        gittrack.log_params({"opt": opt, "lr": lr, "seed": 7})
        for value in loss:
            gittrack.log({"loss": value})
        if acc is not None:
            gittrack.log({"acc": acc, "my speed": 1.0})
"""


def make(shell: Shell, code: str) -> None:
    run_child(code, shell.folder, HOME=str(shell.home))


@pytest.fixture
def four(shell: Shell) -> Shell:
    """Runs a, b, c and d of the experiment Default, d the newest; c's accuracy is NaN, d has none."""
    make(shell, FOUR)
    return shell


def names(shell: Shell, *words: str) -> str:
    """The names that `ls` lists, in its order."""
    return " ".join(shell.gittrack("ls", "-c", "name", *words).splitlines()[1:])


def table(shell: Shell, *words: str) -> list[list[str]]:
    return [line.split("\t") for line in shell.gittrack("ls", *words).splitlines()]


def read_csv(shell: Shell, *words: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(shell.gittrack("ls", "--csv", *words), newline="")))


# -- which runs, in what order -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "d c b a"),
        (("--filter", "metrics.loss < 2 and params.opt = 'sgd'"), "d c"),
        (("-f", "metrics.acc IS NULL or params.lr = 0.1"), "d a"),
        (("-f", "name = 'nobody'"), ""),
        (("--sort", "params.lr"), "a b c d"),
        (("--sort", "-params.lr"), "d c b a"),
        (("-s", "params.opt", "-s", "-metrics.loss"), "b a c d"),
        (("-s", "metrics.loss.min desc"), "b c a d"),
        (("-s", "-metrics.`my speed`"), "c b a d"),
        (("--best", "acc"), "b a c d"),  # NaN is never best, and what is missing comes last
        (("-b", "metrics.loss"), "d c b a"),
        (("-b", "loss max"), "b a c d"),
        (("-b", "metrics.acc ASC"), "a b c d"),
        (("-b", "metrics.loss.min"), "d a c b"),
        (("-b", "my speed max", "-s", "params.lr"), "a b c d"),
        (("--limit", "2"), "d c"),
        (("-n", "0"), "d c b a"),
        (("--deleted",), ""),
    ],
)
def test_a_filter_an_order_and_a_limit(four: Shell, words: tuple[str, ...], expected: str) -> None:
    assert names(four, *words) == expected


def test_what_a_limit_leaves_out_is_told_beside_the_data(shell: Shell) -> None:
    make(
        shell,
        """
        import gittrack
        for number in range(103):
            with gittrack.start_run(run_name=f"run-{number}"):
                pass
        """,
    )
    for words, shown, told in (
        ((), 100, "100 of 103 runs; all of them: --limit 0\n"),
        (("-n", "2"), 2, ""),
        (("-n", "103"), 103, ""),
        (("-n", "0"), 103, ""),
        (("--csv",), 103, ""),
        (("--csv", "-n", "1"), 1, ""),
    ):
        done = shell.run(GITTRACK, "ls", "-c", "name", *words)
        assert (len(done.stdout.splitlines()) - 1, done.stderr) == (shown, told), words
    for words, shown in (((), 103), (("-n", "0"), 103), (("-n", "3"), 3)):
        done = shell.run(GITTRACK, "ls", "--json", *words)
        assert (len(json.loads(done.stdout)), done.stderr) == (shown, ""), words
    assert "2 of 103 runs; all of them: --limit 0" in shell.on_terminal("ls", "-n", "2")
    assert table(shell, "--group-by", "status") == [["status", "runs"], ["FINISHED", "103"]]


def test_best_says_what_it_does_not_know(four: Shell) -> None:
    said = four.error("ls", "--best", "speed", code=2)
    assert said == (
        "error: whether a lower or a higher speed is better is not known\n"
        "hint: say it: --best 'speed max', or min\n"
    )
    done = four.run(GITTRACK, "ls", "--best", "f1", "-c", "name")
    assert done.stdout.split() == ["name", "d", "c", "b", "a"]
    assert done.stderr == "none of these runs has a metric 'f1'\n"
    assert "is not the name of a metric" in four.error("ls", "--best", "", code=2)


def test_an_experiment_is_named_by_its_name_or_its_id(shell: Shell) -> None:
    make(
        shell,
        """
        import gittrack
        for experiment in ("digits", "0", "line\\nbreak"):
            gittrack.set_experiment(experiment)
            with gittrack.start_run(run_name=f"of {experiment}"):
                pass
        with gittrack.start_run(run_name="default", experiment_id="0"):
            pass
        gittrack.Client().rename_experiment(gittrack.get_experiment_by_name("digits").experiment_id, "numbers")
        """,
    )
    ids = {row["name"]: row["id"] for row in json.loads(shell.gittrack("experiments", "--json"))}
    assert table(shell, "numbers", "-c", "name,experiment")[1:] == [["of digits", "numbers"]]
    assert names(shell, ids["numbers"]) == "of digits"
    assert names(shell, "0") == "of 0"  # a name goes before an id
    assert names(shell, "Default") == "default"
    assert names(shell, "line\nbreak") == "of line break"
    assert "no experiment is called 'digits'" in shell.error("ls", "digits")
    assert len(table(shell)) == 5


def test_deleted_runs_are_shown_only_where_they_are_asked_for(four: Shell) -> None:
    make(
        four,
        """
        import gittrack
        (run,) = gittrack.search_runs(filter_string="name = 'b'", output_format="list")
        gittrack.Client().delete_run(run.info.run_id)
        """,
    )
    assert names(four) == "d c a"
    assert names(four, "--deleted") == "b"
    assert [run["lifecycle"] for run in json.loads(four.gittrack("ls", "--deleted", "--json"))] == ["deleted"]


def test_a_wrong_filter_shows_its_place_and_exits_with_2(four: Shell) -> None:
    for words in (("-f", "metrics.acc >> 3"), ("-f", "params.lr >"), ("-s", "metrics."), ("-f", "colour = 'red'")):
        lines = four.error("ls", *words, code=2).splitlines()
        assert lines[0].startswith("error: ")
        assert lines[1].startswith("hint: ")
        assert lines[2].strip() == words[1].strip()
        assert lines[3].strip() == "^"
        assert len(lines) == 4
    assert "No such option" in four.error("ls", "--fliter", "x", code=2)
    for words in (("--json", "--csv"), ("--csv", "--parquet", "x")):
        assert "give one of --json, --csv and --parquet" in four.error("ls", *words, code=2)
    assert names(four, "-n", str(10**30)) == "d c b a"
    assert "-1 is not in the range" in four.error("ls", "-n", "-1", code=2)


# -- columns and groups ------------------------------------------------------------------------------------------


def test_columns_are_those_asked_for_in_their_order(four: Shell) -> None:
    words = "name, metrics.loss,metrics.loss.min,metrics.loss.max,metrics.loss.first,metrics.loss.count,params.opt"
    assert table(four, "-c", f"{words},tags.none,status,name", "-f", "name = 'a'") == [
        [*words.replace(" ", "").split(","), "tags.none", "status"],
        ["a", "2.0", "1.0", "3.0", "3.0", "3", "adam", "", "FINISHED"],
    ]
    (row,) = read_csv(four, "-c", "id,start_time,end_time,duration,command", "-n", "1")
    assert re.fullmatch("[0-9a-f]{32}", row["run"])
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{8,12}Z", row[key]) for key in ("started", "ended"))
    assert 0 <= float(row["took_s"]) < 60
    said = four.error("ls", "-c", "name,accuracy", code=2).splitlines()
    assert said[0] == "error: there is no column 'accuracy'"
    assert said[1].startswith("hint: what was logged is named whole, as metrics.accuracy, params.accuracy or")


def test_a_metric_called_like_a_part_of_another_is_that_metric(shell: Shell) -> None:
    make(
        shell,
        """
        import gittrack
        with gittrack.start_run():
            gittrack.log({"a": 5.0})
            gittrack.log({"a": 3.0, "a.min": 100.0})
        """,
    )
    assert table(shell, "-c", "metrics.a,metrics.a.min,metrics.a.max") == [
        ["metrics.a", "metrics.a.min", "metrics.a.max"],
        ["3.0", "100.0", "5.0"],
    ]


def test_groups_have_mean_and_deviation_of_their_runs(four: Shell) -> None:
    title, *groups = table(four, "--group-by", "params.opt", "-f", "metrics.loss > 0")
    metrics = [f"{key} {part}" for key in ("loss", "acc", "my speed") for part in ("mean", "std")]
    assert title == ["params.opt", "runs", *metrics]
    assert [group[:2] for group in groups] == [["sgd", "2"], ["adam", "2"]]
    nothing = None
    assert [[float(cell) if cell else nothing for cell in group[2:]] for group in groups] == [
        [1.0, pytest.approx(statistics.stdev([1.5, 0.5])), nothing, nothing, 1.0, nothing],
        [2.0, 0.0, 0.7, pytest.approx(statistics.stdev([0.5, 0.9])), 1.0, 0.0],
    ]
    told = json.loads(four.gittrack("ls", "-g", "params.opt,params.seed", "--json", "-n", "3"))
    assert [list(row.values())[:3] for row in told] == [["sgd", 7, 2], ["adam", 7, 1]]
    assert [row["runs"] for row in read_csv(four, "-g", "status")] == ["4"]


def test_groups_are_of_the_columns_that_are_asked_for(four: Shell) -> None:
    title, *groups = table(four, "-g", "params.opt", "-c", "metrics.loss.min,name", "-f", "metrics.loss > 0")
    assert title == [
        "params.opt",
        "runs",
        "metrics.loss.min mean",
        "metrics.loss.min std",
        "name mean",
        "name std",
    ]
    assert all(group[2] and group[4:] == ["", ""] for group in groups)


def test_values_at_the_ends_of_all_floats_have_a_mean_too(shell: Shell) -> None:
    make(
        shell,
        """
        import gittrack
        for big, small in ((1.5e308, 5e-324), (1.7e308, 1.5e-323), (float("inf"), 0.0)):
            with gittrack.start_run():
                gittrack.log({"big": big, "wide": -big, "small": small})
        """,
    )
    (row,) = json.loads(shell.gittrack("ls", "-g", "status", "--json"))
    assert row["big mean"] == pytest.approx(1.6e308)
    assert row["wide mean"] == pytest.approx(-1.6e308)
    assert row["big std"] == row["wide std"] == pytest.approx(2**0.5 * 0.1e308)
    assert row["small mean"] == 5e-324


# -- files -------------------------------------------------------------------------------------------------------

ODD = {
    "formula": "=1+1",
    "at": "@SUM(A1)",
    "minus": "-2+3",
    "plus": "+1",
    "tab": "\tx",
    "return": "\rx",
    "lines": 'two\nlines, "quoted"',
    "unicode": "naïve 😀 שלום",
    "plain": "a=b",
    "empty": "",
}
LOG_ODD = f"""
import gittrack
with gittrack.start_run(run_name="=cmd|' /C calc'!A0"):
    gittrack.log_params({ODD!r})
    gittrack.log_params({{"below": -3, "float": -0.25, "yes": True, "none": None, "huge": 10**400}})
    gittrack.log({{"loss": -1.5, "nan": float("nan"), "inf": float("-inf")}})
    gittrack.set_tag("note", "=HYPERLINK(1)")
with gittrack.start_run(run_name="other"):
    gittrack.log_params({{"below": "text", "float": 1, "yes": 1}})
"""


def test_csv_is_read_back_and_no_text_is_a_formula(shell: Shell) -> None:
    make(shell, LOG_ODD)
    other, row = read_csv(shell)
    quoted = {"formula", "at", "minus", "plus", "tab", "return"}
    assert {key: row[f"params.{key}"] for key in ODD} == {
        key: f"'{value}" if key in quoted else value for key, value in ODD.items()
    }
    assert row["name"] == "'=cmd|' /C calc'!A0"
    assert row["tags.note"] == "'=HYPERLINK(1)"
    numbers = ("params.below", "params.float", "params.yes", "params.none", "metrics.loss", "metrics.nan")
    assert [row[key] for key in numbers] == ["-3", "-0.25", "true", "", "-1.5", "nan"]
    assert (row["metrics.inf"], row["params.huge"]) == ("-inf", str(10**400))
    assert (other["params.below"], other["params.formula"], other["metrics.loss"]) == ("text", "", "")


def test_parquet_is_read_back_with_its_types(shell: Shell) -> None:
    make(shell, LOG_ODD)
    done = shell.run(GITTRACK, "ls", "--parquet", "s3:runs.parquet")
    assert (done.stdout, done.stderr) == ("", "2 rows in s3:runs.parquet\n")
    read = parquet.read_table(str(shell.folder / "s3:runs.parquet"))
    other, row = read.to_pylist()
    assert {key: row[f"params.{key}"] for key in ODD} == ODD
    assert row["name"] == "=cmd|' /C calc'!A0"
    types = {name: read.schema.field(name).type for name in ("metrics.loss", "params.float", "took_s", "started")}
    assert types == {
        "metrics.loss": pyarrow.float64(),
        "params.float": pyarrow.float64(),
        "took_s": pyarrow.float64(),
        "started": pyarrow.string(),
    }
    # a column of several types, or of numbers that no column holds, is text
    assert (row["params.below"], other["params.below"]) == ("-3", "text")
    assert (row["params.yes"], other["params.yes"]) == ("True", "1")
    assert row["params.huge"] == str(10**400)
    assert (row["metrics.loss"], other["metrics.loss"], row["metrics.inf"]) == (-1.5, None, float("-inf"))


def test_a_file_has_the_same_titles_and_values_from_a_terminal(four: Shell) -> None:
    four.gittrack("ls", "--parquet", "pipe.parquet")
    four.on_terminal("ls", "--parquet", "terminal.parquet")
    four.gittrack("ls", "-g", "run,took", "--parquet", "pipe-groups.parquet")
    four.on_terminal("ls", "-g", "run,took", "--parquet", "terminal-groups.parquet")
    for end in (".parquet", "-groups.parquet"):
        both = [parquet.read_table(str(four.folder / f"{place}{end}")) for place in ("pipe", "terminal")]
        assert both[0].num_rows == 4
        assert repr(both[1].to_pylist()) == repr(both[0].to_pylist())  # NaN is not equal to itself


def test_a_parquet_file_that_cannot_be_written_is_one_line(four: Shell) -> None:
    assert four.error("ls", "--parquet", "none/runs.parquet") == (
        "error: none/runs.parquet: No such file or directory\n"
    )
    hidden = Path(four.home / "hidden")
    hidden.mkdir()
    (hidden / "pyarrow.py").write_text("raise ImportError\n")
    four.extra = {"PYTHONPATH": str(hidden)}
    said = four.error("ls", "--parquet", "runs.parquet")
    assert "writing Parquet needs pyarrow" in said
    assert "pip install 'gittrack[parquet]'" in said
    assert not (four.folder / "runs.parquet").exists()


def test_json_is_the_whole_record_whatever_columns_are_asked_for(four: Shell) -> None:
    (shown,) = json.loads(four.gittrack("ls", "--json", "-n", "1", "-c", "name"))
    whole = json.loads(four.gittrack("show", "@last", "--json"))
    assert shown == {key: value for key, value in whole.items() if key != "artifacts"}
    assert shown["metrics"]["loss"]["count"] == 1
    assert shown["params"] == {"opt": "sgd", "lr": 0.4, "seed": 7}


def test_a_full_disk_behind_stdout_is_one_line(four: Shell) -> None:
    for words in ("", "--json", "--csv"):
        done = four.run("sh", "-c", f"{GITTRACK} ls {words} > /dev/full", code=1)
        assert done.stderr == "error: the system: No space left on device\n"


# -- the terminal ------------------------------------------------------------------------------------------------


def test_a_narrow_terminal_is_never_written_beyond(four: Shell) -> None:
    for columns in (20, 40, 80):
        lines = STYLES.sub("", four.on_terminal("ls", columns=columns)).splitlines()
        shown = [line for line in lines if "more columns" not in line]
        assert len(shown) == 5
        assert max(map(len, shown)) <= columns
    wide = STYLES.sub("", four.on_terminal("ls", columns=200)).splitlines()[0].split()
    # what is the same in all runs does not tell them apart
    assert wide == ["RUN", "NAME", "STATUS", "LOSS", "ACC", "MY", "SPEED", "OPT", "LR", "STARTED", "TOOK"]
    four.extra = {"NO_COLOR": "1"}
    assert "\x1b" not in four.on_terminal("ls")


def test_no_runs_are_a_line_on_a_terminal_and_a_head_in_a_pipe(shell: Shell) -> None:
    assert shell.on_terminal("ls") == "no runs yet: log one with gittrack.log(…) or gittrack exec -- CMD\n"
    assert shell.gittrack("ls") == "run\tname\tstatus\tstarted\ttook_s\n"
    assert shell.gittrack("ls", "--json") == "[]\n"
    assert shell.gittrack("ls", "--csv").startswith("run,name,experiment,status,started,ended,took_s,")
    assert shell.gittrack("ls", "--csv").count("\n") == 1
    assert shell.gittrack("ls", "--json", "-g", "status") == "[]\n"
    shell.gittrack("ls", "--parquet", "none.parquet")
    assert parquet.read_table(str(shell.folder / "none.parquet")).num_rows == 0


def test_where_no_run_fits_that_is_what_is_said(four: Shell) -> None:
    for words in (("-f", "metrics.loss > 9"), ("--deleted",)):
        assert four.on_terminal("ls", *words) == "no run fits; all of them: gittrack ls\n"


def test_times_before_the_epoch_and_at_its_instant_are_shown(shell: Shell) -> None:
    make(
        shell,
        """
        import gittrack
        client = gittrack.Client()
        for start in (-62135596800000, -1, 0):
            run = client.create_run("0", start_time=start)
            client.set_terminated(run.info.run_id, end_time=start + 5)
        """,
    )
    assert table(shell, "-c", "started,ended,took")[1:] == [
        ["1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.005Z", "0.005"],
        ["1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.004Z", "0.005"],
        ["0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00.005Z", "0.005"],
    ]


class Screen:
    """A command on a terminal, which goes on meanwhile."""

    def __init__(self, shell: Shell, *words: str, lines: int = 24) -> None:
        environment = clean_environment(shell.home, COLUMNS="80", LINES=str(lines))
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests that run in the background ignore it
            os.chdir(shell.folder)
            os.execve(GITTRACK, [GITTRACK, *words], environment)
        self.shown = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while text not in self.shown:
            assert time.monotonic() < deadline, (text, self.shown)
            self._read(1.0)

    def end(self, number: int) -> int:
        """Send a signal; returns the exit code."""
        os.kill(self.pid, number)
        with contextlib.suppress(OSError):
            while self._read(WAIT_S):
                pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self._master)
        return os.waitstatus_to_exitcode(status)

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._master], [], [], wait_s)[0]:
            return False
        chunk = os.read(self._master, 65536)
        self.shown += chunk.decode(errors="replace")
        return bool(chunk)


def test_live_shows_a_run_that_starts_meanwhile_and_leaves_a_clean_screen(four: Shell) -> None:
    screen = Screen(four, "ls", "--live", "-c", "name,status", "-n", "4")
    screen.wait_for("Ctrl-C ends")
    first, screen.shown = screen.shown, ""
    assert first.startswith("\x1b[?1049h\x1b[?25l\x1b[H")  # a screen of its own, without a cursor
    lines = STYLES.sub("", first).splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["NAME", "d", "c", "b", "a"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d, Ctrl-C ends", lines[5])
    four.gittrack("start", "--name", "meanwhile")
    screen.wait_for("meanwhile")
    screen.wait_for("4 of 5 runs; all of them: --limit 0")
    screen.wait_for("Ctrl-C ends")
    assert "\x1b[H" in screen.shown
    assert "\x1b[2J" not in screen.shown  # in place: nothing flickers
    screen.shown = ""
    assert screen.end(signal.SIGINT) == 0
    last = screen.shown.rpartition("\x1b[?25h\x1b[?1049l")[2]
    lines = STYLES.sub("", last).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["NAME", "STATUS"],
        ["meanwhile", "RUNNING"],
        ["d", "FINISHED"],
    ]
    assert "\x1b[K" not in last
    four.gittrack("finish")


def test_live_shows_no_more_lines_than_the_terminal_has(four: Shell) -> None:
    screen = Screen(four, "ls", "--live", lines=3)
    screen.wait_for("Ctrl-C ends")
    assert screen.shown.count("\n") == 2
    assert screen.end(signal.SIGINT) == 0


def test_live_needs_a_terminal_and_goes_with_no_file(four: Shell) -> None:
    assert "--live needs a terminal" in four.error("ls", "--live", code=2)
    assert "it goes with no --json, --csv or --parquet" in four.error("ls", "--live", "--csv", code=2)
    four.extra = {"TERM": "dumb"}
    assert "--live needs a terminal" in four.on_terminal("ls", "--live")
