"""Asking an ssh host for its LFS server and for leave to use it: ``git-lfs-authenticate``.

Source: git-lfs's docs/api/server-discovery.md, "SSH".
"""

from __future__ import annotations

import re
import shlex
import subprocess

from gittrack.artifact_stores.endpoints import Operation, SshEndpoint, require_web_url
from gittrack.artifact_stores.lfs_batch import Action, parse_grant
from gittrack.errors import RemoteError
from gittrack.git.command import ANYWHERE
from gittrack.git.network import network_environment
from gittrack.git.settings import Settings
from gittrack.git.ssh import ssh_argv
from gittrack.schema.names import one_line

_GRANT_BYTES_MAX = 1 << 16
_WAIT_S = 300.0  # a person may have to type a passphrase
_NO_COMMAND = re.compile("(?i)not found|not recognized|unrecognized command|unknown command|no such file")


def ask_ssh_host(endpoint: SshEndpoint, operation: Operation, settings: Settings) -> Action:
    """What the host of an ssh remote says: the server's URL, headers that let us in, and for how long.

    Raises:
        RemoteError: it is not reached, has no LFS, or refuses.
    """
    host = endpoint.place.host
    command = f"git-lfs-authenticate {shlex.quote(endpoint.place.path)} {operation}"
    try:
        done = subprocess.run(
            ssh_argv(settings, endpoint.place, command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=ANYWHERE,
            env=network_environment(),
            timeout=_WAIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RemoteError(f"{host} cannot be asked for its LFS server: {error}") from error
    if done.returncode:
        raise _refused(host, done.returncode, done.stderr.decode(errors="replace"))
    if len(done.stdout) > _GRANT_BYTES_MAX:
        raise RemoteError(f"{host} answers git-lfs-authenticate with more than {_GRANT_BYTES_MAX:,} bytes")
    try:
        granted = parse_grant(done.stdout)
    except RemoteError as error:
        raise RemoteError(f"{host}, asked for its LFS server: {error.message}") from error
    require_web_url(granted.href or endpoint.url, host)
    return granted


def _refused(host: str, code: int, told: str) -> RemoteError:
    first = one_line(next((line for line in told.splitlines() if line.strip()), f"exit code {code}"))
    if code == 127 or (code != 255 and _NO_COMMAND.search(told)):
        return RemoteError(
            f"{host} has no LFS server that ssh could tell of: {first}",
            "name one: git config lfs.url URL; or keep artifacts elsewhere",
        )
    return RemoteError(f"{host} does not say where its LFS server is: {first}", "does `ssh` reach it by hand?")
