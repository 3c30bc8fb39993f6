"""Commands that share: push, pull, sync and status."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gittrack.cli import output
from gittrack.cli.opening import open_writing
from gittrack.cli.sharing_report import (
    pulled_json,
    pushed_json,
    status_json,
    status_line,
    tell_incoming,
    tell_plan,
    tell_pulled,
    tell_pushed,
)

if TYPE_CHECKING:
    from gittrack.git.remotes import Remote
    from gittrack.sharing.pushing import Plan
    from gittrack.store.store import Store

_Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Remote (name, URL or path) first if any, then experiments; all where none are named.",
        metavar="[REMOTE] [EXPERIMENT]...",
    ),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done, and do nothing.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the table."""
    app.command("push")(push)
    app.command("pull")(pull)
    app.command("sync")(sync)
    app.command("status")(status)


def push(names: _Names = None, dry_run: _DryRun = False, as_json: _Json = False) -> None:
    """Give a remote the runs it lacks: their artifacts, then the branches and the registry's tags.

    What somebody else has pushed meanwhile is joined; nothing is ever forced.
    """
    from gittrack.sharing.pushing import push as push_runs

    store = open_writing()  # the remote is asked below
    remote, only = _choose(store, names or [])
    if dry_run:
        tell_plan(store, remote, _plan(store, remote, only), as_json=as_json)
        return
    done = push_runs(
        store.repository, remote, only, told=_show_bytes("uploading artifacts"), progress=_show_git("push")
    )
    tell_pushed(store, remote, done, as_json=as_json)


def pull(
    names: _Names = None,
    artifacts: Annotated[
        list[str] | None,
        typer.Option(
            "--artifacts", "-a", help="Fetch artifacts too: EXPERIMENT/RUN/PATH, with * and ?.", metavar="PATTERN"
        ),
    ] = None,
    dry_run: _DryRun = False,
    as_json: _Json = False,
) -> None:
    """Take in what a remote has; what was logged apart is joined, and what both edited is told."""
    from gittrack.sharing.pulling import pull as pull_runs

    store = open_writing()  # the remote is asked below
    remote, only = _choose(store, names or [], is_known=False)
    if dry_run:
        tell_incoming(store, remote, only, as_json=as_json)
        return
    done = pull_runs(store.repository, remote, only, _show_git("fetch"))
    _require_there(remote, only, done.refs.heads)
    fetched = {"artifacts": _bring_artifacts(store, artifacts)} if artifacts else {}
    if as_json:
        output.print_json(pulled_json(store, remote, done) | fetched)
        return
    tell_pulled(store, done)
    if not (done.branches or done.new_tags):
        output.note(f"{remote.label}: nothing new")


def sync(names: _Names = None, dry_run: _DryRun = False, as_json: _Json = False) -> None:
    """Pull, then push: both sides have the same afterwards."""
    from gittrack.sharing.pulling import pull as pull_runs
    from gittrack.sharing.pushing import push as push_runs

    store = open_writing()  # the remote is asked below
    remote, only = _choose(store, names or [])
    if dry_run:
        tell_incoming(store, remote, only, as_json=as_json)
        if not as_json:
            tell_plan(store, remote, _plan(store, remote, only), as_json=False)
        return
    pulled = pull_runs(store.repository, remote, only, _show_git("fetch"))
    if not as_json:
        tell_pulled(store, pulled)
    done = push_runs(
        store.repository, remote, only, told=_show_bytes("uploading artifacts"), progress=_show_git("push")
    )
    if as_json:
        output.print_json(
            {"pulled": pulled_json(store, remote, pulled), "pushed": pushed_json(store, remote, done)}
        )
        return
    tell_pushed(store, remote, done, as_json=False)


def status(
    remote: Annotated[str | None, typer.Argument(help="Remote: its name, URL or path.")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", "-f", help="Ask the remote first.")] = False,
    as_json: _Json = False,
) -> None:
    """What is not pushed yet, and what the remote has beyond that, as of the last time it was asked."""
    from gittrack.sharing.fetching import fetch as fetch_refs
    from gittrack.sharing.status import read_status

    store = open_writing()  # the remote is asked below
    chosen, _ = _choose(store, [remote] if remote else [])
    refs = fetch_refs(store.repository, chosen, None, _show_git("fetch")) if fetch else None
    found = read_status(store.repository, chosen, refs)
    if as_json:
        output.print_json(status_json(chosen, found))
        return
    rows = [
        (branch.experiment, len(branch.ahead) or "", len(branch.behind) or "")
        for branch in found.branches
        if branch.ahead or branch.behind
    ]
    if rows:
        output.print_table(("experiment", "runs to push", "runs to pull"), rows)
    output.note(status_line(chosen, found))


def _choose(store: Store, names: list[str], *, is_known: bool = True) -> tuple[Remote, list[str] | None]:
    """The remote that is meant, and the branches of the experiments named; None for all.

    Raises:
        NotFoundError: an experiment is not known here, and ``is_known`` says that it must be.
        RemoteError: there is no remote.
    """
    from gittrack.errors import RemoteError
    from gittrack.git.remotes import find_remote, is_url, list_remotes
    from gittrack.schema.names import experiment_ref
    from gittrack.store.experiments import find_experiment, resolve_experiment

    repository, asked = store.repository, None
    if names and (
        is_url(names[0]) or "/" in names[0] or names[0] in {one.name for one in list_remotes(repository)}
    ):
        asked, names = names[0], names[1:]
    remote = find_remote(repository, asked)
    if remote is None:
        raise RemoteError(f"{repository.label} has no remote", "add one: git remote add origin URL")
    if not names:
        return remote, None
    if is_known:
        return remote, [experiment_ref(resolve_experiment(repository, name).made_as) for name in names]
    found = [find_experiment(repository, name=name) for name in names]
    return remote, [experiment_ref(one.made_as if one else name) for one, name in zip(found, names, strict=True)]


def _plan(store: Store, remote: Remote, only: list[str] | None) -> Plan:
    from gittrack.sharing.fetching import LocalRefs
    from gittrack.sharing.pushing import plan_push

    return plan_push(store.repository, remote, LocalRefs.read(store.repository, remote), only)


def _require_there(remote: Remote, only: list[str] | None, heads: Collection[str]) -> None:
    from gittrack.errors import NotFoundError
    from gittrack.schema.names import experiment_of_ref

    for ref in only or []:
        if ref not in heads:
            raise NotFoundError(
                f"{remote.label} has no experiment {experiment_of_ref(ref)!r}", "see what it has: gittrack pull"
            )


def _bring_artifacts(store: Store, patterns: list[str]) -> dict[str, Any]:
    """Fetch the artifacts that patterns name; what is here already counts too."""
    from gittrack.errors import RemoteError
    from gittrack.sharing.choosing_artifacts import find_contents
    from gittrack.sharing.objects import bring_objects

    contents = find_contents(store, patterns)
    total = sum(content.size_bytes for content in contents)
    outcome = bring_objects(store.repository, contents, output.count_bytes(total, "fetching artifacts"))
    if outcome.failed:
        oid, why = next(iter(outcome.failed.items()))
        raise RemoteError(f"{len(outcome.failed)} of {len(contents)} artifacts did not come: {oid[:12]}…: {why}")
    return {"objects": len(contents), "fetched": len(outcome.moved), "size_bytes": total}


def _show_git(what: str) -> Callable[[str, int, int], None] | None:
    """What tells of git's own progress, where a person watches."""
    if not output.is_watched():
        return None
    return lambda doing, done, total: output.progress(done, total, f"{what}: {doing.lower()}")


def _show_bytes(what: str) -> Callable[[int, int], None]:
    return lambda done, total: output.progress_bytes(done, total, what)
