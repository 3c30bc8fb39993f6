"""Commands that git's hooks call; `init --hook` puts them there. Not for typing."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from gittrack.cli import output


def register(app: typer.Typer) -> None:
    """Add the commands to the table."""
    hooks = typer.Typer(help="What git's hooks call.", rich_markup_mode=None)
    hooks.command("pre-push")(pre_push)
    hooks.callback()(_hooks)
    app.add_typer(hooks, name="hook", hidden=True)


def _hooks() -> None:
    """What git's hooks call."""


def pre_push(
    remote: Annotated[str, typer.Argument(help="The remote's name, or its URL.")],
    url: Annotated[str, typer.Argument(help="Where git pushes to.")] = "",
) -> None:
    """Upload the artifacts of the runs that git is going to push; git tells of them on stdin."""
    from gittrack.git.repository import open_repository
    from gittrack.sharing.hooked import parse_pushed, upload_pushed

    pushed = parse_pushed(sys.stdin.buffer.read().decode(errors="surrogateescape").splitlines())
    if not any(ref.has_runs and not ref.is_deletion for ref in pushed):
        return
    _ask_on_terminal()
    repository = open_repository(os.environ.get("GIT_DIR") or ".")  # git says it where it is not around
    done = upload_pushed(
        repository, remote, url, pushed, lambda moved, total: output.progress(moved, total, "uploading bytes")
    )
    if done.sent:
        output.note(f"uploaded {done.sent} artifacts, {output.format_size(done.sent_bytes)}, to {remote}")


def _ask_on_terminal() -> None:
    """What git told is read: whoever needs a password may ask the person for it, as `git push` itself does."""
    if sys.stderr.isatty():
        try:
            sys.stdin = open("/dev/tty", encoding="utf-8")  # noqa: SIM115 it stays to the end
        except OSError:
            pass  # no terminal to ask
