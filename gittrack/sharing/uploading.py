"""The artifacts that commits name, brought to a remote's store before any of its refs names the commits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from gittrack.errors import RemoteError
from gittrack.git.objects import ObjectId
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.sharing.fetching import list_tracked
from gittrack.sharing.objects import has_object, send_objects
from gittrack.sharing.pointers import FoundPointer, list_pointers
from gittrack.sharing.uploaded import note_uploaded, read_uploaded

Told = Callable[[int, int], None]  # bytes moved of how many


@dataclass(frozen=True, slots=True)
class Uploaded:
    """How many objects were sent, their bytes, how many the store had; what of code is nowhere to be found."""

    sent: int = 0
    sent_bytes: int = 0
    present: int = 0
    missing_code: tuple[str, ...] = ()

    def __add__(self, other: Uploaded) -> Uploaded:
        return Uploaded(
            self.sent + other.sent,
            self.sent_bytes + other.sent_bytes,
            self.present + other.present,
            self.missing_code + other.missing_code,
        )


def upload(
    repository: Repository,
    remote: Remote,
    heads: Mapping[str, ObjectId],
    new: Sequence[ObjectId],
    told: Told | None = None,
) -> Uploaded:
    """Send the artifact objects that the remote may lack: of what is pushed now, and of what plain git pushed.

    Args:
        heads: the branches that are shared, by full name. new: what the remote is to name by this push: all of its
            objects must be there. Of what it names already, those that are here are sent.

    Raises:
        RemoteError: the store cannot be reached or refuses, or an object is nowhere to be found.
    """
    known = read_uploaded(repository, remote)
    tips = sorted({*heads.values(), *new} - known)
    if not tips:
        return Uploaded()
    pointers = {found.content.oid: found for found in list_pointers(repository, tips, known)}
    here = {oid for oid, found in pointers.items() if has_object(repository, found.content)}
    required = _find_required(repository, remote, new, known) if len(here) < len(pointers) else set()
    wanted = [found for oid, found in pointers.items() if oid in here or oid in required]
    done = _send(repository, remote, wanted, told)
    note_uploaded(repository, remote, [tip for tip in heads.values() if tip not in new])
    return done


def _find_required(
    repository: Repository, remote: Remote, new: Sequence[ObjectId], known: Collection[ObjectId]
) -> set[str]:
    """The oids that the remote comes to name by a push, beyond what it names already."""
    beyond = {*known, *list_tracked(repository, remote).values()}
    return {found.content.oid for found in list_pointers(repository, new, beyond)}


def _send(repository: Repository, remote: Remote, wanted: Sequence[FoundPointer], told: Told | None) -> Uploaded:
    if not wanted:
        return Uploaded()
    sizes = {found.content.oid: found.content.size_bytes for found in wanted}
    outcome = send_objects(repository, remote, [found.content for found in wanted], told)
    lost = [found for found in wanted if found.content.oid in outcome.failed]
    for found in lost:
        if found.is_of_run:
            raise RemoteError(
                f"{remote.label}: artifact {found.where} (sha256 {found.content.oid[:12]}…) cannot be sent: "
                f"{outcome.failed[found.content.oid]}",
                "nothing was pushed: a remote must not name what it does not have",
            )
    return Uploaded(
        len(outcome.moved),
        sum(sizes[oid] for oid in outcome.moved),
        len(outcome.present),
        tuple(found.where for found in lost),
    )
