"""Hostile repositories: every command that reads is run on what a stranger may have put into git, or beside it.

Each case is a small function that builds a real repository (`hostile_trees`, `hostile_texts`, `hostile_bombs`,
`hostile_places`, `hostile_live`, `hostile_damage`); `hostile_judge` holds thirteen commands to the same promises.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.proof import (
    hostile_bombs,
    hostile_damage,
    hostile_live,
    hostile_places,
    hostile_texts,
    hostile_trees,
    naive,
)
from tests.proof.forking import Server
from tests.proof.hostile_ground import Expect, Ground, make_ground
from tests.proof.hostile_judge import Verdict, digest, judge, judge_outcome, judge_surroundings, run_one
from tests.proof.tally import Tally

PROMISE = "Opening, listing, checking and fetching from a stranger's repository runs nothing, and stays bounded"
UNIT = "hostile repositories"

Build = Callable[[Ground], Expect | None]
CASES: Mapping[str, Build] = {
    **hostile_trees.CASES,
    **hostile_texts.CASES,
    **hostile_bombs.CASES,
    **hostile_places.CASES,
    **hostile_live.CASES,
    **hostile_damage.CASES,
}
FULL, SLICE = len(CASES), 80
_WORKERS = 2
_TRACED = (  # what starts programs where anything does
    "a config that names programs",
    "a partial clone whose remote is a program",
    "a partial clone whose remote is a folder",
    "hooks of every name",
)
TRACED = len(_TRACED)


def attack(count: int, seed: int, folder: Path) -> Tally:
    """Run all commands on ``count`` of the cases: all of them, or as many as the seed picks."""
    names = list(CASES) if count >= len(CASES) else sorted(random.Random(seed).sample(list(CASES), count))
    template, honest = make_template(folder)
    servers: SimpleQueue[Server] = SimpleQueue()

    def one(name: str) -> Verdict:
        server = servers.get()
        try:
            return _try(server, name, folder, template, honest)
        finally:
            servers.put(server)

    # no route to anywhere: what would connect fails, and a command that needs to shows it
    with Server("unshare", "-n") as first, Server("unshare", "-n") as second, ThreadPoolExecutor(_WORKERS) as pool:
        servers.put(first)
        servers.put(second)
        verdicts = dict(zip(names, pool.map(one, names), strict=True))
    losses = [line for verdict in verdicts.values() for line in verdict.losses]
    slowest = max(verdicts, key=lambda name: verdicts[name].seconds)
    largest = max(verdicts, key=lambda name: verdicts[name].megabytes)
    return Tally(
        len(names),
        losses,
        {
            "commands": sum(verdict.commands for verdict in verdicts.values()),
            f"slowest command, s ({slowest})": round(verdicts[slowest].seconds, 2),
            f"most memory, MB ({largest})": round(verdicts[largest].megabytes),
        },
    )


def trace(count: int, seed: int, folder: Path) -> Tally:
    """The cases that try to start programs, under strace: nothing but git is run, and nothing connected to."""
    template, honest = make_template(folder)
    names, losses, started = list(_TRACED)[:count], [], 0
    for name in names:
        log = folder / f"{len(losses)}-{names.index(name)}.trace"
        with Server("strace", "-f", "-qq", "-s", "200", "-e", "trace=connect,execve", "-o", str(log)) as server:
            ground, expect = _build(name, folder, template)
            verdict = judge(server, ground, name, expect, honest)
        losses += [line for line in verdict.losses if "slow:" not in line]
        lines = log.read_text(errors="replace").splitlines()[1:]  # the first is the server itself
        started += sum("execve(" in line for line in lines)
        losses += [f"{name}: {line}" for line in lines if _is_foreign(line)]
        shutil.rmtree(ground.root)
    return Tally(len(names), losses, {"programs started, all git": started})


def control(count: int, seed: int, folder: Path) -> Tally:
    """Readers that trust what they read (`naive`): the judge must see what each of them breaks."""
    template, _ = make_template(folder)
    losses: list[str] = []
    with Server("unshare", "-n") as server:
        for program, build in _NAIVE_GROUND.items():
            ground = make_ground(template, folder / program, folder)
            arguments = build(ground)
            before = digest(ground)
            done = run_one(server, ground, arguments, program)
            found = [*judge_outcome(done, as_json=False), *judge_surroundings(ground, before)]
            losses += [f"{program}: {line}" for line in found]
            shutil.rmtree(ground.root)
    return Tally(len(_NAIVE_GROUND), losses, {})


def make_template(folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    """A repository with two honest runs, made by the commands themselves; and what ``ls --json`` says of them."""
    template = folder / "template"
    ground = Ground(template)
    for name in ("repo", "home", "tmp", "target"):
        (template / name).mkdir(parents=True)
    ground.git("init", "-q", "-b", "main", "--template=")
    ground.config("[user]\n\tname = Ada\n\temail = ada@example.org\n[gc]\n\tauto = 0\n")
    (ground.repo / "train.py").write_text("print('training')\n")
    (ground.repo / "weights.bin").write_bytes(bytes(range(256)) * 64)
    ground.git("add", "train.py")
    ground.git("commit", "-qm", "code")
    with Server() as server:

        def do(*words: str) -> bytes:
            done = run_one(server, ground, words)
            assert done.code == 0, (words, done)
            return done.stdout

        for number in range(2):
            do("start", "-e", "honest", "--name", f"run-{number}")
            do("log", "param", f"lr=0.{number + 1}")
            do("log", "metric", f"acc=0.{number + 7}")
            if number == 0:
                do("log", "artifact", "train.py", "weights.bin")
            do("finish")
        honest = sorted(json.loads(do("ls", "--json")), key=lambda run: str(run["name"]))
    shutil.rmtree(ground.target)
    for path in folder.glob("template.said*"):
        path.unlink()
    return template, honest


def _try(server: Server, name: str, folder: Path, template: Path, honest: Sequence[Mapping[str, Any]]) -> Verdict:
    ground, expect = _build(name, folder, template)
    try:
        return judge(server, ground, name, expect, honest)
    finally:
        shutil.rmtree(ground.root)
        for path in folder.glob(f"{ground.root.name}.said.*"):
            path.unlink()


def _build(name: str, folder: Path, template: Path) -> tuple[Ground, Expect]:
    number = list(CASES).index(name)
    shared = folder / "shared"
    shared.mkdir(exist_ok=True)
    ground = make_ground(template, folder / f"case-{number}", shared)
    return ground, CASES[name](ground) or Expect()


def _is_foreign(line: str) -> bool:
    """Whether a line of strace tells of a connection, or of a program that is not git."""
    if "connect(" in line:
        return "AF_UNIX" not in line  # the system's own name service
    if "execve(" not in line or "ENOENT" in line:
        return False
    program = line.partition('execve("')[2].partition('"')[0]
    return os.path.basename(program) != "git"


def _yaml_tag(ground: Ground) -> list[str]:
    return [ground.run({"params.yaml": f"a: !!python/object/apply:os.system [{ground.program} < /dev/null]\n"})]


def _bomb(ground: Ground) -> list[str]:
    return [ground.run({"params.yaml": (b"100644", ground.zeros(300))})]


def _outside(ground: Ground) -> list[str]:
    entry = (b"100644", b"../outside/planted", ground.add("blob", b"x"))
    folder = ground.tree([entry])
    return [ground.run(entries=[(b"40000", b"artifacts", folder)]), str(ground.target)]


def _escapes(ground: Ground) -> list[str]:
    return [ground.run(author=b"E\x1b[31mve <e@x> 1 +0000")]


def _fsmonitor(ground: Ground) -> list[str]:
    ground.config(f"[core]\n\tfsmonitor = {ground.program}\n")
    return [ground.run()]


def _link(ground: Ground) -> list[str]:
    (ground.git_dir / "gittrack/live/link").symlink_to(ground.outside / "secret")
    return [ground.run()]


# a reader of each kind that trusts, and the kind of loss that the judge must find
NAIVE: Mapping[str, str] = {
    naive.load_params.__name__: "code ran",
    naive.read_whole.__name__: "memory",
    naive.extract.__name__: "written outside",
    naive.print_log.__name__: "control bytes",
    naive.status.__name__: "code ran",
    naive.follow.__name__: "secret",
    naive.forget.__name__: "crash",
}
_NAIVE_GROUND: Mapping[str, Callable[[Ground], list[str]]] = {
    naive.load_params.__name__: _yaml_tag,
    naive.read_whole.__name__: _bomb,
    naive.extract.__name__: _outside,
    naive.print_log.__name__: _escapes,
    naive.status.__name__: _fsmonitor,
    naive.follow.__name__: _link,
    naive.forget.__name__: lambda ground: [ground.run()],
}
