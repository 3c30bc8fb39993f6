"""The small world that an attack is made in: a repository, a home, a spool; copied from a template for each.

All copies stand at one path, so that nothing in them that names a path is wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gittrack.errors import GittrackError
from gittrack.git.repository import discover_repository, open_repository
from gittrack.store import experiments
from gittrack.store.history import find_revisions
from gittrack.store.runs import StoredRun
from gittrack.store.store import Store
from tests.proof.ledger import State, to_json

LIMIT_S = 30.0
_DROPPED = ("GIT_", "GITTRACK_", "LD_PRELOAD", "SHIM_", "XDG_")


@dataclass(frozen=True, slots=True)
class World:
    """Where an attack happens; ``ledger`` lies outside of what is watched."""

    folder: Path

    @property
    def repo(self) -> Path:
        return self.folder / "world/repo"

    @property
    def home(self) -> Path:
        return self.folder / "world/home"

    @property
    def spool(self) -> Path:
        return self.folder / "world/tmp"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def watched(self) -> tuple[Path, ...]:
        return (self.repo, self.home, self.spool)

    def environment(self) -> dict[str, str]:
        """What a process gets here: nothing of the caller's settings."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_DROPPED)}
        return {
            **kept,
            "HOME": str(self.home),
            "TMPDIR": str(self.spool),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GITTRACK_URI": "",
            "TERM": "dumb",
        }

    def enter(self) -> None:
        """Make this process one that works here."""
        import tempfile

        environment = self.environment()
        for key in set(os.environ) - set(environment):
            del os.environ[key]
        os.environ.update(environment)
        tempfile.tempdir = None
        tempfile.gettempdir()  # Python writes a file to see whether it can; one killed meanwhile leaves it
        os.chdir(self.repo)

    def make(self) -> None:
        """An empty world."""
        shutil.rmtree(self.folder / "world", ignore_errors=True)
        for folder in self.watched:
            folder.mkdir(parents=True)
        self.ledger.unlink(missing_ok=True)

    def keep_as(self, template: Path) -> None:
        """Let what was prepared be a template, its ledger beside it."""
        shutil.copytree(self.folder / "world", template / "world", symlinks=True)
        shutil.copyfile(self.ledger, template / "ledger")

    def take(self, template: Path) -> None:
        """Put a fresh copy of a template here; a disk that is mounted at the repository's place stays."""
        shutil.rmtree(self.folder / "world", ignore_errors=True)
        shutil.copytree(template / "world", self.folder / "world", symlinks=True, dirs_exist_ok=True)
        self.ledger.unlink(missing_ok=True)

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.repo, capture_output=True, text=True, env=self.environment()
        )
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def make_repository(self) -> None:
        """A user's repository with one commit and a changed file."""
        self.git("init", "--quiet", "--initial-branch=main", "--template=")
        for key, value in (("user.name", "Ada"), ("user.email", "ada@example.org"), ("gc.auto", "0")):
            self.git("config", key, value)
        (self.repo / "train.py").write_text("print('train')\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", "begin")
        (self.repo / "train.py").write_text("print('train more')\n")


class CommandError(Exception):
    """A command line that did not exit with 0."""

    def __init__(self, words: tuple[str, ...], code: int, output: str, said: str) -> None:
        super().__init__(f"gittrack {' '.join(words)}: exit code {code}: {said.strip()}")
        self.code, self.output, self.said = code, output, said


def gittrack(*words: str) -> str:
    """What a command prints, run inside this very process as its main would.

    Raises:
        CommandError: its exit code is not 0.
    """
    from gittrack.cli.app import _guarded

    out, err, former = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True),
        io.StringIO(),
        sys.argv,
    )
    sys.argv = ["gittrack", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = _guarded()
            except SystemExit as end:
                code = int(end.code or 0) if not isinstance(end.code, str) else 1
    finally:
        sys.argv = former
    printed = out.buffer.getvalue().decode()
    if code:
        raise CommandError(words, code, printed, err.getvalue())
    return printed


def in_child(work: Callable[[], Any], answer: Path, limit_s: float = LIMIT_S) -> tuple[int, Any]:
    """How a forked child ended that did some work, and what it returned (JSON), None where it did not."""
    answer.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        _work_in_child(work, answer)
    deadline = time.monotonic() + limit_s
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    former = signal.signal(signal.SIGALRM, lambda number, frame: os.kill(pid, signal.SIGKILL))
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    if time.monotonic() > deadline:
        return code, {"hung": True}
    return code, json.loads(answer.read_text()) if answer.exists() else None


def _work_in_child(work: Callable[[], Any], answer: Path) -> None:
    code = 1
    try:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        result = work()
        answer.write_text(json.dumps(result))
        code = 0
    except BaseException:
        answer.write_text(json.dumps({"error": traceback.format_exc()[-1500:]}))
    finally:
        os._exit(code)


def read_state(store: Store) -> State:
    """The repository as gittrack reads it, in the words of a ledger."""
    listing = store.list_runs()
    assert not listing.problems, listing.problems
    commits = Counter(revision.id for revision in find_revisions(store.repository, ""))
    state: State = {
        f"run {stored.record.name}": _read_run(store, stored, commits[stored.record.id]) for stored in listing.runs
    }
    assert len(state) == len(listing.runs), "two runs of one name"
    for found in experiments.list_experiments(store.repository):
        if found.created_at:
            state[f"experiment {found.name}"] = {"lifecycle": found.lifecycle, "tags": dict(found.tags)}
    return state


def _read_run(store: Store, stored: StoredRun, commits: int) -> dict[str, Any]:
    run = stored.record
    assert commits == (run.revision if stored.commit is not None else 0), f"{commits} commits of {run.name}"
    files = {}
    for found in store.list_artifacts(stored):
        assert found.path not in files
        is_link = found.mode == 0o120000
        chunks = store.read_link(stored, found) if is_link else store.read_artifact(stored, found)
        files[found.path] = f"{found.mode:o} {hashlib.sha256(b''.join(chunks)).hexdigest()}"
    return {
        "experiment": run.experiment,
        "status": run.status,
        "lifecycle": run.lifecycle,
        "revision": run.revision if stored.commit is not None else 0,
        "note": run.note,
        "params": {key: to_json(value) for key, value in run.params.items()},
        "tags": dict(run.tags),
        "points": {
            key: [[point.step, point.value.hex()] for point in store.read_history(stored, key)]
            for key in run.metrics
        },
        "artifacts": files,
    }


def find_leftovers(world: World) -> Iterator[str]:
    """What no writer may leave behind: locks, kept packs, temp files, folders of runs that are none."""
    repository = discover_repository(str(world.repo)) or open_repository(str(world.repo / "gittrack.git"))
    common, state = Path(repository.common_dir), Path(repository.state_dir)
    for path in common.rglob("*"):
        name = path.name
        if name.endswith((".lock", ".keep", ".tmp", ".new", ".part")) and name != "fold.lock":
            yield f"{path.relative_to(common)} stays"
    for path in (common / "objects").rglob("*"):
        if path.is_file() and path.suffix not in (".pack", ".idx", ".rev", ".mtimes") and len(path.name) != 38:
            yield f"{path.relative_to(common)} stays"
    for path in (common / "lfs").rglob("*"):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
            yield f"{path.relative_to(common)} is not what its name says"
    for path in (state / "tmp").rglob("*"):
        yield f"{path.relative_to(common)} stays"
    for path in world.home.rglob("*"):
        if not path.relative_to(world.home).as_posix().startswith(".cache"):  # the index, which may always go
            yield f"{path.relative_to(world.home)} stays in HOME"
    for path in world.spool.rglob("*"):
        if path.is_file():
            yield f"{path.relative_to(world.spool)} stays in TMPDIR"


def list_live_folders(world: World) -> list[Path]:
    """The folders of runs in flight, of the repository and of the spool, those set aside included."""
    return sorted([*world.repo.glob("**/gittrack/live/*"), *world.spool.glob("gittrack-*/*/live/*")])


def fsck(world: World) -> list[str]:
    """What git finds wrong."""
    repository = discover_repository(str(world.repo)) or open_repository(str(world.repo / "gittrack.git"))
    argv = ["git", f"--git-dir={repository.common_dir}", "fsck", "--strict", "--no-dangling", "--no-progress"]
    done = subprocess.run(argv, capture_output=True, text=True, env=world.environment(), check=False)
    said = re.sub(r"notice: .*\n", "", done.stdout + done.stderr).strip()
    return [f"fsck exits with {done.returncode}: {said}"] if done.returncode or said else []


def open_store(world: World) -> Store:
    found = discover_repository(str(world.repo))
    if found is None:
        bare = world.repo / "gittrack.git"
        if not bare.exists():
            raise GittrackError("no repository")
        found = open_repository(str(bare))
    return Store(found)
