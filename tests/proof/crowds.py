"""A crowd on one branch: processes that log runs, beside git's upkeep, a user at work in git, and readers.

Every run whose end returned must be in the branch exactly once, with all of its points, though collecting,
repacking and packing of refs go on all the time. The user's own repository must end as the same commands leave it
where there is no gittrack. The user's commands and git's upkeep take turns: git itself may lose what a user's
command is about to name when it prunes beside it.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gittrack
from gittrack.store import folding
from tests.harness import Repo
from tests.proof.arena import (
    COMMAND,
    Stopwatch,
    become_new,
    clean_environment,
    find_unsound,
    in_process,
    new_repo,
)
from tests.proof.tally import Tally

PROMISE = (
    "processes that log to one branch at once lose nothing, nor does git's upkeep or a user's work beside them"
)
UNIT = "runs"
FULL = 4_000
SLICE = 120

_PROCESSES = 8
_POINTS = 5
_LIMIT_S = 600.0
_UPKEEP = [
    ("gc", "--prune=now", "--quiet"),
    ("repack", "-a", "-d", "--quiet"),
    ("repack", "--cruft", "--cruft-expiration=now", "-d", "--quiet"),
    ("pack-refs", "--all"),
]
_DATES = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}

Spoil = Callable[[], None]


def attack(count: int, seed: int, folder: Path) -> Tally:
    """Let 8 processes log so many runs, a user and git's upkeep and readers beside them."""
    return in_process(folder, lambda: _Crowd(count, seed, folder).hold())


def control(count: int, seed: int, folder: Path) -> Tally:
    """The same with dulwich's own commit, and dulwich's own packing of refs among the upkeep."""
    return in_process(folder, lambda: _Crowd(count, seed, folder, _commit_by_dulwich, ["dulwich"]).hold())


class _Crowd:
    """One gathering; works in a process of its own."""

    def __init__(
        self, count: int, seed: int, folder: Path, spoil: Spoil | None = None, more_upkeep: list[str] | None = None
    ) -> None:
        self._count = count
        self._each = -(-count // _PROCESSES)
        self._source = random.Random(seed)
        self._folder = folder
        self._spoil = spoil
        self._upkeep = [*_UPKEEP, *((name,) for name in more_upkeep or [])]
        self._repo = new_repo(folder, "repo")
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._losses: list[str] = []
        self._counts = Counter[str]()

    def hold(self) -> Tally:
        user = _User(self._repo.path, self._take_turn)
        user.prepare()
        twin = _User(Path(shutil.copytree(self._repo.path, self._folder / "twin", symlinks=True)), self._take_turn)
        watch = Stopwatch()
        workers = [self._start_worker(number) for number in range(_PROCESSES)]
        with self._beside(self._keep_up, lambda: self._work_as(user), self._read_by_command, self._read_by_api):
            told = [line for worker in workers for line in worker()]
            seconds = watch.seconds
        acknowledged, doubts = [line for line in told if line[0] != "!"], [line for line in told if line[0] == "!"]
        if self._spoil is None:
            self._losses += [f"a worker warned: {line}" for line in doubts]
        for _ in range(self._counts["rounds of the user"]):
            twin.work_a_round()
        self._losses += user.compare(twin)
        self._check(acknowledged)
        self._losses += find_unsound(self._repo)
        seen = {"acknowledged": len(acknowledged), "seconds for the runs": seconds, "seconds": watch.seconds}
        return Tally(len(acknowledged), self._losses, {**seen, **self._counts})

    # -- workers -----------------------------------------------------------------------------------------

    def _start_worker(self, number: int) -> Callable[[], list[str]]:
        """A process that logs its runs and tells the id of each whose end returned; returns what reads that."""
        path = self._folder / f"told-{number}"
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                become_new(self._folder)
                os.chdir(self._repo.path)
                if self._spoil is not None:
                    self._spoil()
                with open(path, "a", buffering=1) as told:
                    _log_runs(number, range(number, self._count, _PROCESSES), told.write)
                code = 0
            finally:
                os._exit(code)

        def wait() -> list[str]:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if code:
                self._losses.append(f"worker {number} ended with {code}")
            return path.read_text().splitlines()

        return wait

    # -- what goes on beside them ------------------------------------------------------------------------

    @contextmanager
    def _beside(self, *works: Callable[[], None]) -> Iterator[None]:
        """Let each work be done again and again, in a thread of its own, at least once."""

        def repeat(work: Callable[[], None]) -> None:
            while True:
                try:
                    work()
                except Exception as error:
                    self._losses.append(f"beside the crowd: {error!r:.2000}")
                    return
                if self._over.wait(0.05):
                    return

        with ExitStack() as stack:
            for work in works:
                thread = threading.Thread(target=repeat, args=(work,))
                thread.start()
                stack.callback(thread.join)
            stack.callback(self._over.set)
            yield

    @contextmanager
    def _take_turn(self) -> Iterator[None]:
        with self._turn:
            yield

    def _keep_up(self) -> None:
        for words in self._upkeep:
            with self._turn:
                if words == ("dulwich",):
                    _pack_refs_by_dulwich(self._repo)
                    continue
                done = subprocess.run(
                    ["git", *words], cwd=self._repo.path, capture_output=True, text=True, check=False
                )
            self._counts[f"git {words[0]}"] += 1
            if done.returncode:  # git's own upkeep may stumble over our folding of packs, and does nothing then
                self._counts[f"git {words[0]} that gave up"] += 1

    def _work_as(self, user: _User) -> None:
        """A round of the user's; one run is live in a work tree that the user throws away."""
        user.work_a_round(self._try_run_in_worktree)
        self._counts["rounds of the user"] += 1

    def _try_run_in_worktree(self, place: Path, remove: Callable[[], None]) -> None:
        reading, writing = os.pipe()
        going, go = os.pipe()
        path = self._folder / "told-from-worktree"
        pid = os.fork()
        if pid == 0:
            try:
                become_new(self._folder)
                os.chdir(place)
                if self._spoil is not None:
                    self._spoil()
                run = gittrack.start_run(run_name="w")
                for step in range(100):
                    run.log({"loss": step / 7}, step)
                os.write(writing, b"x")
                os.read(going, 1)
                for step in range(100, 200):
                    run.log({"loss": step / 7}, step)
                if run.end():
                    with open(path, "a") as told:
                        told.write(f"{run.info.run_id}\n")
            finally:
                os._exit(0)
        os.close(writing)
        os.read(reading, 1)
        remove()
        os.write(go, b"x")
        os.waitpid(pid, 0)
        for descriptor in (reading, going, go):
            os.close(descriptor)
        self._counts["work trees removed under a run"] += 1

    def _read_by_command(self) -> None:
        """List by the command line: nothing on stderr, and never fewer runs than before."""
        words = self._source.choice([("ls", "--json"), ("show", "@last", "--json"), ("ls", "-n", "3")])
        environment = clean_environment(self._folder)
        done = subprocess.run(
            [COMMAND, *words], cwd=self._repo.path, env=environment, capture_output=True, text=True, check=False
        )
        self._counts["commands that read"] += 1
        is_early = words[0] == "show" and "goes back further" in done.stderr  # no run has begun yet
        if (done.returncode or done.stderr) and not is_early and self._spoil is None:
            self._losses.append(f"{' '.join(words)}: {done.returncode}, {done.stderr[-500:]}")
        elif words == ("ls", "--json") and not done.returncode:
            listed = len(json.loads(done.stdout))
            if listed < self._counts["runs listed last"]:
                self._losses.append(f"ls: {listed} runs after {self._counts['runs listed last']}")
            self._counts["runs listed last"] = listed

    def _read_by_api(self) -> None:
        """Ask for some run that is acknowledged, by a store that stays open."""
        paths = sorted(self._folder.glob("told-[0-9]*"))
        lines = self._source.choice(paths).read_text().splitlines() if paths else []
        known = [line for line in lines if line[0] != "!" and len(line) == 32]
        if not known:
            return
        wanted = self._source.choice(known)
        self._counts["reads by the API"] += 1
        try:
            stored = self._repo.store.get_run(wanted)
            if stored.record.status != "FINISHED" or stored.record.metrics["loss"].count != _POINTS:
                self._losses.append(f"run {wanted} is {stored.record.status}, {stored.record.metrics}")
        except gittrack.GittrackError as error:
            self._losses.append(f"run {wanted} is not to be read: {error.message}")

    # -- afterwards --------------------------------------------------------------------------------------

    def _check(self, acknowledged: list[str]) -> None:
        """By plain git alone: each run is there once, with its points."""
        self._repo.wait_for_folding()
        from_worktrees = self._folder / "told-from-worktree"
        removed = from_worktrees.read_text().split() if from_worktrees.exists() else []
        if len(removed) < self._counts["work trees removed under a run"] and self._spoil is None:
            self._losses.append(f"only {len(removed)} runs of removed work trees were committed")
        form = "--format=%(trailers:key=Gittrack-Run,valueonly,separator=%x20) %H"
        listed = self._repo.git("log", "--branches=gittrack/*", form, code=None).splitlines()
        commits = [line.split() for line in listed if len(line.split()) == 2]
        times = Counter(run_id for run_id, _ in commits)
        self._losses += [f"run {run_id} is lost" for run_id in (*acknowledged, *removed) if not times[run_id]]
        self._losses += [f"run {run_id} is there {count} times" for run_id, count in times.items() if count > 1]
        wanted = dict.fromkeys(acknowledged, _POINTS) | dict.fromkeys(removed, 200)
        self._losses += self._find_short(commits, wanted)

    def _find_short(self, commits: list[list[str]], wanted: dict[str, int]) -> list[str]:
        """Runs whose history in git is not what was logged."""
        chosen = [(run_id, commit) for run_id, commit in commits if run_id in wanted]
        asked = "".join(f"{commit}:metrics/loss.csv\n" for _, commit in chosen)
        done = subprocess.run(
            ["git", "cat-file", "--batch"],
            cwd=self._repo.path,
            input=asked,
            capture_output=True,
            text=True,
            check=False,
        )
        lines, short = iter(done.stdout.splitlines()), []
        for run_id, _ in chosen:
            head = next(lines, "")
            if not head.split(" ")[-1].isdigit():
                short.append(f"run {run_id} has no history: {head}")
                continue
            rows = []
            while (line := next(lines, "")) != "":
                rows.append(line)
            values = [float(row.split(",")[2]) for row in rows[1:]]
            if values != [step / 7 for step in range(wanted[run_id])]:
                short.append(f"run {run_id} has the values {values[:9]}")
        return short


def _log_runs(number: int, turns: Any, tell: Callable[[str], Any]) -> None:
    warned: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: warned.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("gittrack").addHandler(handler)
    for turn in turns:
        run = gittrack.start_run(run_name=f"{number}-{turn}")
        gittrack.log_param("turn", turn)
        for step in range(_POINTS):
            run.log({"loss": step / 7}, step)
        if turn % 20 == 0:
            gittrack.log_text(f"turn {turn}", "notes.txt")
        is_committed = run.end()
        if is_committed and not warned:
            tell(f"{run.info.run_id}\n")
        for text in warned:
            tell(f"!{text.splitlines()[0]}\n")
        warned.clear()


class _User:
    """Somebody who works in the repository with git alone; the same rounds lead to the same end."""

    def __init__(self, path: Path, take_turn: Callable[[], Any]) -> None:
        self.path = path
        self._take_turn = take_turn
        self._rounds = 0

    def prepare(self) -> None:
        """Branches that conflict in nothing, a stash, staged and untracked files."""
        for name in ("gc.reflogExpire", "gc.reflogExpireUnreachable"):  # what is done here is dated long ago
            self._git("config", name, "never")
        self._git("switch", "--quiet", "-c", "topic")
        for number in range(3):
            self._write(f"topic{number}.txt", f"{number}\n")
            self._git("add", "--all")
            self._git("commit", "--quiet", "-m", f"topic {number}")
        self._git("switch", "--quiet", "main")
        self._write("train.py", "print('other')\n")
        self._git("stash", "--quiet")
        self._write("staged.txt", "staged\n")
        self._git("add", "staged.txt")
        self._write("notes.tmp", "ignored\n")
        self._write("untracked.txt", "untracked\n")

    def work_a_round(self, in_worktree: Callable[[Path, Callable[[], None]], None] | None = None) -> None:
        number, self._rounds = self._rounds, self._rounds + 1
        self._write("wip.txt", f"{number}\n")
        self._git("add", "wip.txt")
        self._git("stash", "push", "--quiet", "--include-untracked")
        self._git("clean", "-ffdx", "--quiet")
        self._write(f"main{number}.txt", f"{number}\n")
        self._git("add", "--all")
        self._git("commit", "--quiet", "-m", f"main {number}")
        self._git("switch", "--quiet", "topic")
        self._git("rebase", "--quiet", "main")
        self._git("switch", "--quiet", "--detach", "main~1")
        place = self.path.parent / f"{self.path.name}-worktree"
        self._git("worktree", "add", "--quiet", "--detach", str(place), "main")
        remove = ("worktree", "remove", "--force", str(place))
        if in_worktree is None:
            self._git(*remove)
        else:
            in_worktree(place, lambda: self._git(*remove))
        self._git("switch", "--quiet", "main")
        self._git("reset", "--quiet", "--hard")
        self._git("stash", "pop", "--quiet", "--index")

    def compare(self, twin: _User) -> list[str]:
        """What differs from a twin that has done the same where there is no gittrack."""
        looks = [
            ("symbolic-ref", "HEAD"),
            ("ls-files", "--stage"),
            ("status", "--porcelain=v2", "--branch", "--ignored", "--untracked-files=all"),
            ("stash", "list", "--format=%H %gd %gs"),
            ("for-each-ref", "--format=%(objectname) %(refname)"),
            ("worktree", "list", "--porcelain"),
            ("config", "--list", "--local"),
            ("reflog", "--format=%H %gs", "HEAD"),
        ]
        losses = []
        for words in looks:
            ours, theirs = self._look(*words), twin._look(*words)
            if ours != theirs:
                losses.append(f"the user's git {words[0]} tells {ours[-300:]!r} instead of {theirs[-300:]!r}")
        return losses

    def _look(self, *words: str) -> str:
        told = subprocess.run(["git", *words], cwd=self.path, capture_output=True, text=True, check=True).stdout
        lines = [
            line for line in told.replace(str(self.path), "").splitlines() if "refs/heads/gittrack/" not in line
        ]
        return "\n".join(lines)

    def _write(self, name: str, content: str) -> None:
        (self.path / name).write_text(content)

    def _git(self, *words: str) -> None:
        with self._take_turn():
            done = subprocess.run(
                ["git", *words],
                cwd=self.path,
                env={**os.environ, **_DATES},
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"the user's git {' '.join(words)}: {done.stdout}{done.stderr}")


# -- the wrong variant ---------------------------------------------------------------------------------------


def _commit_by_dulwich() -> None:
    """In a worker: the objects loose, and the commit as dulwich makes it, which reads the branch twice."""
    from dulwich.objects import ShaFile
    from dulwich.repo import Repo as DulwichRepo

    from gittrack.schema.names import experiment_ref

    class Branches:
        def __init__(self, repository: Any) -> None:
            self._path = repository.common_dir

        def commit(self, objects: Any, draft: Any) -> str:
            with DulwichRepo(os.path.dirname(self._path)) as repo:
                for _, kind, data in objects:
                    repo.object_store.add_object(ShaFile.from_raw_string(kind, data))
                made = repo.get_worktree().commit(
                    draft.message.encode(),
                    committer=b"Ada <ada@example.org>",
                    author=b"Ada <ada@example.org>",
                    tree=draft.tree.encode(),
                    ref=experiment_ref(draft.made_as).encode(),
                    no_verify=True,
                )
                return str(made.decode())

    @contextmanager
    def open_branches(repository: Any) -> Iterator[Branches]:
        yield Branches(repository)

    folding.open_branches = open_branches  # type: ignore[assignment]


def _pack_refs_by_dulwich(repo: Repo) -> None:
    from dulwich import porcelain

    try:
        porcelain.pack_refs(str(repo.path), all=True)
    except Exception:  # it stumbles over locks; what it loses is what we look for
        time.sleep(0.01)
