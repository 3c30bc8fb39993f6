"""The command `init`: a repository for runs, and plain git set up to share them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from gittrack.cli import output

if TYPE_CHECKING:
    from gittrack.git.remotes import Remote
    from gittrack.git.repository import Repository
    from gittrack.sharing.setup import Plan

_PUSHED_USUALLY = "branch,runs"


class _Init(typer.core.TyperCommand):
    """``--push`` may stand without what it pushes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [f"--push={_PUSHED_USUALLY}" if arg == "--push" else arg for arg in args])


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command("init", cls=_Init)(init)


def init(
    path: Annotated[str, typer.Argument(help="Folder; the current one where none is given.")] = ".",
    push: Annotated[
        str | None,
        typer.Option(
            "--push",
            metavar="[=WHAT]",
            help="What plain git push carries from now on: branch, runs, tags; branch,runs where it is not said.",
        ),
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Plain git fetch brings running runs too.")] = False,
    hook: Annotated[
        bool, typer.Option("--hook", help="Plain git push uploads artifacts: a pre-push hook.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what init set up.")] = False,
    remote: Annotated[str | None, typer.Option("--remote", help="The remote to set up.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Tell what would change; change nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a repository for runs where there is none; with options, set up plain git to share them.

    Tells what it changes before it does. Hooks and settings that are there stay in force.
    """
    repository, is_new = _find_or_make(path, dry_run)
    is_asked = push is not None or fetch or hook or undo
    found = _find_remote(repository, remote, is_needed=push is not None or fetch)
    plans = _offers(repository, found) if not is_asked else _asked(repository, found, push, fetch, hook, undo)
    plan = sum(plans[1:], start=plans[0])
    is_offer = not is_asked and not (sys.stdin.isatty() and output.is_terminal())
    if as_json:
        _do(plan, dry_run or not is_asked)
        _print_json(repository, is_new, found, plan, is_done=is_asked and not dry_run)
        return
    _tell_repository(repository, is_new)
    if is_asked or is_offer:
        _tell(plan, "would change" if dry_run else "can be set up" if is_offer else "changes")
        _do(plan, dry_run or is_offer)
    else:
        _ask(plans, dry_run)
    if not is_asked:
        output.note("next: import gittrack; gittrack.log({'loss': 0.5}, step=0)   or   gittrack exec -- CMD")
    elif not plan.changes:
        output.note("nothing to change")


def _find_or_make(path: str, dry_run: bool) -> tuple[Repository, bool]:
    from gittrack.errors import RepositoryError
    from gittrack.git.ownership import require_trusted
    from gittrack.git.repository import create_bare_repository, discover_repository
    from gittrack.tracking.settings import BARE_NAME

    found = discover_repository(path) if os.path.isdir(path) else None
    bare = os.path.join(os.path.abspath(path), BARE_NAME)
    if found is None and os.path.isdir(bare):
        found = discover_repository(bare)
    if found is not None:
        require_trusted(found)
        found.require_known_format()
        return found, False
    if dry_run:
        raise RepositoryError(f"{bare} would be made, for runs", "leave out --dry-run")
    os.makedirs(path, exist_ok=True)
    return create_bare_repository(bare), True


def _find_remote(repository: Repository, asked: str | None, *, is_needed: bool) -> Remote | None:
    from gittrack.errors import NotFoundError
    from gittrack.git.command import find_git
    from gittrack.git.remotes import find_remote

    if not find_git() and not is_needed:
        return None
    try:
        found = find_remote(repository, asked)
    except NotFoundError:
        if asked or is_needed:
            raise
        return None
    if found is None and is_needed:
        raise NotFoundError(f"{repository.label} has no remote", "add one: git remote add origin URL")
    return found


def _asked(
    repository: Repository, remote: Remote | None, push: str | None, fetch: bool, hook: bool, undo: bool
) -> list[Plan]:
    from gittrack.errors import InvalidValueError
    from gittrack.sharing.push_hook import plan_hook, plan_hook_undoing
    from gittrack.sharing.setup import plan_fetches, plan_pushes, plan_undoing

    if undo and (push is not None or fetch or hook):
        raise InvalidValueError("--undo goes alone", "it takes back all that init set up")
    if undo:
        return [plan_hook_undoing(repository), plan_undoing(repository)]
    plans = [_lfs_plan(repository)]
    if push is not None and remote is not None:
        plans.append(plan_pushes(repository, remote, _parse_pushes(push)))
    if fetch and remote is not None:
        plans.append(plan_fetches(repository, remote))
    if hook:
        plans.append(plan_hook(repository, _own_program()))
    return plans


def _offers(repository: Repository, remote: Remote | None) -> list[Plan]:
    """What could be set up where a remote is there, a plan each."""
    from gittrack.sharing.push_hook import plan_hook
    from gittrack.sharing.setup import Plan, plan_fetches, plan_pushes

    if remote is None or not remote.name:
        return [Plan()]
    return [
        plan_pushes(repository, remote, _PUSHED_USUALLY.split(",")),
        plan_fetches(repository, remote),
        plan_hook(repository, _own_program()),
        _lfs_plan(repository),
    ]


def _lfs_plan(repository: Repository) -> Plan:
    from gittrack.sharing.setup import Plan, tell_of_git_lfs

    return Plan((), tell_of_git_lfs(repository))


def _parse_pushes(push: str) -> list[str]:
    from gittrack.errors import InvalidValueError
    from gittrack.sharing.setup import PUSHES

    wanted = [word.strip() for word in push.split(",")]
    for word in wanted:
        if word not in PUSHES:
            raise InvalidValueError(f"--push cannot carry {word!r}", f"some of: {','.join(PUSHES)}")
    return wanted


def _own_program() -> str:
    """The path of this gittrack, for whoever pushes without its environment."""
    return os.path.join(os.path.dirname(os.path.abspath(sys.executable)), "gittrack")


def _tell_repository(repository: Repository, is_new: bool) -> None:
    if is_new:
        output.note(f"made {repository.common_dir}: runs go there")
    else:
        output.note(f"{repository.label}: runs go to its branches gittrack/<experiment>; nothing else is touched")


def _tell(plan: Plan, heading: str) -> None:
    if plan.changes:
        output.note(f"{heading}:")
    for change in plan.changes:
        output.note(f"  {change.what}")
        output.note(f"    {change.command}")
    for note in plan.notes:
        output.note(note)


def _ask(plans: list[Plan], dry_run: bool) -> None:
    """Offer each plan to the person at the terminal."""
    for plan in plans:
        _tell(plan, "can be set up")
        if plan.changes and not dry_run and typer.confirm("do that?", default=False, err=True):
            plan.apply()


def _do(plan: Plan, is_told_only: bool) -> None:
    if not is_told_only:
        plan.apply()


def _print_json(repository: Repository, is_new: bool, remote: Remote | None, plan: Plan, *, is_done: bool) -> None:
    output.print_json(
        {
            "repository": repository.common_dir,
            "made": is_new,
            "remote": remote.label if remote else None,
            "changes": [
                {"what": change.what, "command": change.command, "done": is_done} for change in plan.changes
            ],
            "notes": list(plan.notes),
        }
    )
