"""Commands that look after the repository: recover, verify."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from gittrack.cli import output
from gittrack.cli.opening import open_reading


def register(app: typer.Typer) -> None:
    """Add the commands to the table."""
    app.command("recover")(recover)
    app.command("verify")(verify)


def recover(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Commit the runs whose processes died; every other command does so too."""
    from gittrack.errors import RepositoryError
    from gittrack.git.ownership import require_trusted
    from gittrack.store.live import list_live
    from gittrack.store.store import Store
    from gittrack.tracking.settings import find_repository

    repository = find_repository()
    if repository is None:
        raise RepositoryError("no git repository here", "go into one, or name it: gittrack -C PATH recover")
    require_trusted(repository)
    store = Store(repository)
    recovered = store.recover()
    left = [str(live.run_id) for live in list_live(repository) if live.has_begun()]
    if as_json:
        output.print_json({"recovered": recovered, "running": left})
        return
    for run_id in recovered:
        print(run_id)
    output.note(f"{len(recovered)} runs recovered, {len(left)} running")


def verify(
    run: Annotated[str | None, typer.Argument(help="Only this run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check every run and every artifact; exits with 1 when something is damaged.

    An artifact that is merely not on this machine is told, and is no damage.
    """
    from gittrack.store.verification import verify as verify_all

    store = open_reading()
    only = store.resolve(run).record.id if run else None
    count, problems = verify_all(
        store.repository, only_run=only, progress=lambda done, total: output.progress(done, total, "verifying")
    )
    damaged = sum(problem.kind == "damaged" for problem in problems)
    if as_json:
        output.print_json({"runs": count, "problems": [asdict(problem) for problem in problems]})
    elif problems:
        rows = [(problem.kind, problem.where, problem.message, problem.hint) for problem in problems]
        output.print_table(("kind", "where", "what", "hint"), rows)
    missing = len(problems) - damaged
    output.note(
        f"{count} runs checked: {damaged} problems" + (f", {missing} artifacts elsewhere" if missing else "")
    )
    if damaged:
        raise typer.Exit(1)
