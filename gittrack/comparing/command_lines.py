"""A run's recorded command line: what its params do not tell of it, and the same command with another value.

Pure. A command is the text that provenance recorded, quoted as a shell takes it; it is read, and never run.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gittrack.schema.records import Scalar

_OPTION = re.compile(r"--?[A-Za-z][\w.\-]*")
_ASSIGNMENT = re.compile(r"(-{0,2}[A-Za-z+][\w./\-]*)=(.*)", re.DOTALL)
_MASK = "***"  # what provenance writes for a secret


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: the option as it is typed, or its place among the others as ``@1``; its value as text."""

    name: str
    value: str | None
    at: int  # of the word that holds the value, or of the option itself where it has none
    is_assigned: bool = False  # name=value in one word


def split_command(command: str | None) -> list[str] | None:
    """A command's words; None where there is no command, or it only began a run that others logged to."""
    if not command:
        return None
    try:
        words = shlex.split(command) if re.search(r"[\"'\\]", command) else command.split()
    except ValueError:
        return None
    if not words or (os.path.basename(words[0]) == "gittrack" and words[1:2] != ["exec"]):
        return None
    return words


def read_arguments(words: Sequence[str]) -> list[Argument]:
    """A command's arguments, as options are usually read: ``--lr 0.1``, ``--lr=0.1``, ``lr=0.1``, ``--fast``."""
    found: list[Argument] = []
    at = place = 0
    while at < len(words):
        word = words[at]
        assigned = _ASSIGNMENT.fullmatch(word)
        if assigned:
            found.append(Argument(assigned[1], assigned[2], at, is_assigned=True))
        elif at and _OPTION.fullmatch(word):
            takes = at + 1 < len(words) and not _OPTION.fullmatch(words[at + 1]) and "=" not in words[at + 1]
            at += takes
            found.append(Argument(word, words[at] if takes else None, at))
        else:
            found.append(Argument(f"@{place}", word, at))
            place += 1
        at += 1
    return found


def untold_by_params(
    commands: Sequence[str | None], params: Sequence[Mapping[str, Scalar]]
) -> list[tuple[tuple[str, str | None], ...]]:
    """What each command says beyond its run's params, as pairs of name and value; the program's folder goes.

    An argument is told by a param of its name, or by one that has its value in every run that has the argument:
    ``--learning-rate`` is often logged as ``lr``.
    """
    arguments = [_without_folder(read_arguments(split_command(command) or [])) for command in commands]
    told = _find_told(arguments, params)
    return [
        tuple((one.name, one.value) for one in given if one.name not in told)
        if told
        else tuple((one.name, one.value) for one in given)
        for given in arguments
    ]


def change_param(command: str | None, param: str, old: Scalar, new: Scalar) -> str | None:
    """The command with another value where a param stands in it as an option; None where it does not."""
    words = split_command(command)
    if words is None:
        return None
    given = read_arguments(words)
    named = [one for one in given if is_called(one.name, param)]
    if not named:
        named = [one for one in given if not one.name.startswith("@") and is_value(one.value, old)]
    if len(named) != 1 or new is None or not is_value(named[0].value, old):
        return None
    changed, one = list(words), named[0]
    changed[one.at] = f"{one.name}={format_value(new)}" if one.is_assigned else format_value(new)
    return join_command(changed)


def join_command(words: Sequence[str]) -> str | None:
    """The words quoted for a shell; None where one of them was recorded without its secret."""
    return None if any(_MASK in word for word in words) else shlex.join(words)


def is_called(option: str, param: str) -> bool:
    """Whether an option is named as a param: dashes and case aside, the param's last part will do."""
    name = _plain(option.lstrip("-+"))
    return name in (_plain(param), _plain(re.split(r"[./]", param)[-1])) or _plain(
        re.split(r"[./]", option.lstrip("-+"))[-1]
    ) == _plain(param)


def is_value(text: str | None, value: Scalar) -> bool:
    """Whether a word of a command line says a param's value."""
    if text is None:
        return value is True
    if isinstance(value, bool) or value is None:
        return text.lower() == str(value).lower()
    if isinstance(value, str):
        return text == value
    try:
        return float(text) == float(value)
    except (ValueError, OverflowError):
        return False


def format_value(value: Scalar) -> str:
    """A param's value as it is typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _find_told(arguments: Sequence[Sequence[Argument]], params: Sequence[Mapping[str, Scalar]]) -> set[str]:
    told: set[str] = set()
    fitting: dict[str, list[str]] = {}
    for given, own in zip(arguments, params, strict=True):
        for one in given:
            if one.name in told:
                continue
            if one.name not in fitting:
                if any(is_called(one.name, param) for param in own):
                    told.add(one.name)
                    continue
                fitting[one.name] = list(own)
            if fitting[one.name]:
                fitting[one.name] = [
                    param for param in fitting[one.name] if param in own and is_value(one.value, own[param])
                ]
    return told | {name for name, left in fitting.items() if left}


def _without_folder(given: Iterable[Argument]) -> list[Argument]:
    """The program and its script without their folders: the same run elsewhere has others."""
    return [
        Argument(one.name, os.path.basename(one.value or ""), one.at) if one.name in ("@0", "@1") else one
        for one in given
    ]


def _plain(name: str) -> str:
    return name.replace("-", "_").lower()
