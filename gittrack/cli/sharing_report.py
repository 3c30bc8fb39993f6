"""What sharing did, or would do, told to a person or as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gittrack.cli import output

if TYPE_CHECKING:
    from gittrack.git.remotes import Remote
    from gittrack.sharing.pulling import Pulled
    from gittrack.sharing.pushing import Plan, Pushed
    from gittrack.sharing.renumbering import Renumbered
    from gittrack.sharing.status import Status
    from gittrack.store.conflicts import Conflict
    from gittrack.store.store import Store


def tell_plan(store: Store, remote: Remote, plan: Plan, *, as_json: bool) -> None:
    """What a push would give."""
    from gittrack.sharing.status import list_changed

    runs = {ref: list_changed(store.repository, [tip], [old]) for ref, (old, tip) in plan.branches.items()}
    if as_json:
        branches = [{"ref": ref, "runs": found} for ref, found in runs.items()]
        output.print_json({"remote": remote.label, "branches": branches, "tags": sorted(plan.tags)})
        return
    for ref, found in runs.items():
        print(f"would push {_experiment(ref)}: {_count(len(found), 'run')} new or changed")
    for tag in plan.tags:
        print(f"would push tag {output.format_cell(tag.removeprefix('refs/tags/'))}")
    if not plan:
        output.note(f"{remote.label} has everything")


def tell_incoming(store: Store, remote: Remote, only: list[str] | None, *, as_json: bool) -> None:
    from gittrack.sharing.fetching import LocalRefs, ask_refs

    refs, here = ask_refs(store.repository, remote), LocalRefs.read(store.repository, remote)
    heads = [
        ref for ref, tip in refs.heads.items() if (only is None or ref in only) and here.theirs(remote, ref) != tip
    ]
    tags = [tag for tag in refs.tags if here.tags.get(tag) != refs.tags[tag]]
    if as_json:
        output.print_json({"remote": remote.label, "branches": heads, "tags": tags})
        return
    for ref in heads:
        print(f"would pull {_experiment(ref)}")
    for tag in tags:
        print(f"would pull tag {output.format_cell(tag.removeprefix('refs/tags/'))}")
    if not heads and not tags:
        output.note(f"{remote.label}: nothing new")


def tell_pulled(store: Store, done: Pulled) -> None:
    from gittrack.sharing.status import list_changed

    for branch in done.branches:
        runs = list_changed(store.repository, [branch.tip], [branch.before])
        how = ", joined with what was logged here" if branch.is_join else ""
        print(f"pulled {_experiment(branch.ref)}: {_count(len(runs), 'run')} new or changed{how}")
    for tag in done.new_tags:
        print(f"pulled tag {output.format_cell(tag.removeprefix('refs/tags/'))}")
    _tell_renumbered(done.renumbered)
    _tell_conflicts(done.conflicts)


def tell_pushed(store: Store, remote: Remote, done: Pushed, *, as_json: bool) -> None:
    from gittrack.sharing.status import list_changed

    if as_json:
        output.print_json(pushed_json(store, remote, done))
        return
    for pulled in done.pulled:
        tell_pulled(store, pulled)
    if done.uploaded.sent:
        size = output.format_size(done.uploaded.sent_bytes)
        print(f"uploaded {_count(done.uploaded.sent, 'artifact object')} ({size})")
    for ref, (old, tip) in done.branches.items():
        runs = list_changed(store.repository, [tip], [old])
        print(f"pushed {_experiment(ref)}: {_count(len(runs), 'run')} new or changed")
    for tag in done.tags:
        print(f"pushed tag {output.format_cell(tag.removeprefix('refs/tags/'))}")
    for where in done.uploaded.missing_code:
        output.note(f"not on this machine, so not sent: {where}, a Git LFS file of your code")
    if done.is_nothing:
        output.note(f"{remote.label} has everything")


def _tell_renumbered(renumbered: Iterable[Renumbered]) -> None:
    for done in renumbered:
        old, new = (output.format_cell(ref.removeprefix("refs/tags/")) for ref in (done.old, done.new))
        signed = "; its signature was for the old name: sign it anew" if done.was_signed else ""
        print(f"renumbered tag {old} to {new}: the remote has another {old}{signed}")


def _tell_conflicts(conflicts: Iterable[Conflict]) -> None:
    for found in conflicts:
        what = f"{found.kind} {found.id[:8]} {output.format_cell(found.name)}"
        lost = f"; it has another {', '.join(found.lost)}" if found.lost else ""
        united = "; the tags of both are united" if found.united is not None else ""
        print(
            f"{what} was edited on both sides: {found.kept[:10]} counts, {found.other[:10]} stays in the history"
            f"{lost}{united}"
        )


def pulled_json(store: Store, remote: Remote, done: Pulled) -> dict[str, Any]:
    from gittrack.sharing.status import list_changed

    return {
        "remote": remote.label,
        "branches": [
            {
                "experiment": _experiment(branch.ref),
                "ref": branch.ref,
                "before": branch.before,
                "after": branch.tip,
                "joined": branch.is_join,
                "runs": list_changed(store.repository, [branch.tip], [branch.before]),
            }
            for branch in done.branches
        ],
        "tags": list(done.new_tags),
        "renumbered": [asdict(one) for one in done.renumbered],
        "conflicts": [asdict(one) for one in done.conflicts],
        "live": len(done.refs.live),
    }


def pushed_json(store: Store, remote: Remote, done: Pushed) -> dict[str, Any]:
    from gittrack.sharing.status import list_changed

    return {
        "remote": remote.label,
        "branches": [
            {
                "experiment": _experiment(ref),
                "ref": ref,
                "before": old,
                "after": tip,
                "runs": list_changed(store.repository, [tip], [old]),
            }
            for ref, (old, tip) in done.branches.items()
        ],
        "tags": sorted(done.tags),
        "uploaded": asdict(done.uploaded),
        "pulled": [pulled_json(store, remote, pulled) for pulled in done.pulled],
        "tries": done.tries,
    }


def status_json(remote: Remote, found: Status) -> dict[str, Any]:
    return {
        "remote": remote.label,
        "shared": found.is_shared,
        "branches": [asdict(branch) for branch in found.branches],
        "objects": found.objects,
        "size_bytes": found.size_bytes,
        "missing": found.missing,
        "tags": None if found.tags is None else list(found.tags),
        "running": found.running,
    }


def status_line(remote: Remote, found: Status) -> str:
    parts = []
    ahead = sum(len(branch.ahead) for branch in found.branches)
    behind = sum(len(branch.behind) for branch in found.branches)
    if ahead:
        parts.append(f"{_count(ahead, 'run')} to push")
    if found.objects:
        parts.append(
            f"{_count(found.objects, 'artifact object')} to upload ({output.format_size(found.size_bytes)})"
        )
    if found.tags:
        parts.append(f"{_count(len(found.tags), 'tag')} to push")
    if behind:
        parts.append(f"{_count(behind, 'run')} to pull")
    if found.running:
        parts.append(f"{_count(found.running, 'run')} in flight here")
    return f"{remote.label}: {', '.join(parts) if parts else 'everything is shared'}"


def _experiment(ref: str) -> str:
    from gittrack.schema.names import experiment_of_ref

    return output.format_cell(experiment_of_ref(ref) or ref)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
