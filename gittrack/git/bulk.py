"""Reading in bulk: histories by ``git rev-list``, files by ``git cat-file --batch``.

C git's stream costs 25 µs a run, dulwich half a millisecond on a packed repository; where there is no git
program, everything goes through dulwich.
"""

from __future__ import annotations

import heapq
import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from gittrack.errors import DamagedError, GittrackError, NotFoundError, RepositoryError
from gittrack.git.asking import BATCH_HEADER, LINE_BYTES_MAX, STOPS_MAX, feed, started
from gittrack.git.command import find_git, git_argv
from gittrack.git.objects import (
    BLOB,
    COMMIT,
    KIND_NUMBERS,
    TREE,
    Commit,
    ObjectId,
    has_id,
    parse_commit,
    parse_seconds,
    parse_tree,
)
from gittrack.git.promised import bring_missing, is_partial
from gittrack.git.reading import PARSED_BYTES_MAX, ObjectReader
from gittrack.git.repository import Repository

_log = logging.getLogger("gittrack")
_IS_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_COMMIT_FORMAT = "%T%n%P%n%an <%ae>%n%ct%n%B%x00"


def walk_commits(
    repository: Repository, tips: Iterable[ObjectId], *, grep: str = "", beyond: Collection[ObjectId] = ()
) -> Iterator[Commit]:
    """Every commit reachable from some tips, each once, newest first as far as their dates are true.

    With ``grep`` only the commits that have that fixed text in their message. What is reachable from ``beyond`` is
    left out; where there is no git, some of it may come all the same.

    Raises:
        RepositoryError: the history is damaged, or cut otherwise than by a shallow clone.
    """
    wanted = sorted(set(tips))
    if not wanted:
        return
    if find_git():
        yield from _walk_by_git(repository, wanted, grep, beyond)
    else:

        def stop(error: GittrackError) -> None:
            raise _broken_history(repository) from error

        yield from _walk_by_dulwich(repository, wanted, grep, stop, beyond)


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


def list_trailers(
    repository: Repository, key: str, tips: Iterable[ObjectId], beyond: Collection[ObjectId] = ()
) -> Iterator[str]:
    """The values of a trailer in the commits of one parent or none; a tenth of what `walk_commits` costs.

    Git alone says what a trailer is: for counting, not for deciding.

    Raises:
        RepositoryError: the history cannot be walked to its end.
    """
    words = ("rev-list", "--max-parents=1", f"--format=%(trailers:key={key},valueonly)", "--stdin")
    with started(git_argv(repository.common_dir, *words)) as process:
        assert process.stdout is not None
        feed(process, "".join([*(f"{tip}\n" for tip in tips), *(f"^{known}\n" for known in beyond)]))
        for line in process.stdout:
            if line != b"\n" and not line.startswith(b"commit "):
                yield line.decode(errors="replace").rstrip("\n")
        if process.wait():
            raise _broken_history(repository)


def read_blobs(repository: Repository, specs: Sequence[str]) -> Iterator[bytes | None]:
    """The blobs that ``<commit or tree>:<path>`` or ids name, in order; None where there is none.

    A blob over `PARSED_BYTES_MAX` bytes counts as not there. Paths are as `ObjectReader.walk_tree` gives them.
    """
    yield from _read_kind(repository, specs, BLOB)


def read_commits(repository: Repository, commits: Sequence[ObjectId]) -> Iterator[Commit | None]:
    """These commits, in order; None where one is not there or damaged."""
    for commit_id, data in zip(commits, _read_kind(repository, commits, COMMIT), strict=True):
        try:
            found = None if data is None else parse_commit(commit_id, data)
        except DamagedError:
            found = None
        yield found


def read_trees(repository: Repository, trees: Sequence[ObjectId]) -> Iterator[dict[bytes, ObjectId] | None]:
    """What each of these trees holds, ids by name, in order; None where one is not there or damaged."""
    for tree, data in zip(trees, _read_kind(repository, trees, TREE), strict=True):
        try:
            found = None if data is None else {entry.name: entry.id for entry in parse_tree(tree, data)}
        except DamagedError:
            found = None
        yield found


def _read_kind(repository: Repository, specs: Sequence[str], kind: int) -> Iterator[bytes | None]:
    if not specs:
        return
    if is_partial(repository):
        specs = _bring(repository, specs)
    if find_git():
        yield from _read_by_git(repository, specs, kind)
    else:
        yield from _read_by_dulwich(repository, specs, kind)


def _bring(repository: Repository, specs: Sequence[str]) -> list[str]:
    """The ids of what is asked for in a partial clone, once all of it is here; empty for a path that is not."""
    found, paths = list(specs), dict[int, list[bytes]]()
    for number, spec in enumerate(specs):
        base, colon, path = spec.partition(":")
        found[number] = base
        if colon:
            paths[number] = path.encode("utf-8", "surrogateescape").split(b"/")
    bases = [ObjectId(found[number]) for number in paths]
    for number, commit in zip(paths, read_commits(repository, bases), strict=True):
        found[number] = commit.tree if commit else found[number]
    while paths:  # a folder of all of them at a time
        trees = read_trees(repository, [ObjectId(found[number]) for number in paths])
        for number, names in zip(list(paths), trees, strict=True):
            found[number] = (names or {}).get(paths[number].pop(0), "")
            if not paths[number] or not found[number]:
                del paths[number]
    bring_missing(repository, [ObjectId(spec) for spec in found if _IS_ID.fullmatch(spec)])
    return found


def _walk_by_git(
    repository: Repository, tips: list[ObjectId], grep: str, beyond: Collection[ObjectId]
) -> Iterator[Commit]:
    options = ["--fixed-strings", f"--grep={grep}"] if grep else []
    argv = git_argv(
        repository.common_dir, "rev-list", "--encoding=UTF-8", f"--format={_COMMIT_FORMAT}", *options, "--stdin"
    )
    with started(argv) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        feed(process, "".join([*(f"{tip}\n" for tip in tips), *(f"^{known}\n" for known in beyond)]))
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
        parse_seconds(committed_at or "0"),
        message,
    )


def _walk_by_dulwich(
    repository: Repository,
    tips: list[ObjectId],
    grep: str,
    lost: Callable[[GittrackError], None],
    beyond: Collection[ObjectId] = (),
) -> Iterator[Commit]:
    """By date, as git does: the newest of the commits that are known but not yet told comes next.

    What cannot be read is passed over when ``lost``, which is told why, comes back.
    """
    shallow, seen = read_shallow(repository), set(beyond)
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


def read_shallow(repository: Repository) -> set[str]:
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


def _read_by_git(repository: Repository, specs: Sequence[str], kind: int) -> Iterator[bytes | None]:
    """By as many gits as it takes: one ends at the first damaged or huge object, which counts as not there."""
    asked, stops = 0, 0
    while asked < len(specs):
        for data in _batch(repository, specs[asked:], kind):
            yield data
            asked += 1
        if asked < len(specs):
            stops += 1
            if stops > STOPS_MAX:
                raise RepositoryError(f"git cannot read the objects of {repository.label}", "see: git fsck")
            yield None
            asked += 1


def _batch(repository: Repository, specs: Sequence[str], kind: int) -> Iterator[bytes | None]:
    """The answers of one git, as far as it comes."""
    argv = git_argv(repository.common_dir, "cat-file", "--batch", "--buffer")
    with started(argv) as process:
        assert process.stdout is not None
        # a line is a question: what would be two lines is asked as nothing
        feed(process, "".join("\n" if "\n" in spec else f"{spec}\n" for spec in specs))
        out = process.stdout
        for _ in specs:
            line = out.readline(LINE_BYTES_MAX)
            if not line.endswith(b"\n"):  # an object that says it is smaller than it is runs on here
                return
            header = BATCH_HEADER.fullmatch(line)  # id, kind, size
            if header is None:  # "<question> missing", and the question may hold anything
                yield None
                continue
            size = int(header[3])
            if size > PARSED_BYTES_MAX:
                return  # to ask another git for the rest is cheaper than to hear a bomb out
            content = out.read(size + 1)[:size]
            if len(content) < size:
                return
            is_whole = KIND_NUMBERS[header[2]] == kind and has_id(ObjectId(header[1].decode()), kind, content)
            yield content if is_whole else None  # a damaged index leads to another object


def _read_by_dulwich(repository: Repository, specs: Sequence[str], kind: int) -> Iterator[bytes | None]:
    with ObjectReader(repository) as reader:
        for spec in specs:
            try:
                yield _read_one_by_dulwich(reader, spec, kind)
            except (NotFoundError, DamagedError):
                yield None


def _read_one_by_dulwich(reader: ObjectReader, spec: str, kind: int) -> bytes | None:
    base, _, path = spec.partition(":")
    object_id = ObjectId(base)
    if path:
        found, data = reader.read(object_id)
        tree = parse_commit(object_id, data).tree if found == COMMIT else object_id
        entry = reader.find_path(tree, path)
        if entry is None or entry.is_tree:
            return None
        object_id = entry.id
    return reader.read_kind(object_id, kind)
