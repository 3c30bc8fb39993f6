"""Running the user's own git: fixed argv, no shell, no prompts, no hooks, no filters of the repository.

Used for what C git does better than a library: bulk reading, the state of a work tree, maintenance,
checks. Only this floor imports it.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from gittrack.errors import CommandError

# What a repository's own configuration could start, or wait for, while we only read.
_QUIET = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0")


@functools.cache
def find_git() -> str | None:
    """Path of the git program, or None where there is none."""
    return shutil.which("git")


def git_argv(git_dir: str, *words: str) -> list[str]:
    """The argv of a git command on ``git_dir``; `find_git` must have found one."""
    return [find_git() or "git", *_QUIET, f"--git-dir={git_dir}", *words]


def git_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for git: the user's, without what would point it at another repository."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    for kept in ("GIT_SSH_COMMAND", "GIT_SSH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
        if kept in os.environ:
            environment[kept] = os.environ[kept]
    environment.update({"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"})
    environment.update(extra or {})
    return environment


def run_git(git_dir: str, *words: str, stdin: bytes = b"", cwd: str | None = None) -> bytes:
    """What a git command prints.

    Raises:
        CommandError: git exited with another code than 0.
    """
    argv = git_argv(git_dir, *words)
    done = subprocess.run(argv, input=stdin, capture_output=True, cwd=cwd, env=git_environment(), check=False)
    if done.returncode:
        raise CommandError(_shown(argv), done.returncode, done.stderr.decode(errors="replace"))
    return done.stdout


def _shown(argv: Sequence[str]) -> list[str]:
    """The argv as a person would type it, for messages."""
    rest = [word for word in argv[1:] if not word.startswith("--git-dir")]
    while len(rest) > 1 and rest[0] == "-c":
        rest = rest[2:]
    return ["git", *rest]
