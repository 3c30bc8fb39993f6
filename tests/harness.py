"""What the tests of the store and the tracking floors share: a clean world, real repositories, child processes."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gittrack.git.command import find_git
from gittrack.git.maintenance import wait_for_folding
from gittrack.git.repository import Repository, open_repository
from gittrack.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Repo:
    """A user's repository with one commit on ``main``."""

    path: Path

    def git(self, *words: str, code: int | None = 0) -> str:
        """What a git command prints; its exit code is checked unless ``code`` is None."""
        done = subprocess.run(["git", *words], cwd=self.path, capture_output=True, text=True, check=False)
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def commit(self, message: str = "work", **files: str) -> str:
        """Commit files by their names ('__' for '.'); returns the commit's id."""
        for name, content in files.items():
            (self.path / name.replace("__", ".")).write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    @property
    def repository(self) -> Repository:
        return open_repository(str(self.path))

    @property
    def store(self) -> Store:
        return Store(self.repository)

    @property
    def state(self) -> Path:
        return Path(self.repository.state_dir)

    @property
    def live_folders(self) -> list[str]:
        live = self.state / "live"
        return sorted(os.listdir(live)) if live.exists() else []

    def wait_for_folding(self) -> None:
        """Wait until no process, dead ones' children included, folds packs in the background."""
        if (self.state / "folding").exists():
            with open(self.state / "folding", "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)

    def assert_sound(self) -> None:
        """Git finds nothing wrong, and no writer has left anything behind."""
        self.wait_for_folding()  # fsck complains of packs that go while it looks
        # the commit graph is a cache, in which git repack -ad leaves commits that it has removed
        self.git("-c", "core.commitGraph=false", "fsck", "--strict", "--no-dangling")
        common = Path(self.repository.common_dir)
        left = [str(path) for path in common.rglob("*.lock") if path.name != "fold.lock"]
        left += [str(path) for path in (common / "objects/pack").glob("*.keep")]
        left += [str(path) for path in (self.state / "tmp").glob("*")]
        assert left == []
        assert self.live_folders == []


@functools.cache
def find_newer_git() -> str:
    """The folder of a git that knows reftable (2.45 and later): of PATH's, or what ``tests/run`` installed."""
    for folder in (os.path.dirname(shutil.which("git") or ""), str(Path(sys.prefix, "newer-git/bin"))):
        told = subprocess.run([f"{folder}/git", "version"], capture_output=True, text=True, check=False).stdout
        if tuple(map(int, re.findall(r"\d+", told)[:2])) >= (2, 45):
            return folder
    raise AssertionError("no git of 2.45 or newer: tests/run installs one")


@functools.cache
def find_mlflow_python() -> str:
    """A Python that has MLflow: ``GITTRACK_MLFLOW_PYTHON``, or the one that ``tests/run`` makes."""
    python = os.environ.get("GITTRACK_MLFLOW_PYTHON") or str(ROOT / ".venv/mlflow/bin/python")
    assert os.access(python, os.X_OK), f"no MLflow at {python}: tests/run installs it"
    return python


@pytest.fixture
def newer_git(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A git that knows reftable is the one on PATH."""
    monkeypatch.setenv("PATH", f"{find_newer_git()}:{os.environ['PATH']}")
    find_git.cache_clear()
    yield
    find_git.cache_clear()


def make_repo(path: Path, *options: str) -> Repo:
    """A new repository with one commit."""
    path.mkdir(parents=True)
    repo = Repo(path)
    repo.git("init", "--quiet", "--initial-branch=main", *options)
    repo.git("config", "user.name", "Ada")
    repo.git("config", "user.email", "ada@example.org")
    repo.git("config", "gc.auto", "0")
    repo.commit("begin", train__py="print('train')\n", __gitignore="*.tmp\n")
    return repo


@pytest.fixture(autouse=True)
def clean_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of the machine's own settings reaches a test, and nothing of a test the next one."""
    for key in list(os.environ):
        if key.startswith(("GIT_", "GITTRACK_")):
            monkeypatch.delenv(key)
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home/.config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home/.cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home/.local/share"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path / "work")
    hook, handlers = (
        sys.excepthook,
        {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)},
    )
    yield
    reset_tracking()
    sys.excepthook = hook
    for number, handler in handlers.items():
        signal.signal(number, handler)


def reset_tracking() -> None:
    """End what a test left open, and forget what it chose."""
    from gittrack.store import committing
    from gittrack.tracking import current, settings, signals
    from gittrack.tracking.opened import opened_runs

    for run in opened_runs.list_own():
        run.end("KILLED")
    opened_runs._runs.clear()
    current._stack.runs.clear()
    current._State.main_runs, current._State.in_threads, current._State.last = current._stack.runs, [], None
    current._State.adopted.clear()
    current._State.recovered.clear()
    committing._warned.clear()
    current._State.system_metrics, current._State.interval_s, current._State.samples = False, 10.0, 1
    current._append = current._append_to_current
    settings._Chosen.uri = settings._Chosen.experiment = settings._Chosen.default = None
    signals._Watch.is_installed, signals._Watch.crash = False, None
    signals._Watch.former.clear()
    wait_for_folding()


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A repository, and the working directory in it."""
    made = make_repo(tmp_path / "repo")
    monkeypatch.chdir(made.path)
    return made


def lose_object(repo: Repo, object_id: str) -> None:
    """Take one object out of the repository, as a broken disk would."""
    objects = Path(repo.repository.objects_dir)
    packs = list((objects / "pack").glob("*.pack"))
    for pack in packs:
        away = repo.path.parent / pack.name
        pack.rename(away)
        for other in pack.parent.glob(pack.stem + ".*"):
            other.unlink()
        with open(away, "rb") as file:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=repo.path, stdin=file, check=True)
    (objects / object_id[:2] / object_id[2:]).unlink()


def start_child(code: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """A Python process of its own that runs code; warnings are errors in it."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_child(code: str, cwd: Path, expect: int = 0, **environment: str) -> tuple[str, str]:
    """What a child process printed and said on stderr, once it has ended with the exit code that is expected."""
    return finish_child(start_child(code, cwd, **environment), expect)


def finish_child(child: subprocess.Popen[str], expect: int = 0) -> tuple[str, str]:
    """What a child printed and said on stderr, once it has ended with the exit code that is expected."""
    try:
        out, err = child.communicate(timeout=WAIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        pytest.fail(f"the child did not end: {out}{err}")
    assert child.returncode == expect, (child.returncode, out, err)
    return out, err


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll until a condition holds; fails after a minute."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run work in threads that begin together; an error in one fails the test."""
    barrier, errors = threading.Barrier(count), list[BaseException]()

    def run(number: int) -> None:
        try:
            barrier.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def in_fork(work: Callable[[], None]) -> int:
    """Run work in a forked child that ends by ``os._exit``; returns its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def mounted(target: Path, *options: str) -> Iterator[Path]:
    """A file system mounted at a folder meanwhile: ``mount``'s options; the tests run as root."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *options, str(target)], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)


def fill_up(ballast: Path) -> None:
    """Write a file until its disk has no room left."""
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError:
        pass
    finally:
        os.close(descriptor)


@contextmanager
def read_only(target: Path) -> Iterator[Path]:
    """A folder that nobody can write to meanwhile, root neither."""
    with mounted(target, "--bind", str(target)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(target)], check=True)
        yield target


def digest_tree(folder: Path) -> Mapping[str, tuple[int, bytes, int]]:
    """Mode, bytes and change time of every file below a folder, by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            found[str(path.relative_to(folder))] = (status.st_mode, path.read_bytes(), status.st_mtime_ns)
    return found


def copy_folder(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, symlinks=True)
    return target
