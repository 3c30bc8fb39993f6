"""The artifacts that commits name, brought to a remote's store before any of its refs names the commits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from gittrack.errors import RemoteError
from gittrack.git.objects import ObjectId
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.sharing.fetching import LocalRefs
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
    here: LocalRefs,
    new: Sequence[ObjectId],
    heads: Mapping[str, ObjectId],
    told: Told | None = None,
) -> Uploaded:
    """Send the artifact objects that the remote may lack: of what is pushed now, and of what plain git pushed.

    Args:
        new: what the remote is to name by this push: all of its objects must be there. Of what it names already,
            those that are here are sent. heads: the branches that are shared, by full name.

    Raises:
        RemoteError: the store cannot be reached or refuses, or an object is nowhere to be found.
    """
    known = read_uploaded(repository, remote)
    tips = sorted({*heads.values(), *new} - known)
    pointers = {found.content.oid: found for found in list_pointers(repository, tips, known)}
    if pointers:
        done = _upload(repository, remote, pointers, new, {*known, *here.tracked.values()}, told)
    else:
        done = Uploaded()
    note_uploaded(repository, remote, [tip for tip in heads.values() if tip in tips and tip not in new])
    return done


def _upload(
    repository: Repository,
    remote: Remote,
    pointers: Mapping[str, FoundPointer],
    new: Sequence[ObjectId],
    named: Collection[ObjectId],
    told: Told | None,
) -> Uploaded:
    from gittrack.sharing.objects import has_object

    here = {oid for oid, found in pointers.items() if has_object(repository, found.content)}
    required = set[str]()
    if len(here) < len(pointers):  # of what the remote names by now, what is not here came from there
        required = {found.content.oid for found in list_pointers(repository, new, named)}
    return _send(repository, remote, [pointers[oid] for oid in sorted(here | required)], told)


def _send(repository: Repository, remote: Remote, wanted: Sequence[FoundPointer], told: Told | None) -> Uploaded:
    from gittrack.sharing.objects import send_objects  # most pushes have none to send

    if not wanted:
        return Uploaded()
    sizes = {found.content.oid: found.content.size_bytes for found in wanted}
    total, moved = sum(sizes.values()), 0

    def tell(size_bytes: int) -> None:
        nonlocal moved
        moved += size_bytes
        if told is not None:
            told(moved, total)

    outcome = send_objects(repository, remote, [found.content for found in wanted], tell)
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
