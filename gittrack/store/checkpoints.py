"""Checkpoints: a run in flight as a commit, made where it runs, and read where it is shown.

A checkpoint has no parents and stands on no branch: a ref of a remote names it, and here what was fetched of that.
Its revision is the one that the run was last committed as, so that any later commit counts for more by the
ordinary rule. It holds the record, thinned histories and small texts, and nothing that would be a pointer: a
remote never names what it does not have.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gittrack.errors import GittrackError
from gittrack.git.bulk import read_commits
from gittrack.git.objects import FILE_MODE, LINK_MODE, TREE_MODE, Commit, ObjectId, ObjectSet
from gittrack.git.reading import ObjectReader
from gittrack.git.refs import list_refs, may_have_refs
from gittrack.git.repository import Repository
from gittrack.schema.events import Event, PointBlock, RunFold
from gittrack.schema.messages import format_checkpoint_message, parse_checkpoint_trailer, parse_run_trailers
from gittrack.schema.names import INLINE_BYTES_MAX, TRACKED_LIVE, metric_path, run_of_live_ref
from gittrack.schema.records import Artifact, RunRecord
from gittrack.store.history import Revision, find_revisions
from gittrack.store.identity import read_signature
from gittrack.store.live import LiveRun
from gittrack.store.streams import merge_items
from gittrack.store.thinning import ThinHistories
from gittrack.store.trees import Files, RunTree, record_files

SILENCE_FACTOR = 3  # of what is due and does not come, that many are waited for
_TEXTS_BYTES_MAX = 4 << 20  # of all texts in one checkpoint


# -- where a run is shown ------------------------------------------------------------------------------------


def list_checkpoints(repository: Repository, run_id: str = "") -> dict[str, Revision]:
    """The newest checkpoint of every run that remotes showed in flight when they were last fetched, by its id.

    Args:
        run_id: only of this run.
    """
    if not may_have_refs(repository, TRACKED_LIVE):
        return {}
    wanted = []
    for ref, tip in list_refs(repository, TRACKED_LIVE).items():
        shown = run_of_live_ref(ref)
        if shown is not None and run_id in ("", shown):
            wanted.append((shown, tip))
    found: dict[str, Revision] = {}
    for (shown, _), commit in zip(wanted, read_commits(repository, [tip for _, tip in wanted]), strict=True):
        named = parse_run_trailers(commit.message) if commit is not None and not commit.parents else None
        # a ref is believed only where its commit says the same
        if commit is None or named is None or named[0] != shown or not is_checkpoint(commit):
            continue
        revision = Revision(named[0], named[1], commit)
        if shown not in found or revision.rank > found[shown].rank:
            found[shown] = revision
    return found


def find_checkpoint(repository: Repository, run_id: str, newest: Revision | None = None) -> Revision | None:
    """A run's newest checkpoint where it counts for more than the newest of its commits, or None."""
    found = list_checkpoints(repository, run_id).get(run_id)
    return found if found is not None and (newest is None or found.rank > newest.rank) else None


def is_checkpoint(commit: Commit) -> bool:
    """Whether a commit only shows a run in flight."""
    return parse_checkpoint_trailer(commit.message) is not None


def is_silent(checkpoint: Commit, now_s: float) -> bool:
    """Whether a run has not been heard of for so long that it hardly runs any more."""
    due_s = parse_checkpoint_trailer(checkpoint.message) or 0
    return now_s - checkpoint.committed_at_s > SILENCE_FACTOR * due_s


# -- where it runs -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A commit that is not written yet, with all objects that it needs."""

    commit: ObjectId
    objects: ObjectSet


class Checkpointer:
    """Makes checkpoints of one run, each of what was logged since; memory stays flat however long the run is.

    Of several writers' streams what comes late is taken late: a run's commit, not its checkpoints, has the last
    word on their order.

    Raises:
        DamagedError: the commit that the run goes on from cannot be read.
    """

    def __init__(self, repository: Repository, live: LiveRun) -> None:
        self._repository = repository
        self._live = live
        self._taken: dict[str, int] = {}
        self._texts: Files = {}
        self._kept = ObjectSet(repository.object_format)
        self._histories = ThinHistories()
        revisions = find_revisions(repository, live.run_id)
        for revision in revisions:
            self._taken.update(revision.journal)
        self._base = revisions[-1] if revisions else None
        record = self._read_base(self._base) if self._base else None
        self._fold = RunFold(live.run_id, record, self._histories)

    def read(self) -> bool:
        """Take in what was logged since; False where that is nothing.

        Raises:
            FileNotFoundError: the run has been committed meanwhile.
        """
        streams = self._live.read_streams()
        if not any(stream.has_more(self._taken.get(stream.nonce, 0)) for stream in streams):
            return False
        for item in merge_items(streams, self._taken):
            if isinstance(item, Event):
                self._fold.add_event(item)
            else:
                self._fold.add_points(item)
        self._taken.update({stream.nonce: stream.consumed for stream in streams if stream.nonce})
        return True

    def build(self, due_s: int) -> Checkpoint:
        """The run as it stood at the last `read`; the next one is due within so many seconds."""
        objects = self._kept.copy()
        run = replace(self._fold.freeze(), revision=self._base.revision if self._base else 0)
        tree = objects.add_files(self._files_of(run, objects))
        before_s = self._base.commit.committed_at_s if self._base else 0  # by a clock that may go before ours
        author = read_signature(self._repository, run.started_at // 1000)
        committer = read_signature(self._repository, max(int(time.time()), before_s + 1))
        commit = objects.add_commit(tree, [], author, committer, format_checkpoint_message(run, due_s))
        return Checkpoint(commit, objects)

    def _files_of(self, run: RunRecord, objects: ObjectSet) -> Files:
        files = self._texts | record_files(run, objects)
        for key, csv in self._histories.format().items():
            files[metric_path(key)] = (FILE_MODE, objects.add_blob(csv))
        room = _TEXTS_BYTES_MAX - sum(len(data) for _, _, data in self._kept)
        for artifact in sorted(self._fold.artifacts.values(), key=lambda one: one.size_bytes):
            room -= artifact.size_bytes
            data = self._read_text(artifact) if room >= 0 else None
            if data is not None:
                files[f"artifacts/{artifact.path}"] = (artifact.mode, objects.add_blob(data))
        return _without_clashes(files)

    def _read_text(self, artifact: Artifact) -> bytes | None:
        """What git itself holds of an artifact; None for what is to be a pointer, or cannot be read now."""
        is_text = artifact.inline or artifact.mode == LINK_MODE
        if not is_text or artifact.size_bytes > INLINE_BYTES_MAX:
            return None
        try:
            with self._live.open_staged(artifact.oid) as file:
                data = file.read(artifact.size_bytes + 1)
        except OSError:
            return None
        return data if len(data) == artifact.size_bytes else None

    def _read_base(self, base: Revision) -> RunRecord:
        """The record that a resumed run goes on from; its histories and texts are taken over."""
        where = f"run {base.id} (commit {base.commit.id[:10]})"
        with ObjectReader(self._repository) as reader:
            tree = RunTree(self._repository, reader, base.commit.tree, where)
            record = tree.read_record()
            for key in record.metrics:
                self._take_history(tree, key)
            self._take_texts(reader, tree)
        return record

    def _take_history(self, tree: RunTree, key: str) -> None:
        points = []
        try:
            points = list(tree.read_history(key))
        except GittrackError:
            return  # its object is elsewhere: the summary tells of it
        if points:
            steps, timestamps, values = zip(*points, strict=True)
            self._histories.add(PointBlock(key, steps, [timestamp / 1000 for timestamp in timestamps], values))

    def _take_texts(self, reader: ObjectReader, tree: RunTree) -> None:
        files = tree.list_files()
        pointers = tree.find_pointers(files)
        room = _TEXTS_BYTES_MAX
        for path, (mode, object_id) in files.items():
            if not path.startswith("artifacts/") or path in pointers or mode == TREE_MODE:
                continue
            kind, data = reader.read(object_id)
            room -= len(data)
            if room >= 0:
                self._texts[path] = (mode, self._kept.add(kind, data))


def _without_clashes(files: Mapping[str, tuple[int, ObjectId]]) -> Files:
    """The files without those that stand where others need a folder."""
    folders = {path[:at] for path in files for at, char in enumerate(path) if char == "/"}
    return {path: entry for path, entry in files.items() if path not in folders}
