"""Commands that compare runs: diff, compare."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gittrack.cli import output
from gittrack.cli.opening import find_experiment_id, open_reading

if TYPE_CHECKING:
    from gittrack.comparing.diffing import CodeDetail, Comparison

_CELL_MAX = 60  # on a terminal; a pipe gets all of it


def register(app: typer.Typer) -> None:
    """Add the commands to the table."""
    app.command("diff")(diff_runs)
    app.command("compare")(compare_with_baseline)


def diff_runs(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Runs: ids or their beginnings, names, commits, <experiment>~N, @last; '.' or @worktree is the "
            "work tree as it is now. One run alone is compared with the work tree."
        ),
    ],
    everything: Annotated[bool, typer.Option("--all", "-a", help="Show what is the same, too.")] = False,
    with_code: Annotated[bool, typer.Option("--code/--no-code", help="Compare the code.")] = True,
    stat: Annotated[bool, typer.Option("--stat", help="Count the lines of code, without their text.")] = False,
    patch: Annotated[bool, typer.Option("--patch", help="Print the code's patch alone, for git apply.")] = False,
    parts: Annotated[
        str, typer.Option("--part", "-p", help="Only these parts: params,metrics,tags,code,…", metavar="PARTS")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="Print Markdown, for a pull request.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where something differs.")] = False,
) -> None:
    """Show what differs between runs: params, metrics, files, code, packages, data."""
    from gittrack.comparing.diffing import compare

    chosen = _parse_parts(parts)
    store = open_reading()
    wants_code = with_code and (not chosen or "code" in chosen)
    code: CodeDetail = "unified" if patch else "none" if not wants_code else "stat" if stat else "unified"
    found = compare(store, runs, code)
    if patch:
        _print_patch(found)
    elif as_json:
        told = found.to_dict(everything=everything)
        left_out = _all_parts() - chosen if chosen else set()
        output.print_json({key: value for key, value in told.items() if key not in left_out})
    elif as_markdown:
        from gittrack.comparing.markdown import format_markdown

        output.show(format_markdown(found.diff, found.problems, everything=everything, parts=chosen), page=False)
    else:
        _show_page(found, chosen, everything=everything)
    differs = any(getattr(found, name) for name in chosen) if chosen else bool(found)
    if exit_code and differs:
        raise typer.Exit(1)


def compare_with_baseline(
    against: Annotated[
        str, typer.Option("--against", help="A run, or a git revision: the run of it or of its nearest ancestor.")
    ],
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            help="Exit with 1 where this holds, or cannot be told: 'metrics.acc drops 0.5%', "
            "'metrics.loss worsens by 0.1', 'metrics.acc < 0.9', 'params.opt != adam'. May be given again.",
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", help="Judge a run of this experiment.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Judge this run, not the newest of the commit checked out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json/--md", help="Print JSON, or Markdown as a rule.")] = False,
) -> None:
    """Hold a run against a baseline; exit with 1 where a condition fails it. For pull requests."""
    from gittrack.comparing.conditions import parse_condition
    from gittrack.comparing.gate import judge_run

    conditions = [parse_condition(text) for text in fail_if or []]
    store = open_reading()
    experiment_id = find_experiment_id(store, experiment) if experiment else None
    gate = judge_run(store, against, conditions, run=run, experiment_id=experiment_id)
    if as_json:
        output.print_json(gate.to_dict())
    else:
        output.show(gate.to_markdown(), page=False)
    if not gate.is_passed:
        raise typer.Exit(1)


def _all_parts() -> set[str]:
    from gittrack.schema.differences import PARTS

    return set(PARTS)


def _parse_parts(text: str) -> set[str]:
    from gittrack.errors import InvalidValueError
    from gittrack.schema.differences import PARTS

    chosen = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(chosen - set(PARTS))
    if unknown:
        raise InvalidValueError(f"{unknown[0]!r} is no part of a difference", f"the parts are {', '.join(PARTS)}")
    return chosen


def _show_page(found: Comparison, parts: set[str], *, everything: bool) -> None:
    from gittrack.comparing.text import format_text

    cell_max = _CELL_MAX if output.is_terminal() else 10_000
    page = format_text(
        found.diff,
        found.problems,
        everything=everything,
        parts=parts,
        paint=output.paint,
        cell_max=cell_max,
    )
    output.show(page)


def _print_patch(found: Comparison) -> None:
    """The very bytes where a program reads them; on a terminal what is harmless."""
    from gittrack.comparing.text import harmless_line

    for problem in found.problems:
        output.note(f"warning: {problem}")
    text = found.code.patch
    if output.is_terminal():
        output.show("".join(f"{harmless_line(line)}\n" for line in text.split("\n")[:-1]))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
