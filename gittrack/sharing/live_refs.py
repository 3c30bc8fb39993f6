"""What runs in flight have told so far, at a remote: a ref for each, gone when the run is there for good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gittrack.errors import RemoteError
from gittrack.git.bulk import walk_commits
from gittrack.git.network import run_network_git
from gittrack.git.objects import ObjectId
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.schema.messages import parse_run_trailers
from gittrack.schema.names import RunId, live_ref
from gittrack.sharing.fetching import forget_tracked, tracked_live
from gittrack.store.live import find_live

_AT_ONCE = 4000


def drop_finished(
    repository: Repository,
    remote: Remote,
    tracked: Mapping[str, ObjectId],
    pushed: Iterable[tuple[ObjectId | None, ObjectId]],
) -> list[str]:
    """Remove the live refs of runs that have just been pushed for good; returns their run ids.

    Args:
        tracked: the refs here that stand for the remote's live ones. pushed: what branches had and have now.

    Where the remote cannot be reached any more they stay, and the next push, or whoever has them, tries again.
    """
    folder = tracked_live(remote)
    known = {ref.removeprefix(folder): (ref, tip) for ref, tip in tracked.items()}
    shared = set[str]()
    for old, tip in pushed:
        for commit in walk_commits(repository, [tip], beyond=[old] if old else []):
            named = parse_run_trailers(commit.message)
            if named is not None and named[0] in known and find_live(repository, RunId(named[0])) is None:
                shared.add(named[0])
    ended = sorted(shared)
    for start in range(0, len(ended), _AT_ONCE):
        specs = [f":{live_ref(run_id)}" for run_id in ended[start : start + _AT_ONCE]]
        try:
            run_network_git(repository, remote, "push", "--quiet", "--end-of-options", remote.asked_as, *specs)
        except RemoteError:
            pass  # somebody else has removed some of them; git has removed the others
    forget_tracked(repository, dict(known[run_id] for run_id in ended))
    return ended
