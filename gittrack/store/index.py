"""The search index: a SQLite file in the user's cache folder, which may be deleted, damaged or locked at any time.

It is brought up to date before every question, and never asked to decide anything: what is written is decided by
git alone. SQLite notices some damage, not all of it (a flipped bit in a value is a value), so a stamp beside the
file says how its inode stood when gittrack last wrote it: whatever else has changed it since, it is built anew.
Where there can be no file, because the folder is read-only, full, or held by another for long, the same tables are
built in memory: the same answers, more slowly.

Locks are flock(2) on a file of their own: shared while one reads, exclusive while one writes; SQLite's own stay as
they are. A new index is built beside the old one and renamed; a known one is changed in place, synced by SQLite.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import quote

from gittrack.errors import BusyError
from gittrack.git.repository import Repository
from gittrack.store.index_tables import FORMAT, TABLES
from gittrack.store.learning import Tips, Told, is_up_to_date, learn

INDEX_FILE, STAMP_FILE, LOCK_FILE, PLACE_FILE = "index.sqlite", "stamp.json", "lock", "repository"

_LOCK_WAIT_S = 10.0  # what another takes to learn some ten thousand runs; beyond that we do it for ourselves
_SQLITE_WAIT_S = 1.0


@contextmanager
def open_index(repository: Repository, told: Told | None = None) -> Iterator[sqlite3.Connection]:
    """A connection to the tables, up to date when it is given; only for reading, and only inside the ``with``.

    Raises:
        RepositoryError: the history of the repository cannot be walked to its end.
        sqlite3.DatabaseError: in the ``with``: the file is damaged after all; `drop_index`, and ask again.
    """
    opened = _open_file(repository, told)
    try:
        connection = next(opened)
    except (OSError, sqlite3.Error, BusyError, StopIteration):
        opened.close()
        with build_in_memory(repository, told) as connection:
            yield connection
        return
    with closing(opened):
        yield connection


@contextmanager
def build_in_memory(repository: Repository, told: Told | None = None) -> Iterator[sqlite3.Connection]:
    """As `open_index`, without any file."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _fill(connection, repository, Tips.read(repository), told)
        yield connection


def drop_index(repository: Repository) -> None:
    """Remove a repository's index; it comes back with the next question."""
    shutil.rmtree(index_folder(repository), ignore_errors=True)


def index_folder(repository: Repository) -> str:
    """The folder of a repository's index in the user's cache."""
    import platformdirs

    mark = hashlib.sha256(os.fsencode(os.path.realpath(repository.common_dir))).hexdigest()[:20]
    return os.path.join(platformdirs.user_cache_dir("gittrack", appauthor=False), "index", mark)


def make_tables(connection: sqlite3.Connection, schema: str = "main") -> None:
    """Make the tables, empty; outside of a transaction."""
    connection.executescript(TABLES.format(schema=schema))


def _open_file(repository: Repository, told: Told | None) -> Generator[sqlite3.Connection, None, None]:
    folder = index_folder(repository)
    if not os.path.isabs(folder):  # nobody's home: it would be made in the work tree
        raise FileNotFoundError(errno.ENOENT, "there is no folder for caches", folder)
    _make_own(folder)
    lock = os.open(os.path.join(folder, LOCK_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _flock(lock, fcntl.LOCK_SH)
        if not _is_current(folder, Tips.read(repository)):
            _flock(lock, fcntl.LOCK_EX)
            # read anew: another may have brought it further than ours went, and must not be undone
            _bring_up_to_date(folder, repository, Tips.read(repository), told)
            _flock(lock, fcntl.LOCK_SH)
        with closing(_connect(folder, "ro")) as connection:
            yield connection
    finally:
        os.close(lock)


def _make_own(folder: str) -> None:
    """Make the index's folder, and see that nobody else can put anything there.

    Raises:
        PermissionError: it, or one of the two around it, is another person's or everybody's.
    """
    indexes = os.path.dirname(folder)
    os.makedirs(os.path.dirname(indexes), mode=0o700, exist_ok=True)
    for place in (os.path.dirname(indexes), indexes, folder):
        with suppress(FileExistsError):
            os.mkdir(place, 0o700)
        for found in (os.lstat(place), os.stat(place)):
            if found.st_uid != os.geteuid() or (found.st_mode & stat.S_IWOTH and not stat.S_ISLNK(found.st_mode)):
                raise PermissionError(errno.EPERM, "others may write here", place)


def _is_current(folder: str, tips: Tips) -> bool:
    if not _is_stamped(folder):
        return False
    try:
        with closing(_connect(folder, "ro")) as connection:
            return is_up_to_date(connection, tips)
    except sqlite3.Error:  # of another format, say: it is built anew
        return False


def _bring_up_to_date(folder: str, repository: Repository, tips: Tips, told: Told | None) -> None:
    """The caller holds the lock alone; another may have done it while we waited for it."""
    try:
        if _is_stamped(folder):
            with closing(_connect(folder, "rw")) as connection:
                if is_up_to_date(connection, tips):
                    return
                connection.execute("PRAGMA journal_mode = TRUNCATE")
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    learn(connection, repository, tips, told)
            _write_stamp(folder)
            return
    except sqlite3.Error:
        pass  # damaged in spite of its stamp
    _build(folder, repository, tips, told)


def _build(folder: str, repository: Repository, tips: Tips, told: Told | None) -> None:
    """A new index in the place of whatever stands there."""
    for name in (STAMP_FILE, f"{INDEX_FILE}-journal"):
        _remove(os.path.join(folder, name))
    new = os.path.join(folder, f"{INDEX_FILE}.new")
    _remove(new)
    try:
        with closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA cache_size = -200000")
            _fill(connection, repository, tips, told)
        with open(new, "rb") as file:
            os.fsync(file.fileno())
        os.replace(new, os.path.join(folder, INDEX_FILE))
    finally:
        _remove(new)
    with open(os.path.join(folder, PLACE_FILE), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(os.path.realpath(repository.common_dir))
    _write_stamp(folder)
    _drop_orphans(os.path.dirname(folder))


def _fill(connection: sqlite3.Connection, repository: Repository, tips: Tips, told: Told | None) -> None:
    make_tables(connection)
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    with connection:
        connection.execute("BEGIN")
        learn(connection, repository, tips, told)


def _connect(folder: str, mode: str) -> sqlite3.Connection:
    place = quote(os.fsencode(os.path.join(folder, INDEX_FILE)))
    connection = sqlite3.connect(
        f"file:{place}?mode={mode}", uri=True, isolation_level=None, timeout=_SQLITE_WAIT_S
    )
    try:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        if number != FORMAT:
            raise sqlite3.DatabaseError(f"the index has the format {number}")
        # not mapped into memory: who shortens the file would end whoever reads it (SIGBUS)
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def _flock(descriptor: int, kind: int) -> None:
    """Take a lock, or change it.

    Raises:
        BusyError: another has held it for too long. OSError: this file system has no locks.
    """
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
                raise
        if time.monotonic() >= deadline:
            raise BusyError("another process has been writing the index for long")
        time.sleep(0.005)


# -- the stamp ---------------------------------------------------------------------------------------------


def _read_inode(folder: str) -> list[int]:
    found = os.stat(os.path.join(folder, INDEX_FILE))
    # the time of the last change of the inode cannot be set by anybody
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _is_stamped(folder: str) -> bool:
    """Whether the file is as gittrack left it."""
    try:
        with open(os.path.join(folder, STAMP_FILE), encoding="ascii") as file:
            stamp: object = json.load(file)
        return stamp == _read_inode(folder)
    except (OSError, ValueError):
        return False


def _write_stamp(folder: str) -> None:
    path = os.path.join(folder, STAMP_FILE)
    with open(path + ".new", "w", encoding="ascii") as file:
        json.dump(_read_inode(folder), file)
    os.replace(path + ".new", path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _drop_orphans(indexes: str) -> None:
    """Remove the indexes of repositories that are gone."""
    for name in os.listdir(indexes):
        folder = os.path.join(indexes, name)
        try:
            with open(os.path.join(folder, PLACE_FILE), encoding="utf-8", errors="surrogateescape") as file:
                place = file.read()
        except OSError:
            continue
        if not os.path.isdir(place):
            shutil.rmtree(folder, ignore_errors=True)
