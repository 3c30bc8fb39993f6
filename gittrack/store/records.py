"""The records of many committed runs at once: the trees of their commits, then the files that these name.

By their ids, not by ``<commit>:<path>``: git would look through the commit and its tree for every file again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gittrack.errors import DamagedError
from gittrack.git.bulk import read_blobs, read_trees
from gittrack.git.repository import Repository
from gittrack.schema.codec import METRICS_FILE, PARAMS_FILE, RUN_FILE, parse_run
from gittrack.schema.records import RunRecord
from gittrack.store.history import Revision
from gittrack.store.index_tables import IndexedRun

_NAMES = tuple(name.encode() for name in (RUN_FILE, PARAMS_FILE, METRICS_FILE))
_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """What a revision holds: its record, or else the problem that is in the way, and the ids of two trees."""

    revision: Revision
    record: RunRecord | None
    problem: str = ""
    code: str | None = None
    environment: str | None = None

    def indexed(self) -> IndexedRun:
        """What the index keeps of it; it must have a record."""
        assert self.record is not None
        commit = self.revision.commit
        return IndexedRun(self.record, commit.id, commit.committed_at_s, self.code, self.environment)


def load_records(repository: Repository, revisions: Sequence[Revision]) -> Iterator[LoadedRun]:
    """What each of these revisions holds, in order."""
    for start in range(0, len(revisions), _AT_ONCE):
        yield from _load(repository, revisions[start : start + _AT_ONCE])


def _load(repository: Repository, revisions: Sequence[Revision]) -> Iterator[LoadedRun]:
    trees = list(read_trees(repository, [revision.commit.tree for revision in revisions]))
    wanted = [tree[name] for tree in trees if tree is not None for name in _NAMES if name in tree]
    blobs = read_blobs(repository, wanted)
    for revision, tree in zip(revisions, trees, strict=True):
        files = [None if tree is None or name not in tree else next(blobs) for name in _NAMES]
        where = f"run {revision.id} (commit {revision.commit.id[:10]})"
        try:
            record = _parse(revision, files, where)
        except DamagedError as error:
            yield LoadedRun(revision, None, error.message)
            continue
        held = tree or {}
        yield LoadedRun(revision, record, "", held.get(b"code"), held.get(b"environment"))


def _parse(revision: Revision, files: Sequence[bytes | None], where: str) -> RunRecord:
    run_yaml, params_yaml, metrics_yaml = files
    if run_yaml is None or params_yaml is None or metrics_yaml is None:
        raise DamagedError(where, "its record is missing or unreadable")
    record = parse_run(run_yaml, params_yaml, metrics_yaml, where)
    if (record.id, record.revision) != (revision.id, revision.revision):
        raise DamagedError(where, f"its trailers name run {revision.id}, its record {record.id}")
    return record
