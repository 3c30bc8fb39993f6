"""Commands that explain: why a metric differs between two runs, and which params matter over many."""

from __future__ import annotations

from typing import Annotated

import typer

from gittrack.cli import output

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_RUN_HELP = "Run: id or its beginning, name, commit, <experiment>~N, @last."


def register(app: typer.Typer) -> None:
    """Add the commands to the table."""
    app.command("why")(show_why)
    app.command("importance")(show_importance)


def show_why(
    a: Annotated[str, typer.Argument(help=_RUN_HELP)],
    b: Annotated[str, typer.Argument(help="The run to compare it with.")],
    metric: Annotated[
        str | None,
        typer.Option("--metric", "-m", help="Metric; by default the one that changed most for its spread."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Say what can explain the change of a metric from run A to run B, by what other runs measure.

    Runs that would tell more are printed as commands; none is run.
    """
    from gittrack.cli.opening import open_reading
    from gittrack.comparing.why import explain_runs

    found = explain_runs(open_reading(), a, b, metric)
    if as_json:
        output.print_json(found.to_dict())
        return
    columns = ("cause", "change", "effect", "of it", "evidence")
    output.show(output.paint(found.heading(), "1") + "\n" + output.paint(found.verdict, "32") + "\n\n", page=False)
    if found.causes:
        output.print_table(columns, found.table())
    lines = [output.format_cell(line) for line in found.notes()]
    steps = found.steps()
    output.show("\n" + "\n".join([*lines, *([""] if steps else []), *steps]) + "\n", page=False)


def show_importance(
    metric: Annotated[str, typer.Argument(help="Metric; its last value in each run.")],
    experiment: Annotated[str | None, typer.Argument(help="Only runs of this experiment.")] = None,
    filter_string: Annotated[str, typer.Option("--filter", "-f", help="Only runs that fit, as for ls.")] = "",
    statuses: Annotated[
        list[str] | None,
        typer.Option("--status", help="Runs that ended so; may be repeated. FINISHED by default."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Rank params by how much they matter for a metric over many runs, and say how far to believe it."""
    from gittrack.cli.opening import open_reading
    from gittrack.comparing.importance import importance

    open_reading()
    wanted = tuple(status.upper() for status in statuses or ["FINISHED"])
    found = importance(metric, experiment=experiment, filter_string=filter_string, statuses=wanted)
    if as_json:
        output.print_json(found.to_dict())
        return
    output.show(output.format_cell(f"{found.metric}: {found.verdict}") + "\n\n", page=False)
    if found.table:
        output.print_table(("param", "importance", "rank correlation", "runs", "goes with"), found.cells())
    for line in found.notes():
        output.note(line)
