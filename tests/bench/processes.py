"""Running what is measured: scripts that print JSON, and workers that measure as often as they are asked.

A script is a file of ``ours/`` or ``theirs/``; it is run by the interpreter that has what it measures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

_HERE = Path(__file__).resolve().parent


class ScriptError(Exception):
    """A script or a command failed; says which, and the end of what it wrote to stderr."""


def run_script(
    python: str, script: str, *words: str | int, cwd: Path, environment: Mapping[str, str]
) -> dict[str, Any]:
    """The last line of what a script prints, as JSON.

    Raises:
        ScriptError: it failed, or printed no JSON.
    """
    argv = [python, str(_HERE / script), *map(str, words)]
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise ScriptError(f"{script} (exit {done.returncode}): {_end_of(done.stderr)}") from None
    return found  # type: ignore[no-any-return]


def time_command(argv: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> float:
    """Seconds that a whole process takes, from asking for it to its end.

    Raises:
        ScriptError: it failed, or there is no such program.
    """
    begun = time.perf_counter()
    try:
        done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, check=False)
    except OSError as error:
        raise ScriptError(f"{Path(argv[0]).name}: {error.strerror}") from error
    took_s = time.perf_counter() - begun
    if done.returncode:
        shown = " ".join([Path(argv[0]).name, *argv[1:]])
        raise ScriptError(f"{shown} (exit {done.returncode}): {_end_of(done.stderr.decode(errors='replace'))}")
    return took_s


class Worker:
    """A process that stays and measures when asked: a line with a count in, a line with so many seconds out."""

    def __init__(self, python: str, script: str, *words: str, cwd: Path, environment: Mapping[str, str]) -> None:
        self._script = script
        descriptor, errors = tempfile.mkstemp(prefix="stderr-", dir=cwd.parent)
        self._errors = Path(errors)
        argv = [python, str(_HERE / script), *words]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            argv, cwd=cwd, env=environment, stdin=pipe, stdout=pipe, stderr=descriptor, text=True
        )
        os.close(descriptor)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, count: int) -> list[float]:
        """Measure ``count`` times; seconds each."""
        self.begin(count)
        return self.collect()

    def begin(self, count: int) -> None:
        """Let it measure, without waiting."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ScriptError(f"{self._script}: {self._complaint()}") from None

    def collect(self) -> list[float]:
        """Wait for what was begun. Lines that are no JSON list are the measured library's own and passed over.

        Raises:
            ScriptError: the process has ended.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("["):
                return [float(value) for value in json.loads(line)]
        raise ScriptError(f"{self._script}: {self._complaint()}")

    def close(self) -> None:
        """End it: its input ends, and it is waited for."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _complaint(self) -> str:
        self._process.wait(timeout=60)
        return f"exit {self._process.returncode}: {_end_of(self._errors.read_text(errors='replace'))}"


def our_worker(script: str, *words: str, cwd: Path, environment: Mapping[str, str]) -> Worker:
    """A worker of this interpreter, which has gittrack."""
    return Worker(sys.executable, f"ours/{script}", *words, cwd=cwd, environment=environment)


def _end_of(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"
