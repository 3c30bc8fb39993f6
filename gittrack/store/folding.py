"""A journal becomes a commit: finishing, recovering and resuming fold the same way.

The commit says how many bytes of each stream it took (trailer ``Gittrack-Journal``), and the live folder goes
only once the branch has moved: a crash between the two, or a process that still logs after the run has
ended, leads to the rest being folded later, and to nothing twice.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace

from gittrack.git.loose import sync_young_objects
from gittrack.git.objects import FILE_MODE, LINK_MODE, TREE_MODE, ObjectId, ObjectSet
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository
from gittrack.schema.events import Event, PointBlock, RunFold
from gittrack.schema.messages import format_run_message
from gittrack.schema.names import INLINE_BYTES_MAX, experiment_ref, metric_path
from gittrack.schema.records import Artifact, RunRecord, Status
from gittrack.store.artifacts import Content, format_pointer, place_object
from gittrack.store.committing import Branches, Draft, open_branches
from gittrack.store.histories import HistoryFile, HistoryWriter
from gittrack.store.history import Revision, find_revisions
from gittrack.store.live import LiveRun
from gittrack.store.streams import Stream, merge_items
from gittrack.store.trees import (
    ATTRIBUTES_FILE,
    REQUIREMENTS_FILE,
    Files,
    RunTree,
    attributes_files,
    record_files,
)

_log = logging.getLogger("gittrack")


def fold_live(live: LiveRun, base: RunRecord | None, taken: Mapping[str, int] | None = None) -> RunFold:
    """What a run in flight has logged so far, without its points: for showing it."""
    fold = RunFold(live.run_id, base)
    _feed(fold, live.read_streams(), dict(taken or {}))
    return fold


def commit_live(
    repository: Repository, live: LiveRun, *, is_new: bool, lost_as: Status | None = None
) -> ObjectId | None:
    """Fold a live run into a commit on its branch and remove its folder; durable on return.

    Args:
        is_new: the run has no commit yet for certain; saves the search for one.
        lost_as: the status of a run whose journal does not say how it ended.

    Returns:
        The commit's id; None where the folder was gone, is being folded by another, or held nothing new.

    Raises:
        OSError: the disk is full or failing; the live folder then stays as it was.
    """
    with live.fold_lock(wait=lost_as is None) as held:
        if not held:
            return None
        while True:
            revisions = [] if is_new else find_revisions(repository, live.run_id)
            work = _Folding(repository, live, revisions)
            try:
                work.read(lost_as)
                if not work.has_news:  # a run whose first record was never written is none
                    live.remove(work.taken)
                    return None
                with open_branches(repository) as branches:
                    if not is_new and len(find_revisions(repository, live.run_id)) != len(revisions):
                        continue  # somebody edited the run meanwhile: fold onto that
                    if revisions and work.take_in_base(branches):
                        continue
                    commit = branches.commit(work.objects, work.draft())
                work.place_again()
            finally:
                work.clean()
            live.remove(work.taken)
            return commit


class _Folding:
    """One attempt at folding a live run; holds what it has read and built."""

    def __init__(self, repository: Repository, live: LiveRun, revisions: list[Revision]) -> None:
        self._repository = repository
        self._live = live
        self._base = revisions[-1] if revisions else None
        self._spill = os.path.join(live.folder, f"spill-{os.getpid()}")  # goes with it if we are killed
        self._placed: list[tuple[str, Content]] = []
        self._is_recovery = False
        self.objects = ObjectSet(repository.object_format)
        self.taken: dict[str, int] = {}
        for revision in revisions:
            self.taken.update(revision.journal)
        self.has_news = False

    def read(self, lost_as: Status | None) -> None:
        """Fold the streams, and build the tree of the revision that they make."""
        self._is_recovery = lost_as is not None
        with ObjectReader(self._repository) as reader:
            base_tree = self._base_tree(reader)
            base_record = base_tree.read_record() if base_tree else None
            histories = _BasedHistories(self._spill, base_tree)
            fold = RunFold(self._live.run_id, base_record, histories)
            streams = self._live.read_streams()
            count = _feed(fold, streams, dict(self.taken))
            self.taken.update({stream.nonce: stream.consumed for stream in streams if stream.nonce})
            self.has_news = count > 0
            self._run = self._close(fold, lost_as)
            self._tree = self._build_tree(reader, base_tree, fold, histories)

    def draft(self) -> Draft:
        what = "" if self._base is None else "resumed"
        message = format_run_message(self._run, what, self._own_taken())
        return Draft(self._run.experiment, self._tree, message, self._run.started_at // 1000)

    def take_in_base(self, branches: Branches) -> bool:
        """Let the branch have the revision that this goes on from; True where it had not, and all may be new."""
        from gittrack.store.joining import take_in  # most runs are new

        assert self._base is not None
        return take_in(branches, self._repository, experiment_ref(self._run.experiment), self._base.commit.id)

    def place_again(self) -> None:
        """Bring back what `git lfs prune` took away before the branch named it."""
        for staged, content in self._placed:
            place_object(self._repository, staged, content)

    def clean(self) -> None:
        shutil.rmtree(self._spill, ignore_errors=True)

    def _own_taken(self) -> dict[str, int]:
        before = self._base.journal if self._base else {}
        return {nonce: count for nonce, count in self.taken.items() if before.get(nonce) != count}

    def _base_tree(self, reader: ObjectReader) -> RunTree | None:
        if self._base is None:
            return None
        commit = self._base.commit
        return RunTree(self._repository, reader, commit.tree, f"run {self._live.run_id} (commit {commit.id[:10]})")

    def _close(self, fold: RunFold, lost_as: Status | None) -> RunRecord:
        run = fold.freeze()
        if run.status == "RUNNING" and lost_as is not None:
            signal = self._live.read_signal()
            error = run.error or (
                f"ended by {signal}" if signal else "the process ended without finishing the run"
            )
            run = replace(run, status=lost_as, ended_at=fold.latest_at or run.started_at, error=error)
        return replace(run, revision=(self._base.revision + 1) if self._base else 1)

    def _build_tree(
        self, reader: ObjectReader, base: RunTree | None, fold: RunFold, histories: HistoryWriter
    ) -> ObjectId:
        files = base.list_files() if base else {}
        pointers = set(base.find_pointers(files)) if base else set()
        files.pop(ATTRIBUTES_FILE, None)
        files |= record_files(self._run, self.objects)
        for key, csv in histories.finish().items():
            self._put_history(metric_path(key), csv, files, pointers)
        folders = {folder for path in files for folder in _folders_of(path)}
        for artifact in fold.artifacts.values():
            if self._is_whole(artifact):
                _make_room(f"artifacts/{artifact.path}", files, folders, pointers)
                self._put_artifact(artifact, files, pointers)
        if fold.environment:
            files[REQUIREMENTS_FILE] = (FILE_MODE, self.objects.add_blob(fold.environment.encode()))
        self._put_code(reader, fold.code_tree, files)
        files |= attributes_files(pointers, self.objects)
        return self.objects.add_files(files)

    def _put_history(self, path: str, csv: bytes | HistoryFile, files: Files, pointers: set[str]) -> None:
        if isinstance(csv, bytes):
            files[path] = (FILE_MODE, self.objects.add_blob(csv))
            pointers.discard(path)
            return
        self._place(csv.path, csv.content)
        files[path] = (FILE_MODE, self.objects.add_blob(format_pointer(csv.content)))
        pointers.add(path)

    def _put_artifact(self, artifact: Artifact, files: Files, pointers: set[str]) -> None:
        path = f"artifacts/{artifact.path}"
        staged = os.path.join(self._live.staging_dir, artifact.oid)
        content = Content(artifact.oid, artifact.size_bytes, artifact.inline)
        if artifact.inline or artifact.mode == LINK_MODE:
            with self._live.open_staged(artifact.oid) as file:
                files[path] = (artifact.mode, self.objects.add_blob(file.read()))
            return
        self._place(staged, content)
        files[path] = (artifact.mode, self.objects.add_blob(format_pointer(content)))
        pointers.add(path)

    def _place(self, staged: str, content: Content) -> None:
        place_object(self._repository, staged, content)
        self._placed.append((staged, content))

    def _is_whole(self, artifact: Artifact) -> bool:
        """Whether an artifact's bytes are still as they were logged; one that is lost must not hold up the rest.

        A power cut may leave anything in the file of a run that is recovered.
        """
        in_memory = artifact.inline or artifact.mode == LINK_MODE
        try:
            with self._live.open_staged(artifact.oid) as file:
                good = os.fstat(file.fileno()).st_size == artifact.size_bytes
                good = good and not (in_memory and artifact.size_bytes > INLINE_BYTES_MAX)
                if good and self._is_recovery:
                    good = hashlib.file_digest(file, "sha256").hexdigest() == artifact.oid
        except FileNotFoundError:
            good = False
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EINVAL):  # a link, a pipe: nothing that was logged
                raise
            good = False
        if not good:
            _log.warning("gittrack leaves out artifact %s of run %s: it is lost", artifact.path, self._live.run_id)
        return good

    def _put_code(self, reader: ObjectReader, tree: str | None, files: Files) -> None:
        if tree is None:
            return
        code = self._live.read_code(self.objects.object_format)
        code_tree = ObjectId(tree)
        # the commit that the tree belonged to may have been pruned since: then the run goes without
        if code_tree in code or code_tree in reader:
            damaged = reader.find_damage(code_tree, code) if self._is_recovery else None
            if damaged is not None:  # a commit that names it could not be pushed
                _log.warning(
                    "gittrack commits run %s without its code, of which object %s is damaged; see: git fsck",
                    self._live.run_id,
                    damaged,
                )
                return
            self.objects.update(code)
            sync_young_objects(self._repository)  # what it takes from HEAD, the user may have committed just now
            files["code"] = (TREE_MODE, code_tree)


class _BasedHistories(HistoryWriter):
    """Histories that go on after those of an earlier revision."""

    def __init__(self, folder: str, base: RunTree | None) -> None:
        super().__init__(folder)
        self._base = base
        self._begun: set[str] = set()

    def add(self, block: PointBlock) -> None:
        if self._base is not None and block.key not in self._begun:
            self._begun.add(block.key)
            self.begin(block.key, self._base.read_history_bytes(block.key))
        super().add(block)


def _feed(fold: RunFold, streams: list[Stream], taken: dict[str, int]) -> int:
    """Give a fold everything that was logged; returns how many items."""
    count = 0
    for item in merge_items(streams, taken):
        count += 1
        if isinstance(item, Event):
            fold.add_event(item)
        else:
            fold.add_points(item)
    return count


def _make_room(path: str, files: Files, folders: set[str], pointers: set[str]) -> None:
    """Let a new file take the place of an old folder of its name, or of an old file that is now a folder."""
    above = _folders_of(path)
    stale = [folder for folder in above if folder in files]
    if path in folders:
        stale += [other for other in files if other.startswith(path + "/")]
    for other in (*stale, path):
        files.pop(other, None)
        pointers.discard(other)
    folders.update(above)


def _folders_of(path: str) -> list[str]:
    return [path[:at] for at, char in enumerate(path) if char == "/"]
