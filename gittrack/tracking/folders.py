"""Walking a folder whose files become artifacts: nothing is followed out of it."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from gittrack.errors import ArtifactError, InvalidValueError
from gittrack.schema.names import check_artifact_path, one_line

_log = logging.getLogger("gittrack")


@dataclass(frozen=True, slots=True)
class FolderFile:
    """A file below a folder: where it is, its path there with '/', and its target where it is a link."""

    source: str
    path: str
    link: str | None = None


def walk_folder(folder: str) -> Iterator[FolderFile]:
    """Every file and link below a folder, sorted by path; what cannot be kept is named in one warning.

    Raises:
        ArtifactError: a folder in it cannot be read.
    """
    left_out: list[str] = []
    yield from _walk(os.path.realpath(folder), "", left_out)
    if left_out:
        shown = ", ".join(one_line(path, 80) for path in left_out[:5])
        _log.warning("gittrack leaves out %d of %s: %s", len(left_out), folder, shown)


def _walk(top: str, below: str, left_out: list[str]) -> Iterator[FolderFile]:
    try:
        entries = sorted(os.scandir(os.path.join(top, below)), key=lambda entry: entry.name)
    except OSError as error:
        raise ArtifactError(f"cannot read folder {os.path.join(top, below)!r}: {error.strerror}") from error
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        mode = entry.stat(follow_symlinks=False).st_mode
        if not _is_taken(path):
            left_out.append(f"{path} (its name)")
        elif stat.S_ISLNK(mode):
            target = os.readlink(entry.path)
            if _stays_inside(top, os.path.dirname(entry.path), target):
                yield FolderFile(entry.path, path, target)
            else:
                left_out.append(f"{path} (a link that leads out)")
        elif stat.S_ISDIR(mode):
            yield from _walk(top, path, left_out)
        elif stat.S_ISREG(mode):
            yield FolderFile(entry.path, path)
        else:
            left_out.append(f"{path} (no regular file)")


def _is_taken(path: str) -> bool:
    try:
        return check_artifact_path(path) == path
    except InvalidValueError:
        return False


def _stays_inside(top: str, folder: str, target: str) -> bool:
    """Whether a link's target is relative and, read as it stands and as it resolves, below the top."""
    if os.path.isabs(target):
        return False
    plain = os.path.normpath(os.path.join(folder, target))
    real = os.path.realpath(os.path.join(folder, target))
    return all(place == top or place.startswith(top + os.sep) for place in (plain, real))
