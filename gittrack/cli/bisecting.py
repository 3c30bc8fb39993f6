"""The command that finds where a metric crossed a threshold: bisect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gittrack.cli import output

if TYPE_CHECKING:
    from gittrack.comparing.bisecting import Crossing

_NOT_DETERMINABLE = 1


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command("bisect")(bisect)


def bisect(
    metric: Annotated[str, typer.Argument(help="Metric; its last value in each run.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only runs of this experiment; after --, a command to run where runs are missing.",
            metavar="[EXPERIMENT] [-- CMD [ARG]...]",
        ),
    ] = None,
    below: Annotated[float | None, typer.Option("--below", help="Bad is a value below this.")] = None,
    above: Annotated[float | None, typer.Option("--above", help="Bad is a value above this.")] = None,
    good: Annotated[str | None, typer.Option("--good", help="A commit, or a run of one, that is good.")] = None,
    bad: Annotated[str | None, typer.Option("--bad", help="A commit, or a run of one, that is bad.")] = None,
    over_runs: Annotated[bool, typer.Option("--runs", help="Look at runs in time, not at commits.")] = False,
    filter_string: Annotated[str, typer.Option("--filter", "-f", help="Only runs that fit, as for ls.")] = "",
    repeats: Annotated[int, typer.Option("--repeats", "-k", help="Runs of the command a commit.", min=1)] = 1,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="A mean this near the threshold is undecided: more repeats.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the commit (or run) where a metric crossed a threshold, existing runs first.

    With a command after --, commits that have no run are run: in a temporary clone, at the place in it where you
    are, with the runs going to this repository. Files that are not committed, and submodules, are not there.
    Exits with 1 where it cannot be told.
    """
    from gittrack.cli.opening import find_experiment_id, open_reading
    from gittrack.comparing import bisecting
    from gittrack.comparing.asking import read_rows

    experiment, command = _split_words(words or [])
    threshold = bisecting.check_threshold(metric, below, above, tolerance)
    store = open_reading()
    wanted = find_experiment_id(store, experiment) if experiment else None
    if over_runs:
        _refuse(command, good, bad)
        found = bisecting.bisect_runs(read_rows(store, (wanted,) if wanted else None, filter_string), threshold)
    else:
        search = bisecting.CommitBisection(store, threshold, wanted, filter_string)
        found = search.run(good, bad, command, repeats, output.note)
    _show(found, as_json=as_json)
    if not found.is_found:
        raise typer.Exit(_NOT_DETERMINABLE)


def _split_words(words: list[str]) -> tuple[str | None, list[str]]:
    """The experiment and the command: what stands before ``--``, and after it."""
    import sys

    from gittrack.errors import InvalidValueError

    after = len(sys.argv) - 1 - sys.argv.index("--") if "--" in sys.argv else 0
    before = words[: len(words) - after]
    if len(before) > 1:
        raise InvalidValueError(f"{len(before)} experiments are named", "one at most; a command stands after --")
    return (before[0] if before else None), words[len(words) - after :] if after else []


def _refuse(command: list[str], good: str | None, bad: str | None) -> None:
    from gittrack.errors import InvalidValueError

    if command or good or bad:
        raise InvalidValueError("--runs looks at what was run", "leave --good, --bad and the command out")


def _show(found: Crossing, *, as_json: bool) -> None:
    if as_json:
        output.print_json(found.to_dict())
        return
    rows: list[list[Any]] = [
        [one.subject if not output.is_terminal() else one.subject[:12], one.mean, len(one.values), one.verdict,
         " ".join(run_id[:8] for run_id in one.runs)]
        for one in found.evidence
    ]  # fmt: skip
    output.print_table((found.kind[:-1], found.threshold.metric, "k", "verdict", "runs"), rows)
    lines = ["", output.paint(output.format_cell(found.verdict), "1")]
    if found.culprit is not None:
        told = found.culprit
        lines += [f"  {output.format_cell(told.subject)}", f"  {output.format_cell(told.author)}"]
        lines += [f"    {output.format_cell(str(change))}" for change in told.changes]
    lines += [output.format_cell(line) for line in found.notes]
    if found.steps:
        lines += [
            "",
            "next:" if found.next else "look closer:",
            *(f"  {output.format_cell(step)}" for step in found.steps),
        ]
    output.show("\n".join(lines) + "\n", page=False)
