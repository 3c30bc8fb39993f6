"""A process is killed at every call that changes a file: before it, after it, and half way through it.

Then the next ordinary command is run, and what stands is held against what was acknowledged: each point, param,
tag, artifact, edit and run exactly once, the edit in flight whole or not at all, nothing left behind.

The attack runs in one process that has the shim and gittrack loaded, and forks for each point.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import mounted
from tests.proof.ledger import Ledger, State, Teller
from tests.proof.scenarios import SCENARIOS, Scenario
from tests.proof.shim import HALVES, Mode, Shim, preloaded
from tests.proof.tally import Tally
from tests.proof.world import (
    CommandError,
    World,
    find_leftovers,
    fsck,
    gittrack,
    in_child,
    list_live_folders,
    open_store,
    read_state,
)

PROMISE = "An acknowledged run or point is never lost by a crash"
UNIT = "kill points"
FULL, SLICE = 100_000, 220  # FULL: all there are; a few of a slice end before their call
_ROOT = Path(__file__).resolve().parents[2]
_COMMAND_LIMIT_S = 2.0
_KILLS = (Mode.KILL_BEFORE, Mode.KILL_AFTER, Mode.KILL_MIDDLE)


@dataclass(frozen=True, slots=True)
class Point:
    """One place to be killed at: the call's number, from 1, in a scenario, and how."""

    scenario: Scenario
    at: int
    mode: Mode
    call: str

    def __str__(self) -> str:
        return f"{self.scenario.name}, call {self.at} ({self.call}), {self.mode.name}"


def attack(count: int, seed: int, folder: Path) -> Tally:
    """Kill at so many of all points, a sample by the seed."""
    return in_two("tests.proof.kill_points", count, seed, folder)


def control(count: int, seed: int, folder: Path) -> Tally:
    """The same, where the folder of a run goes before its commit stands."""
    return run_server("tests.proof.kill_points", count, seed, folder, "forgetful")


def in_two(module: str, count: int, seed: int, folder: Path) -> Tally:
    """The tally of two processes at once, each of which takes every other scenario and half of the attempts."""
    with ThreadPoolExecutor(2) as pool:
        halves = [
            pool.submit(run_server, module, (count + part) // 2, seed + part, folder / str(part), str(part))
            for part in (0, 1)
        ]
        first, second = (half.result() for half in halves)
    seen = dict(first.seen)
    for what, figure in second.seen.items():
        seen[what] = max(seen.get(what, 0), figure) if "slowest" in what else seen.get(what, 0) + figure
    return Tally(first.tried + second.tried, [*first.losses, *second.losses], seen)


def run_server(module: str, count: int, seed: int, folder: Path, variant: str) -> Tally:
    """Let a module's ``serve`` make an attack in a process of its own, which has the shim loaded.

    On a disk in memory: a process that is killed leaves the same behind there, without waiting for a real one.

    Args:
        variant: "0" or "1" for half of the scenarios, else the name of what is known to be wrong.
    """
    with mounted(folder / "disk", "-t", "tmpfs", "tmpfs") as disk:
        environment = {**World(disk).environment(), "PYTHONPATH": str(_ROOT), **preloaded(folder)}
        # dulwich leaves what it could not write to the garbage collector
        argv = [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-m", module]
        argv += [str(count), str(seed), str(disk), variant]
        done = subprocess.run(argv, cwd=disk, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    return Tally(**json.loads(done.stdout.splitlines()[-1]))


def pick_scenarios(variant: str, *names: str) -> list[Scenario]:
    """The scenarios of a half, or those by which a wrong variant is found out."""
    if variant.isdigit():
        return list(SCENARIOS[int(variant) :: 2])
    return [found for found in SCENARIOS if found.name in names]


def make_templates(world: World, scenarios: Sequence[Scenario]) -> dict[str, Path]:
    """A prepared world for each kind that the scenarios begin in, by its name."""
    made: dict[str, Path] = {}
    for scenario in scenarios:
        prepare = scenario.prepare
        assert prepare is not None
        name = prepare.__name__
        if name in made:
            continue
        world.make()

        def work(prepare: Callable[..., Any] = prepare) -> None:
            world.enter()
            play(prepare(world), Teller(world.ledger))

        code, answer = in_child(work, world.folder / "answer")
        if code:
            raise RuntimeError(f"{name} cannot be prepared: {answer}")
        Teller(world.ledger)
        made[name] = world.folder / "templates" / name
        shutil.rmtree(made[name], ignore_errors=True)
        world.keep_as(made[name])
    return made


def play(script: Iterator[Any], teller: Teller) -> None:
    """Make the calls of a script, each told before and after."""
    for steps, call in script:
        teller.tell(doing=steps)
        call()
        teller.tell(done=True)


def serve(count: int, seed: int, folder: Path, variant: str) -> Tally:
    """The attack itself, inside the process that has the shim."""
    shim, world = Shim(), World(folder)
    os.environ.pop("LD_PRELOAD", None)  # of what is started from here on nothing counts
    warm_up()
    scenarios = pick_scenarios(variant, "finish", "artifacts")
    templates = make_templates(world, scenarios)
    points = [point for scenario in scenarios for point in list_points(shim, world, scenario, templates)]
    chosen = random.Random(seed).sample(points, min(count, len(points)))
    losses: list[str] = []
    seen: Counter[str] = Counter()
    slowest_s, ended_before = 0.0, 0
    for point in chosen:
        tried = _try(shim, world, point, templates[template_of(point.scenario)], variant)
        if tried is None:
            ended_before += 1
            continue
        lost, acknowledged, took_s = tried
        losses += [f"{point}: {loss}" for loss in lost]
        slowest_s = max(slowest_s, took_s)
        seen["acknowledged calls"] += acknowledged
        seen[point.mode.name.lower().replace("_", " ")] += 1
    figures = {"all points": float(len(points)), "slowest next command, ms": round(slowest_s * 1000)}
    figures["ended before the call"] = ended_before
    return Tally(len(chosen) - ended_before, losses, {**figures, **dict(sorted(seen.items()))})


def _try(
    shim: Shim, world: World, point: Point, template: Path, variant: str
) -> tuple[list[str], int, float] | None:
    """Kill at one point; what was lost, how many calls had been acknowledged, how long the next command took.

    None where it had made fewer calls this time, as the thread that syncs may, and ended well.
    """
    world.take(template)
    code, answer = in_child(lambda: _attacked(shim, world, point, variant), world.folder / "answer")
    if code == 0 and answer is None:
        return None
    if code != -signal.SIGKILL or answer is not None:
        return [f"it was not killed but ended with {code}: {answer}"], 0, 0.0
    ledger = Ledger(template / "ledger", world.ledger)
    code, answer = in_child(lambda: judge(world, ledger), world.folder / "answer")
    if answer is None or "error" in answer or "hung" in answer:
        return [f"judging ended with {code}: {answer}"], ledger.calls, 0.0
    return answer["losses"], ledger.calls, answer["took_s"]


def warm_up() -> None:
    """Load now, once, what every forked child would load or look up by itself; its pages then stay shared."""
    import typer.main

    import gittrack.cli.app
    from gittrack.tracking.provenance import read_requirements

    read_requirements()
    for module in (
        "gittrack.tracking.current",
        "dulwich.refs",
        "dulwich.file",
        "yaml",
        "gittrack.cli.executing",
        "numpy",
    ):
        __import__(module)
    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(gittrack.cli.app.app)
    gc.collect()
    gc.freeze()
    gc.disable()  # a child makes few objects, and ends soon


def list_points(shim: Shim, world: World, scenario: Scenario, templates: dict[str, Path]) -> list[Point]:
    """Every place in a scenario to be killed at."""
    calls = count_calls(shim, world, scenario, templates)
    points = []
    for number, call in enumerate(calls, 1):
        halved = call.split(" ")[0] in HALVES
        shown = call.replace(str(world.folder / "world") + "/", "")
        points += [
            Point(scenario, number, mode, shown) for mode in _KILLS if halved or mode is not Mode.KILL_MIDDLE
        ]
    return points


def count_calls(
    shim: Shim, world: World, scenario: Scenario, templates: dict[str, Path], only: tuple[str, ...] = ()
) -> list[str]:
    """The calls that a scenario makes when nothing goes wrong; what it then left is judged too."""
    world.take(templates[template_of(scenario)])

    def work() -> list[str]:
        enter(world, scenario)
        shim.arm(0, Mode.COUNT, world.watched, only=only)
        play(scenario.script(world), Teller(world.ledger))
        shim.disarm()
        return shim.list_calls()

    code, calls = in_child(work, world.folder / "answer")
    if code:
        raise RuntimeError(f"{scenario.name} does not even work undisturbed: {calls}")
    ledger = Ledger(templates[template_of(scenario)] / "ledger", world.ledger)
    code, answer = in_child(lambda: judge(world, ledger), world.folder / "answer")
    if code or answer["losses"]:
        raise RuntimeError(f"{scenario.name} is not right even undisturbed: {answer}")
    return list(calls)


def enter(world: World, scenario: Scenario) -> None:
    world.enter()
    os.environ.update(scenario.environment)


def template_of(scenario: Scenario) -> str:
    assert scenario.prepare is not None
    return scenario.prepare.__name__


def _attacked(shim: Shim, world: World, point: Point, variant: str) -> None:
    enter(world, point.scenario)
    if variant in _WRONG:
        _WRONG[variant]()
    teller = Teller(world.ledger)
    shim.arm(point.at, point.mode, world.watched)
    play(point.scenario.script(world), teller)


def judge(world: World, ledger: Ledger, differ: Callable[[State, State], str] | None = None) -> dict[str, Any]:
    """What the next ordinary command makes of a world, held against the ledger."""
    differ = differ or differ_from
    world.enter()
    losses: list[str] = []
    begun = time.monotonic()
    try:
        gittrack("ls", "--json")
    except CommandError as error:
        if ledger.done or "no git repository here" not in error.said:
            losses.append(str(error))
        gittrack("init")
        gittrack("ls", "--json")
    took_s = time.monotonic() - begun
    if took_s > _COMMAND_LIMIT_S:
        losses.append(f"the next command took {took_s:.1f} s")
    losses += _age_unbegun(world)
    found = _end_shared(read_state(open_store(world)), world)
    differences = [difference for state in ledger.list_states(found) for difference in [differ(state, found)]]
    if all(differences):
        losses.append(" / ".join(differences[:3]))
    losses += fsck(world)
    losses += find_leftovers(world)
    losses += [f"{place} stays" for place in list_live_folders(world)]
    return {"losses": losses, "took_s": took_s}


def _age_unbegun(world: World) -> Iterator[str]:
    """A folder in which no writer has told who it is counts as one that begins, for a minute: let that pass."""
    from gittrack.store.streams import Stream

    aged = False
    for folder in list_live_folders(world):
        streams = [Stream(str(path)) for path in folder.glob("*.log")]
        if not any(stream.has_begun() for stream in streams):
            aged = True
            for path in [*folder.glob("*"), folder]:
                os.utime(path, (0, 0))
    if aged:
        gittrack("ls", "--json")
        yield from ()


def _end_shared(found: State, world: World) -> State:
    """What stands once runs that commands log to have been ended by one."""
    waiting = [name for name, run in found.items() if run.get("status") == "RUNNING"]
    for name in waiting:
        gittrack("finish", "--run", name.removeprefix("run "))
    return read_state(open_store(world)) if waiting else found


def differ_from(state: State, found: State) -> str:
    """Where what stands differs from what should, in a few words; '' where it does not."""
    for name in sorted(state.keys() | found.keys()):
        if name not in state:
            return f"{name} stands, and should not"
        if name not in found:
            return f"{name} is gone"
        for key, expected in _ended(state[name]).items():
            if found[name].get(key) != expected:
                return f"{name}: {key} is {_short(found[name].get(key))}, not {_short(expected)}"
    return ""


def _ended(run: dict[str, Any]) -> dict[str, Any]:
    """A run that waited for its next command, once `finish` was that."""
    if run.get("status") == "RUNNING":
        return {**run, "status": "FINISHED", "revision": run["revision"] + 1}
    return run


def _short(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 150 else f"{shown[:70]} … {shown[-70:]}"


# -- variants known to be wrong ------------------------------------------------------------------------------


def _forget_early() -> None:
    """A run's folder goes before its commit stands."""
    from gittrack.store import committing
    from gittrack.store.live import LiveRun

    def commit(self: Any, *given: Any) -> Any:
        for folder in Path(self._repository.state_dir).glob("live/*"):
            shutil.rmtree(folder)
        return former(self, *given)

    former = committing.Branches.commit
    committing.Branches.commit = commit  # type: ignore[assignment,method-assign]
    LiveRun.remove = lambda self, taken: True  # type: ignore[method-assign]


_WRONG: dict[str, Callable[[], None]] = {"forgetful": _forget_early}


def main(serve: Callable[[int, int, Path, str], Tally]) -> None:
    """The process that `run_server` starts."""
    count, seed, folder, variant = sys.argv[1:]
    tally = serve(int(count), int(seed), Path(folder), variant)
    print(json.dumps({"tried": tally.tried, "losses": tally.losses, "seen": tally.seen}))


if __name__ == "__main__":
    main(serve)
