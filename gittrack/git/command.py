"""Running the user's own git: fixed argv, no shell, no prompts, no hooks, no filters of the repository.

Used for what C git does better than a library: bulk reading, the state of a work tree, maintenance,
checks. Only this floor imports it.
"""

from __future__ import annotations

import functools
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence

from gittrack.errors import CommandError, RepositoryError

# What a repository's own configuration could start, or wait for, while we only read.
_QUIET = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0"),
    *("-c", "advice.graftFileDeprecated=false"),  # that we name an empty one
)
_WAIT_S = 30.0  # a work tree on a network that is away


@functools.cache
def find_git() -> str | None:
    """Path of the git program, or None where there is none."""
    return shutil.which("git")


# How git reads what may be a bomb: blobs over 16 MiB in pieces, and nothing that takes more memory at once than
# the table of two million commits does: it ends there instead.
BOUNDED = {
    "GIT_ALLOC_LIMIT": "64m",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.bigFileThreshold",
    "GIT_CONFIG_VALUE_0": "16m",
}
# for git fsck, which rightly holds what deltas make of a large file, the first of them alone
IN_PIECES = {key: value for key, value in BOUNDED.items() if key != "GIT_ALLOC_LIMIT"}

# Git does not start in a folder that is gone, as a removed work tree is; with --git-dir any other will do.
ANYWHERE = "/"


def git_argv(git_dir: str, *words: str) -> list[str]:
    """The argv of a git command on ``git_dir``; `find_git` must have found one."""
    return [find_git() or "git", *_QUIET, f"--git-dir={git_dir}", *words]


def git_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for git: the user's, without what would point it at another repository.

    Of a partial clone only what is there is read: nothing is fetched unasked (git 2.44), and no transport starts
    (an older git would). What is to fetch or to push sets ``GIT_ALLOW_PROTOCOL`` by ``extra``.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    for kept in ("GIT_SSH_COMMAND", "GIT_SSH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
        if kept in os.environ:
            environment[kept] = os.environ[kept]
    environment.update({"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"})
    environment["GIT_NO_REPLACE_OBJECTS"] = "1"  # an id names the same bytes in every clone
    environment["GIT_NO_LAZY_FETCH"] = "1"
    environment["GIT_ALLOW_PROTOCOL"] = "none"  # no protocol has that name; it is before any protocol.*.allow
    environment["GIT_GRAFT_FILE"] = os.devnull  # as with replaced objects: a commit has the parents that it names
    environment.update(extra or {})
    return environment


def run_git(
    git_dir: str,
    *words: str,
    stdin: bytes = b"",
    cwd: str = ANYWHERE,
    keep_open: Sequence[int] = (),
    extra: Mapping[str, str] | None = None,
) -> bytes:
    """What a git command prints; it inherits the descriptors to ``keep_open``, ``extra`` is its environment too.

    Raises:
        CommandError: git exited with another code than 0. RepositoryError: there is none, or it is too old for the
            repository.
    """
    if not find_git():
        raise RepositoryError(f"there is no git on PATH, and {git_dir} cannot be read without", "install git")
    argv = git_argv(git_dir, *words)
    done = subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env=git_environment(extra),
        check=False,
        pass_fds=keep_open,
    )
    if done.returncode:
        told = done.stderr.decode(errors="replace")
        if "unknown repository extension" in told:  # refs in tables, of which git knows since 2.45
            raise RepositoryError(
                f"this git is too old for the storage format of {git_dir}", "install a newer git"
            )
        raise CommandError(_shown(argv), done.returncode, told)
    return done.stdout


def spawn_detached(argv: list[str], environment: Mapping[str, str]) -> int:
    """Start a program that outlives this one, hears and says nothing, and has no terminal; returns its process id.

    Costs half a millisecond: nothing is forked. The caller collects it.

    Raises:
        OSError: it does not start.
    """
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    try:
        return os.posix_spawn(argv[0], argv, environment, file_actions=quiet, setsid=True)
    except NotImplementedError:  # posix_spawn without setsid: it then dies with the terminal, which loses nothing
        return os.posix_spawn(argv[0], argv, environment, file_actions=quiet)


class Question:
    """A git command that was started; its answer is read later, and it is gone at the end of the ``with``.

    1.1 ms cheaper than `subprocess.run` with a timeout, which sleeps between its looks at the process. What it
    complains of is dropped.

    Raises:
        OSError: it does not start.
    """

    def __init__(
        self, argv: Sequence[str], cwd: str, extra: Mapping[str, str] | None = None, *, stdin: bytes = b""
    ) -> None:
        self._argv = argv
        with tempfile.TemporaryFile() if stdin else open(os.devnull, "rb") as source:
            if stdin:
                source.write(stdin)
                source.seek(0)
            self._process = subprocess.Popen(
                argv,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=cwd,
                env=git_environment(extra),
                close_fds=False,  # Python's own are not inherited
                bufsize=0,
            )

    def __enter__(self) -> Question:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        self._process.__exit__(None, None, None)

    def read_answer(self) -> bytes:
        """What it prints, once it has ended.

        Raises:
            CommandError: git exited with another code than 0. OSError: it did not end in 30 s.
        """
        output = _read_to_end(self._process)
        if self._process.wait():
            raise CommandError(_shown(self._argv), self._process.returncode, "")
        return output


def read_output(
    argv: Sequence[str], cwd: str, extra: Mapping[str, str] | None = None, *, stdin: bytes = b""
) -> bytes:
    """What a git command prints; raises as `Question`."""
    with Question(argv, cwd, extra, stdin=stdin) as question:
        return question.read_answer()


def _read_to_end(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    descriptor, deadline = process.stdout.fileno(), time.monotonic() + _WAIT_S
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    chunks: list[bytes] = []
    while True:
        if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError(f"git did not answer within {_WAIT_S:.0f} s")
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def _shown(argv: Sequence[str]) -> list[str]:
    """The argv as a person would type it, for messages."""
    rest = [word for word in argv[1:] if not word.startswith("--git-dir")]
    while len(rest) > 1 and rest[0] == "-c":
        rest = rest[2:]
    return ["git", *rest]
