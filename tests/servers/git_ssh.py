"""Git over ssh as on a host of one's own: OpenSSH's sshd, and one key that may start ``git-shell`` alone."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.git_http import make_bare
from tests.servers.starting import HOST, running


@dataclass(frozen=True, slots=True)
class GitSsh:
    """A running server. Its repositories are the bare ones in ``folder``, made by `make`.

    Attributes:
        environment: what a client's git, git-lfs or ssh by ``GIT_SSH_COMMAND`` needs, with its own key.
        port: where it listens.
    """

    folder: Path
    port: int
    environment: dict[str, str]

    def make(self, name: str = "runs") -> Path:
        """A new bare repository; `url` has its address."""
        return make_bare(self.folder / f"{name}.git")

    def url(self, name: str = "runs") -> str:
        return f"ssh://{getpass.getuser()}@{HOST}:{self.port}{self.folder}/{name}.git"

    def commands(self) -> list[str]:
        """What clients asked to run so far, as they wrote it."""
        log = self.folder.parent / "commands"
        return log.read_text().splitlines() if log.exists() else []


@contextmanager
def serve_git_over_ssh(place: Path, *, lfs_authenticate: Sequence[str] = ()) -> Iterator[GitSsh]:
    """A server of the repositories in ``place/repositories``.

    Args:
        lfs_authenticate: the program, with its first words, that answers ``git-lfs-authenticate PATH OPERATION``;
            without one that command is refused, as on a host without LFS.
    """
    folder = place / "repositories"
    folder.mkdir(parents=True)
    place.chmod(0o700)
    for name in ("host_key", "key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(place / name)]
        subprocess.run(words, check=True)
    _write_command(place / "command", folder, place / "commands", lfs_authenticate)
    key = (place / "key.pub").read_text()
    (place / "authorized_keys").write_text(f'restrict,command="{place}/command" {key}')
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    program = shutil.which("sshd") or "/usr/sbin/sshd"

    def make_argv(port: int) -> list[str]:
        (place / "sshd_config").write_text(_settings(place, port))
        return [program, "-D", "-e", "-f", str(place / "sshd_config")]  # by its full path: it starts itself anew

    with running(make_argv, place / "log") as port:
        host_key = " ".join((place / "host_key.pub").read_text().split()[:2])
        (place / "known_hosts").write_text(f"[{HOST}]:{port} {host_key}\n")
        yield GitSsh(folder, port, {"GIT_SSH_COMMAND": shlex.join(_client(place))})


def _settings(place: Path, port: int) -> str:
    return (
        f"ListenAddress {HOST}\nPort {port}\nHostKey {place}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {place}/authorized_keys\nStrictModes no\nUsePAM no\nUseDNS no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        "MaxStartups 100\n"
    )


def _client(place: Path) -> list[str]:
    options = ("BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes")
    words = ["ssh", "-F", "/dev/null", "-i", str(place / "key"), "-o", f"UserKnownHostsFile={place}/known_hosts"]
    for option in options:
        words += ["-o", option]
    return words


def _write_command(path: Path, folder: Path, commands: Path, lfs_authenticate: Sequence[str]) -> None:
    """What sshd starts whatever a client asks for: it notes that, and lets git-shell judge it."""
    words = shlex.join(lfs_authenticate)
    answers = f"'git-lfs-authenticate '*) eval exec {shlex.quote(words)} \"${{asked#* }}\" ;;\n" if words else ""
    path.write_text(
        "#!/bin/sh\n"
        "asked=$SSH_ORIGINAL_COMMAND\n"
        f"echo \"$asked\" >>'{commands}'\n"
        f"export HOME='{folder}' GIT_CONFIG_NOSYSTEM=1\ncd '{folder}'\n"
        f'case $asked in\n{answers}*) exec git-shell -c "$asked" ;;\nesac\n'
    )
    path.chmod(0o755)
