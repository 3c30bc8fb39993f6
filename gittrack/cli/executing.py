"""Running a command inside a run: its output shown and kept, signals handed on, its exit code the status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING

from gittrack.cli import output
from gittrack.errors import GittrackError

if TYPE_CHECKING:
    from gittrack.tracking.active import ActiveRun

_OUTPUT_NAME = "output.txt"
_NOT_FOUND, _NOT_RUNNABLE = 127, 126


def run_command(run: ActiveRun, command: list[str]) -> int:
    """Run a command to its end and end the run; returns the exit code to hand on (128 + n for signal n)."""
    session = run._session
    kept = os.path.join(session.live.folder, _OUTPUT_NAME)
    environment = {
        **os.environ,
        "GITTRACK_RUN_ID": session.run_id,
        "GITTRACK_URI": session.store.repository.common_dir,
    }
    try:
        with open(kept, "wb", buffering=0) as log:
            code = _run(command, environment, log)
    except FileNotFoundError:
        return _fail(run, f"{command[0]}: command not found", _NOT_FOUND)
    except OSError as error:
        return _fail(run, f"{command[0]}: {error.strerror}", _NOT_RUNNABLE)
    run.log_artifact(kept)
    run.set_tag("exit_code", code)
    if code == 0:
        run.end("FINISHED")
    else:
        name = signal.Signals(-code).name if code < 0 else ""
        run.end("KILLED" if code < 0 else "FAILED", error=f"ended by {name}" if name else f"exit code {code}")
    output.note(f"run {session.run_id[:8]} {session.record.name}: {'done' if code == 0 else f'exit code {code}'}")
    return code if code >= 0 else 128 - code


def _run(command: list[str], environment: dict[str, str], log: IO[bytes]) -> int:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    former = {
        # the terminal sends SIGINT to the command as well: it decides, we wait for how it ends
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number)),
        signal.SIGHUP: signal.signal(signal.SIGHUP, lambda number, frame: process.send_signal(number)),
    }
    try:
        lock = threading.Lock()
        copiers = [
            threading.Thread(target=_copy, args=(source, target, log, lock), daemon=True)
            for source, target in ((process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer))
        ]
        for copier in copiers:
            copier.start()
        code = process.wait()
        for copier in copiers:
            copier.join(timeout=5.0)  # a grandchild may hold the pipe open for ever
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    return code


def _copy(source: IO[bytes] | None, target: IO[bytes], log: IO[bytes], lock: threading.Lock) -> None:
    """Copy a pipe to where it would have gone, and to the log; each goes on where the other fails."""
    assert source is not None
    shown = True
    while chunk := os.read(source.fileno(), 1 << 16):
        with lock:
            try:
                log.write(chunk)
            except OSError:
                pass
        if shown:
            try:
                target.write(chunk)
                target.flush()
            except OSError:
                shown = False


def _fail(run: ActiveRun, message: str, code: int) -> int:
    run.set_tag("exit_code", code)
    run.end("FAILED", error=message)
    raise GittrackError(message, "nothing was run; the attempt is kept as a failed run") from None
