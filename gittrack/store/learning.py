"""How the index learns: it walks the commits it has not seen, and reads the revisions that count.

What it has seen is said by its tips: all that is reachable from them. Where one of them is no longer reachable (a
purge, a deleted branch, a deeper shallow clone) it forgets what went and looks at all commits again, by their ids.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gittrack.errors import DamagedError, RepositoryError
from gittrack.git.bulk import read_blobs, read_shallow, read_trees, walk_commits
from gittrack.git.objects import Commit, ObjectId
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository
from gittrack.schema.codec import EXPERIMENT_FILE, parse_experiment
from gittrack.schema.packages import parse_packages
from gittrack.store.history import Revision, list_branches, read_revision
from gittrack.store.index_tables import KEY_INDEXES, TableWriter
from gittrack.store.records import load_records

Told = Callable[[int, int], None]  # how many of how many runs have been read

_AT_ONCE = 4096
_SHALLOW = "shallow"
_EXPERIMENT = "experiment "  # before the id, which may be any text that a stranger wrote; a run's has 32 digits


@dataclass(frozen=True, slots=True)
class Tips:
    """Where the histories of all experiments end; what the index must have seen to be up to date."""

    commits: frozenset[ObjectId]
    shallow: str  # a digest of the commits at which a shallow clone is cut

    @classmethod
    def read(cls, repository: Repository) -> Tips:
        """As they are now: local branches and remote-tracking ones together."""
        cut = "\n".join(sorted(read_shallow(repository)))
        digest = hashlib.sha256(cut.encode()).hexdigest()[:16] if cut else ""
        return cls(frozenset(list_branches(repository).values()), digest)


def is_up_to_date(connection: sqlite3.Connection, tips: Tips) -> bool:
    """Whether the tables know all that is reachable from the tips, and nothing else, and could read all of it."""
    known = {commit for (commit,) in connection.execute("SELECT commit_id FROM tip")}
    unread = connection.execute("SELECT 1 FROM unread LIMIT 1").fetchone()
    return known == tips.commits and _read_fact(connection, _SHALLOW) == tips.shallow and unread is None


def learn(connection: sqlite3.Connection, repository: Repository, tips: Tips, told: Told | None = None) -> None:
    """Bring the tables to what is reachable from the tips; the caller commits.

    Raises:
        RepositoryError: the history cannot be walked to its end.
    """
    _Learner(connection, repository, told or _say_nothing).learn(tips)


class _Learner:
    def __init__(self, connection: sqlite3.Connection, repository: Repository, told: Told) -> None:
        self._connection = connection
        self._repository = repository
        self._told = told

    def learn(self, tips: Tips) -> None:
        known = [ObjectId(commit) for (commit,) in self._connection.execute("SELECT commit_id FROM tip")]
        is_new = not known and self._is_empty()
        found: dict[str, Revision] = {}  # the best of each owner that came anew
        older: list[Revision] = []
        for revision in self._list_news(tips, known):
            best = found.get(revision.id)
            if best is None or revision.rank > best.rank:
                found[revision.id] = revision
                revision, best = best, revision  # type: ignore[assignment]  # the lesser one is left
            if revision is not None:
                older.append(revision)
        if not is_new:
            found = {owner: found[owner] for owner in found if self._is_better(found[owner], older)}
            found |= self._list_unread(found)
        self._put_older(older)
        runs = [revision for owner, revision in found.items() if _is_run(owner)]
        self._put_runs(runs, is_new)
        self._put_experiments([revision for owner, revision in found.items() if not _is_run(owner)])
        self._connection.execute("DELETE FROM tip")
        self._connection.executemany("INSERT INTO tip VALUES (?)", [(commit,) for commit in tips.commits])
        _write_fact(self._connection, _SHALLOW, tips.shallow)

    def _is_empty(self) -> bool:
        return self._connection.execute("SELECT 1 FROM run LIMIT 1").fetchone() is None

    # -- which revisions are new -------------------------------------------------------------------------

    def _list_news(self, tips: Tips, known: Sequence[ObjectId]) -> Iterator[Revision]:
        is_cut_elsewhere = _read_fact(self._connection, _SHALLOW) not in (None, tips.shallow)
        if known and (is_cut_elsewhere or self._has_lost(tips, known)):
            yield from self._forget_lost(tips)
            return
        for commit in walk_commits(self._repository, tips.commits, beyond=known):
            revision = _read_revision(commit)
            if revision is not None:
                yield revision

    def _has_lost(self, tips: Tips, known: Sequence[ObjectId]) -> bool:
        """Whether something that is known can no longer be reached."""
        gone = [commit for commit in known if commit not in tips.commits]
        if not gone:
            return False
        try:
            return next(walk_commits(self._repository, gone, beyond=tips.commits), None) is not None
        except RepositoryError:  # a tip that git has collected since
            return True

    def _forget_lost(self, tips: Tips) -> Iterator[Revision]:
        """Forget the revisions that went; gives those that count now in their place, and those that came."""
        execute = self._connection.execute
        tables = ("run", "experiment", "older", "unread")
        known = {commit for table in tables for (commit,) in execute(f"SELECT commit_id FROM {table}") if commit}
        reached = set()
        for commit in walk_commits(self._repository, tips.commits):
            reached.add(commit.id)
            if commit.id not in known and (revision := _read_revision(commit)) is not None:
                yield revision
        lost = known - reached
        owners: set[str] = set()
        for part in _in_parts(lost):
            marks = ",".join("?" * len(part))
            prefixed = f"'{_EXPERIMENT}' || id"
            for table, owner in (("run", "id"), ("experiment", prefixed), ("unread", "owner")):
                owners.update(
                    found
                    for (found,) in execute(f"SELECT {owner} FROM {table} WHERE commit_id IN ({marks})", part)
                )
            execute(f"DELETE FROM older WHERE commit_id IN ({marks})", part)
        self._drop(owners)
        with ObjectReader(self._repository) as reader:
            for owner in owners:
                for (commit_id,) in execute("SELECT commit_id FROM older WHERE owner = ?", (owner,)).fetchall():
                    execute("DELETE FROM older WHERE commit_id = ?", (commit_id,))
                    revision = _read_revision(reader.read_commit(ObjectId(commit_id)))
                    if revision is not None:
                        yield revision

    # -- which of them counts ----------------------------------------------------------------------------

    def _is_better(self, revision: Revision, older: list[Revision]) -> bool:
        """Whether a revision that came beats the one that counted; what lost is put to the older ones."""
        execute, owner = self._connection.execute, revision.id
        rank, table = "revision, committed_at, commit_id", "run" if _is_run(owner) else "experiment"
        rows = [
            *execute(f"SELECT {rank} FROM {table} WHERE id = ?", (owner.removeprefix(_EXPERIMENT),)),
            *execute(f"SELECT {rank} FROM unread WHERE owner = ?", (owner,)),
        ]
        if rows and max(rows) >= revision.rank:
            if max(rows) > revision.rank:  # not the same one met again
                older.append(revision)
            return False
        self._connection.executemany(
            "INSERT OR IGNORE INTO older (owner, revision, committed_at, commit_id) VALUES (?, ?, ?, ?)",
            [(owner, *row) for row in rows],
        )
        self._drop([owner])
        return True

    def _drop(self, owners: Iterable[str]) -> None:
        execute = self._connection.execute
        for owner in owners:
            row = execute("SELECT no FROM run WHERE id = ?", (owner,)).fetchone()
            for table in ("metric", "param", "tag", "dataset") if row else ():
                execute(f"DELETE FROM {table} WHERE run = ?", row)
            execute("DELETE FROM run WHERE id = ?", (owner,))
            if not _is_run(owner):
                execute("DELETE FROM experiment WHERE id = ?", (owner.removeprefix(_EXPERIMENT),))
            execute("DELETE FROM unread WHERE owner = ?", (owner,))

    def _list_unread(self, found: dict[str, Revision]) -> dict[str, Revision]:
        """The revisions that count and could not be read: what was missing may have come since."""
        again = {}
        with ObjectReader(self._repository) as reader:
            for owner, commit_id in self._connection.execute("SELECT owner, commit_id FROM unread").fetchall():
                if owner in found:
                    continue
                try:
                    revision = _read_revision(reader.read_commit(ObjectId(commit_id)))
                except (DamagedError, LookupError):
                    continue
                if revision is not None:
                    again[owner] = revision
        self._drop(again)
        return again

    # -- what they hold ----------------------------------------------------------------------------------

    def _put_runs(self, revisions: Sequence[Revision], is_new: bool) -> None:
        writer, environments = TableWriter(self._connection), set[str]()
        for start in range(0, len(revisions), _AT_ONCE):
            self._told(start, len(revisions))
            loaded = list(load_records(self._repository, revisions[start : start + _AT_ONCE]))
            writer.put_runs(run.indexed() for run in loaded if run.record is not None)
            self._put_unread((run.revision, run.problem) for run in loaded if run.record is None)
            environments.update(run.environment for run in loaded if run.environment)
        self._put_packages(writer, environments)
        if is_new:
            for statement in KEY_INDEXES.format(schema="main").split(";"):
                self._connection.execute(statement)
        self._told(len(revisions), len(revisions))

    def _put_packages(self, writer: TableWriter, environments: set[str]) -> None:
        """Read the lists of packages that are not known yet; most runs share theirs."""
        known = {one for (one,) in self._connection.execute("SELECT DISTINCT environment FROM package")}
        wanted = [ObjectId(one) for one in sorted(environments - known)]
        held = list(read_trees(self._repository, wanted))
        lists = [tree.get(b"requirements.txt", "") if tree else "" for tree in held]
        for environment, data in zip(wanted, read_blobs(self._repository, lists), strict=True):
            writer.put_packages(environment, parse_packages((data or b"").decode("utf-8", "replace")))

    def _put_experiments(self, revisions: Sequence[Revision]) -> None:
        specs = [f"{revision.commit.id}:{EXPERIMENT_FILE}" for revision in revisions]
        for revision, data in zip(revisions, read_blobs(self._repository, specs), strict=True):
            commit = revision.commit
            where = f"experiment commit {commit.id[:10]}"
            try:
                record = parse_experiment(data or b"", where)
                if _EXPERIMENT + record.id != revision.id:
                    raise DamagedError(where, f"its record is of experiment {record.id}")
            except DamagedError as error:
                self._put_unread([(revision, error.message)])
                continue
            self._connection.execute(
                "INSERT OR REPLACE INTO experiment VALUES (?, ?, ?, ?, ?, ?)",
                (
                    record.id,
                    record.name,
                    record.lifecycle,
                    commit.id,
                    revision.revision,
                    commit.committed_at_s,
                ),
            )

    def _put_unread(self, found: Iterable[tuple[Revision, str]]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO unread VALUES (?, ?, ?, ?, ?)",
            [(one.id, one.commit.id, one.revision, one.commit.committed_at_s, problem) for one, problem in found],
        )

    def _put_older(self, revisions: Iterable[Revision]) -> None:
        self._connection.executemany(
            "INSERT OR IGNORE INTO older VALUES (?, ?, ?, ?)",
            [(one.commit.id, one.id, one.revision, one.commit.committed_at_s) for one in revisions],
        )


def _read_revision(commit: Commit) -> Revision | None:
    """The revision of a run or of an experiment that a commit is; None where it only joins histories."""
    named = read_revision(commit)
    if named is None:
        return None
    owner, revision = named
    return revision if owner.kind == "run" else replace(revision, id=_EXPERIMENT + owner.id)


def _is_run(owner: str) -> bool:
    return not owner.startswith(_EXPERIMENT)


def _in_parts(commits: Iterable[str]) -> Iterator[list[str]]:
    found = sorted(commits)
    for start in range(0, len(found), 500):
        yield found[start : start + 500]


def _read_fact(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _write_fact(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))


def _say_nothing(done: int, total: int) -> None:
    pass
