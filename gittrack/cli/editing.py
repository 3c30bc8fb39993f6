"""Commands that edit a run that has ended (or one that runs): tag, note, rename, rm, restore, purge."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gittrack.cli import output
from gittrack.cli.opening import open_reading

_Run = Annotated[str, typer.Argument(help="Run: id or its beginning, name, commit, <experiment>~N, @last.")]
_Runs = Annotated[list[str], typer.Argument(help="Runs, as for show.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the table."""
    app.command("tag")(tag)
    app.command("note")(set_note)
    app.command("rename")(rename)
    app.command("rm")(remove)
    app.command("restore")(restore)
    app.command("purge")(purge)


def tag(
    run: _Run,
    pairs: Annotated[
        list[str] | None, typer.Argument(help="KEY=VALUE; several at once.", metavar="KEY=VALUE...")
    ] = None,
    remove_keys: Annotated[
        list[str] | None, typer.Option("--remove", "-d", help="Remove this tag.", metavar="KEY")
    ] = None,
) -> None:
    """Set or remove tags of a run."""
    from gittrack.cli.running import parse_pairs
    from gittrack.errors import InvalidValueError
    from gittrack.tracking.client import Client

    if not pairs and not remove_keys:
        raise InvalidValueError("no tag is given", "as in: gittrack tag RUN stage=candidate")
    store = open_reading()
    run_id = store.resolve(run).record.id
    Client().edit_tags(run_id, parse_pairs(pairs or []), remove_keys or [])


def set_note(
    run: _Run,
    text: Annotated[str, typer.Argument(help="The note, Markdown; read from stdin where it is '-'.")] = "-",
) -> None:
    """Set a run's note."""
    from gittrack.tracking.client import Client

    run_id = open_reading().resolve(run).record.id
    Client().set_note(run_id, sys.stdin.read().rstrip("\n") if text == "-" else text)


def rename(run: _Run, name: Annotated[str, typer.Argument(help="The new name.")]) -> None:
    """Give a run another name."""
    from gittrack.tracking.client import Client

    Client().update_run(open_reading().resolve(run).record.id, name=name)


def remove(runs: _Runs) -> None:
    """Mark runs as deleted; restore brings them back."""
    from gittrack.tracking.client import Client

    store = open_reading()
    for record in [store.resolve(run).record for run in runs]:
        if record.lifecycle == "deleted":
            output.note(f"{record.id[:8]} {record.name} is deleted already")
            continue
        Client().delete_run(record.id)
        output.note(f"deleted {record.id[:8]} {record.name}; bring it back: gittrack restore {record.id[:8]}")


def restore(runs: _Runs) -> None:
    """Bring deleted runs back."""
    from gittrack.tracking.client import Client

    store = open_reading()
    for record in [store.resolve(run).record for run in runs]:
        if record.lifecycle == "active":
            output.note(f"{record.id[:8]} {record.name} is not deleted")
            continue
        Client().restore_run(record.id)
        output.note(f"restored {record.id[:8]} {record.name}")


def purge(
    run: _Run,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
) -> None:
    """Take a run out of its branch for good. Rewrites the branch; rm is the way back-safe."""
    from gittrack.errors import InvalidValueError
    from gittrack.store import purging

    store = open_reading()
    record = store.resolve(run).record
    plan = purging.plan_purge(store.repository, record.id)
    for ref, (gone, rewritten) in plan.branches.items():
        output.note(f"{ref}: {gone} commits of run {record.id[:8]} {record.name} go; {rewritten} get another id")
    for ref in plan.remote_branches:
        output.note(f"{ref} has the run too: pushing needs --force there, and other clones can bring it back")
    output.note(f"{len(plan.objects)} artifact objects that only this run uses are removed from this machine")
    output.note(
        "git keeps the old commits for a while: git reflog expire --expire=now --all && git gc --prune=now"
    )
    if dry_run:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidValueError("purge rewrites history and asks first", "say --yes where nobody can answer")
        typer.confirm("Purge it?", abort=True, err=True)
    purging.purge(store.repository, record.id)
    output.note(f"purged {record.id}")
