"""Which artifact objects commits name: the Git LFS pointers among the objects that one history adds to another.

``git rev-list --objects`` lists them with a path each, ``git cat-file --batch-check`` their sizes; the blobs that
are as long as a pointer is are read in bulk. A path is the first at which an object was met: good for a message,
and to tell code from runs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from gittrack.errors import DamagedError, NotFoundError, RepositoryError
from gittrack.git.asking import feed, started
from gittrack.git.bulk import read_blobs, walk_commits
from gittrack.git.command import find_git, git_argv
from gittrack.git.objects import ObjectId
from gittrack.git.repository import Repository
from gittrack.store.artifacts import POINTER_BYTES_MAX, POINTER_BYTES_MIN, Content, parse_pointer

_AT_ONCE = 4096
_CODE = "code/"
_CANDIDATE = re.compile(rb"blob (\d+) ([0-9a-f]{40,64}) (.*)\n")


@dataclass(frozen=True, slots=True)
class FoundPointer:
    """An object that a commit names, and a path at which it does, '/' between the parts."""

    content: Content
    where: str

    @property
    def is_of_run(self) -> bool:
        """Whether it is a run's own, not a file of the code that it ran."""
        return not self.where.startswith(_CODE)


def list_pointers(
    repository: Repository, tips: Collection[ObjectId], beyond: Collection[ObjectId] = ()
) -> list[FoundPointer]:
    """The pointers in what some commits or tags reach and others do not: each object once, by oid.

    An object that is both an artifact and a file of the code counts as an artifact. ``beyond`` may name commits
    that are not here. Of a partial clone what is here is looked at: the rest came from a remote.

    Raises:
        RepositoryError: a history cannot be walked to its end.
    """
    if not tips:
        return []
    found: dict[str, FoundPointer] = {}
    for blob, where in _read_small(repository, tips, sorted(set(beyond))):
        content = parse_pointer(blob)
        if content is not None and (content.oid not in found or not found[content.oid].is_of_run):
            found[content.oid] = FoundPointer(content, where)
    return [found[oid] for oid in sorted(found)]


def _read_small(
    repository: Repository, tips: Iterable[ObjectId], known: Collection[ObjectId]
) -> Iterator[tuple[bytes, str]]:
    """The small blobs, with the path of each."""
    listed = _list_by_git(repository, tips, known) if find_git() else _list_by_walking(repository, tips, known)
    batch: list[tuple[str, str]] = []
    for one in listed:
        batch.append(one)
        if len(batch) == _AT_ONCE:
            yield from _read(repository, batch)
            batch = []
    yield from _read(repository, batch)


def _read(repository: Repository, batch: list[tuple[str, str]]) -> Iterator[tuple[bytes, str]]:
    blobs = read_blobs(repository, [object_id for object_id, _ in batch])
    for data, (_, where) in zip(blobs, batch, strict=True):
        if data is not None:  # a tree, or not here
            yield data, where


def _list_by_git(
    repository: Repository, tips: Iterable[ObjectId], known: Collection[ObjectId]
) -> Iterator[tuple[str, str]]:
    """Ids and paths of the blobs that may be pointers."""
    small = f"--filter=blob:limit={POINTER_BYTES_MAX + 1}"
    words = ("rev-list", "--objects", small, "--missing=allow-any", "--ignore-missing", "--stdin")
    form = "--batch-check=%(objecttype) %(objectsize) %(objectname) %(rest)"
    with started(git_argv(repository.common_dir, *words)) as walk:
        feed(walk, "".join([*(f"{tip}\n" for tip in tips), *(f"^{commit}\n" for commit in known)]))
        with started(git_argv(repository.common_dir, "cat-file", "--buffer", form), walk.stdout) as sizes:
            assert sizes.stdout is not None
            for line in sizes.stdout:
                found = _CANDIDATE.fullmatch(line)
                if found is not None and POINTER_BYTES_MIN <= int(found[1]) <= POINTER_BYTES_MAX:
                    yield found[2].decode(), found[3].decode("utf-8", "replace")
            if sizes.wait() or walk.wait():
                raise RepositoryError(
                    f"the history of {repository.label} cannot be walked to its end",
                    "see what is missing: git fsck",
                )


def _list_by_walking(
    repository: Repository, tips: Iterable[ObjectId], known: Collection[ObjectId]
) -> Iterator[tuple[str, str]]:
    from gittrack.git.reading import ObjectReader  # with dulwich

    seen = set[ObjectId]()
    with ObjectReader(repository) as reader:
        for commit in walk_commits(repository, tips, beyond=known):
            try:
                entries = [*reader.walk_tree(commit.tree)]
            except (NotFoundError, DamagedError):
                continue
            for path, entry in entries:
                if entry.id not in seen:
                    seen.add(entry.id)
                    yield entry.id, path
