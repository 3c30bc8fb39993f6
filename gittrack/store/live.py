"""The folder of a run in flight, and whether anybody still writes to it.

``<common dir>/gittrack/live/<run id>/`` holds one journal file a process, the artifacts logged so far
under ``artifacts/<sha256>``, and the changed code under ``code.objects``. It goes once the branch has moved.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import platform
import re
import shutil
import stat
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import Any

from gittrack.errors import BusyError
from gittrack.git.objects import ObjectFormat, ObjectSet
from gittrack.git.repository import Repository
from gittrack.schema.names import RunId, is_run_id
from gittrack.store.journal import is_open_here
from gittrack.store.planted import is_plain_folder, open_plain, refuse_foreign_places
from gittrack.store.shared_journal import SHARED_NAME
from gittrack.store.streams import Stream

SILENCE_LIMIT_S = 3600.0  # a writer on another machine touches its stream at least once a minute
BIRTH_LIMIT_S = 60.0  # between making the folder, or the stream, and the first record in it lie milliseconds
DETACHED_LIMIT_S = 7 * 24 * 3600.0  # a run of `gittrack start` may wait for days between two commands
_FOLD_WAIT_S = 60.0
_OBJECT_HEAD = struct.Struct("<BQ")
_CODE_BYTES_MAX = 64 << 20  # of one object; a changed file is kept up to 16 MiB
_PID_MAX = 1 << 22  # proc(5), pid_max
_UNKNOWN = "alive"  # the start of a process that is there, and tells no more
_ASIDE = re.compile(r"([0-9a-f]{32})\.gone-[0-9]+")


class LiveRun:
    """One run's live folder; the folder may not exist (any more)."""

    def __init__(self, folder: str, run_id: RunId) -> None:
        self.folder = folder
        self.run_id = run_id

    @property
    def staging_dir(self) -> str:
        """Where artifacts wait, each under its sha256."""
        return os.path.join(self.folder, "artifacts")

    def exists(self) -> bool:
        return is_plain_folder(self.folder)

    def open_staged(self, oid: str) -> BufferedReader:
        """The staged file of an artifact, opened to read.

        Raises:
            FileNotFoundError: it is not there. OSError: it is a link or a pipe, or cannot be opened.
        """
        if not is_plain_folder(self.staging_dir):
            raise FileNotFoundError(errno.ENOENT, "no folder of staged artifacts", self.staging_dir)
        return open_plain(os.path.join(self.staging_dir, oid))

    def create(self) -> None:
        os.makedirs(self.folder, exist_ok=True)

    def read_streams(self) -> list[Stream]:
        """All its journals, sorted by when they were begun."""
        try:
            names = [name for name in os.listdir(self.folder) if name.endswith(".log")]
        except FileNotFoundError:
            return []
        streams = [Stream(os.path.join(self.folder, name)) for name in names]
        return sorted(streams, key=lambda stream: (stream.writer.get("t", 0.0), stream.path))

    def has_begun(self) -> bool:
        """Whether a writer has told who it is, and what it begins."""
        try:
            return any(stream.has_begun() for stream in self.read_streams())
        except FileNotFoundError:  # it has been committed meanwhile: what reads its branch now finds it
            return False

    def is_alive(self) -> bool:
        """Whether any of its writers may still write; one that is just being begun has none yet."""
        streams = self.read_streams()
        if not streams:
            return _age_s(self.folder) < BIRTH_LIMIT_S
        return any(is_writer_alive(stream) for stream in streams)

    def has_living_writer(self) -> bool:
        """Whether a writer that has told who it is may still write."""
        return any(stream.writer and is_writer_alive(stream) for stream in self.read_streams())

    def write_code(self, objects: ObjectSet) -> str:
        """Keep the objects of the code snapshot until the run is committed; returns the file's path."""
        path = os.path.join(self.folder, "code.objects")
        with open(path + ".tmp", "wb") as file:
            for _, kind, data in objects:
                packed = zlib.compress(data, 1)
                file.write(_OBJECT_HEAD.pack(kind, len(packed)) + packed)
        os.replace(path + ".tmp", path)
        return path

    def read_code(self, object_format: ObjectFormat) -> ObjectSet:
        """The kept objects, for a repository of a format; those after a torn one are left out."""
        objects = ObjectSet(object_format)
        try:
            with open_plain(os.path.join(self.folder, "code.objects")) as file:
                while len(head := file.read(_OBJECT_HEAD.size)) == _OBJECT_HEAD.size:
                    kind, length = _OBJECT_HEAD.unpack(head)
                    unpacker = zlib.decompressobj()
                    data = unpacker.decompress(file.read(min(length, _CODE_BYTES_MAX)), _CODE_BYTES_MAX)
                    if not unpacker.eof:
                        break  # torn, or larger than any that was kept
                    objects.add(kind, data)
        except (OSError, zlib.error, KeyError):
            pass
        return objects

    def mark_signal(self, text: str) -> None:
        """Note that a signal came, in a file of its own: safe inside a signal handler."""
        descriptor = os.open(os.path.join(self.folder, "signal"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def read_signal(self) -> str:
        """The signal that was noted, or ''."""
        try:
            with open_plain(os.path.join(self.folder, "signal")) as file:
                return file.read(200).decode(errors="replace")
        except OSError:
            return ""

    @contextmanager
    def fold_lock(self, *, wait: bool, create: int = os.O_CREAT) -> Iterator[bool]:
        """Hold the right to fold this run; yields False when the folder is gone or, unless ``wait``, busy."""
        try:
            descriptor = os.open(
                os.path.join(self.folder, "fold.lock"),
                os.O_RDWR | create | os.O_CLOEXEC | os.O_NOFOLLOW,
                0o644,
            )
        except FileNotFoundError:
            yield False
            return
        try:
            held = _take_flock(descriptor, _FOLD_WAIT_S if wait else 0.0)
            if wait and not held:
                raise BusyError(f"another process has been folding run {self.run_id} for a minute")
            # the winner before us may have removed the folder while we waited
            yield held and _is_at(descriptor, os.path.join(self.folder, "fold.lock"))
        finally:
            _release(descriptor)

    def remove(self, taken: dict[str, int]) -> bool:
        """Remove the folder, unless a stream has grown past what was taken of it; True when all is gone.

        The caller holds the fold lock.
        """
        with self._shared_stream_held():
            aside = LiveRun(f"{self.folder}.gone-{os.getpid()}", self.run_id)
            try:
                if self._has_rest(taken):
                    return False
                os.rename(self.folder, aside.folder)
            except OSError:
                return False
            # a stream that was begun before the rename is seen now; what comes later makes a folder of its own
            if aside._has_rest(taken):
                aside.move_to(self.folder)
                return False
            aside._delete()
            return True

    def move_to(self, folder: str) -> None:
        """Bring everything to another folder, into what stands there already."""
        try:
            os.rename(self.folder, folder)
            return
        except OSError:
            pass
        for place, _, names in os.walk(self.folder):
            target = os.path.join(folder, os.path.relpath(place, self.folder))
            os.makedirs(target, exist_ok=True)
            for name in names:
                if not os.path.exists(os.path.join(target, name)):
                    os.rename(os.path.join(place, name), os.path.join(target, name))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _delete(self) -> None:
        """Delete the folder, its lock last: whoever comes upon it meanwhile must see that it is held."""
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if name != "fold.lock" and os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            elif name != "fold.lock":
                os.unlink(path)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _has_rest(self, taken: dict[str, int]) -> bool:
        for stream in self.read_streams():
            if stream.has_more(taken.get(stream.nonce, 0)):
                return True
            # who may still write keeps the folder, and whoever finds it dead folds the rest; commands
            # that share a stream cannot write while it is held, and find it gone afterwards
            if not stream.writer.get("detached") and is_writer_alive(stream):
                return True
        return False

    @contextmanager
    def _shared_stream_held(self) -> Iterator[None]:
        try:
            descriptor = os.open(
                os.path.join(self.folder, SHARED_NAME), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            )
        except OSError:
            yield
            return
        try:
            try:
                _take_flock(descriptor, _FOLD_WAIT_S)
            except OSError:
                pass  # where there are no locks the commands that log cannot take one either
            yield
        finally:
            _release(descriptor)


def list_live(repository: Repository) -> list[LiveRun]:
    """All runs in flight, of the repository and of the spool that stands in for it."""
    return [LiveRun(path, RunId(name)) for path, name in _list_folders(repository) if is_run_id(name)]


def put_back_leftovers(repository: Repository) -> None:
    """Put folders back that a process set aside to remove them, and then died: folded again, nothing is new."""
    for path, name in _list_folders(repository):
        match = _ASIDE.fullmatch(name)
        if match is None:
            continue
        aside = LiveRun(path, RunId(match[1]))
        try:
            with aside.fold_lock(wait=False, create=0) as held:  # without a lock it is all but deleted
                if held:
                    aside.move_to(os.path.join(os.path.dirname(path), match[1]))
            if not held:
                os.rmdir(path)  # where nothing is left in it
        except OSError:
            continue


def find_live(repository: Repository, run_id: RunId) -> LiveRun | None:
    """The run's live folder, or None when it is not in flight."""
    for root in _roots(repository):
        live = LiveRun(os.path.join(root, run_id), run_id)
        if live.exists():
            return live
    return None


def create_live(repository: Repository, run_id: RunId) -> tuple[LiveRun, OSError | None]:
    """A live folder for the run: in the repository, or, with the error that forced it, in the spool.

    Where neither can be made, the first is given all the same, not there yet: its journal tries again.
    """
    live = LiveRun(os.path.join(_live_root(repository), run_id), run_id)
    try:
        refuse_foreign_places(repository)
        live.create()
    except OSError as error:
        try:
            return create_spooled(repository, run_id), error
        except OSError:
            return live, None
    return live, None


def create_spooled(repository: Repository, run_id: RunId) -> LiveRun:
    """A live folder for the run in the spool.

    Raises:
        OSError: it cannot be made, or what stands there is somebody else's.
    """
    os.makedirs(_spool_top(), mode=0o700, exist_ok=True)
    if not _is_private(_spool_top()):
        raise PermissionError(errno.EACCES, "it belongs to somebody else", _spool_top())
    live = LiveRun(os.path.join(spool_root(repository), run_id), run_id)
    live.create()
    return live


def bring_home(repository: Repository) -> None:
    """Bring streams back to their run that found no room at their end, and wait whole in the spool."""
    for path, name in _list_folders(repository):
        home = LiveRun(os.path.join(_live_root(repository), name), RunId(name))
        if not is_run_id(name) or path == home.folder or not home.exists():
            continue
        spooled = LiveRun(path, RunId(name))
        try:
            with home.fold_lock(wait=False) as held:
                if held and not spooled.is_alive():
                    _copy_streams(spooled, home)
        except OSError:
            continue  # there is no room yet


def _copy_streams(spooled: LiveRun, home: LiveRun) -> None:
    for stream in spooled.read_streams():
        target = os.path.join(home.folder, os.path.basename(stream.path))
        shutil.copyfile(stream.path, target + ".new")
        os.replace(target + ".new", target)
    shutil.rmtree(spooled.folder, ignore_errors=True)


def describe_writer(*, detached: bool = False) -> dict[str, Any]:
    """Who writes a stream: enough to tell later whether it is gone for certain."""
    pid = os.getpid()
    return {
        "host": platform.node(),
        "boot": _boot_id(),
        "space": _pid_space(),
        "pid": pid,
        "started": _start_of(pid),
        "detached": detached,
    }


def is_writer_alive(stream: Stream) -> bool:
    """Whether the stream's writer may still write; when in doubt it may, for a while."""
    writer = stream.writer
    if not writer:
        return _age_s(stream.path) < BIRTH_LIMIT_S
    if writer.get("detached"):
        return _age_s(stream.path) < (DETACHED_LIMIT_S if stream.has_begun() else BIRTH_LIMIT_S) and (
            not stream.is_ended()  # then the command that ended it has died before its commit
        )
    here = (platform.node(), _boot_id(), _pid_space())
    if (writer.get("host"), writer.get("boot"), writer.get("space")) == here and isinstance(
        writer.get("pid"), int
    ):
        if writer["pid"] == os.getpid() and _start_of(os.getpid()) == writer.get("started"):
            return is_open_here(stream.nonce)
        started = _start_of(writer["pid"]) if 0 < writer["pid"] <= _PID_MAX else ""
        if started == _UNKNOWN:
            return _age_s(stream.path) < SILENCE_LIMIT_S
        return started == writer.get("started") != ""
    if writer.get("host") == here[0] and writer.get("space") == here[2] and writer.get("boot") != here[1]:
        return False  # this machine has been started anew since
    return _age_s(stream.path) < SILENCE_LIMIT_S


def spool_root(repository: Repository) -> str:
    """Where runs of a repository wait that cannot be written: a private folder among the temp files."""
    mark = f"{zlib.crc32(repository.common_dir.encode(errors='surrogateescape')):08x}"
    return os.path.join(_spool_top(), mark, "live")


def _spool_top() -> str:
    return os.path.join(tempfile.gettempdir(), f"gittrack-{os.getuid()}")


def _is_private(folder: str) -> bool:
    """Whether a folder among everybody's temp files is ours alone to write."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def _roots(repository: Repository) -> list[str]:
    spool = [spool_root(repository)] if _is_private(_spool_top()) else []
    return [_live_root(repository), *spool]


def _list_folders(repository: Repository) -> Iterator[tuple[str, str]]:
    for root in _roots(repository):
        try:
            names = sorted(os.listdir(root))
        except OSError:
            continue
        for name in names:
            if is_plain_folder(os.path.join(root, name)):
                yield os.path.join(root, name), name


def _live_root(repository: Repository) -> str:
    return os.path.join(repository.state_dir, "live")


def _age_s(path: str) -> float:
    try:
        return time.time() - os.stat(path).st_mtime
    except OSError:
        return 0.0


def _is_at(descriptor: int, path: str) -> bool:
    """Whether an open file is the one that stands at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _take_flock(descriptor: int, wait_s: float) -> bool:
    """Whether the lock was to be had in time.

    Raises:
        OSError: this file system has no locks, or not now: waiting would not help.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
                raise
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)


def _release(descriptor: int) -> None:
    """Let go of a lock, also for a child that was forked meanwhile and has the same open file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError:
        pass  # closing does it for us alone
    finally:
        os.close(descriptor)


@functools.cache
def _boot_id() -> str:
    return _read_line("/proc/sys/kernel/random/boot_id")


@functools.cache
def _pid_space() -> str:
    """The namespace that process ids count in: two containers of one host do not see each other's."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """When a process started, in the kernel's ticks; '' when it is gone (or a zombie). proc(5), field 22."""
    fields = _read_line(f"/proc/{pid}/stat").rpartition(") ")[2].split(" ")
    if fields[0] in ("Z", "X"):
        return ""
    return fields[19] if len(fields) > 19 else _start_without_proc(pid)


def _start_without_proc(pid: int) -> str:
    """As `_start_of` where there is no /proc, or it hides the processes of others."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return _UNKNOWN


def _read_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""
