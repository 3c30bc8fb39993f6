"""Pushing: artifacts first, then branches and tags at once and never by force; joins and tries again where needed.

What is pushed are commits, by their ids, not branches by their names: a run that is committed while its elders'
artifacts are on their way waits for the next push. Cut off anywhere, the remote has at most objects too many.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gittrack.errors import BusyError, RemoteError
from gittrack.git.network import NetworkError, Progress, run_network_git
from gittrack.git.objects import ObjectId
from gittrack.git.refs import read_ref
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.sharing.fetching import LocalRefs, ask_refs, note_tracked, tracked_head
from gittrack.sharing.refusals import Refusal, parse_refusals
from gittrack.sharing.uploaded import note_uploaded
from gittrack.sharing.uploading import Told, Uploaded, upload

if TYPE_CHECKING:
    from gittrack.sharing.pulling import Pulled
    from gittrack.sharing.renumbering import Renumbered
    from gittrack.store.conflicts import Conflict

_GIVE_UP_S = 120.0
_TRIES_MAX = 200
_WAIT_MAX_S = 2.0
_AT_ONCE = 4000  # refspecs of one push: a command line holds two megabytes


@dataclass(slots=True)
class Pushed:
    """What a push changed, there and here.

    Attributes:
        branches: what each branch of the remote was and is now, by full name. tags: those new there.
        uploaded: the artifact objects that were sent. pulled: what had to be taken in first, in order.
        tries: how often somebody else was quicker.
    """

    branches: dict[str, tuple[ObjectId | None, ObjectId]] = field(default_factory=dict)
    tags: dict[str, ObjectId] = field(default_factory=dict)
    uploaded: Uploaded = field(default_factory=Uploaded)
    pulled: list[Pulled] = field(default_factory=list)
    tries: int = 0

    @property
    def conflicts(self) -> list[Conflict]:
        return [conflict for pulled in self.pulled for conflict in pulled.conflicts]

    @property
    def renumbered(self) -> list[Renumbered]:
        return [one for pulled in self.pulled for one in pulled.renumbered]

    @property
    def is_nothing(self) -> bool:
        return not (self.branches or self.tags or self.uploaded.sent)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be pushed: by branch what the remote has, as far as known, and is to have; tags by full name."""

    branches: dict[str, tuple[ObjectId | None, ObjectId]]
    tags: dict[str, ObjectId]

    def __bool__(self) -> bool:
        return bool(self.branches or self.tags)

    @property
    def tips(self) -> list[ObjectId]:
        """The commits and tags that the remote is to name."""
        return [tip for _, tip in self.branches.values()] + list(self.tags.values())


def push(
    repository: Repository,
    remote: Remote,
    only: Iterable[str] | None = None,
    *,
    told: Told | None = None,
    progress: Progress | None = None,
) -> Pushed:
    """Give a remote what it lacks of the runs here; what it has is joined where both have moved.

    Args:
        only: branches, by full name; all where it is None. Tags of the registry go in any case.

    Raises:
        NetworkError: it is not reached. RemoteError: it refuses for good, an artifact is nowhere to be found, or
            its store refuses. BusyError: others were quicker for two minutes.
    """
    wanted = None if only is None else frozenset(only)
    done, deadline = Pushed(), time.monotonic() + _GIVE_UP_S
    while True:
        here = LocalRefs.read(repository, remote)
        plan = plan_push(repository, remote, here, wanted)
        done.uploaded += upload(repository, remote, here, plan.tips, choose(here.heads, wanted), told)
        refusals = _push_refs(repository, remote, plan, progress)
        if not refusals:
            _note_done(repository, remote, plan, here, done)
            return done
        _raise_if_final(remote, refusals)
        done.tries += 1
        if done.tries > _TRIES_MAX or time.monotonic() > deadline:
            raise BusyError(
                f"{remote.label}: others were quicker {done.tries} times", "nothing is lost: try again later"
            )
        if done.tries > 1:  # the first time it may be a push of long ago
            time.sleep(random.uniform(0, min(_WAIT_MAX_S, 0.02 * 2 ** min(done.tries, 7))))
        from gittrack.sharing.pulling import pull  # most pushes need none

        done.pulled.append(pull(repository, remote, wanted, progress))


def plan_push(
    repository: Repository, remote: Remote, here: LocalRefs, only: Collection[str] | None = None
) -> Plan:
    """What a push would try to give; where the remote has moved it will refuse, which costs less than to ask.

    It is asked only where there are tags, or nothing seems to be left to give.

    Raises:
        NetworkError: it is asked, and not reached.
    """
    heads = choose(here.heads, only)
    plan = _compare(heads, {ref: here.theirs(remote, ref) for ref in heads})
    if plan and not here.tags:
        return plan
    refs = ask_refs(repository, remote)
    plan = _compare(heads, refs.heads)
    return Plan(plan.branches, {ref: tag for ref, tag in here.tags.items() if refs.tags.get(ref) != tag})


def choose(heads: Mapping[str, ObjectId], only: Collection[str] | None) -> dict[str, ObjectId]:
    """Some of the branches, by full name; all where nothing is chosen."""
    return {ref: tip for ref, tip in heads.items() if only is None or ref in only}


def _compare(heads: Mapping[str, ObjectId], theirs: Mapping[str, ObjectId | None]) -> Plan:
    return Plan({ref: (theirs.get(ref), tip) for ref, tip in heads.items() if theirs.get(ref) != tip}, {})


def _push_refs(repository: Repository, remote: Remote, plan: Plan, progress: Progress | None) -> list[Refusal]:
    """Move the remote's refs; empty where all of them moved."""
    specs = [f"{tip}:{ref}" for ref, (_, tip) in plan.branches.items()]
    specs += [f"{tag}:{ref}" for ref, tag in plan.tags.items()]
    for start in range(0, len(specs), _AT_ONCE):
        refusals = push_specs(repository, remote, specs[start : start + _AT_ONCE], progress)
        if refusals:
            return refusals
    return []


def push_specs(
    repository: Repository, remote: Remote, specs: Sequence[str], progress: Progress | None = None
) -> list[Refusal]:
    """Push by refspecs, all or none; empty where they are done, else what was refused and why.

    Raises:
        NetworkError: the remote is not reached, or says nothing of refs.
    """
    shown = ("--progress",) if progress else ("--quiet",)
    to = ("--end-of-options", remote.asked_as, *specs)
    words: tuple[str, ...] = (
        "push",
        "--atomic",
        "--porcelain",
        *shown,
        "--no-follow-tags",
        "--recurse-submodules=no",
    )
    try:
        try:
            run_network_git(repository, remote, *words, *to, progress=progress)
        except NetworkError as error:
            if "does not support --atomic" not in error.told:
                raise
            words = tuple(word for word in words if word != "--atomic")  # branches come first, then tags
            run_network_git(repository, remote, *words, *to, progress=progress)
    except NetworkError as error:
        refusals = parse_refusals(error.output.decode(errors="replace"), error.told)
        if not refusals:
            raise
        return refusals
    return []


def _raise_if_final(remote: Remote, refusals: Sequence[Refusal]) -> None:
    final = next((refusal for refusal in refusals if not refusal.may_pass), None)
    if final is not None:
        raise RemoteError(f"{remote.label} refuses {final.ref}: {final.reason}", final.told)


def _note_done(repository: Repository, remote: Remote, plan: Plan, here: LocalRefs, done: Pushed) -> None:
    done.branches, done.tags = plan.branches, plan.tags
    pushed = {tracked_head(remote, ref): tip for ref, (_, tip) in plan.branches.items()}
    # git has moved those that its own refspecs name
    note_tracked(repository, {ref: tip for ref, tip in pushed.items() if read_ref(repository, ref) != tip})
    tips = [tip for _, tip in plan.branches.values()]
    old = [old for old, _ in plan.branches.values() if old is not None]
    note_uploaded(repository, remote, tips, instead_of=old)
    if here.live:
        from gittrack.sharing.live_refs import drop_finished

        drop_finished(repository, remote, here.live, plan.branches.values())
