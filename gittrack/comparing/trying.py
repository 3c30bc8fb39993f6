"""Running the user's command at a commit: in a clone of its own, on shared objects, that is gone afterwards.

The user's HEAD, index and work tree stay as they are. The runs that the command makes go to the user's repository.
It is the one place that runs code of a repository, and it runs what the user typed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gittrack.errors import CommandError, RepositoryError
from gittrack.git.command import find_git, git_environment
from gittrack.git.repository import Repository
from gittrack.tracking.settings import format_uri

_NOT_COMMITTED = "__pycache__/\n"  # what importing leaves: the code is no other for it
_ENDED_BY_USER = 130


class Workbench:
    """A clone to lay out commits in and run a command there, one after another."""

    def __init__(self, repository: Repository, folder: str, below: str) -> None:
        self._repository = repository
        self._folder = folder
        self._below = below
        self._git("init", "--quiet", f"--object-format={repository.object_format}", "--template=", ".")
        info = os.path.join(folder, ".git", "info")
        os.makedirs(info, exist_ok=True)
        with open(os.path.join(folder, ".git", "objects", "info", "alternates"), "w") as file:
            file.write(repository.objects_dir + "\n")
        with open(os.path.join(info, "exclude"), "w") as file:
            file.write(_NOT_COMMITTED)
        # what git-lfs puts in place of its pointers is in the user's repository
        self._git("config", "lfs.storage", os.path.join(repository.common_dir, "lfs"))

    def lay_out(self, commit: str) -> None:
        """Make the files those of a commit, and nothing else.

        Raises:
            CommandError: git cannot.
        """
        self._git("checkout", "--quiet", "--force", "--detach", commit, "--")  # an id: it cannot be an option
        self._git("clean", "--quiet", "-ffdx")

    def run(self, command: Sequence[str], experiment_id: str | None) -> int:
        """Run a command in the files, its output on stderr; returns its exit code, 128 + n for signal n.

        Its runs go to an experiment, where one is given, unless the command itself chooses another.

        Raises:
            KeyboardInterrupt: the user ended it.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        environment.pop("GITTRACK_RUN_ID", None)
        environment["GITTRACK_URI"] = format_uri(self._repository.common_dir)
        if experiment_id is not None:
            environment["GITTRACK_EXPERIMENT_ID"] = experiment_id
        place = os.path.join(self._folder, self._below)
        try:
            code = subprocess.call(
                command, cwd=place if os.path.isdir(place) else self._folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(),
            )  # fmt: skip
        except OSError as error:
            raise CommandError(list(command), 127, f"{command[0]}: {error.strerror}") from error
        if code in (-2, _ENDED_BY_USER):
            raise KeyboardInterrupt
        return code if code >= 0 else 128 - code

    def _git(self, *words: str) -> None:
        argv = [find_git() or "git", "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", *words]
        done = subprocess.run(argv, cwd=self._folder, env=git_environment(), capture_output=True, check=False)
        if done.returncode:
            raise CommandError(["git", *words], done.returncode, done.stderr.decode(errors="replace"))


@contextmanager
def open_workbench(repository: Repository) -> Iterator[Workbench]:
    """A workbench for a repository's commits; it is removed at the end, whatever ends it.

    Raises:
        RepositoryError: there is no git program.
    """
    if not find_git():
        raise RepositoryError("there is no git on PATH, and commits cannot be laid out without", "install git")
    folder = tempfile.mkdtemp(prefix="gittrack-bisect-")
    try:
        yield Workbench(repository, folder, _place_below(repository))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place_below(repository: Repository) -> str:
    """Where in the work tree the user stands: the command runs in the same place of the clone."""
    top = repository.work_tree
    below = os.path.relpath(os.path.realpath(os.getcwd()), os.path.realpath(top)) if top else "."
    return "." if below.startswith("..") else below
