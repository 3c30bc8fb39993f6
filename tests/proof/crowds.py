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
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gittrack
from gittrack.store import folding
from gittrack.store.runs import Listing
from gittrack.store.store import Store
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
    "Processes that log to one branch at once lose nothing, nor does git's upkeep or a user's work beside them"
)
UNIT = "runs"
FULL = 4_000
SLICE = 120

_PROCESSES = 8
_POINTS = 5
_LIMIT_S = 60.0
_UPKEEP = [
    ("gc", "--prune=now", "--quiet"),
    ("repack", "-a", "-d", "--quiet"),
    ("repack", "--cruft", "--cruft-expiration=now", "-d", "--quiet"),
    ("pack-refs", "--all"),
]
_DATES = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}

_RUN_IN_WORKTREE = """
import gittrack
run = gittrack.start_run(run_name="0-linked")
for step in range(100):
    run.log({"loss": step / 7}, step)
print("logged", flush=True)
input()
for step in range(100, 200):
    run.log({"loss": step / 7}, step)
if run.end():
    print(run.info.run_id)
"""

Spoil = Callable[[], None]


@dataclass(frozen=True)
class _Told:
    """The runs that have begun and those that have ended by what their workers told; each worker's newest."""

    begun: list[str]
    ended: set[str]
    newest: list[str]


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
        self._read_losses: list[str] = []
        self._counts = Counter[str]()

    def hold(self) -> Tally:
        user = _User(self._repo.path, self._take_turn)
        user.prepare()
        twin = _User(Path(shutil.copytree(self._repo.path, self._folder / "twin", symlinks=True)), self._take_turn)
        watch = Stopwatch()
        workers = [self._start_worker(number) for number in range(_PROCESSES)]
        with self._beside(self._keep_up, lambda: self._work_as(user), self._read_by_command, self._read_by_api):
            for worker in workers:
                worker()
            seconds = watch.seconds
        acknowledged = sorted(self._read_told().ended)
        if self._spoil is None:
            self._losses += [*self._find_warnings(), *self._read_losses]
        for _ in range(self._counts["rounds of the user"]):
            twin.work_a_round()
        self._losses += user.compare(twin)
        self._check(acknowledged)
        self._losses += find_unsound(self._repo)
        seen = {"acknowledged": len(acknowledged), "seconds for the runs": seconds, "seconds": watch.seconds}
        return Tally(len(acknowledged), self._losses, {**seen, **self._counts})

    # -- workers -----------------------------------------------------------------------------------------

    def _start_worker(self, number: int) -> Callable[[], None]:
        """A process that logs its runs and tells the id of each, and when its end returned; returns what waits."""
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
            except BaseException:
                path.with_suffix(".error").write_text(traceback.format_exc()[-2000:])
            finally:
                os._exit(code)

        def wait() -> None:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if code:
                error = path.with_suffix(".error")
                said = error.read_text() if error.exists() else ""
                self._losses.append(f"worker {number} ended with {code}: {said}")

        return wait

    def _find_warnings(self) -> list[str]:
        lines = [line for path in self._folder.glob("told-*") for line in path.read_text().splitlines()]
        return [f"a worker {line}" for line in lines if line.startswith("warned")]

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
        # a process from scratch: a fork of one with threads may find locks that nobody lets go
        child = subprocess.Popen(
            [sys.executable, "-c", _RUN_IN_WORKTREE],
            cwd=place,
            env=clean_environment(self._folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        child.stdout.readline()
        remove()
        told, _ = child.communicate("go on\n", timeout=_LIMIT_S)
        with open(self._folder / "worktrees-told", "a") as file:
            file.write(told)
        self._counts["work trees removed under a run"] += 1

    def _read_by_command(self) -> None:
        """Look by the command line: nothing on stderr, and every run that had begun before is told."""
        before = self._read_told()
        wanted = self._source.choice([*before.newest, "@last"])
        words = self._source.choice([("ls", "--json"), ("show", wanted, "--json"), ("ls", "-n", "3")])
        environment = clean_environment(self._folder)
        done = subprocess.run(
            [COMMAND, *words], cwd=self._repo.path, env=environment, capture_output=True, text=True, check=False
        )
        self._counts["commands that read"] += 1
        is_early = "goes back further" in done.stderr  # no run has begun yet
        if (done.returncode or done.stderr) and not is_early:
            self._read_losses.append(f"{' '.join(words)}: {done.returncode}, {done.stderr[-500:]}")
        elif words == ("ls", "--json"):
            listed = {run["id"] for run in json.loads(done.stdout)}
            self._read_losses += [
                f"ls does not tell of run {run_id}" for run_id in before.begun if run_id not in listed
            ]

    def _read_by_api(self) -> None:
        """List all runs, or look into one that was begun last: it may be committed while it is read."""
        before = self._read_told()
        if not before.begun:
            return
        self._counts["reads by the API"] += 1
        store = self._repo.store
        try:
            if self._source.random() < 0.2:
                self._check_listing(store.list_runs(), before)
            else:
                self._check_one(store, self._source.choice(before.newest), before)
        except Exception as error:
            self._read_losses.append(f"by the API: {error!r:.500}")

    def _check_listing(self, listing: Listing, before: _Told) -> None:
        found = {str(stored.record.id): stored.record for stored in listing.runs}
        self._read_losses += [f"listed with a problem: {problem}" for problem in listing.problems]
        for run_id in before.begun:
            record = found.get(run_id)
            if record is None:
                self._read_losses.append(f"run {run_id} is not listed")
            elif not record.name[0].isdigit() or (run_id in before.ended and record.status != "FINISHED"):
                self._read_losses.append(f"run {run_id} is listed as {record.name}, {record.status}")

    def _check_one(self, store: Store, run_id: str, before: _Told) -> None:
        stored = store.get_run(run_id)
        values = [point.value for point in store.read_history(stored, "loss")]
        whole = [step / 7 for step in range(_POINTS)]
        has_ended = run_id in before.ended or stored.record.status == "FINISHED"
        paths = [artifact.path for artifact in store.list_artifacts(stored)]
        texts = [b"".join(store.read_artifact(stored, artifact)) for artifact in store.list_artifacts(stored)]
        is_whole = (values, paths, texts) == (whole, ["notes.txt"], [b"turn"])
        is_right = is_whole if has_ended else values == whole[: len(values)]
        if not is_right or not stored.record.name[0].isdigit():
            self._read_losses.append(f"run {run_id} ({stored.record.name}) is read with {values}, {paths}")

    def _read_told(self) -> _Told:
        """What the workers have told so far."""
        told = _Told([], set(), [])
        for path in sorted(self._folder.glob("told-*")):
            lines = [
                line.partition(" ") for line in path.read_text().splitlines(keepends=True) if line[-1] == "\n"
            ]
            begun = [rest.strip() for word, _, rest in lines if word == "begun"]
            told.begun.extend(begun)
            told.newest.extend(begun[-1:])
            told.ended.update(rest.strip() for word, _, rest in lines if word == "ended")
        return told

    # -- afterwards --------------------------------------------------------------------------------------

    def _check(self, acknowledged: list[str]) -> None:
        """By plain git alone: each run is there once, with its points."""
        self._repo.wait_for_folding()
        from_worktrees = self._folder / "worktrees-told"
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
        tell(f"begun {run.info.run_id}\n")
        gittrack.log_param("turn", turn)
        gittrack.log_text("turn", "notes.txt")
        for step in range(_POINTS):
            run.log({"loss": step / 7}, step)
        is_committed = run.end()
        if is_committed and not warned:
            tell(f"ended {run.info.run_id}\n")
        for text in warned:
            tell(f"warned {text.splitlines()[0]}\n")
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
