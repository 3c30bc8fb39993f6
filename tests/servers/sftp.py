"""SFTP as on any machine with OpenSSH: sshd with its own server of files, and one key that is let in."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.starting import HOST, running


@pytest.fixture
def sftp_place(tmp_path: Path, clean_world: None) -> Iterator[str]:
    """The user, host and port of a running server, whose key and host key are in this HOME's ``.ssh``."""
    place, own = tmp_path / "sshd", tmp_path / "home/.ssh"
    place.mkdir()
    own.mkdir(mode=0o700)
    for path in (place / "host_key", own / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    program = shutil.which("sshd") or "/usr/sbin/sshd"

    def make_argv(port: int) -> list[str]:
        (place / "sshd_config").write_text(
            f"ListenAddress {HOST}\nPort {port}\nHostKey {place}/host_key\nPidFile none\nUsePAM no\nUseDNS no\n"
            f"AuthorizedKeysFile {own}/id_ed25519.pub\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        )
        return [program, "-D", "-e", "-f", str(place / "sshd_config")]

    with running(make_argv, place / "log") as port:
        host_key = " ".join((place / "host_key.pub").read_text().split()[:2])
        (own / "known_hosts").write_text(f"[{HOST}]:{port} {host_key}\n")
        yield f"{getpass.getuser()}@{HOST}:{port}"
