"""Reading objects: one at a time through dulwich, thousands at once through ``git cat-file --batch``.

dulwich costs about half a millisecond a run on a packed repository, C git's stream 25 µs; where
there is no git program, everything goes through dulwich. Sizes are capped: a small pack can hold a bomb.
"""

from __future__ import annotations

import errno
import heapq
import logging
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

from gittrack.errors import DamagedError, GittrackError, NotFoundError, RepositoryError
from gittrack.git.alternates import open_store
from gittrack.git.command import ANYWHERE, BOUNDED, find_git, git_argv, git_environment
from gittrack.git.objects import (
    BLOB,
    COMMIT,
    GITLINK_MODE,
    KIND_NUMBERS,
    TREE,
    Commit,
    ObjectId,
    ObjectSet,
    TreeEntry,
    has_id,
    parse_commit,
    parse_tree,
)
from gittrack.git.packs import is_packed
from gittrack.git.repository import Repository
from gittrack.git.sizes import is_larger

_log = logging.getLogger("gittrack")
_BATCH_HEADER = re.compile(rb"([0-9a-f]{40,64}) (commit|tree|blob|tag) ([0-9]+)\n")
_STOPS_MAX = 1000  # 3 ms each; where there are more, it must be git itself that does not work
_PIECE_BYTES = 1 << 20
_PIPE_BYTES = 4096  # the least that a pipe holds
_COMMIT_FORMAT = "%T%n%P%n%an <%ae>%n%ct%n%B%x00"
DEPTH_MAX = 128  # folders within folders
_PATHS_MAX = 500_000
_TREES_KEPT = 4
_LINE_BYTES_MAX = 1 << 16  # a question and a word: commit, path, 'missing'
PARSED_BYTES_MAX = 16 << 20  # a file that is parsed, or a commit; a record is some kilobytes

_Names = dict[bytes, TreeEntry]


class ObjectReader:
    """Objects of one repository by id; keep one for many reads, and use it in one thread."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._store = open_store(repository.objects_dir, repository.object_format)
        self._trees: dict[ObjectId, list[TreeEntry]] = {}  # the last few
        self._asked = _AskedGit(repository)
        self._way_from: ObjectId | None = None
        self._way: list[tuple[bytes, _Names]] = []  # from that tree to the last path: folders, and what they hold

    def close(self) -> None:
        self._asked.close()
        self._store.close()

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __contains__(self, object_id: ObjectId) -> bool:
        loose = os.path.join(self._repository.objects_dir, object_id[:2], object_id[2:])
        if os.path.isfile(loose) or is_packed(self._repository, object_id):
            return True
        try:  # in an alternate, or a kind of index that only dulwich knows
            return object_id.encode() in self._store  # type: ignore[operator]
        except Exception:  # damaged packs raise seven kinds of error
            return False

    def read(self, object_id: ObjectId, limit: int | None = None) -> tuple[int, bytes]:
        """The kind and the bytes of an object, of not more than ``limit`` bytes.

        One damaged pack, or an index of several, can keep dulwich from what others hold: then git is asked.

        Raises:
            NotFoundError: it is not there. DamagedError: it is, and cannot be read, or is too large.
        """
        try:
            is_bomb = limit is not None and is_larger(self._store, self._repository.objects_dir, object_id, limit)
            kind, data = (0, b"") if is_bomb else self._store.get_raw(object_id.encode())  # type: ignore[arg-type]
        except KeyError as error:
            found = self._asked.read(object_id, limit) if self._may_be_hidden(object_id) else None
            if found is None:
                raise NotFoundError(
                    f"object {object_id} is not in {self._repository.label}", "fetch it: git fetch"
                ) from error
            return found
        except Exception as error:  # zlib.error, ChecksumMismatch, AssertionError and four more: all are damage
            found = self._asked.read(object_id, limit)
            if found is None:
                raise DamagedError(f"object {object_id}", f"it cannot be read ({error!r})") from error
            return found
        if is_bomb:
            raise _too_large(object_id, limit)
        if has_id(object_id, kind, data):  # dulwich takes a loose object that was cut for whole
            return kind, data
        found = self._asked.read(object_id, limit)
        if found is None:
            raise DamagedError(f"object {object_id}", "its bytes are not what its id says")
        return found

    def _may_be_hidden(self, object_id: ObjectId) -> bool:
        """Whether what dulwich does not find may be in a pack that it passes over, its index being unreadable."""
        digest = bytes.fromhex(object_id)
        stores: list[Any] = [self._store, *self._store.alternates]
        try:
            for pack in (pack for store in stores for pack in store.packs):
                with suppress(KeyError):
                    pack.index.object_offset(digest)
                    return True
        except Exception:  # as in `read`
            return True
        return False

    def read_kind(self, object_id: ObjectId, kind: int) -> bytes:
        """The bytes of an object that must be of a kind, and not larger than `PARSED_BYTES_MAX`."""
        found, data = self.read(object_id, PARSED_BYTES_MAX)
        if found != kind:
            raise DamagedError(f"object {object_id}", "it is of another kind than its place says")
        return data

    def read_commit(self, object_id: ObjectId) -> Commit:
        return parse_commit(object_id, self.read_kind(object_id, COMMIT))

    def read_tree(self, object_id: ObjectId) -> list[TreeEntry]:
        entries = self._trees.get(object_id)
        if entries is None:
            entries = parse_tree(object_id, self.read_kind(object_id, TREE))
            if len(self._trees) == _TREES_KEPT:
                del self._trees[next(iter(self._trees))]
            self._trees[object_id] = entries
        return entries

    def find_path(self, tree: ObjectId, path: str) -> TreeEntry | None:
        """The entry at a path below a tree, '/' between the parts, or None.

        The folders of the last path stay open: all paths of a tree, sorted, cost each of its folders one reading.
        """
        *folders, name = path.encode("utf-8", "surrogateescape").split(b"/")
        names = self._open_folder(tree, folders)
        return None if names is None else names.get(name)

    def _open_folder(self, tree: ObjectId, folders: list[bytes]) -> _Names | None:
        """What a folder below a tree holds; None where there is none."""
        if self._way_from != tree:
            self._way = [(b"", self._read_names(tree))]
            self._way_from = tree
        kept = 1
        while kept < len(self._way) and kept <= len(folders) and self._way[kept][0] == folders[kept - 1]:
            kept += 1
        del self._way[kept:]
        for part in folders[kept - 1 :]:
            entry = self._way[-1][1].get(part)
            if entry is None or not entry.is_tree:
                return None
            names = self._read_names(entry.id)
            if len(names) + sum(len(above) for _, above in self._way) > _PATHS_MAX:
                raise DamagedError(f"tree {tree}", f"it holds more than {_PATHS_MAX} paths")
            self._way.append((part, names))
        return self._way[-1][1]

    def _read_names(self, tree: ObjectId) -> _Names:
        return {entry.name: entry for entry in reversed(self.read_tree(tree))}  # of one name the first counts

    def find_damage(self, tree: ObjectId, made: ObjectSet) -> ObjectId | None:
        """An object at or below a tree that is there and damaged, or None; what ``made`` holds is whole.

        Of files only that is looked at which a power cut leaves of what git does not sync: an empty loose object.
        What is not there at all may be promised (a partial clone).
        """
        seen, pending = {tree}, [tree]
        while pending:
            tree_id = pending.pop()
            data = made.get(tree_id)
            try:
                entries = self.read_tree(tree_id) if data is None else parse_tree(tree_id, data)
            except NotFoundError:
                continue
            except DamagedError:
                return tree_id
            for entry in entries:
                if entry.id in seen or entry.mode == GITLINK_MODE:
                    continue
                seen.add(entry.id)
                if entry.is_tree:
                    pending.append(entry.id)
                elif entry.id not in made and self._is_emptied(entry.id):
                    return entry.id
        return None

    def _is_emptied(self, object_id: ObjectId) -> bool:
        try:
            size = os.stat(os.path.join(self._repository.objects_dir, object_id[:2], object_id[2:])).st_size
        except OSError:
            return False
        return size == 0 and not is_packed(self._repository, object_id)

    def walk_tree(self, tree: ObjectId, below: str = "") -> Iterator[tuple[str, TreeEntry]]:
        """Every entry that is no folder, with its path; in git's order. Names are decoded with surrogateescape."""
        pending, known, count = [(below, tree, 0)], dict[ObjectId, list[TreeEntry]](), 0
        while pending:
            prefix, tree_id, depth = pending.pop()
            if depth > DEPTH_MAX:
                raise DamagedError(f"tree {tree}", f"its folders nest deeper than {DEPTH_MAX}")
            if tree_id not in known:  # eleven trees can make ten thousand million paths
                known[tree_id] = self.read_tree(tree_id)
            folders = []
            for entry in known[tree_id]:
                count += 1
                if count > _PATHS_MAX:
                    raise DamagedError(f"tree {tree}", f"it holds more than {_PATHS_MAX} paths")
                path = prefix + entry.name.decode("utf-8", "surrogateescape")
                if entry.is_tree:
                    folders.append((path + "/", entry.id, depth + 1))
                else:
                    yield path, entry
            pending.extend(reversed(folders))


class _AskedGit:
    """Objects one at a time from git: started at the first question, and again where it has ended at damage."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._opened = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def close(self) -> None:
        self._opened.close()
        self._process = None

    def read(self, object_id: ObjectId, limit: int | None) -> tuple[int, bytes] | None:
        """The kind and the bytes of an object; None where git cannot read it either, or there is no git.

        Raises:
            DamagedError: it has more than ``limit`` bytes.
        """
        try:
            process = self._start()
            if process is None:
                return None
            found = _ask_one(process, object_id, limit)
        except OSError:
            self.close()
            return None
        except DamagedError:
            self.close()  # its answer is not heard out
            raise
        return found if found is not None and has_id(object_id, *found) else None

    def _start(self) -> subprocess.Popen[bytes] | None:
        if self._process is None and find_git() and self._starts < _STOPS_MAX:
            self._starts += 1
            words = ("-c", "core.multiPackIndex=false", "cat-file", "--batch")  # at a damaged one git ends
            argv = git_argv(self._repository.common_dir, *words)
            self._process = self._opened.enter_context(_started(argv))
        return self._process


def _ask_one(process: subprocess.Popen[bytes], object_id: ObjectId, limit: int | None) -> tuple[int, bytes] | None:
    """An object from a git that answers; None where it has none of that id.

    Raises:
        OSError: git ended. DamagedError: the object has more than ``limit`` bytes.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{object_id}\n".encode())
    process.stdin.flush()
    line = process.stdout.readline(_LINE_BYTES_MAX)
    if not line.endswith(b"\n"):
        raise OSError(errno.EPIPE, "git ended")
    header = _BATCH_HEADER.fullmatch(line)
    if header is None:
        return None
    size = int(header[3])
    if limit is not None and size > limit:
        raise _too_large(object_id, limit)
    pieces, left = list[bytes](), size + 1  # and the end of the line
    while left:
        piece = process.stdout.read(min(left, _PIECE_BYTES))
        if not piece:
            raise OSError(errno.EPIPE, "git ended")
        pieces.append(piece)
        left -= len(piece)
    return KIND_NUMBERS[header[2]], b"".join(pieces)[:-1]


def _too_large(object_id: ObjectId, limit: int | None) -> DamagedError:
    return DamagedError(f"object {object_id}", f"it has more than {limit} bytes, too many to be read")


def walk_commits(repository: Repository, tips: Iterable[ObjectId], *, grep: str = "") -> Iterator[Commit]:
    """Every commit reachable from some tips, each once, newest first as far as their dates are true.

    With ``grep`` only the commits that have that fixed text in their message.

    Raises:
        RepositoryError: the history is damaged, or cut otherwise than by a shallow clone.
    """
    wanted = sorted(set(tips))
    if not wanted:
        return
    if find_git():
        yield from _walk_by_git(repository, wanted, grep)
    else:

        def stop(error: GittrackError) -> None:
            raise _broken_history(repository) from error

        yield from _walk_by_dulwich(repository, wanted, grep, stop)


def walk_sound_commits(repository: Repository, tips: Iterable[ObjectId], *, grep: str = "") -> Iterator[Commit]:
    """As `walk_commits`, but a damaged commit costs only itself and what lies behind it, with a warning.

    For showing what there is, never for deciding what may go.
    """
    wanted, seen = sorted(set(tips)), set[ObjectId]()
    try:
        for commit in walk_commits(repository, wanted, grep=grep):
            seen.add(commit.id)
            yield commit
        return
    except RepositoryError:
        pass  # git gives up at the first damage: go on with what does not

    def tell(error: GittrackError) -> None:
        _log.warning("gittrack cannot read all of the history of %s: %s", repository.label, error.message)

    for commit in _walk_by_dulwich(repository, wanted, grep, tell):
        if commit.id not in seen:
            yield commit


def read_blobs(repository: Repository, specs: Sequence[str]) -> Iterator[bytes | None]:
    """The blobs that ``<commit or tree>:<path>`` or ids name, in order; None where there is none.

    A blob over `PARSED_BYTES_MAX` bytes counts as not there. Paths are as `ObjectReader.walk_tree` gives them.
    """
    if not specs:
        return
    if find_git():
        yield from _blobs_by_git(repository, specs)
    else:
        yield from _blobs_by_dulwich(repository, specs)


def _walk_by_git(repository: Repository, tips: list[ObjectId], grep: str) -> Iterator[Commit]:
    options = ["--fixed-strings", f"--grep={grep}"] if grep else []
    argv = git_argv(
        repository.common_dir, "rev-list", "--encoding=UTF-8", f"--format={_COMMIT_FORMAT}", *options, "--stdin"
    )
    with _started(argv) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        _feed(process, "".join(f"{tip}\n" for tip in tips))
        buffer = b""
        while chunk := process.stdout.read(1 << 16):
            *records, buffer = (buffer + chunk).split(b"\0")
            for record in records:
                yield _parse_listed(record)
            if len(buffer) > PARSED_BYTES_MAX:
                raise DamagedError(repository.label, "a commit is larger than 16 MiB")
        if process.wait():
            raise _broken_history(repository)


def _parse_listed(record: bytes) -> Commit:
    """A commit as `_COMMIT_FORMAT` lists it, behind the line in which rev-list names it."""
    name, tree, parents, author, committed_at, message = (
        record.lstrip(b"\n").decode(errors="replace").split("\n", 5)
    )
    return Commit(
        ObjectId(name.removeprefix("commit ")),
        ObjectId(tree),
        tuple(ObjectId(parent) for parent in parents.split()),
        author,
        int(committed_at or 0),
        message,
    )


def _walk_by_dulwich(
    repository: Repository, tips: list[ObjectId], grep: str, lost: Callable[[GittrackError], None]
) -> Iterator[Commit]:
    """By date, as git does: the newest of the commits that are known but not yet told comes next.

    What cannot be read is passed over when ``lost``, which is told why, comes back.
    """
    shallow, seen = _read_shallow(repository), set[ObjectId]()
    pending: list[tuple[int, str, Commit]] = []
    with ObjectReader(repository) as reader:

        def read(ids: Iterable[ObjectId]) -> None:
            for object_id in ids:
                if object_id in seen:
                    continue
                seen.add(object_id)
                try:
                    commit = reader.read_commit(object_id)
                except (NotFoundError, DamagedError) as error:
                    lost(error)
                    continue
                if object_id in shallow:
                    commit = replace(commit, parents=())
                heapq.heappush(pending, (-commit.committed_at_s, object_id, commit))

        read(tips)
        while pending:
            *_, commit = heapq.heappop(pending)
            if grep in commit.message:
                yield commit
            read(commit.parents)


def _read_shallow(repository: Repository) -> set[str]:
    """The commits whose parents a shallow clone left behind: gitrepository-layout(5), "shallow"."""
    try:
        with open(os.path.join(repository.common_dir, "shallow"), encoding="ascii") as file:
            return set(file.read().split())
    except (OSError, UnicodeDecodeError):
        return set()


def _broken_history(repository: Repository) -> RepositoryError:
    return RepositoryError(
        f"the history of {repository.label} cannot be walked to its end", "see what is missing: git fsck"
    )


def _blobs_by_git(repository: Repository, specs: Sequence[str]) -> Iterator[bytes | None]:
    """By as many gits as it takes: one ends at the first damaged or huge object, which counts as not there."""
    asked, stops = 0, 0
    while asked < len(specs):
        for data in _batch(repository, specs[asked:]):
            yield data
            asked += 1
        if asked < len(specs):
            stops += 1
            if stops > _STOPS_MAX:
                raise RepositoryError(f"git cannot read the objects of {repository.label}", "see: git fsck")
            yield None
            asked += 1


def _batch(repository: Repository, specs: Sequence[str]) -> Iterator[bytes | None]:
    """The answers of one git, as far as it comes."""
    argv = git_argv(repository.common_dir, "cat-file", "--batch", "--buffer")
    with _started(argv) as process:
        assert process.stdout is not None
        # a line is a question: what would be two lines is asked as nothing
        _feed(process, "".join("\n" if "\n" in spec else f"{spec}\n" for spec in specs))
        out = process.stdout
        for _ in specs:
            line = out.readline(_LINE_BYTES_MAX)
            if not line.endswith(b"\n"):  # an object that says it is smaller than it is runs on here
                return
            header = _BATCH_HEADER.fullmatch(line)  # id, kind, size
            if header is None:  # "<question> missing", and the question may hold anything
                yield None
                continue
            size = int(header[3])
            if size > PARSED_BYTES_MAX:
                return  # to ask another git for the rest is cheaper than to hear a bomb out
            content = out.read(size + 1)[:size]
            if len(content) < size:
                return
            is_whole = header[2] == b"blob" and has_id(ObjectId(header[1].decode()), BLOB, content)
            yield content if is_whole else None  # a damaged index leads to another object


def _blobs_by_dulwich(repository: Repository, specs: Sequence[str]) -> Iterator[bytes | None]:
    with ObjectReader(repository) as reader:
        for spec in specs:
            try:
                yield _blob_by_dulwich(reader, spec)
            except (NotFoundError, DamagedError):
                yield None


def _blob_by_dulwich(reader: ObjectReader, spec: str) -> bytes | None:
    base, _, path = spec.partition(":")
    object_id = ObjectId(base)
    if path:
        kind, data = reader.read(object_id)
        tree = parse_commit(object_id, data).tree if kind == COMMIT else object_id
        entry = reader.find_path(tree, path)
        if entry is None or entry.is_tree:
            return None
        object_id = entry.id
    return reader.read_kind(object_id, BLOB)


@contextmanager
def _started(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A git to ask; it is gone at the end, also where nobody wants its answers any more."""
    process = subprocess.Popen(
        argv,
        cwd=ANYWHERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=git_environment(BOUNDED),
        bufsize=1 << 16,
    )
    try:
        yield process
    finally:
        process.kill()
        for pipe in (process.stdout, process.stdin):
            try:
                if pipe is not None:
                    pipe.close()
            except (OSError, ValueError):  # ValueError: the thread that feeds it closes it just now
                pass  # questions that it did not wait for
        process.wait()


def _feed(process: subprocess.Popen[bytes], text: str) -> None:
    """Write the questions from a thread, so that neither pipe can fill while the other waits."""
    stdin = process.stdin
    assert stdin is not None

    def write() -> None:
        try:
            stdin.write(data)
            stdin.close()
        except (OSError, ValueError):
            pass  # git ended early: its answer, or its exit code, says so

    data = text.encode("utf-8", "surrogateescape")
    if len(data) <= _PIPE_BYTES:
        write()
    else:
        threading.Thread(target=write, daemon=True).start()
