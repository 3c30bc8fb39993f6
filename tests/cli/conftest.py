"""The command line as a person runs it: the real program, in a real repository."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

GITTRACK = str(Path(sys.executable).with_name("gittrack"))


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("GIT", "XDG_", "PAGER", "LESS"))
    }
    for key in ("NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR", "COLUMNS", "LINES"):
        kept.pop(key, None)
    return {**kept, "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "TERM": "xterm", **extra}


class Shell:
    """Runs commands in one folder with a clean environment."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        self.extra: dict[str, str] = {}

    def run(self, *argv: str, stdin: str | bytes = b"", code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """The finished command; its exit code is checked unless ``code`` is None."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        environment = clean_environment(self.home, **self.extra)
        done = subprocess.run(argv, cwd=self.folder, env=environment, input=data, capture_output=True, check=False)
        text = subprocess.CompletedProcess(argv, done.returncode, done.stdout.decode(), done.stderr.decode())
        if code is not None:
            assert text.returncode == code, (argv, text.returncode, text.stdout, text.stderr)
        assert "Traceback" not in text.stderr, text.stderr
        return text

    def gittrack(self, *words: str, stdin: str | bytes = b"", code: int | None = 0) -> str:
        return self.run(GITTRACK, *words, stdin=stdin, code=code).stdout

    def error(self, *words: str, code: int = 1, stdin: str = "") -> str:
        """What a command that must fail says on stderr."""
        return self.run(GITTRACK, *words, code=code, stdin=stdin).stderr

    def git(self, *words: str) -> str:
        return self.run("git", *words).stdout

    def on_terminal(self, *words: str, columns: int = 80, lines: int = 200, answers: str = "") -> str:
        """What a command shows on a terminal of a size, where a person answers each ``[y/N]`` by a letter."""
        environment = clean_environment(self.home, COLUMNS=str(columns), LINES=str(lines), **self.extra)
        pid, master = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execve(GITTRACK, [GITTRACK, *words], environment)
        shown, waiting = b"", list(answers)
        while select.select([master], [], [], 30)[0]:
            try:
                chunk = os.read(master, 65536)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk
            if waiting and shown.count(b"[y/N]") > len(answers) - len(waiting):
                os.write(master, f"{waiting.pop(0)}\n".encode())
        os.waitpid(pid, 0)
        os.close(master)
        return shown.decode().replace("\r\n", "\n")


@pytest.fixture
def bare_shell(tmp_path: Path) -> Shell:
    """A shell in a folder that no repository is around."""
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    return Shell(folder, home)


@pytest.fixture
def shell(bare_shell: Shell) -> Shell:
    """A shell in a repository with one commit."""
    bare_shell.git("init", "-q", "-b", "main")
    bare_shell.git("config", "user.name", "Ada")
    bare_shell.git("config", "user.email", "ada@example.org")
    (bare_shell.folder / "train.py").write_text("print('training')\n")
    bare_shell.git("add", ".")
    bare_shell.git("commit", "-qm", "code")
    return bare_shell


@pytest.fixture
def make_run(shell: Shell) -> Callable[..., str]:
    """Makes a finished run and gives its id."""

    def make(
        name: str = "one", *, experiment: str = "digits", metrics: str = "acc=0.9", params: str = "lr=0.1"
    ) -> str:
        run_id = shell.gittrack("start", "-e", experiment, "--name", name).strip()
        if params:
            shell.gittrack("log", "param", *params.split())
        if metrics:
            shell.gittrack("log", "metric", *metrics.split())
        shell.gittrack("finish")
        return run_id

    return make
