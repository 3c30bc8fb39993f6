"""Pushing: artifacts first, then branches and tags at once and never by force; joins and tries again where needed.

What is pushed are commits, by their ids, not branches by their names: a run that is committed while its elders'
artifacts are on their way waits for the next push. Cut off anywhere, the remote has at most objects too many.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gittrack.errors import BusyError, CommandError, RemoteError
from gittrack.git.ancestry import is_ancestor
from gittrack.git.network import NetworkError, Progress, run_network_git
from gittrack.git.objects import ObjectId
from gittrack.git.refs import list_refs
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.schema.names import HEADS, experiment_of_ref
from gittrack.sharing.conflicts import Conflict
from gittrack.sharing.fetching import ask_refs, list_tracked, note_tracked, tracked_head
from gittrack.sharing.live_refs import drop_finished
from gittrack.sharing.pulling import Pulled, pull
from gittrack.sharing.refusals import Refusal, parse_refusals
from gittrack.sharing.renumbering import Renumbered, list_registry_tags
from gittrack.sharing.uploaded import note_uploaded
from gittrack.sharing.uploading import Told, Uploaded, upload

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
    renumbered: list[Renumbered] = field(default_factory=list)
    tries: int = 0

    @property
    def conflicts(self) -> list[Conflict]:
        return [conflict for pulled in self.pulled for conflict in pulled.conflicts]

    @property
    def is_nothing(self) -> bool:
        return not (self.branches or self.tags or self.uploaded.sent)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be pushed: commits by the branch that they are for, and tags by full name."""

    branches: dict[str, tuple[ObjectId | None, ObjectId]]
    tags: dict[str, ObjectId]
    apart: tuple[str, ...]  # branches and tags that the remote has otherwise

    def __bool__(self) -> bool:
        return bool(self.branches or self.tags or self.apart)

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
        plan = plan_push(repository, remote, wanted)
        if plan.apart:
            _pull(repository, remote, wanted, done, progress)
            plan = plan_push(repository, remote, wanted)
        done.uploaded += upload(repository, remote, list_heads(repository, wanted), plan.tips, told)
        refusals = _push_refs(repository, remote, plan, progress)
        if not refusals:
            _note_done(repository, remote, plan, done)
            return done
        _raise_if_final(remote, refusals)
        done.tries += 1
        if done.tries > _TRIES_MAX or time.monotonic() > deadline:
            raise BusyError(
                f"{remote.label}: others were quicker {done.tries} times", "nothing is lost: try again later"
            )
        time.sleep(random.uniform(0, min(_WAIT_MAX_S, 0.02 * 2 ** min(done.tries, 7))))
        _pull(repository, remote, wanted, done, progress)


def plan_push(repository: Repository, remote: Remote, only: Iterable[str] | None = None) -> Plan:
    """What a push would give. The remote is asked only where there are tags, or nothing seems to be left to give.

    Raises:
        NetworkError: it is asked, and not reached.
    """
    heads, tags = list_heads(repository, only), list_registry_tags(repository)
    tracked = list_tracked(repository, remote)
    plan = _compare(repository, heads, {ref: tracked.get(tracked_head(remote, ref)) for ref in heads})
    if plan and not tags:
        return plan
    refs = ask_refs(repository, remote)
    plan = _compare(repository, heads, {ref: refs.heads.get(ref) for ref in heads})
    new_tags = {ref: tag for ref, tag in tags.items() if refs.tags.get(ref) != tag}
    return Plan(plan.branches, new_tags, plan.apart or tuple(ref for ref in new_tags if ref in refs.tags))


def _compare(repository: Repository, heads: Mapping[str, ObjectId], theirs: Mapping[str, ObjectId | None]) -> Plan:
    branches, apart = {}, list[str]()
    for ref, tip in heads.items():
        old = theirs[ref]
        if tip == old:
            continue
        if old is None or _reaches(repository, tip, old):
            branches[ref] = (old, tip)
        elif not _reaches(repository, old, tip):
            apart.append(ref)
    return Plan(branches, {}, tuple(apart))


def _reaches(repository: Repository, newer: ObjectId, older: ObjectId) -> bool:
    try:
        return is_ancestor(repository, older, newer)
    except CommandError:  # the remote's tip has not been fetched
        return False


def _pull(
    repository: Repository, remote: Remote, only: frozenset[str] | None, done: Pushed, progress: Progress | None
) -> None:
    done.pulled.append(pull(repository, remote, only, progress))
    done.renumbered += done.pulled[-1].renumbered


def list_heads(repository: Repository, only: Iterable[str] | None = None) -> dict[str, ObjectId]:
    """The local branches of experiments, all or some, by full name."""
    wanted = None if only is None else set(only)
    heads = list_refs(repository, HEADS)
    return {
        ref: tip
        for ref, tip in heads.items()
        if experiment_of_ref(ref) is not None and (wanted is None or ref in wanted)
    }


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


def _note_done(repository: Repository, remote: Remote, plan: Plan, done: Pushed) -> None:
    done.branches, done.tags = plan.branches, plan.tags
    note_tracked(repository, {tracked_head(remote, ref): tip for ref, (_, tip) in plan.branches.items()})
    tips = [tip for _, tip in plan.branches.values()]
    old = [old for old, _ in plan.branches.values() if old is not None]
    note_uploaded(repository, remote, tips, instead_of=old)
    drop_finished(repository, remote, plan.branches.values())
