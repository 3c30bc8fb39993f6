"""A server that runs commands in forked children: each starts in milliseconds, and is measured by the kernel.

Run as ``python -m tests.proof.forking``: reads one order a line (JSON) from stdin, answers with one line. A
child's memory is the most that it, or any program that it waited for, ever held: `getrusage(2)`, ru_maxrss.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 10.0
_ROOM_BYTES = 6 << 30  # no command may take the machine down with it


@dataclass(frozen=True, slots=True)
class Order:
    """What a child is to run: ``gittrack``'s words, or with ``program`` another function of `naive`."""

    words: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    out: str
    program: str = "gittrack"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended: exit code (negative: a signal; None: it did not end in time), and what it took.

    Processor time is that of the child and of every program that it waited for: it does not depend on what else
    the machine does.
    """

    code: int | None
    seconds: float
    cpu_seconds: float
    megabytes: float
    stdout: bytes
    stderr: bytes


class Server:
    """One running server; a context. ``before`` are words to start it with: ``unshare -n``, ``strace …``."""

    def __init__(self, *before: str) -> None:
        kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.proof.forking"],
            cwd=ROOT,
            env={**kept, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, order: Order) -> Outcome:
        """Run one command; its output is at most the first 64 MiB of what it wrote."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the server of forked commands has ended"
        told = json.loads(line)
        texts = []
        for suffix in (".out", ".err"):
            with open(order.out + suffix, "rb") as file:
                texts.append(file.read(64 << 20))
        return Outcome(told["code"], told["seconds"], told["cpu_seconds"], told["megabytes"], *texts)


def serve() -> None:
    """Answer orders until stdin ends."""
    _load()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        print(json.dumps(_run(Order(**json.loads(line)))), flush=True)


def _load() -> None:
    """Import what the commands use, once for all children."""
    import dulwich.object_store  # noqa: F401

    import tests.proof.naive  # noqa: F401


def _run(order: Order) -> dict[str, Any]:
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _become(order)
    ended_in_time = _wait(pid)
    if not ended_in_time:
        os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - started
    code = os.waitstatus_to_exitcode(status) if ended_in_time else None
    spent = usage.ru_utime + usage.ru_stime
    return {"code": code, "seconds": seconds, "cpu_seconds": spent, "megabytes": usage.ru_maxrss / 1024}


def _wait(pid: int) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], TIMEOUT_S)[0])
    finally:
        os.close(descriptor)


def _become(order: Order) -> NoReturn:
    """The child: another folder, environment and output, then the command; never returns."""
    code: Any = 99
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_ROOM_BYTES, _ROOM_BYTES))
        for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, ".out", 0), (2, ".err", 0)):
            writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            descriptor = os.open(order.out + path if number else path, flags or writing, 0o600)
            os.dup2(descriptor, number)
        os.chdir(order.folder)
        os.environ.clear()
        os.environ.update(order.environment)
        sys.argv = ["gittrack", *order.words]
        code = _call(order)
    except SystemExit as error:
        code = error.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _call(order: Order) -> int:
    if order.program == "gittrack":
        from gittrack.cli.app import run

        run()
    from tests.proof import naive

    getattr(naive, order.program)(*order.words)
    return 0


if __name__ == "__main__":
    serve()
