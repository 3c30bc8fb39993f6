"""The commands' table, and the one place that turns errors into a line, a hint and an exit code.

Exit codes: 0 done, 1 it could not be done, 2 the command was typed wrong, 3 a defect of gittrack's,
130 interrupted. `verify` exits with 1 when something is damaged; `exec` with the code of what it ran.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
from typing import Annotated

import typer

from gittrack.cli import (
    bisecting,
    comparing,
    editing,
    explaining,
    hooking,
    listing,
    plotting,
    reading,
    remotes,
    running,
    setting_up,
    sharing,
    upkeep,
)
from gittrack.errors import GittrackError, InvalidValueError

_BUG, _INTERRUPTED = 3, 130

app = typer.Typer(
    name="gittrack",
    help="Track machine-learning runs in git: each run is a commit on a branch of its experiment.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (
    setting_up,
    upkeep,
    running,
    listing,
    reading,
    remotes,
    comparing,
    plotting,
    editing,
    sharing,
    explaining,
    bisecting,
    hooking,
):
    commands.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from gittrack import __version__

        print(f"gittrack {__version__}")
        raise typer.Exit


@app.callback()
def options(
    repo: Annotated[
        str | None,
        typer.Option(
            "--repo", "-C", help="Repository to use: a path, a gittrack: URL, or a git URL.", metavar="PATH"
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    if repo:
        from gittrack.sharing.elsewhere import parse_git_url
        from gittrack.tracking.settings import set_tracking_uri

        is_uri = "://" in repo or repo.startswith("gittrack:") or parse_git_url(repo) is not None
        set_tracking_uri(repo if is_uri else os.path.abspath(repo))


def run() -> None:
    """Run the command line; never returns."""
    gc.set_threshold(100_000)  # a command's objects live to its end: looking for garbage costs a tenth of `ls`
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal in latin-1, say, is no reason not to print a name
            stream.reconfigure(errors="backslashreplace")
    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(_Harmless("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[told])
    sys.exit(_guarded())


class _Harmless(logging.Formatter):
    """Warnings on one line each: they quote names from the repository."""

    def format(self, record: logging.LogRecord) -> str:
        from gittrack.schema.names import one_line

        return one_line(super().format(record), 2000)


def _guarded() -> int:
    # what a library cannot close on a failing disk, its destructors tell at length behind the error that counts
    sys.unraisablehook = lambda problem: logging.getLogger("gittrack").debug("%s", problem.exc_value)
    try:
        code = app(standalone_mode=True)
    except GittrackError as error:
        _print_error(error)
        return 2 if isinstance(error, InvalidValueError) else 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "the system"
        _print_error(GittrackError(f"{place}: {error.strerror or error}"))
        return 1
    except Exception as error:
        if os.environ.get("GITTRACK_DEBUG"):
            raise
        _print_error(
            GittrackError(
                f"gittrack has a defect: {type(error).__name__}: {error}",
                "please report it; GITTRACK_DEBUG=1 shows where it happened",
            )
        )
        return _BUG
    return int(code or 0)


def _print_error(error: GittrackError) -> None:
    from gittrack.cli.output import paint_error
    from gittrack.schema.names import one_line

    print(paint_error("error: ") + one_line(error.message, 2000), file=sys.stderr)
    if error.hint:  # candidates stand on lines of their own
        shown = "\n".join(one_line(line, 2000) for line in error.hint.split("\n"))
        print(f"hint: {shown}", file=sys.stderr)
