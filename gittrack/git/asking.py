"""Conversations with a running git: objects one at a time, and the pipes for thousands of questions at once.

Whatever a git answers is bounded: a line that does not end, or an object larger than it may be, ends the talk.
"""

from __future__ import annotations

import errno
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

from gittrack.errors import DamagedError
from gittrack.git.command import ANYWHERE, BOUNDED, find_git, git_argv, git_environment
from gittrack.git.objects import KIND_NUMBERS, ObjectId, has_id
from gittrack.git.repository import Repository

BATCH_HEADER = re.compile(rb"([0-9a-f]{40,64}) (commit|tree|blob|tag) ([0-9]+)\n")
LINE_BYTES_MAX = 1 << 16  # a question and a word: commit, path, 'missing'
STOPS_MAX = 1000  # 3 ms each; where there are more, it must be git itself that does not work
_PIECE_BYTES = 1 << 20
_PIPE_BYTES = 4096  # the least that a pipe holds


class AskedGit:
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
        if self._process is None and find_git() and self._starts < STOPS_MAX:
            self._starts += 1
            words = ("-c", "core.multiPackIndex=false", "cat-file", "--batch")  # at a damaged one git ends
            argv = git_argv(self._repository.common_dir, *words)
            self._process = self._opened.enter_context(started(argv))
        return self._process


@contextmanager
def started(argv: list[str], source: IO[bytes] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A git to ask; it is gone at the end, also where nobody wants its answers any more.

    With ``source``, another git's output, that one is asking.
    """
    process = subprocess.Popen(
        argv,
        cwd=ANYWHERE,
        stdin=source or subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=git_environment(BOUNDED),
        bufsize=1 << 16,
    )
    if source is not None:
        source.close()  # ours, so that the other git learns where this one ends
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


def feed(process: subprocess.Popen[bytes], text: str) -> None:
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


def too_large(object_id: ObjectId, limit: int | None) -> DamagedError:
    return DamagedError(f"object {object_id}", f"it has more than {limit} bytes, too many to be read")


def _ask_one(process: subprocess.Popen[bytes], object_id: ObjectId, limit: int | None) -> tuple[int, bytes] | None:
    """An object from a git that answers; None where it has none of that id.

    Raises:
        OSError: git ended. DamagedError: the object has more than ``limit`` bytes.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{object_id}\n".encode())
    process.stdin.flush()
    line = process.stdout.readline(LINE_BYTES_MAX)
    if not line.endswith(b"\n"):
        raise OSError(errno.EPIPE, "git ended")
    header = BATCH_HEADER.fullmatch(line)
    if header is None:
        return None
    size = int(header[3])
    if limit is not None and size > limit:
        raise too_large(object_id, limit)
    pieces, left = list[bytes](), size + 1  # and the end of the line
    while left:
        piece = process.stdout.read(min(left, _PIECE_BYTES))
        if not piece:
            raise OSError(errno.EPIPE, "git ended")
        pieces.append(piece)
        left -= len(piece)
    return KIND_NUMBERS[header[2]], b"".join(pieces)[:-1]
