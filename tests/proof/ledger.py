"""What a process was told to do and has acknowledged, and what must stand in the repository after that.

A ledger is a file outside of the repository: a line before each call with the steps that it takes, a line after
it has returned. A process that dies leaves at most one call in flight, of whose steps any number, from the first
on, may have come to be. Runs are known by their names, which no two share.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Step = list[Any]
State = dict[str, dict[str, Any]]


class Teller:
    """The writing side, held by the process that is attacked."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def tell(self, **fields: Any) -> None:
        os.write(self._descriptor, json.dumps(fields).encode() + b"\n")


class Ledger:
    """The reading side.

    Attributes:
        done: the steps of the calls that have returned. flying: those of the call that has not.
        notes: what else was told, by its word, in order ("raised", "warned").
    """

    def __init__(self, *paths: Path) -> None:
        """Read ledgers, that of what stood before first."""
        self.done: list[Step] = []
        self.flying: list[Step] = []
        self.calls = 0
        self.notes: dict[str, list[Any]] = {}
        self._given = 0  # steps of the first ledger: what stood before
        self._counts: list[tuple[int, int]] = []  # how many steps were done when so many calls had been made
        for number, path in enumerate(paths):
            if number == 1:
                self._given = len(self.done)
            for line in path.read_bytes().splitlines() if path.exists() else ():
                self._take(json.loads(line))

    def forget_from(self, at: int) -> None:
        """Let all be in flight that was acknowledged after the call of that number."""
        sure = max((steps for steps, made in self._counts if made < at), default=self._given)
        self.done, self.flying = self.done[:sure], [*self.done[sure:], *self.flying]

    def _take(self, fields: dict[str, Any]) -> None:
        made = fields.pop("calls", None)
        for word, value in fields.items():
            if word == "doing":
                self.flying = value
            elif word == "done":
                self.done += self.flying
                self.flying = []
                self.calls += 1
                if made is not None:
                    self._counts.append((len(self.done), made))
            else:
                self.notes.setdefault(word, []).append(value)

    def list_states(self, found: State) -> Iterator[State]:
        """Every state that is right: first that without what was in flight.

        Args:
            found: what stands; of many points in flight it says how many to look for.
        """
        state: State = {}
        for step in self.done:
            _apply(state, step)
        yield _settled(state)
        for step in self.flying:
            if step[0] == "run" and step[2] == "points" and f"run {step[1]}" in found:
                before = len(state[f"run {step[1]}"]["points"].get(step[3], ()))
                count = len(found[f"run {step[1]}"]["points"].get(step[3], ())) - before
                if 0 < count < len(step[4]):
                    _apply(state, [*step[:4], step[4][:count]])
                    yield _settled(state)
                    return
            _apply(state, step)
            yield _settled(state)


def points(key: str, *rows: tuple[int, float]) -> Step:
    return ["points", key, [[step, float(value).hex()] for step, value in rows]]


def artifact(path: str, data: bytes, mode: int = 0o100644) -> Step:
    return ["artifact", path, f"{mode:o} {hashlib.sha256(data).hexdigest()}"]


def record(step: int, **values: float) -> Step:
    """One record of several metrics, which is there whole or not at all."""
    return ["all", [points(name, (step, value)) for name, value in values.items()]]


def on(name: str, *steps: Step) -> list[Step]:
    """Steps of one run."""
    return [["run", name, *step] for step in steps]


def revision(name: str, *steps: Step) -> list[Step]:
    """Steps that one revision of a run that has ended makes at once."""
    return [["run", name, "all", [*steps, ["revised"]]]]


def begin(name: str, experiment: str = "Default", *, shared: bool = False) -> Step:
    return ["begin", name, experiment, shared]


def to_json(value: Any) -> Any:
    """A param's value with its type told."""
    return [type(value).__name__, value.hex() if isinstance(value, float) else value]


def _apply(state: State, step: Step) -> None:
    kind, name, *rest = step
    if kind == "begin":
        experiment, shared = rest
        state[f"run {name}"] = {
            "experiment": experiment, "status": "RUNNING", "lifecycle": "active", "revision": 0, "note": "",
            "params": {}, "tags": {}, "points": {}, "artifacts": {}, "open": True, "shared": shared,
        }  # fmt: skip
    elif kind == "gone":
        del state[f"run {name}"]
    elif kind == "renamed":
        state[f"run {rest[0]}"] = state.pop(f"run {name}")
        state[f"run {rest[0]}"]["revision"] += 1
    elif kind == "experiment":
        state[f"experiment {name}"] = rest[0]
    elif kind == "no experiment":
        del state[f"experiment {name}"]
    else:
        _apply_to_run(state[f"run {name}"], rest[0], *rest[1:])


def _apply_to_run(run: dict[str, Any], kind: str, *rest: Any) -> None:
    if kind == "all":
        for step in rest[0]:
            _apply_to_run(run, *step)
    elif kind == "points":
        run["points"].setdefault(rest[0], []).extend(rest[1])
    elif kind in ("param", "tag"):
        run[f"{kind}s"][rest[0]] = rest[1]
    elif kind == "untag":
        del run["tags"][rest[0]]
    elif kind == "artifact":
        run["artifacts"][rest[0]] = rest[1]
    elif kind == "revised":
        run["revision"] += 1
    elif kind == "end":
        run |= {"status": rest[0], "open": False, "revision": run["revision"] + 1}
    elif kind == "resume":
        run |= {"status": "RUNNING", "open": True}
    else:
        assert kind in run, kind
        run[kind] = rest[0]


def _settled(state: State) -> State:
    """The state once the dead are folded; a run that only commands write to waits for its next command."""
    settled = {name: dict(found) for name, found in state.items()}
    for name, found in settled.items():
        if name.startswith("run ") and found.pop("open"):
            found["status"] = "RUNNING" if found["shared"] else "KILLED"
            found["revision"] += not found["shared"]
        found.pop("shared", None)
    return settled
