"""Git commands that speak with a remote: the user's credentials, proxies and ssh settings, and nobody's hooks.

Protocols are git's own list of those that start no program of a remote's choosing (git(1), GIT_ALLOW_PROTOCOL);
``ext::`` and ``fd::`` are never taken. What a remote says is made harmless before it is shown.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

from gittrack.errors import RemoteError
from gittrack.git.command import ANYWHERE, find_git, git_argv, git_environment
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository

PROTOCOLS = "file:git:http:https:ssh"

_PERCENT = re.compile(rb"([A-Z][A-Za-z ]+): +(\d+)% \((\d+)/(\d+)\)")
_KEPT = ("GIT_ASKPASS", "GIT_SSL_", "GIT_SSH_VARIANT", "GIT_CONFIG_", "GIT_HTTP_", "GIT_PROXY_")
_TOLD_BYTES_MAX = 1 << 16

Progress = Callable[[str, int, int], None]  # what git does now, how many of how many


def network_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a git that may use the network; it asks for a password only on a person's terminal."""
    allowed = {"GIT_ALLOW_PROTOCOL": PROTOCOLS, "GIT_NO_LAZY_FETCH": "0"}
    asks = sys.stdin.isatty() and "GIT_TERMINAL_PROMPT" not in os.environ
    allowed["GIT_TERMINAL_PROMPT"] = "1" if asks else "0"
    allowed |= {key: value for key, value in os.environ.items() if key.startswith(_KEPT)}
    return git_environment({**allowed, **(extra or {})})


class NetworkError(RemoteError):
    """A git command did not do what it was to do with a remote.

    Attributes:
        output: what it printed; told: what it and the remote complained of.
    """

    def __init__(self, message: str, hint: str, output: bytes, told: str) -> None:
        super().__init__(message, hint)
        self.output, self.told = output, told


def run_network_git(
    repository: Repository,
    remote: Remote,
    *words: str,
    stdin: bytes = b"",
    progress: Progress | None = None,
    answer_s: float | None = None,
) -> bytes:
    """What a git command that speaks with a remote prints.

    Args:
        words: the command with its ``--end-of-options`` and what follows. ``--progress`` is among them where
            ``progress`` is to be told.
        answer_s: seconds after which it is ended, and all that it has started; it then asks for no password.

    Raises:
        NetworkError: it failed: the remote is not reached, or refuses.
    """
    if not find_git():
        raise RemoteError("there is no git on PATH to speak with a remote", "install git")
    argv = git_argv(repository.git_dir, *words)
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=repository.work_tree if repository.work_tree and os.path.isdir(repository.work_tree) else ANYWHERE,
        env=network_environment(),
        bufsize=0,
        start_new_session=answer_s is not None,  # so that its ssh can be ended with it
    ) as process:
        complaints = _Complaints(process, progress)
        alarm = _set_alarm(process, answer_s)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            feeding = threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True)
            feeding.start()
            output = process.stdout.read()
            feeding.join()
            complaints.join()
        except BaseException:
            process.kill()
            raise
        finally:
            if alarm is not None:
                alarm.cancel()
    if process.returncode == -signal.SIGKILL and answer_s is not None:
        raise NetworkError(f"{remote.label}: it does not answer", "try again later", output, complaints.text)
    if process.returncode:
        told = complaints.text
        message, hint = explain(told, remote)
        raise NetworkError(message, hint, output, told)
    return output


def _set_alarm(process: subprocess.Popen[bytes], after_s: float | None) -> threading.Timer | None:
    """End a process that leads a session, and all in it, after so many seconds."""
    if after_s is None:
        return None

    def end() -> None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has just ended

    alarm = threading.Timer(after_s, end)
    alarm.daemon = True
    alarm.start()
    return alarm


def explain(told: str, remote: Remote) -> tuple[str, str]:
    """What git complained of, in one line with a hint.

    The texts are git's own of 2.39 to 2.47, in the C locale; one that is not known is quoted.
    """
    for pattern, message, hint in _KNOWN:
        if re.search(pattern, told):
            return f"{remote.label}: {message}", hint
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    first = next((line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ssh:"))), "")
    first = first or (lines[0] if lines else "git told nothing")
    return f"{remote.label}: {re.sub(r'^(fatal|error): ', '', first)}", ""


_KNOWN = (
    (
        r"could not read (Username|Password)|Authentication failed|terminal prompts disabled|HTTP 401",
        "it asks who you are, and git has no credentials for it",
        "try `git fetch` there once, or set a credential helper: gitcredentials(7)",
    ),
    (
        r"Permission denied \(|HTTP 403|[Pp]ermission denied to",
        "access is denied",
        "ask for access, or check your key",
    ),
    (
        r"Could not resolve host|Could not resolve hostname|Connection refused|Failed to connect|timed out"
        r"|Network is unreachable|No route to host|Connection reset|Couldn't connect",
        "it cannot be reached",
        "runs stay here until it can: try again when there is a network",
    ),
    (
        r"does not appear to be a git repository|[Rr]epository not found|not found: did you run|HTTP 404"
        r"|repository '.*' not found",
        "there is no repository",
        "check the URL: git remote -v",
    ),
    (r"Host key verification failed", "ssh does not know its host key", "connect once by hand: ssh HOST"),
)


class _Complaints:
    """What git says on stderr, read by a thread: its progress is told, the rest is kept."""

    def __init__(self, process: subprocess.Popen[bytes], progress: Progress | None) -> None:
        self._process = process
        self._progress = progress
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    @property
    def text(self) -> str:
        return self._kept.decode(errors="replace")

    def _read(self) -> None:
        stderr, rest = self._process.stderr, b""
        assert stderr is not None
        while chunk := stderr.read(1 << 14):
            *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            for line in lines:
                self._take(line)
            rest = rest[-_TOLD_BYTES_MAX:]
        self._take(rest)

    def _take(self, line: bytes) -> None:
        found = _PERCENT.search(line)
        if found is None:
            if line.strip() and len(self._kept) < _TOLD_BYTES_MAX:
                self._kept += line + b"\n"
        elif self._progress is not None:
            self._progress(found[1].decode(), int(found[3]), int(found[4]))


def _feed(stdin: object, data: bytes) -> None:
    try:
        stdin.write(data)  # type: ignore[attr-defined]
        stdin.close()  # type: ignore[attr-defined]
    except OSError:
        pass  # git ended early: its exit code says so
