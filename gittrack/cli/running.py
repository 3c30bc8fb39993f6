"""Commands that make a run: start, log, finish, and exec, which is all three around a command."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gittrack.cli.opening import open_writing

if TYPE_CHECKING:
    from gittrack.store.store import Store
    from gittrack.tracking.active import ActiveRun

_RunOption = Annotated[
    str | None,
    typer.Option("--run", "-r", help="Run to log to: $GITTRACK_RUN_ID, or the only one that is started."),
]
_Experiment = Annotated[str | None, typer.Option("--experiment", "-e", help="Experiment; made where it is new.")]
_Name = Annotated[str | None, typer.Option("--name", help="Name of the run.")]
_Tags = Annotated[
    list[str] | None, typer.Option("--tag", "-t", help="KEY=VALUE; may be repeated.", metavar="KEY=VALUE")
]
_Step = Annotated[int | None, typer.Option("--step", "-s", help="Step; counts up where none is given.")]
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,300})")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_STDIN_HINT = "as in: gittrack log metric loss=0.3 --step 5"

log_app = typer.Typer(help="Log to a started run.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands to the table."""
    app.command("start")(start)
    app.add_typer(log_app, name="log")
    app.command("finish")(finish)
    app.command("exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})(
        execute
    )


def start(
    experiment: _Experiment = None,
    name: _Name = None,
    tags: _Tags = None,
    note: Annotated[str | None, typer.Option("--note", help="Note, Markdown.")] = None,
) -> None:
    """Start a run and print its id; log to it with `gittrack log`, end it with `gittrack finish`."""
    run = _begin(experiment, name, tags, note, shared=True)
    print(run._session.run_id)


@log_app.command("metric")
def log_metric(
    pairs: Annotated[
        list[str] | None, typer.Argument(help="KEY=NUMBER; read from stdin where there are none.")
    ] = None,
    step: _Step = None,
    run: _RunOption = None,
) -> None:
    """Log metric values.

    From stdin: lines of KEY=NUMBER pairs, with step=N where wanted, or CSV with a header line, whose
    columns step and timestamp (milliseconds) are taken as such.
    """
    with _writing(run) as opened:
        journal = opened._session.journal
        if pairs:
            journal.append_points(_numbers(parse_pairs(pairs)), step)
            return
        for values, line_step, time_s in _read_points(_stdin_lines()):
            journal.append_points(values, step if line_step is None else line_step, time_s)


@log_app.command("param")
def log_param(
    pairs: Annotated[
        list[str] | None, typer.Argument(help="KEY=VALUE; read from stdin where there are none.")
    ] = None,
    run: _RunOption = None,
) -> None:
    """Log params; numbers, true, false and null keep their type."""
    given = parse_pairs(pairs or [line for line in _stdin_lines() if line.strip()])
    with _writing(run) as opened:
        opened.log_params({key: parse_value(text) for key, text in given.items()})


@log_app.command("tag")
def log_tag(
    pairs: Annotated[
        list[str] | None, typer.Argument(help="KEY=VALUE; read from stdin where there are none.")
    ] = None,
    run: _RunOption = None,
) -> None:
    """Set tags."""
    given = parse_pairs(pairs or [line for line in _stdin_lines() if line.strip()])
    with _writing(run) as opened:
        opened.set_tags(given)


@log_app.command("artifact")
def log_artifact(
    paths: Annotated[list[str], typer.Argument(help="Files or folders.")],
    to: Annotated[str | None, typer.Option("--to", help="Folder among the run's artifacts.")] = None,
    run: _RunOption = None,
) -> None:
    """Keep files with the run."""
    with _writing(run) as opened:
        for path in paths:
            opened.log_artifact(path, to or None)


def finish(
    run: _RunOption = None,
    status: Annotated[str, typer.Option("--status", help="FINISHED, FAILED or KILLED.")] = "FINISHED",
) -> None:
    """End a started run: it becomes a commit."""
    from gittrack.errors import GittrackError, RunStateError
    from gittrack.tracking.session import Role

    opened = _open_run(run)
    if opened._session.role is Role.EDITOR:
        opened._session.finish()
        raise RunStateError(f"run {opened._session.run_id} has ended already")
    if not _is_shared_only(opened):
        raise RunStateError(f"run {opened.info.run_id} is open in another process", "it ends when that does")
    opened._session.take_over()
    if not opened.end(status.upper()):
        raise GittrackError(f"run {opened._session.run_id} is not committed yet", "try again: gittrack recover")
    print(opened._session.run_id)


def execute(
    command: Annotated[list[str], typer.Argument(help="The command, after --.", metavar="-- CMD [ARG]...")],
    experiment: _Experiment = None,
    name: _Name = None,
    tags: _Tags = None,
    note: Annotated[str | None, typer.Option("--note", help="Note, Markdown.")] = None,
) -> None:
    """Run a command as a run: its output is kept as an artifact, its exit code is the run's status."""
    from gittrack.cli.executing import run_command
    from gittrack.schema.names import clean_text

    name = name or clean_text(os.path.basename(command[0]))
    run = _begin(experiment, name, tags, note, shared=False, command=command)
    raise typer.Exit(run_command(run, command))


def parse_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """KEY=VALUE texts as a dict.

    Raises:
        InvalidValueError: one has no '='.
    """
    from gittrack.errors import InvalidValueError

    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise InvalidValueError(f"{pair!r} is no KEY=VALUE", "as in lr=0.1")
        found[key.strip()] = value.strip()
    return found


def parse_value(text: str) -> Any:
    """A param as typed on a command line: numbers, true, false and null have their type, all else is text."""
    if text in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text]
    # 007, 1_000, inf and nan are names of things more often than numbers
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _numbers(pairs: dict[str, str]) -> dict[str, float]:
    from gittrack.errors import InvalidValueError

    numbers = {}
    for key, text in pairs.items():
        try:
            numbers[key] = float(text)
        except ValueError:
            raise InvalidValueError(f"metric {key!r} is no number: {text!r}", _STDIN_HINT) from None
    return numbers


def _read_points(lines: Iterator[str]) -> Iterator[tuple[dict[str, float], int | None, float | None]]:
    """Values, step and time of each line: pairs, or CSV where the first line is a header."""
    import csv
    import itertools

    first = next((line for line in lines if line.strip()), None)
    if first is None:
        return
    if "=" in first:
        for line in itertools.chain([first], lines):
            if line.strip():
                yield _split_step(parse_pairs(line.replace(",", " ").split()))
        return
    header = [name.strip() for name in next(csv.reader([first]))]
    for row in csv.reader(lines):
        if row:
            pairs = {key: text.strip() for key, text in zip(header, row, strict=False) if text.strip()}
            yield _split_step(pairs)


def _split_step(pairs: dict[str, str]) -> tuple[dict[str, float], int | None, float | None]:
    numbers = _numbers(pairs)
    step, timestamp = numbers.pop("step", None), numbers.pop("timestamp", None)
    return numbers, None if step is None else int(step), None if timestamp is None else timestamp / 1000


def _stdin_lines() -> Iterator[str]:
    from gittrack.errors import InvalidValueError

    if sys.stdin is None or sys.stdin.isatty():
        raise InvalidValueError("nothing to log is given", _STDIN_HINT)
    return (line.rstrip("\r\n") for line in sys.stdin)


def _begin(
    experiment: str | None,
    name: str | None,
    tags: list[str] | None,
    note: str | None,
    *,
    shared: bool,
    command: list[str] | None = None,
) -> ActiveRun:
    from dataclasses import replace

    from gittrack.schema.names import check_text
    from gittrack.tracking import provenance, session, settings
    from gittrack.tracking.active import ActiveRun
    from gittrack.tracking.starting import new_record, read_provenance

    given = parse_pairs(tags or [])
    store = settings.open_store()
    store.recover()
    if experiment:
        settings.set_experiment(experiment)
    note = check_text("note", note or "")
    record = replace(new_record(store, None, name or None, given), note=note)
    with read_provenance() as reading:
        made = reading.finish_or_warn()
    if made is not None:
        words = command or ["gittrack", *sys.argv[1:]]
        source = replace(made.source, command=provenance.format_command(words), name=_script_of(command))
        made = replace(made, source=source)
    begun = session.begin(store, record, shared=shared, tags=given)
    begun.log_provenance(made)
    begun.share()
    return ActiveRun(begun)


def _script_of(command: list[str] | None) -> str:
    """The script that a command runs: its first word that is a file, interpreters left out."""
    for word in (command or [])[1:] + (command or [])[:1]:
        if os.path.isfile(word):
            return os.path.relpath(word)
    return command[0] if command else ""


@contextmanager
def _writing(asked: str | None) -> Iterator[ActiveRun]:
    """The run that a command logs to; one that has ended gets a revision with all that the command logs."""
    from gittrack.tracking.session import Role

    opened = _open_run(asked)
    try:
        yield opened
    finally:
        if opened._session.role is Role.EDITOR:
            opened._session.finish()


def _open_run(asked: str | None) -> ActiveRun:
    """The run that a command logs to.

    Raises:
        NotFoundError: none is started, or none is called so. AmbiguousError: several are started.
    """
    from gittrack.tracking import session
    from gittrack.tracking.active import ActiveRun

    store = open_writing()
    run_id = _find_run(store, asked or os.environ.get("GITTRACK_RUN_ID", ""))
    resumed = session.resume(store, run_id, role=session.Role.EDITOR, shared=True)
    resumed.share()
    return ActiveRun(resumed)


def _find_run(store: Store, asked: str) -> Any:
    from gittrack.errors import AmbiguousError, NotFoundError
    from gittrack.store.live import list_live

    if asked:
        return store.resolve(asked).record.id
    started = [live.run_id for live in list_live(store.repository) if live.has_begun()]
    if not started:
        raise NotFoundError("no run is started", "start one: RUN=$(gittrack start), or name one with --run")
    if len(started) > 1:
        raise AmbiguousError(f"{len(started)} runs are started", [str(run_id) for run_id in started])
    return started[0]


def _is_shared_only(run: ActiveRun) -> bool:
    """Whether only commands write to the run, none of which runs on: processes that had joined it have left."""
    from gittrack.store.live import is_writer_alive

    streams = run._session.live.read_streams()
    return all(stream.writer.get("detached") or not is_writer_alive(stream) for stream in streams)
