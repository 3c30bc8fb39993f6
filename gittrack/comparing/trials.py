"""The runs that would tell causes apart, as commands for a person to read and type; nothing here runs anything."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from gittrack.comparing.command_lines import change_param, join_command, split_command
from gittrack.comparing.factors import Factor
from gittrack.store.search_rows import RunRow

_PINS_MAX = 20  # more are installed from the run's own list


@dataclass(frozen=True, slots=True)
class Trial:
    """A run to try: what it changes, what to do in words, and the commands where they are known."""

    changes: str
    words: str
    commands: tuple[str, ...] = ()


def plan_trial(factor: Factor, one: RunRow, other: RunRow, pins: Sequence[str] = ()) -> Trial:
    """Run ``one`` again with a single factor as in run ``other``, whose packages that differ are ``pins``."""
    again = repeat_command(one)
    if factor.kind in ("param", "seed", "label"):
        return _change_param(factor, one, other)
    if factor.kind == "code":
        return Trial(
            factor.title, f"run {one.id[:8]}'s command on the code of {other.id[:8]}", code_commands(other, again)
        )
    if factor.kind == "environment":
        return _change_packages(factor, one, other, pins)
    if factor.kind == "command":
        return Trial(
            factor.title, f"run {one.id[:8]} with the arguments of {other.id[:8]}", _given(repeat_command(other))
        )
    if factor.kind == "host":
        return Trial(factor.title, f"run {one.id[:8]}'s command on host {other.host}", _given(again))
    return Trial(
        factor.title, f"run {one.id[:8]}'s command on {factor.title} as {other.id[:8]} read it", _given(again)
    )


def repeat_trial(row: RunRow) -> Trial:
    """The run again, with another seed: what it differs by is noise."""
    return Trial("nothing", f"run {row.id[:8]}'s command again, with another seed: to know the noise",
                 _given(repeat_command(row)))  # fmt: skip


def repeat_command(row: RunRow) -> str | None:
    """The recorded command line; None where it cannot be typed as it is."""
    words = split_command(row.command)
    return join_command(words) if words else None


def code_commands(row: RunRow, command: str | None, folder: str = "../try") -> tuple[str, ...]:
    """Commands that lay out a run's code in a folder beside, then a command in it."""
    if row.dirty is False and row.code_commit:
        laid = (f"git worktree add --detach {folder} {row.code_commit}",)
    elif row.commit_id and row.code:
        laid = (f"mkdir {folder} && git archive {row.commit_id}:code | tar -x -C {folder}",)
    else:
        return ()
    return (*laid, f"cd {folder}", *_given(command))


def _change_param(factor: Factor, one: RunRow, other: RunRow) -> Trial:
    if factor.name not in other.params:
        return Trial(factor.title, f"run {one.id[:8]} without {factor.name}")
    value = other.params[factor.name]
    words = f"run {one.id[:8]} with {factor.name} = {shlex.quote(str(value))}"
    return Trial(
        factor.title, words, _given(change_param(one.command, factor.name, one.params.get(factor.name), value))
    )


def _change_packages(factor: Factor, one: RunRow, other: RunRow, pins: Sequence[str]) -> Trial:
    words = f"run {one.id[:8]}'s command with the packages of {other.id[:8]}"
    again = repeat_command(one)
    if 0 < len(pins) <= _PINS_MAX:
        return Trial(factor.title, words, (shlex.join(["pip", "install", *pins]), *_given(again)))
    if not other.commit_id:
        return Trial(factor.title, words)
    told = f"git show {other.commit_id}:environment/requirements.txt > requirements.txt"
    return Trial(factor.title, words, (told, "pip install -r requirements.txt", *_given(again)))


def _given(command: str | None) -> tuple[str, ...]:
    return (command,) if command else ()
