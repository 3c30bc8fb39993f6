"""How a run ends that nobody ends: a signal, an exception at the top, the end of the process.

SIGTERM and SIGINT are noted in the run's folder and handed on to whoever handled them before. Where SIGTERM would
kill the process, its runs are committed as KILLED first; a second one kills at once.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from gittrack.schema.records import Status
from gittrack.tracking.active import ActiveRun, status_of

_WATCHED = (signal.SIGTERM, signal.SIGINT)


class _Watch:
    """What this process has installed, and what it found before."""

    is_installed = False
    pid = 0
    list_open: Callable[[], list[ActiveRun]] = staticmethod(list)
    former: dict[int, Any] = {}  # noqa: RUF012 - one process, one table
    crash: tuple[Status, str] | None = None


def watch(list_open: Callable[[], list[ActiveRun]]) -> None:
    """Take care of the runs that ``list_open`` gives (those of this process, newest last) from now on."""
    _Watch.list_open = staticmethod(list_open)
    _Watch.pid = os.getpid()
    _Watch.crash = None  # an interactive session goes on after an exception
    if not _Watch.is_installed:
        _Watch.is_installed = True
        atexit.register(_end_at_exit)
        former_hook = sys.excepthook
        sys.excepthook = lambda kind, error, trace: _note_crash(former_hook, kind, error, trace)
    if threading.current_thread() is threading.main_thread():
        for number in _WATCHED:
            _install(number)


def _install(number: int) -> None:
    present = signal.getsignal(number)
    # None: installed by C code; SIG_IGN: the user wants it ignored. Both stay.
    if present is _on_signal or present is None or present is signal.SIG_IGN:
        return
    _Watch.former[number] = present
    signal.signal(number, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> None:
    former = _Watch.former.get(number, signal.SIG_DFL)
    name = signal.Signals(number).name
    is_ours = _Watch.pid == os.getpid()
    if is_ours:
        for run in _Watch.list_open():
            run.signal_name = name
            try:
                run._session.live.mark_signal(name)
            except OSError:
                pass
    if callable(former):
        former(number, frame)
        return
    signal.signal(number, signal.SIG_DFL)  # from here on a second signal kills at once
    if is_ours:
        _end_all()
    os.kill(os.getpid(), number)


def _note_crash(
    former: Callable[..., Any], kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    _Watch.crash = status_of(kind, error, trace)
    former(kind, error, trace)


def _end_at_exit() -> None:
    _end_all()
    if _Watch.crash is not None and _Watch.crash[0] == "KILLED":
        # Python ends by SIGINT itself after an uncaught KeyboardInterrupt, which tells a shell to stop its loop;
        # it forgets that it must whenever a text is executed meanwhile, as importing a dataclass does: remind it.
        try:
            exec("raise KeyboardInterrupt")
        except KeyboardInterrupt:
            pass


def _end_all() -> None:
    """End what is still open, the innermost first: how, what came before tells."""
    if _Watch.pid != os.getpid():
        return
    for run in reversed(_Watch.list_open()):
        status, error = _Watch.crash or ("FINISHED", "")
        if run.signal_name and status == "FINISHED":
            status, error = "KILLED", f"ended by {run.signal_name}"
        run.end(status, error=error)
