"""What a remote has, and bringing its histories here: branches of experiments, the registry's tags, live runs.

The remote is asked for its refs first, then for exactly those that are new here, so that nothing else comes along
and a tag of ours that it has otherwise is known before anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gittrack.git.command import run_git
from gittrack.git.network import Progress, run_network_git
from gittrack.git.objects import ObjectId
from gittrack.git.refs import list_any_refs
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.schema.names import HEADS, LIVE, TRACKED_LIVE, experiment_of_ref, is_run_id
from gittrack.schema.tag_names import TAGS, is_registry_tag

# a power cut must not leave a ref that names a pack which never reached the disk
DURABLE = ("-c", "core.fsync=objects,derived-metadata,reference", "-c", "core.fsyncMethod=fsync")
_QUIETLY = ("--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules")
_PATTERNS = (f"{HEADS}*", "refs/tags/*", f"{LIVE}*")
_LINE = re.compile(r"([0-9a-f]{40,64})\t(refs/[^\s^]+)")


@dataclass(frozen=True, slots=True)
class RemoteRefs:
    """The refs of a remote that concern us, by their full names there."""

    heads: dict[str, ObjectId]
    tags: dict[str, ObjectId]
    live: dict[str, ObjectId]


def tracked_head(remote: Remote, head: str) -> str:
    """The ref here that stands for a remote's branch."""
    return remote.tracked + head.removeprefix("refs/heads/")


def tracked_live(remote: Remote) -> str:
    """The folder of refs here that stand for a remote's live runs, with the '/' at the end."""
    return f"{TRACKED_LIVE}{remote.name or remote.key}/live/"


def ask_refs(repository: Repository, remote: Remote, answer_s: float | None = None) -> RemoteRefs:
    """The remote's refs that concern us; where it does not answer in time, if one is set, it is not reached.

    Raises:
        NetworkError: it is not reached, or refuses.
    """
    words = ("ls-remote", "--refs", "--end-of-options", remote.asked_as, *_PATTERNS)
    told = run_network_git(repository, remote, *words, answer_s=answer_s).decode(errors="surrogateescape")
    found = RemoteRefs({}, {}, {})
    for line in told.split("\n"):
        if (parts := _LINE.fullmatch(line)) is None:
            continue
        object_id, ref = ObjectId(parts[1]), parts[2]
        if ref.startswith(HEADS) and experiment_of_ref(ref) is not None:
            found.heads[ref] = object_id
        elif is_registry_tag(ref):
            found.tags[ref] = object_id
        elif ref.startswith(LIVE) and is_run_id(ref.removeprefix(LIVE)):
            found.live[ref] = object_id
    return found


def fetch(
    repository: Repository,
    remote: Remote,
    only: Iterable[str] | None = None,
    progress: Progress | None = None,
    *,
    answer_s: float | None = None,
) -> RemoteRefs:
    """Bring what is new of a remote into the refs that stand for it here; local branches and tags stay.

    Returns:
        What the remote has.

    Args:
        only: branches, by full name; all where it is None.
        answer_s: how long to wait for the remote to tell its refs; None for as long as git does.

    Raises:
        NetworkError: it is not reached, or refuses.
    """
    refs = ask_refs(repository, remote, answer_s)
    wanted = None if only is None else set(only)
    heads = {ref: tip for ref, tip in refs.heads.items() if wanted is None or ref in wanted}
    known = LocalRefs.read(repository, remote)
    new_heads = [ref for ref, tip in heads.items() if known.theirs(remote, ref) != tip]
    live = tracked_live(remote)
    new_live = [ref for ref, tip in refs.live.items() if known.live.get(live + ref.removeprefix(LIVE)) != tip]
    specs = [f"+{ref}:{tracked_head(remote, ref)}" for ref in new_heads]
    specs += [f"+{ref}:{live}{ref.removeprefix(LIVE)}" for ref in new_live]
    bring(repository, remote, specs, progress)
    ended = [ref for ref in known.live if LIVE + ref.removeprefix(live) not in refs.live]
    forget_tracked(repository, {ref: known.live[ref] for ref in ended})
    return refs


def bring(repository: Repository, remote: Remote, specs: Sequence[str], progress: Progress | None = None) -> None:
    """Fetch by refspecs; nothing is asked where there are none. Raises as `fetch`."""
    if not specs:
        return
    shown = ("--progress",) if progress else ("--quiet",)
    words = (*DURABLE, "fetch", *_QUIETLY, *shown, "--refmap=", "--stdin", "--end-of-options", remote.asked_as)
    lines = "".join(f"{spec}\n" for spec in specs)
    run_network_git(repository, remote, *words, stdin=lines.encode(errors="surrogateescape"), progress=progress)


@dataclass(frozen=True, slots=True)
class LocalRefs:
    """The refs of a clone that concern a remote, all read at once: by their full names.

    Attributes:
        heads: local branches of experiments. tags: of the registry.
        tracked: what stands for the remote's branches; live: what stands for its runs in flight.
    """

    heads: dict[str, ObjectId]
    tags: dict[str, ObjectId]
    tracked: dict[str, ObjectId]
    live: dict[str, ObjectId]

    @classmethod
    def read(cls, repository: Repository, remote: Remote) -> LocalRefs:
        """As they are now."""
        tracked, live = f"{remote.tracked}gittrack/", tracked_live(remote)
        found = list_any_refs(repository, HEADS, TAGS, tracked, live)
        return cls(
            heads={ref: tip for ref, tip in found.items() if ref.startswith(HEADS) and experiment_of_ref(ref)},
            tags={ref: tag for ref, tag in found.items() if is_registry_tag(ref)},
            tracked={ref: tip for ref, tip in found.items() if ref.startswith(tracked)},
            live={ref: tip for ref, tip in found.items() if ref.startswith(live)},
        )

    def theirs(self, remote: Remote, head: str) -> ObjectId | None:
        """What the remote had in a branch when it was last asked, or None."""
        return self.tracked.get(tracked_head(remote, head))


def note_tracked(repository: Repository, moved: dict[str, ObjectId]) -> None:
    """Let refs that stand for a remote's say what it has now."""
    lines = "".join(f"update {ref} {tip}\n" for ref, tip in moved.items())
    if lines:
        run_git(repository.common_dir, *DURABLE, "update-ref", "--stdin", stdin=_encode(lines))


def forget_tracked(repository: Repository, gone: dict[str, ObjectId]) -> None:
    """Drop refs that stand for what a remote no longer has."""
    lines = "".join(f"delete {ref} {tip}\n" for ref, tip in gone.items())
    if lines:
        run_git(repository.common_dir, "update-ref", "--stdin", stdin=_encode(lines))


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
