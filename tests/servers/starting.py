"""Running a server program: a free port, started until it takes connections, stopped by its own process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
_START_S, _STOP_S = 30.0, 5.0
_PORTS_TRIED = 5


def find_free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    make_argv: Callable[[int], Sequence[str]], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """A server that listens on the port that is yielded.

    Args:
        make_argv: its argv for a port, which runs it in the foreground; asked again where another took the port.
        log: where its stdout and stderr go; quoted where it does not start.
    """
    for _ in range(_PORTS_TRIED):
        port = find_free_port()
        with open(log, "ab") as out:
            process = subprocess.Popen(
                make_argv(port),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,  # with what it starts itself, to be ended together
            )
        try:
            if _answers(process, port):
                yield port
                return
        finally:
            _stop(process)
    raise AssertionError(f"the server does not start: {log.read_text(errors='replace')}")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
            return process.poll() is None
        except OSError:
            time.sleep(0.01)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            continue
