"""Artifact objects to another place before refs move there, and back here when they are asked for.

Nothing is asked of a network for what is here already. An object that is fetched is checked, then durable in the
repository's own LFS store, where every process and git-lfs find it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from gittrack.artifact_stores.transfers import ArtifactStore, Outcome, Told, Transfer
from gittrack.errors import GittrackError, RepositoryError
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.sharing.arrivals import arriving
from gittrack.sharing.places import Place, list_places
from gittrack.store.artifacts import Content, has_object, object_path

_BATCH = 128  # each holds a descriptor open while it is fetched


def send_objects(
    repository: Repository,
    remote: Remote,
    contents: Collection[Content],
    told: Told | None = None,
    *,
    stores: Sequence[str] = (),
) -> Outcome:
    """Bring objects to where a push wants them: to the first of ``stores``, or else to the remote's LFS.

    What is neither here nor there is fetched from wherever else it is known to be.

    Returns:
        What was sent, what was there, and why others are not: no ref that needs those may be pushed.

    Raises:
        RemoteError, MissingToolError: the place cannot be reached, or refuses.
    """
    wanted = {content.oid: content for content in contents}
    if not wanted:
        return Outcome()
    place = Place(url=stores[0]) if stores else Place(remote=remote)
    target = place.open(repository, "upload")
    lacking = [content for content in wanted.values() if not has_object(repository, content)]
    outcome = _send_from_elsewhere(repository, target, lacking)
    left_out = outcome.present | set(outcome.failed)
    here = [content for content in wanted.values() if content.oid not in left_out]
    sent = target.upload([_from_here(repository, content) for content in here], told or _ignore)
    return Outcome(sent.moved, outcome.present | sent.present, outcome.failed | sent.failed)


def bring_objects(
    repository: Repository,
    contents: Collection[Content],
    told: Told | None = None,
    *,
    remotes: Sequence[Remote] | None = None,
) -> Outcome:
    """Fetch objects that are not here: from the stores that records name, then the remotes' LFS.

    Processes that want the same object at once fetch it once. What is durable stays when another one fails.

    Args:
        remotes: to ask these alone; the configured ones by default, ``origin`` first.

    Returns:
        What was fetched, what was here, and why others were not found.
    """
    wanted = {content.oid: content for content in contents}
    absent = [oid for oid in sorted(wanted) if not has_object(repository, wanted[oid])]
    outcome = Outcome(present=set(wanted) - set(absent))
    if not absent:
        return outcome
    search = _Search(repository, list_places(repository, remotes), told or _ignore)
    for start in range(0, len(absent), _BATCH):
        search.fetch([wanted[oid] for oid in absent[start : start + _BATCH]], outcome)
    if outcome.moved:
        from gittrack.sharing.cache import keep_within_limit

        keep_within_limit(repository, keep=set(wanted))
    return outcome


class _Search:
    """Looking for objects in places, each of which is opened once, and not before it is needed."""

    def __init__(self, repository: Repository, places: Sequence[Place], told: Told) -> None:
        self._repository = repository
        self._places = places
        self._told = told
        self._opened: dict[Place, ArtifactStore] = {}
        self._closed: dict[Place, str] = {}

    def fetch(self, contents: Sequence[Content], outcome: Outcome) -> None:
        """Fetch some objects, and note what became of them."""
        try:
            with arriving(self._repository, contents) as arrivals:
                outcome.present |= arrivals.came_meanwhile
                reasons: dict[str, list[str]] = {content.oid: [] for content in arrivals.awaited}
                for place, store in self._open_each():
                    left = [arrivals.transfer(content) for content in arrivals.awaited]
                    if not left:
                        break
                    tried = self._download(place, store, left)
                    for oid, why in arrivals.keep(tried.moved, place).items():
                        reasons[oid].append(f"here: {why}")
                    for oid, why in tried.failed.items():
                        reasons[oid].append(f"{place.label}: {why}")
                    outcome.moved |= tried.moved - arrivals.awaited_oids
                for oid in arrivals.awaited_oids:
                    outcome.failed[oid] = self._explain(reasons[oid])
        except (OSError, RepositoryError) as error:  # the folder for them cannot be made or written
            why = error.message if isinstance(error, RepositoryError) else error.strerror or str(error)
            for content in contents:
                if content.oid not in outcome.moved | outcome.present:
                    outcome.failed[content.oid] = f"it cannot be kept here: {why}"

    def _open_each(self) -> Iterator[tuple[Place, ArtifactStore]]:
        for place in self._places:
            if place not in self._opened and place not in self._closed:
                try:
                    self._opened[place] = place.open(self._repository, "download")
                except GittrackError as error:
                    self._closed[place] = error.message
            if place in self._opened and place not in self._closed:
                yield place, self._opened[place]

    def _download(self, place: Place, store: ArtifactStore, transfers: Sequence[Transfer]) -> Outcome:
        try:
            return store.download(transfers, self._told)
        except GittrackError as error:  # another place may have them
            self._closed[place] = error.message
            return Outcome()

    def _explain(self, reasons: list[str]) -> str:
        told = [*reasons, *self._closed.values()]
        return "; ".join(told) or "no remote and no store is known that could have it"


def _send_from_elsewhere(repository: Repository, target: ArtifactStore, lacking: Sequence[Content]) -> Outcome:
    """See to what is not here: it may be at the target already, or come from another place."""
    if not lacking:
        return Outcome()
    absent = target.find_absent([_from_here(repository, content) for content in lacking])
    present = {content.oid for content in lacking} - absent
    brought = bring_objects(repository, [content for content in lacking if content.oid in absent])
    return Outcome(present=present, failed=brought.failed)


def _from_here(repository: Repository, content: Content) -> Transfer:
    return Transfer(content.oid, content.size_bytes, object_path(repository, content.oid))


def _ignore(_: int) -> None:
    pass
