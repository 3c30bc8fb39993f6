"""What is not shared yet: runs and artifacts that a remote lacks, and runs it has that no branch here has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gittrack.errors import RepositoryError
from gittrack.git.ancestry import find_present
from gittrack.git.bulk import list_trailers
from gittrack.git.objects import ObjectId
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.schema.messages import RUN_TRAILER
from gittrack.schema.names import HEADS, experiment_of_ref, is_run_id
from gittrack.sharing.fetching import LocalRefs, RemoteRefs
from gittrack.sharing.pointers import list_pointers
from gittrack.sharing.uploaded import read_uploaded
from gittrack.store.artifacts import has_object
from gittrack.store.live import list_live


@dataclass(frozen=True, slots=True)
class BranchStatus:
    """One experiment: runs with revisions that the remote lacks, and that only it has; both as ids, sorted."""

    ref: str
    experiment: str
    ahead: tuple[str, ...]
    behind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """How a clone stands to a remote, as far as is known here.

    Attributes:
        branches: of every experiment. objects, size_bytes: artifact objects to be sent, and their bytes.
        missing: such objects that are not on this machine. tags: unpushed tags by full name; None where the remote
            was not asked. running: runs in flight here.
    """

    branches: tuple[BranchStatus, ...]
    objects: int
    size_bytes: int
    missing: int
    tags: tuple[str, ...] | None
    running: int

    @property
    def is_shared(self) -> bool:
        """Whether the remote has all that is here."""
        return not (any(branch.ahead for branch in self.branches) or self.objects or self.tags)


def read_status(repository: Repository, remote: Remote, refs: RemoteRefs | None = None) -> Status:
    """How a clone stands to a remote; ``refs`` is what that has, where it was asked just now.

    Raises:
        RepositoryError: a history cannot be walked.
    """
    here = LocalRefs.read(repository, remote)
    heads = here.heads
    theirs = {HEADS + ref.removeprefix(f"{remote.tracked}gittrack/"): tip for ref, tip in here.tracked.items()}
    branches = tuple(
        _compare(repository, ref, heads.get(ref), theirs.get(ref)) for ref in sorted({*heads, *theirs})
    )
    known = read_uploaded(repository, remote)
    to_send = list_pointers(repository, sorted({*heads.values()} - known), known) if heads else []
    contents = {found.content.oid: found.content for found in to_send}
    at_hand = [content for content in contents.values() if has_object(repository, content)]
    tags = None
    if refs is not None:
        tags = tuple(ref for ref, tag in here.tags.items() if refs.tags.get(ref) != tag)
    return Status(
        branches=branches,
        objects=len(at_hand),
        size_bytes=sum(content.size_bytes for content in at_hand),
        missing=len(contents) - len(at_hand),
        tags=tags,
        running=sum(live.has_begun() for live in list_live(repository)),
    )


def list_changed(repository: Repository, tips: Iterable[ObjectId], beyond: Iterable[ObjectId | None]) -> list[str]:
    """The ids of the runs that have revisions reachable from some commits and not from others; sorted."""
    known, wanted = [commit for commit in beyond if commit is not None], list(tips)
    try:
        found = set(list_trailers(repository, RUN_TRAILER, wanted, known))
    except RepositoryError:  # what the remote has is not all here
        found = set(list_trailers(repository, RUN_TRAILER, wanted, find_present(repository, known)))
    return sorted(filter(is_run_id, found))


def _compare(repository: Repository, ref: str, mine: ObjectId | None, theirs: ObjectId | None) -> BranchStatus:
    ahead = behind = list[str]()
    if mine != theirs:
        ahead = list_changed(repository, [mine], [theirs]) if mine else []
        behind = list_changed(repository, [theirs], [mine]) if theirs else []
    return BranchStatus(ref, experiment_of_ref(ref) or ref, tuple(ahead), tuple(behind))
