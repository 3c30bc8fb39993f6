"""The artifacts that commits name, brought to a remote's store before any of its refs names the commits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gittrack.errors import RemoteError
from gittrack.git.objects import ObjectId
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.sharing.fetching import LocalRefs
from gittrack.sharing.pointers import FoundPointer, list_pointers
from gittrack.sharing.uploaded import note_uploaded, read_uploaded
from gittrack.store.artifacts import has_object

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
    pointers = list_pointers(repository, tips, known)
    done = Uploaded()
    if pointers:
        wanted = _leave_out_theirs(repository, pointers, new, {*known, *here.tracked.values()})
        for store, found in _by_store(repository, wanted, heads, known):
            done += _send(repository, remote, store, found, told)
    note_uploaded(repository, remote, [tip for tip in heads.values() if tip in tips and tip not in new])
    return done


def _leave_out_theirs(
    repository: Repository, pointers: Sequence[FoundPointer], new: Sequence[ObjectId], named: Collection[ObjectId]
) -> list[FoundPointer]:
    """What is to be sent: all that is here, and all that the remote comes to name; the rest came from there."""
    absent = {found.content.oid for found in pointers if not has_object(repository, found.content)}
    if absent:
        absent -= {found.content.oid for found in list_pointers(repository, new, named)}
    return [found for found in pointers if found.content.oid not in absent]


def _by_store(
    repository: Repository,
    wanted: Sequence[FoundPointer],
    heads: Mapping[str, ObjectId],
    known: Collection[ObjectId],
) -> Iterator[tuple[str, Sequence[FoundPointer]]]:
    """What goes where: by the URL of the store that an experiment's record names, empty for the remote's LFS.

    An object of several experiments goes to the store of each; what no branch has, to the whole repository's.
    """
    from gittrack.sharing.places import find_upload_stores

    stores = find_upload_stores(repository)
    if not stores:
        yield "", wanted
        return
    left, by_store = {found.content.oid: found for found in wanted}, dict[str, dict[str, FoundPointer]]()
    for ref, tip in heads.items():
        for found in list_pointers(repository, [tip], known):
            if found.content.oid in left:
                by_store.setdefault(stores.get(ref, stores[""]), {})[found.content.oid] = found
    in_branches = {oid for held in by_store.values() for oid in held}
    for oid, found in left.items():
        if oid not in in_branches:
            by_store.setdefault(stores[""], {})[oid] = found
    for store, held in by_store.items():
        yield store, list(held.values())


def _send(
    repository: Repository, remote: Remote, store: str, wanted: Sequence[FoundPointer], told: Told | None
) -> Uploaded:
    from gittrack.sharing.objects import send_objects  # most pushes have none to send

    if not wanted:
        return Uploaded()
    sizes = {found.content.oid: found.content.size_bytes for found in wanted}
    total, moved, lock = sum(sizes.values()), 0, threading.Lock()

    def tell(size_bytes: int) -> None:
        nonlocal moved
        with lock:
            moved += size_bytes
            if told is not None:
                told(moved, total)

    outcome = send_objects(
        repository, remote, [found.content for found in wanted], tell, stores=[store] if store else []
    )
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
