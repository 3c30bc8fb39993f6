"""Tags made apart under one name: the one that the remote has not seen yet takes the next free name.

Tags are never moved once they are shared. A tag object holds its own name, so that the renumbered one is another
object; a signature, which was for the old name, does not go along, and that is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from gittrack.errors import BusyError, DamagedError, NotFoundError
from gittrack.git.objects import TAG, ObjectId
from gittrack.git.reading import ObjectReader
from gittrack.git.refs import read_ref
from gittrack.git.repository import Repository
from gittrack.schema.tag_names import TAGS, parse_tag_name
from gittrack.store.committing import Branches, open_branches

_SIGNATURES = (
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN SSH SIGNATURE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
)


@dataclass(frozen=True, slots=True)
class Renumbered:
    """A local tag that had to take another name: both full ref names, and whether it was signed."""

    old: str
    new: str
    was_signed: bool


def find_collisions(mine: Mapping[str, ObjectId], theirs: Mapping[str, ObjectId]) -> list[str]:
    """The tags that both have and that are not the same object, in the order in which they were numbered."""
    taken = [ref for ref, tag in mine.items() if ref in theirs and theirs[ref] != tag]
    return sorted(taken, key=lambda ref: (len(ref), ref))  # as numbers grow, their names do


def renumber(repository: Repository, refs: Iterable[str], taken: Collection[str]) -> list[Renumbered]:
    """Give local tags the next names that are free here and at the remote; durable on return.

    Args:
        refs: full names, as `find_collisions` orders them. taken: the names that the remote has.

    Raises:
        BusyError: somebody moves tags meanwhile.
    """
    done = []
    with open_branches(repository) as branches, ObjectReader(repository) as reader:
        for ref in refs:
            old = read_ref(repository, ref)
            if old is not None:
                done.append(_renumber(repository, branches, reader, ref, old, taken))
    return done


def _renumber(
    repository: Repository,
    branches: Branches,
    reader: ObjectReader,
    ref: str,
    old: ObjectId,
    taken: Collection[str],
) -> Renumbered:
    name = parse_tag_name(ref.removeprefix(TAGS))
    assert name is not None
    while True:
        name = name.next()
        new = TAGS + str(name)
        if new not in taken and read_ref(repository, new) is None:
            break
    objects, was_signed, target = branches.new_objects(), False, old
    data = _find_tag(reader, old)
    if data is not None:  # a light one has no object to rewrite
        renamed, was_signed = rename_tag(data, str(name))
        target = objects.add(TAG, renamed)
    if not branches.move(new, target, None, objects) or not branches.remove(ref, old):
        raise BusyError(f"another program changes the tags of {repository.label}", "try again when it is done")
    return Renumbered(ref, new, was_signed)


def rename_tag(data: bytes, name: str) -> tuple[bytes, bool]:
    """The bytes of a tag object under another name, without its signature; and whether it had one."""
    head, _, body = data.partition(b"\n\n")
    lines = [b"tag " + name.encode() if line.startswith(b"tag ") else line for line in head.split(b"\n")]
    kept, was_signed = list[bytes](), False
    for line in lines:  # newer hashes sign in a header of its own, whose lines begin with a blank
        if line.startswith(b"gpgsig") or (was_signed and line.startswith(b" ")):
            was_signed = True
            continue
        kept.append(line)
    for mark in _SIGNATURES:
        at = body.find(b"\n" + mark) + 1 if not body.startswith(mark) else 0
        if body.startswith(mark) or at > 0:
            body, was_signed = body[:at], True
    return b"\n".join(kept) + b"\n\n" + body, was_signed


def _find_tag(reader: ObjectReader, tag: ObjectId) -> bytes | None:
    try:
        kind, data = reader.read(tag)
    except (NotFoundError, DamagedError):
        return None
    return data if kind == TAG else None
