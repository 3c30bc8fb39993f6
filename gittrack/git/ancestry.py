"""Which commit stands behind which: by C git, or by walking where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gittrack.errors import CommandError, DamagedError, NotFoundError
from gittrack.git.bulk import read_shallow
from gittrack.git.command import find_git, run_git
from gittrack.git.objects import ObjectId
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository


def is_ancestor(repository: Repository, older: ObjectId, newer: ObjectId) -> bool:
    """Whether a commit is another one, or reachable from it; in a shallow clone as far as its history goes.

    Raises:
        CommandError: one of them is not there.
    """
    if older == newer:
        return True
    if not find_git():
        return older in _walk(repository, newer)
    try:
        run_git(repository.common_dir, "merge-base", "--is-ancestor", older, newer)
    except CommandError as error:
        if error.returncode == 1:
            return False
        raise
    return True


def find_independent(repository: Repository, commits: Iterable[ObjectId]) -> list[ObjectId]:
    """Those of some commits that no other of them reaches; sorted."""
    left = sorted(set(commits))
    if len(left) < 2:
        return left
    if find_git():
        told = run_git(repository.common_dir, "merge-base", "--independent", *left)
        return sorted(ObjectId(line) for line in told.decode().split())
    return [one for one in left if not any(one != other and is_ancestor(repository, one, other) for other in left)]


def find_common(repository: Repository, one: ObjectId, other: ObjectId) -> list[ObjectId]:
    """Commits that reach all that two commits both reach, and nothing else; none where they share nothing."""
    if not find_git():
        return sorted(_walk(repository, one) & _walk(repository, other))
    try:
        told = run_git(repository.common_dir, "merge-base", "--all", one, other)
    except CommandError as error:
        if error.returncode == 1:
            return []
        raise
    return [ObjectId(line) for line in told.decode().split()]


def find_present(repository: Repository, commits: Sequence[ObjectId]) -> list[ObjectId]:
    """Those of some commits that the repository has, in their order."""
    with ObjectReader(repository) as reader:
        return [commit for commit in commits if commit in reader]


def _walk(repository: Repository, tip: ObjectId) -> set[ObjectId]:
    cut, seen, pending = read_shallow(repository), set[ObjectId](), [tip]
    with ObjectReader(repository) as reader:
        while pending:
            commit = pending.pop()
            if commit in seen:
                continue
            seen.add(commit)
            try:
                pending += () if commit in cut else reader.read_commit(commit).parents
            except (NotFoundError, DamagedError):
                continue
    return seen
