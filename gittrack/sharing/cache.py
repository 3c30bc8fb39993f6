"""Copies of artifacts that are kept elsewhere, held to a size: git config ``gittrack.artifactCache`` (``5GB``).

Only what was fetched counts and goes, the longest unused first, and only once the place that it came from says
that it still has it. What was logged here is never removed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gittrack.artifact_stores.transfers import Transfer
from gittrack.errors import GittrackError
from gittrack.git.refs import write_lock
from gittrack.git.repository import Repository
from gittrack.git.user_settings import find_size_bytes
from gittrack.sharing.arrivals import read_origin
from gittrack.sharing.places import Place, list_places
from gittrack.store.artifacts import brought_path, object_path

LIMIT = "gittrack.artifactCache"


@dataclass(frozen=True, slots=True)
class _Copy:
    oid: str
    size_bytes: int
    used_at: float


def keep_within_limit(repository: Repository, *, keep: Collection[str] = ()) -> list[str]:
    """Remove fetched copies until they are within the limit; returns the oids of those that went.

    Args:
        keep: objects that are about to be read.

    Raises:
        InvalidValueError: the setting is no size.
    """
    limit = find_size_bytes(repository, LIMIT)
    if limit is None:
        return []
    copies = _list_copies(repository)
    over = sum(copy.size_bytes for copy in copies) - limit
    if over <= 0:
        return []
    candidates = sorted((copy for copy in copies if copy.oid not in keep), key=lambda copy: copy.used_at)
    proven = _find_proven(repository, candidates, over)
    gone: list[str] = []
    with write_lock(repository):  # a run that is committed with one of them puts it back afterwards
        for copy in candidates:
            if over > 0 and copy.oid in proven and _remove(repository, copy):
                gone.append(copy.oid)
                over -= copy.size_bytes
    return gone


def _list_copies(repository: Repository) -> list[_Copy]:
    """The fetched objects that are here."""
    found = []
    for oid in _names(os.path.dirname(brought_path(repository, ""))):
        try:
            status = os.stat(object_path(repository, oid))
        except OSError:
            continue
        found.append(_Copy(oid, status.st_size, max(status.st_atime, status.st_mtime)))
    return found


def _find_proven(repository: Repository, copies: Sequence[_Copy], over: int) -> set[str]:
    """Which copies the places that they came from still have; asked for no more than have to go."""
    remotes, by_place = list_places(repository), dict[Place, list[_Copy]]()
    for copy in copies:
        if over <= 0:
            break
        place = read_origin(repository, copy.oid, remotes)
        if place is not None:
            by_place.setdefault(place, []).append(copy)
            over -= copy.size_bytes
    proven: set[str] = set()
    for place, those in by_place.items():
        asked = [Transfer(copy.oid, copy.size_bytes, "") for copy in those]
        try:
            proven |= {copy.oid for copy in those} - place.open(repository, "download").find_absent(asked)
        except GittrackError:
            continue  # not reached now: nothing is proven, and nothing goes
    return proven


def _remove(repository: Repository, copy: _Copy) -> bool:
    """Remove a copy, unless its note has gone: then it was logged here meanwhile."""
    try:
        os.unlink(brought_path(repository, copy.oid))
        os.unlink(object_path(repository, copy.oid))
    except OSError:
        return False
    return True


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
