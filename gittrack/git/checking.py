"""Letting git check the objects that some commits lead to: ``git fsck``, from a git folder of our own.

The repository's own configuration is not asked: by ``fsck.*`` it could hide damage, and ``fsck.skipList`` makes
git print the beginning of any file (git takes every value that is set: none can be unset by another). The tips are
branches of that folder: argv has an end, and one git per group would check every object again.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable

from gittrack.errors import RepositoryError
from gittrack.git.command import IN_PIECES, run_git
from gittrack.git.config import parse_settings, read_extensions
from gittrack.git.objects import ObjectId
from gittrack.git.repository import Repository

_ID_LINE = re.compile(rb"[0-9a-f]{40,64}\n")


def check_objects(repository: Repository, tips: Iterable[ObjectId]) -> None:
    """Check every object of a repository, and that all is there that the tips lead to.

    Raises:
        CommandError: something is damaged; its ``stderr`` says what.
        RepositoryError: there is no place for the folder.
    """
    wanted = sorted(set(tips))
    try:
        with tempfile.TemporaryDirectory(prefix="gittrack-") as folder:
            _write_folder(repository, wanted, folder)
            extra = {**IN_PIECES, "GIT_OBJECT_DIRECTORY": repository.objects_dir}
            run_git(folder, "fsck", "--strict", "--no-dangling", "--no-progress", extra=extra)
    except OSError as error:
        raise RepositoryError(f"git cannot check {repository.label}: {error}", "see: git fsck") from error


def _write_folder(repository: Repository, tips: list[ObjectId], folder: str) -> None:
    """What makes a folder a git folder: gitrepository-layout(5)."""
    os.mkdir(os.path.join(folder, "refs"))
    branches = "".join(f"{tip} refs/heads/{tip}\n" for tip in tips)
    files = {
        "config": _config(repository).encode(),
        "packed-refs": f"# pack-refs with: sorted \n{branches}".encode(),
        "HEAD": f"ref: refs/heads/{tips[0] if tips else 'none'}\n".encode(),
        "shallow": b"".join(_read_shallow(repository)),
    }
    for name, content in files.items():
        if content:
            with open(os.path.join(folder, name), "xb") as file:
                file.write(content)


def _config(repository: Repository) -> str:
    """How the objects are stored, and whether some may be left with a promisor; nothing else."""
    raw = repository.read_config()
    # the commit graph is a cache: `git repack -ad` leaves commits in it that are gone, which fsck calls damage
    lines = ["[core]", "repositoryFormatVersion = 1", "bare = true", "commitGraph = false", "[extensions]"]
    lines.append(f"objectFormat = {repository.object_format}")
    promised = any(item.section == "remote" and item.key == "promisor" for item in parse_settings(raw))
    if promised or "partialclone" in read_extensions(raw):
        lines.append("partialClone = origin")
    return "\n".join(lines) + "\n"


def _read_shallow(repository: Repository) -> list[bytes]:
    """The commits whose parents a shallow clone left behind; git would print a line that names none."""
    try:
        descriptor = os.open(
            os.path.join(repository.common_dir, "shallow"),
            os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK,
        )
        with open(descriptor, "rb") as file:
            return [line for line in file if _ID_LINE.fullmatch(line)]
    except OSError:
        return []
