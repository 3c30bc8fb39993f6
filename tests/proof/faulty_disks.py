"""A disk fails: at one call or from one on, by the shim; full or read-only, by real mounts.

No exception may reach training, nothing acknowledged may be lost, and once the disk is well again the next
ordinary command needs no help. A command that edits says in a line what is wrong, and does it when asked again.

What counts as acknowledged: a call that returned, unless a warning said that its artifact is not kept. Where
everything fails at once, the spool too, what was acknowledged before that.
"""

from __future__ import annotations

import atexit
import errno
import itertools
import logging
import os
import random
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.proof.kill_points import (
    count_calls,
    differ_from,
    enter,
    in_two,
    judge,
    main,
    make_templates,
    pick_scenarios,
    run_server,
    template_of,
    warm_up,
)
from tests.proof.ledger import Ledger, State, Teller
from tests.proof.scenarios import Scenario
from tests.proof.shim import Mode, Shim
from tests.proof.tally import Tally
from tests.proof.world import CommandError, World, in_child

PROMISE = "Training never breaks because of tracking: a failing disk costs one warning and nothing acknowledged"
UNIT = "faults"
FULL, SLICE = 2_000, 60

_ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EACCES", "EROFS")
_TOLD_ERROR = re.compile(r"^error: [^b\n].*\n(hint: .*\n)?\Z", re.MULTILINE)  # not b'…'
_FREE_KIB = (0, 8, 40, 100, 180, 300)
_ROOM_MIB = 24


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which a disk fails during a scenario.

    Attributes:
        kind: "once", "repository" (from a call on, the spool still works), "everything" (from a call on), "flock",
            or the name of a real fault: "full", "read-only repository", "read-only home", "read-only both".
        at: the number of the call, from 1; of a full disk the KiB that are left.
    """

    scenario: Scenario
    kind: str
    at: int
    error: str = ""
    call: str = ""

    def __str__(self) -> str:
        return f"{self.scenario.name}, {self.kind} {self.at} {self.error} ({self.call})"


def attack(count: int, seed: int, folder: Path) -> Tally:
    """So many of all faults, a sample by the seed."""
    return in_two("tests.proof.faulty_disks", count, seed, folder)


def control(count: int, seed: int, folder: Path) -> Tally:
    """The same, with a journal that drops what a failing disk does not take."""
    return run_server("tests.proof.faulty_disks", count, seed, folder, "careless")


def serve(count: int, seed: int, folder: Path, variant: str) -> Tally:
    """The attack itself, inside the process that has the shim."""
    shim, world = Shim(), World(folder)
    os.environ.pop("LD_PRELOAD", None)
    warm_up()
    scenarios = pick_scenarios(variant, "log", "log synced")
    templates = make_templates(world, scenarios)
    faults = [fault for scenario in scenarios for fault in list_faults(shim, world, scenario, templates)]
    by_shim = [fault for fault in faults if fault.call]
    chosen = [fault for fault in faults if not fault.call]
    source = random.Random(seed)
    chosen = source.sample(chosen, min(len(chosen), max(1, count // 4)))
    chosen += source.sample(by_shim, min(len(by_shim), count - len(chosen)))
    losses: list[str] = []
    seen: Counter[str] = Counter()
    for fault in chosen:
        found = _suffer(shim, world, fault, templates[template_of(fault.scenario)], variant)
        losses += [f"{fault}: {loss}" for loss in found.pop("losses", [])]
        seen.update(found)
        seen[fault.kind] += 1
    return Tally(len(chosen), losses, {"all faults": float(len(faults)), **dict(sorted(seen.items()))})


def list_faults(shim: Shim, world: World, scenario: Scenario, templates: dict[str, Path]) -> Iterator[Fault]:
    """Every fault of a scenario."""
    for number, call in enumerate(count_calls(shim, world, scenario, templates), 1):
        shown = call.replace(str(world.folder / "world") + "/", "")
        for error in _ERRORS:
            for kind in ("once", "repository", "everything"):
                if kind != "repository" or shown.split(" ")[1].startswith("repo"):
                    yield Fault(scenario, kind, number, error, shown)
    for number, call in enumerate(count_calls(shim, world, scenario, templates, only=("flock",)), 1):
        yield Fault(scenario, "flock", number, "ENOLCK", call)
    for free in _FREE_KIB:
        yield Fault(scenario, "full", free)
    for kind in ("read-only repository", "read-only home", "read-only both"):
        yield Fault(scenario, kind, 0)


def _suffer(shim: Shim, world: World, fault: Fault, template: Path, variant: str) -> dict[str, Any]:
    """Play a scenario with a fault, and judge what stands when that is over."""
    with ExitStack() as stack:
        if fault.kind == "full":
            stack.enter_context(_small_disk(world))
        world.take(template)
        with _real_fault(world, fault):
            work = lambda: _play_on(shim, world, fault, variant)  # noqa: E731
            code, answer = in_child(work, world.folder / "answer")
        if code or answer is None or "error" in answer:
            return {"losses": [f"the process ended with {code}: {answer}"]}
        ledger = Ledger(template / "ledger", world.ledger)
        found = _judge_notes(fault, ledger)
        _weaken(ledger, fault)
        code, judged = in_child(lambda: judge(world, ledger, _fits(ledger, fault)), world.folder / "answer")
        if judged is None or "error" in judged or "hung" in judged:
            return {"losses": [*found["losses"], f"judging ended with {code}: {judged}"]}
        found["losses"] += judged["losses"]
        return found


def _play_on(shim: Shim, world: World, fault: Fault, variant: str) -> dict[str, Any]:
    """Make the calls of a scenario while its disk fails; an edit that fails is made again without the fault."""
    enter(world, fault.scenario)
    if variant == "careless":
        _drop_what_fails()
    teller = Teller(world.ledger)
    logging.getLogger("gittrack").addHandler(_Warnings(teller))
    logging.getLogger("gittrack").propagate = False
    script = fault.scenario.script(world)
    _arm(shim, world, fault)
    while True:
        try:
            steps, call = next(script)
        except StopIteration:
            break
        teller.tell(doing=steps, calls=shim.count())
        try:
            call()
        except Exception as error:
            said = error.said if isinstance(error, CommandError) else ""
            teller.tell(raised=[type(error).__name__, str(error), said])
            if not fault.scenario.is_training:
                if _is_real(fault):  # it goes on until we end: there is no again
                    teller.tell(gave_up=True)
                    return {}
                shim.disarm()
                teller.tell(retried=sorted({f"run {name}" for step in steps for name in map(str, step[1:3])}))
                try:
                    call()
                except Exception as again:
                    teller.tell(again=str(again))
        teller.tell(done=True, calls=shim.count())
    atexit._run_exitfuncs()  # the process ends as one does, with its disk still failing
    shim.disarm()
    return {}


class _Warnings(logging.Handler):
    """Notes what gittrack warns of."""

    def __init__(self, teller: Teller) -> None:
        super().__init__(logging.WARNING)
        self._teller = teller

    def emit(self, record: logging.LogRecord) -> None:
        self._teller.tell(warned=[str(record.msg), record.getMessage()])


def _arm(shim: Shim, world: World, fault: Fault) -> None:
    number = getattr(errno, fault.error) if fault.error else 0
    if fault.kind == "flock":
        shim.arm(fault.at, Mode.FAIL_FROM, world.watched, number=number, only=("flock",))
    elif fault.call:
        mode = Mode.FAIL_ONCE if fault.kind == "once" else Mode.FAIL_FROM
        folders = (world.repo,) if fault.kind == "repository" else world.watched
        shim.arm(fault.at, mode, folders, number=number)


def _is_real(fault: Fault) -> bool:
    return not fault.call


@contextmanager
def _small_disk(world: World) -> Iterator[None]:
    """A small file system where the repository will be copied to."""
    world.make()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_ROOM_MIB}m", "tmpfs", str(world.repo)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(world.repo)], check=True)


@contextmanager
def _real_fault(world: World, fault: Fault) -> Iterator[None]:
    """A fault that the kernel makes; gone afterwards."""
    if fault.kind == "full":
        ballast = world.repo / "ballast"
        with open(ballast, "wb") as file:
            status = os.statvfs(world.repo)
            os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - fault.at * 1024)
        yield
        ballast.unlink()
        return
    bound = [
        folder
        for folder in (world.repo, world.home)
        if fault.kind == "read-only both"
        or fault.kind == ("read-only repository" if folder == world.repo else "read-only home")
    ]
    for folder in bound:
        subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
    try:
        yield
    finally:
        for folder in bound:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _judge_notes(fault: Fault, ledger: Ledger) -> dict[str, Any]:
    """What the process met and said, held against what it may."""
    losses = []
    for kind, text, said in ledger.notes.get("raised", []):
        if fault.scenario.is_training:
            losses.append(f"an exception reached training: {kind}: {text}")
        elif said and not _TOLD_ERROR.search(said):
            losses.append(f"an error is not told in a line: {said}")
        elif re.search("has a defect|Traceback", said):
            losses.append(said)
    warnings = Counter(form for form, _ in ledger.notes.get("warned", []))
    warnings.pop("gittrack: no git repository around; runs go to a new one, %s", None)
    if fault.kind == "once" and sum(warnings.values()) > 1:
        losses.append(f"{sum(warnings.values())} warnings: {ledger.notes['warned']}")
    for form, count in warnings.items():
        if count > 1 and "cannot keep" not in form and fault.scenario.name not in _SEVERAL_RUNS:
            losses.append(f"{count} warnings: {form}")
    return {"losses": losses, "warnings": warnings.total(), "errors told": len(ledger.notes.get("raised", []))}


_SEVERAL_RUNS = ("finish", "nested", "recover by starting", "recover", "log to an ended run")


def _weaken(ledger: Ledger, fault: Fault) -> None:
    """Where everything fails from a call on, only what was acknowledged before that is sure to stand."""
    if fault.kind == "everything" and not ledger.notes.get("retried"):
        ledger.forget_from(fault.at)


def _fits(ledger: Ledger, fault: Fault) -> Callable[[State, State], str]:
    """As the judge compares, but for what a failing disk may do.

    Artifacts that a warning gave up may be gone; what could not be committed at once makes fewer revisions, what
    an edit did though it failed makes more; a point that was written, and neither synced nor taken back, is there
    twice.
    """
    warned = " ".join(text for _, text in ledger.notes.get("warned", []))
    retried = {name for names in ledger.notes.get("retried", []) for name in names}
    lost = set(re.findall(r"cannot keep (\S+) of run", warned))
    untold, late = "cannot note experiment" in warned, "cannot commit run" in warned

    def differ(state: State, found: State) -> str:
        expected, stands = ({name: dict(run) for name, run in side.items()} for side in (state, found))
        for name in list(expected):
            if untold and name.startswith("experiment ") and name not in stands:
                del expected[name]
            elif name in stands and name.startswith("run "):
                sides = expected[name], stands[name]
                for side in sides:
                    side["artifacts"] = {
                        path: kept for path, kept in side["artifacts"].items() if path not in lost
                    }
                    if name in retried and fault.kind != "once":
                        side["points"] = {key: _without_twins(rows) for key, rows in side["points"].items()}
                more = sides[1]["revision"] - sides[0]["revision"]
                if (more > 0 and name in retried) or (more < 0 and (late or lost)):
                    del sides[0]["revision"], sides[1]["revision"]
        return differ_from(expected, stands)

    return differ


def _without_twins(rows: list[list[Any]]) -> list[str]:
    """The values of a history, those that follow their like left out."""
    return [value for value, _ in itertools.groupby(row[1] for row in rows)]


def _drop_what_fails() -> None:
    """A variant known to be wrong: a record that the disk does not take is gone."""
    from gittrack.store.journal import Journal

    Journal._save_elsewhere = lambda self: None  # type: ignore[method-assign]
    Journal._drain_or_raise = lambda self: self._backlog.clear()  # type: ignore[method-assign]


if __name__ == "__main__":
    main(serve)
