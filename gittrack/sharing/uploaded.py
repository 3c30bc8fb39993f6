"""Up to where a remote is known to have the artifacts of what it names: a note beside the repository.

It is a cache. Without it all commits are looked at again, and the remote is asked which objects it has; a branch
that was pushed by plain git, without a hook to upload, is thus made whole by the next push of ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping

from gittrack.git.config import read_small_file
from gittrack.git.objects import ObjectId
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository

_VERSION = 1
_TIPS_MAX = 20_000


def read_uploaded(repository: Repository, remote: Remote) -> frozenset[ObjectId]:
    """Commits that the remote has with all their artifacts, and all that they reach; they may be gone by now."""
    try:
        noted = json.loads(read_small_file(_path(repository, remote)) or b"{}")
        is_known = noted.get("version") == _VERSION
        return frozenset(ObjectId(str(tip)) for tip in noted["tips"]) if is_known else frozenset()
    except (ValueError, KeyError, TypeError, AttributeError):
        return frozenset()


def note_uploaded(
    repository: Repository, remote: Remote, tips: Iterable[ObjectId], *, instead_of: Iterable[ObjectId] = ()
) -> None:
    """Note that the remote has all of some commits; older ones that they reach need not be kept."""
    known = (read_uploaded(repository, remote) - set(instead_of)) | set(tips)
    path = _path(repository, remote)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.{os.urandom(4).hex()}"
        with open(temporary, "w", encoding="ascii") as file:
            json.dump({"version": _VERSION, "tips": sorted(known)[:_TIPS_MAX]}, file)
        os.replace(temporary, path)
    except OSError:
        pass  # it is looked for again


def note_fetched(
    repository: Repository, remote: Remote, before: Mapping[str, ObjectId], after: Mapping[str, ObjectId]
) -> None:
    """What came from the remote was uploaded by whoever pushed it, where what it grew from was."""
    known = read_uploaded(repository, remote)
    moved = {ref: tip for ref, tip in after.items() if before.get(ref) != tip}
    sound = {ref: tip for ref, tip in moved.items() if ref not in before or before[ref] in known}
    if sound:
        old = [before[ref] for ref in sound if ref in before]
        note_uploaded(repository, remote, sound.values(), instead_of=old)


def _path(repository: Repository, remote: Remote) -> str:
    return os.path.join(repository.state_dir, "remotes", f"{remote.key}.json")
