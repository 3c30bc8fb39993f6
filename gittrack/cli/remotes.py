"""Commands about where artifacts are kept: remote store, remote trust."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gittrack.cli import output
from gittrack.cli.opening import open_writing

if TYPE_CHECKING:
    from gittrack.git.repository import Repository

remote_app = typer.Typer(
    help="Say where artifacts are kept when not in the remote's LFS.", no_args_is_help=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    """Add the commands to the table."""
    remote_app.command("store")(name_store)
    remote_app.command("trust")(trust)
    app.add_typer(remote_app, name="remote")


def name_store(
    url: Annotated[
        str | None,
        typer.Argument(help="s3://BUCKET/PREFIX, gs://, az://, or a folder's path; none shows what is set."),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", help="Only for this experiment; the whole repository else.")
    ] = None,
    unset: Annotated[
        bool, typer.Option("--unset", help="Forget this store, or all: artifacts go to the remote's LFS again.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Keep artifacts in a bucket or a folder; the record travels with the branch, so that every clone knows.

    New artifacts go to the store that was named last; older ones are still found where they are.
    """
    from gittrack.sharing import stores
    from gittrack.sharing.trust import plain_url

    store = open_writing()
    place = plain_url(url) if url else None
    if unset:
        gone = stores.forget_stores(store.repository, experiment, place)
        output.note(f"forgotten: {', '.join(gone) or 'nothing was set'}; what is there stays there")
    elif place:
        if stores.name_store(store.repository, place, experiment):
            output.note(f"new artifacts go to {place} when they are pushed; share it: gittrack push")
        _allow(store.repository, place)
    if as_json or not (url or unset):
        _show(store.repository, as_json=as_json)


def trust(
    url: Annotated[str, typer.Argument(help="URL as the repository names it; see: gittrack remote store")],
) -> None:
    """Allow a store that a repository names: kept in this repository's git config, gittrack.trustedStore."""
    from gittrack.sharing.trust import trust_store

    is_new = trust_store(open_writing().repository, url)
    output.note(f"{url} is used from now on" if is_new else f"{url} was allowed already")


def _allow(repository: Repository, place: str) -> None:
    """Whoever names a store allows it, in this clone."""
    from gittrack.sharing.trust import needs_trust, trust_store

    if needs_trust(place, "upload") and trust_store(repository, place):
        output.note(f"{place} is allowed here (git config gittrack.trustedStore); others allow it for themselves")


def _show(repository: Repository, *, as_json: bool) -> None:
    from gittrack.sharing.stores import list_named

    named = list_named(repository)
    if as_json:
        output.print_json(
            [
                {
                    "experiment": one.experiment,
                    "url": one.url,
                    "takes_new": one.takes_new,
                    "allowed": one.is_allowed,
                }
                for one in named
            ]
        )
        return
    rows = [
        (one.experiment or "(all)", one.url, "yes" if one.takes_new else "", "yes" if one.is_allowed else "no")
        for one in named
    ]
    columns = ("experiment", "store", "takes new", "allowed")
    output.print_table(columns, rows, "no store is named: artifacts go to the remote's LFS")
