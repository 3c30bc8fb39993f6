"""Objects on their way here: each fetched by one process at a time, and noted as a copy of what is elsewhere.

Below ``<state folder>/bringing`` an object has a lock and the file that it is fetched into; whoever waits for the
lock finds the object in its place. ``<state folder>/brought/<oid>`` says where an object came from: only what has
such a note may ever be removed to save room, and logging the same content takes the note away.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from gittrack.artifact_stores.transfers import Transfer
from gittrack.git.repository import Repository
from gittrack.sharing.places import Place
from gittrack.store.artifacts import Content, brought_path, has_object, object_path, place_object
from gittrack.store.planted import require_own_places


class Arrivals:
    """Some objects while their locks are held; ``awaited`` are those still to come."""

    def __init__(self, repository: Repository, contents: Sequence[Content]) -> None:
        self._repository = repository
        self.awaited = [content for content in contents if not has_object(repository, content)]
        self.came_meanwhile = {content.oid for content in contents} - self.awaited_oids

    @property
    def awaited_oids(self) -> set[str]:
        return {content.oid for content in self.awaited}

    def transfer(self, content: Content) -> Transfer:
        """The object with the file to fetch it into."""
        return Transfer(content.oid, content.size_bytes, os.path.join(_folder(self._repository), content.oid))

    def keep(self, oids: Iterable[str], place: Place) -> dict[str, str]:
        """Put what was fetched into the LFS store, durably; returns why some could not be."""
        failed, kept = dict[str, str](), set[str]()
        for content in self.awaited:
            if content.oid in oids:
                try:
                    _keep(self._repository, self.transfer(content).path, content, place)
                    kept.add(content.oid)
                except OSError as error:
                    failed[content.oid] = error.strerror or str(error)
        self.awaited = [content for content in self.awaited if content.oid not in kept]
        return failed


@contextmanager
def arriving(repository: Repository, contents: Sequence[Content]) -> Iterator[Arrivals]:
    """Hold the locks of some objects; waits for those that another process is fetching.

    Raises:
        OSError: the folder for them cannot be written. RepositoryError: it leads elsewhere.
    """
    require_own_places(repository)
    folder = _folder(repository)
    os.makedirs(folder, exist_ok=True)
    _sweep(folder)
    with ExitStack() as held:
        for oid in sorted(content.oid for content in contents):  # in one order: no two wait for each other
            held.enter_context(_lock(folder, oid))
        yield Arrivals(repository, contents)


def read_origin(repository: Repository, oid: str, remotes: Sequence[Place]) -> Place | None:
    """Where an object came from; None where nothing tells, or that is no remote of this repository any more."""
    try:
        with open(brought_path(repository, oid), "rb") as file:
            noted = json.loads(file.read(1 << 14))
        if noted.get("store"):
            return Place(url=str(noted["store"]))
    except (OSError, ValueError, AttributeError):
        return None
    return next((place for place in remotes if place.remote and place.remote.key == noted.get("remote")), None)


def _keep(repository: Repository, path: str, content: Content, place: Place) -> None:
    """The note first: an object that is logged here at the same time takes it away for good."""
    note = brought_path(repository, content.oid)
    os.makedirs(os.path.dirname(note), exist_ok=True)
    with open(note, "w", encoding="utf-8") as file:
        json.dump({"remote": place.remote.key} if place.remote else {"store": place.url}, file)
    fetched = os.stat(path).st_ino
    place_object(repository, path, content, is_copy=True)
    os.unlink(path)
    if os.stat(object_path(repository, content.oid)).st_ino != fetched:  # it was logged here meanwhile
        os.unlink(note)


def _folder(repository: Repository) -> str:
    return os.path.join(repository.state_dir, "bringing")


@contextmanager
def _lock(folder: str, oid: str) -> Iterator[None]:
    path = os.path.join(folder, f"{oid}.lock")
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        _wait_for(descriptor)
        if _is_the_one(descriptor, path):
            break
        os.close(descriptor)  # its holder was done, and removed it
    try:
        yield
    finally:
        _remove(folder, oid)
        os.close(descriptor)


def _wait_for(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks: then two fetch the same, and both are right


def _is_the_one(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _remove(folder: str, oid: str) -> None:
    """Remove what is left of fetching an object, its lock last; the caller holds that."""
    names = [name for name in os.listdir(folder) if name.startswith(oid)]
    for name in sorted(names, key=lambda name: name.endswith(".lock")):
        try:
            os.unlink(os.path.join(folder, name))
        except FileNotFoundError:
            pass


def _sweep(folder: str) -> None:
    """Remove what processes left that died at fetching."""
    for oid in {name.partition(".")[0] for name in os.listdir(folder)}:
        path = os.path.join(folder, f"{oid}.lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_the_one(descriptor, path):
                _remove(folder, oid)
        except OSError:
            pass  # it is being fetched
        finally:
            os.close(descriptor)
