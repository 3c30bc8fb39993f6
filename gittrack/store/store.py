"""One repository as a store of runs: open it, read, find, edit and recover them.

`Store` ties the modules of this floor together; it holds no state of its own beyond where the repository is.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from io import BufferedReader
from itertools import chain

from gittrack.errors import (
    ArtifactMissingError,
    DamagedError,
    NotFoundError,
    RunStateError,
)
from gittrack.git.objects import LINK_MODE, Commit
from gittrack.git.reading import ObjectReader
from gittrack.git.refs import heal_after_crash
from gittrack.git.repository import Repository
from gittrack.schema.events import PointBlock, put_artifact
from gittrack.schema.messages import format_run_message
from gittrack.schema.names import RunId, check_run_id, experiment_ref
from gittrack.schema.points import Point
from gittrack.schema.records import Artifact, RunRecord
from gittrack.store.artifacts import Bring, Content, has_object
from gittrack.store.checkpoints import find_checkpoint
from gittrack.store.committing import Draft, open_branches
from gittrack.store.folding import commit_live, fold_live
from gittrack.store.history import Revision, find_revisions
from gittrack.store.live import LiveRun, bring_home, find_live, list_live, put_back_leftovers
from gittrack.store.planted import require_own_places
from gittrack.store.runs import Listing, StoredRun, get_run, list_runs, merge_taken, read_live
from gittrack.store.streams import Item, merge_items
from gittrack.store.trees import RunTree, revised_tree

_log = logging.getLogger("gittrack")


class Store:
    """The runs of one repository.

    Args:
        bring: fetches artifacts, and histories kept as such, that are opened and not here; without it none is.
    """

    def __init__(self, repository: Repository, bring: Bring | None = None) -> None:
        self.repository = repository
        self.bring = bring

    # -- reading -----------------------------------------------------------------------------------------

    def list_runs(self, experiment_id: str | None = None) -> Listing:
        """Every run, deleted ones too, of one experiment or all, read from git; newest start first."""
        return list_runs(self.repository, experiment_id)

    def get_run(self, run_id: str) -> StoredRun:
        """The run with a full id, as it stands now.

        Raises:
            NotFoundError: there is none. DamagedError: its record cannot be read.
        """
        return get_run(self.repository, run_id)

    def resolve(self, asked: str) -> StoredRun:
        """The run that a person means: id or its prefix, commit, name, ``<experiment>~N``, ``@last``.

        Raises:
            NotFoundError: nothing fits. AmbiguousError: several runs do.
        """
        from gittrack.store.naming import resolve  # with SQLite: training asks for no run by its name

        return resolve(self.repository, asked)

    def list_revisions(self, run_id: str) -> list[Revision]:
        """All revisions of a run, the one that counts last."""
        return find_revisions(self.repository, check_run_id(run_id))

    def list_artifacts(self, stored: StoredRun) -> list[Artifact]:
        """A run's artifacts, those of a run in flight included; sorted by path."""
        staged: Iterable[Artifact] | None = ()
        if (live := stored.live) is not None:
            staged = read_live(live, lambda: fold_live(live, None).artifacts.values())
        if staged is None:
            return self.list_artifacts(self.get_run(stored.record.id))
        found: dict[str, Artifact] = {}
        folders: set[str] = set()
        for artifact in (*self._committed_artifacts(stored), *staged):
            put_artifact(artifact, found, folders)
        return sorted(found.values(), key=lambda artifact: artifact.path)

    def open_artifacts(self, stored: StoredRun) -> ArtifactReader:
        """The contents of a run's artifacts, for reading one or all of them; use it in a ``with``."""
        return ArtifactReader(self, stored)

    def read_artifact(self, stored: StoredRun, artifact: Artifact) -> Iterator[bytes]:
        """The chunks of one artifact; raises as `ArtifactReader.read`."""
        with self.open_artifacts(stored) as reader:
            yield from reader.read(artifact)

    def read_link(self, stored: StoredRun, artifact: Artifact) -> Iterator[bytes]:
        """The target of an artifact that is a symbolic link."""
        with self.open_artifacts(stored) as reader:
            yield from reader.read_link(artifact)

    def read_history(self, stored: StoredRun, key: str) -> Iterator[Point]:
        """All points of a metric in the order they were logged, those of a run in flight included."""
        items = self._logged_since(stored)
        if items is None:
            yield from self.read_history(self.get_run(stored.record.id), key)
            return
        if stored.commit is not None:
            with self._open_tree(stored) as tree:
                yield from tree.read_history(key)
        for item in items:
            if isinstance(item, PointBlock) and item.key == key:
                for step, time_s, value in zip(item.steps, item.times_s, item.values, strict=True):
                    yield Point(step, round(time_s * 1000), value)

    def read_histories(
        self, stored: StoredRun, keys: Collection[str]
    ) -> Iterator[tuple[str, Iterator[bytes] | PointBlock]]:
        """What `read_history` gives of several metrics, in bulk: the run is opened once, nothing is parsed.

        First each metric's committed CSV as an iterator of chunks, to be used before the next item is asked for;
        then, of a run in flight, the blocks of points logged since, each metric's in the order they were logged.
        """
        items = self._logged_since(stored)
        if items is None:
            yield from self.read_histories(self.get_run(stored.record.id), keys)
            return
        if stored.commit is not None:
            with self._open_tree(stored) as tree:
                for key in keys:
                    yield key, tree.read_history_bytes(key)
        for item in items:
            if isinstance(item, PointBlock) and item.key in keys:
                yield item.key, item

    # -- writing -----------------------------------------------------------------------------------------

    def edit_run(self, run_id: str, change: Callable[[RunRecord], RunRecord], what: str) -> RunRecord:
        """Change a committed run's record by a new revision; durable on return. ``what`` goes into the message.

        Raises:
            NotFoundError: there is none. RunStateError: it is in flight.
        """
        from gittrack.store.joining import take_in  # training edits nothing

        run_id = check_run_id(run_id)
        dead = find_live(self.repository, run_id)
        if dead is not None and not dead.is_alive():
            commit_live(self.repository, dead, is_new=False, lost_as="KILLED")
        with open_branches(self.repository) as branches:
            if find_live(self.repository, RunId(run_id)) is not None:
                raise RunStateError(f"run {run_id} is running", "log to it, or finish it first")
            revisions = find_revisions(self.repository, run_id)
            if not revisions:
                if find_checkpoint(self.repository, run_id) is not None:
                    raise RunStateError(f"run {run_id} is running elsewhere", "edit it when it has ended")
                raise NotFoundError(f"no run has the id {run_id}", "list the runs: gittrack ls")
            base = revisions[-1]
            with ObjectReader(self.repository) as reader:
                before = self._read_record(reader, base)
                if take_in(branches, self.repository, experiment_ref(before.experiment), base.commit.id):
                    base = find_revisions(self.repository, run_id)[-1]
                    before = self._read_record(reader, base)
                changed = replace(change(before), revision=base.revision + 1)
                objects = branches.new_objects()
                revised = revised_tree(reader, base.commit.tree, changed, objects)
            message = format_run_message(changed, what, {})
            branches.commit(objects, Draft(changed.experiment, revised, message, changed.started_at // 1000))
        return changed

    def recover(self, *, keep: Sequence[str] = ()) -> list[str]:
        """Fold every run whose writers are dead, as KILLED where it did not end; returns their ids.

        Args:
            keep: runs to leave alone whatever their writers look like (this process's own).
        """
        require_own_places(self.repository)
        heal_after_crash(self.repository)
        put_back_leftovers(self.repository)
        bring_home(self.repository)
        recovered = []
        for live in list_live(self.repository):
            if live.run_id in keep or live.is_alive():
                continue
            try:
                if commit_live(self.repository, live, is_new=False, lost_as="KILLED"):
                    recovered.append(str(live.run_id))
            except Exception as error:  # whatever lies in a folder there: it must not block every other command
                _log.warning(
                    "gittrack cannot recover run %s yet, it stays in %s: %s",
                    live.run_id,
                    live.folder,
                    str(error) or repr(error),
                )
        return recovered

    def _read_record(self, reader: ObjectReader, revision: Revision) -> RunRecord:
        return RunTree(self.repository, reader, revision.commit.tree, f"run {revision.id}").read_record()

    # -- inside ------------------------------------------------------------------------------------------

    def _logged_since(self, stored: StoredRun) -> Iterator[Item] | None:
        """What a run in flight has logged beyond its commit; None where it has been committed meanwhile."""
        live = stored.live
        if live is None:
            return iter(())
        taken = self._taken(stored)
        return read_live(live, lambda: _begin_reading(live, taken))

    def _taken(self, stored: StoredRun) -> dict[str, int]:
        """How far the commit that a run was read with has taken its streams; a later one may stand by now."""
        if stored.commit is None:
            return {}
        revisions = find_revisions(self.repository, stored.record.id)
        return merge_taken([found for found in revisions if found.revision <= stored.record.revision])

    def _committed_artifacts(self, stored: StoredRun) -> list[Artifact]:
        if stored.commit is None:
            return []
        with self._open_tree(stored) as tree:
            return tree.list_artifacts()

    def _open_tree(self, stored: StoredRun) -> _OpenTree:
        assert stored.commit is not None
        return _OpenTree(self.repository, stored.commit, f"run {stored.record.id}", self.bring)


class ArtifactReader:
    """The contents of one run's artifacts; its tree is opened once for all of them."""

    def __init__(self, store: Store, stored: StoredRun) -> None:
        self._store = store
        self._stored = stored
        self._opened = ExitStack()
        self._tree: RunTree | None = None

    def __enter__(self) -> ArtifactReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    def bring(self, artifacts: Collection[Artifact]) -> None:
        """Fetch at once what is not here of some artifacts, before they are read.

        Raises:
            ArtifactMissingError: one of them did not come.
        """
        if self._store.bring is None:
            return
        repository, absent = self._store.repository, dict[str, tuple[str, Content]]()
        for artifact in artifacts:
            content = Content(artifact.oid, artifact.size_bytes, False)
            is_elsewhere = artifact.inline or artifact.mode == LINK_MODE or self._is_staged(artifact)
            if not is_elsewhere and not has_object(repository, content):
                absent[artifact.oid] = artifact.path, content
        if absent:
            for oid, why in self._store.bring(repository, [content for _, content in absent.values()]).items():
                raise ArtifactMissingError(absent[oid][0], oid, why)

    def read(self, artifact: Artifact) -> Iterator[bytes]:
        """The chunks of one artifact; checked against its hash when all are read.

        Raises:
            NotFoundError: there is none of that path. ArtifactMissingError: its bytes are elsewhere.
            DamagedError: they are not what they should be.
        """
        staged = self._open_staged(artifact)
        if staged is None:
            yield from self._open_tree().read_artifact(artifact.path)
        else:
            yield from _read_staged(staged, artifact)

    def read_link(self, artifact: Artifact) -> Iterator[bytes]:
        """The target of an artifact that is a symbolic link; raises as `read`."""
        staged = self._open_staged(artifact)
        if staged is None:
            yield from self._open_tree().read_link(artifact.path)
        else:
            yield from _read_staged(staged, artifact)

    def _is_staged(self, artifact: Artifact) -> bool:
        live = self._stored.live
        return live is not None and os.path.exists(os.path.join(live.staging_dir, artifact.oid))

    def _open_staged(self, artifact: Artifact) -> BufferedReader | None:
        """What a run in flight has staged; None where its commit must have it."""
        if (live := self._stored.live) is not None:
            try:
                return live.open_staged(artifact.oid)
            except OSError:
                if not live.exists():
                    self._stored = self._store.get_run(self._stored.record.id)
                    self._opened.close()  # the tree is another now
                    self._tree = None
        if self._stored.commit is None:
            raise ArtifactMissingError(artifact.path, artifact.oid)
        return None

    def _open_tree(self) -> RunTree:
        if self._tree is None:
            self._tree = self._opened.enter_context(self._store._open_tree(self._stored))
        return self._tree


class _OpenTree:
    """A run's tree with a reader of its own, closed at the end."""

    def __init__(self, repository: Repository, commit: Commit, where: str, bring: Bring | None) -> None:
        self._reader = ObjectReader(repository)
        self._tree = RunTree(repository, self._reader, commit.tree, where, bring)

    def __enter__(self) -> RunTree:
        return self._tree

    def __exit__(self, *exception: object) -> None:
        self._reader.close()


def _read_staged(file: BufferedReader, artifact: Artifact) -> Iterator[bytes]:
    digest = hashlib.sha256()
    with file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            yield chunk
    if digest.hexdigest() != artifact.oid:
        raise DamagedError(f"artifact {artifact.path}", "its staged file is damaged", "log it again")


def _begin_reading(live: LiveRun, taken: dict[str, int]) -> Iterator[Item]:
    """What was logged, its files opened already: they may be removed while it is read."""
    items = merge_items(live.read_streams(), taken)
    first = next(items, None)
    return items if first is None else chain([first], items)
