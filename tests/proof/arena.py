"""Where a harness works: a process of its own with a clean environment, in real repositories."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from gittrack.schema.names import RunId
from gittrack.store.live import LiveRun
from tests.harness import ROOT, Repo, make_repo, reset_tracking

T = TypeVar("T")

COMMAND = str(Path(sys.executable).parent / "gittrack")
_FOREIGN = ("GIT_", "GITTRACK_", "XDG_", "LC_", "LANG")


def clean_environment(folder: Path) -> dict[str, str]:
    """The caller's environment without what steers git or gittrack; HOME and the temp files lie in the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    for name in ("home", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    ours = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "GIT_CONFIG_NOSYSTEM": "1"}
    return {**kept, **ours, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}


@contextmanager
def entered(folder: Path) -> Iterator[None]:
    """This process in the clean environment and in the folder meanwhile."""
    former, place = dict(os.environ), os.getcwd()
    os.environ.clear()
    os.environ.update(clean_environment(folder))
    tempfile.tempdir = None
    os.chdir(folder)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)
        tempfile.tempdir = None
        os.chdir(place)


def become_new(folder: Path) -> None:
    """In a forked child: forget what the parent's process had set or watched, and enter the folder."""
    reset_tracking()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.excepthook = sys.__excepthook__
    os.environ.clear()
    os.environ.update(clean_environment(folder))
    tempfile.tempdir = None
    os.chdir(folder)


def in_process(folder: Path, work: Callable[[], T]) -> T:
    """What some work returns that is done in a forked process of its own; its error is raised here as text.

    Raises:
        RuntimeError: the work failed, or its process died.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _work_and_exit(folder, work, reading, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not told:
        raise RuntimeError(f"the working process told nothing and ended with {code}")
    result, error = pickle.loads(told)
    if error:
        raise RuntimeError(error)
    return result  # type: ignore[no-any-return]


def _work_and_exit(folder: Path, work: Callable[[], Any], reading: int, writing: int) -> None:
    code = 1
    try:
        os.close(reading)
        become_new(folder)
        try:
            told = (work(), "")
        except BaseException:
            told = (None, traceback.format_exc())
        reset_tracking()
        with open(writing, "wb") as pipe:
            pickle.dump(told, pipe)
        code = 0
    finally:
        os._exit(code)


def new_repo(folder: Path, name: str) -> Repo:
    """A fresh repository of a user, in place of one of that name."""
    shutil.rmtree(folder / name, ignore_errors=True)
    return make_repo(folder / name)


def run_command(place: Path, *words: str) -> str:
    """What the real command line prints.

    Raises:
        AssertionError: it failed, or said anything on stderr.
    """
    done = subprocess.run([COMMAND, *words], cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), (words, done.returncode, done.stderr[-2000:])
    return done.stdout


def find_unsound(repo: Repo) -> list[str]:
    """What git finds wrong with a repository, and what writers left behind in it; one line each."""
    try:
        repo.assert_sound()
    except AssertionError as error:
        return [f"not sound: {str(error)[:500] or repo.live_folders}"]
    return []


def age_the_unborn(repo: Repo) -> None:
    """Let nobody wait for who died before its first record was written.

    For a minute it may be just born, for all that can be told; then the next command clears it away.
    """
    for name in repo.live_folders:
        folder = repo.state / "live" / name
        streams = LiveRun(str(folder), RunId(name)).read_streams()
        for path in [stream.path for stream in streams if not stream.writer] or ([] if streams else [folder]):
            os.utime(path, (0, 0))


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._begun, 2)
