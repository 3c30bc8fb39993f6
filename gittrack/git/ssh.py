"""Running a command on an ssh host as git would: with the user's own ssh program and its variant.

Sources: git-config(1), ``core.sshCommand`` and ``ssh.variant``; git(1), ``GIT_SSH``; git-clone(1), "Git URLs".
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote

from gittrack.errors import RemoteError
from gittrack.git.settings import Settings, find_setting

_URL = re.compile(r"(?:git\+)?ssh(?:\+git)?://(?:([^@/]*)@)?(\[[^]/]+\]|[^:/]+)(?::(\d*))?(/.*)")
_SHORT = re.compile(r"(?:([^@/:\[]*)@)?(\[[^]/]+\]|[^:/\[\]]+):([^:].*)")  # of 'name::…' git starts a program
_NAME = re.compile(r"[^\s\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class SshPlace:
    """A path on an ssh host.

    Attributes:
        host: ``[user@]host`` as ssh is told it; port: digits, or empty. path: as the remote command is told it.
    """

    host: str
    port: str
    path: str


def parse_ssh_url(url: str) -> SshPlace | None:
    """The place that ``ssh://[user@]host[:port]/path`` or ``[user@]host:path`` names; None for another URL.

    Raises:
        RemoteError: ssh would take the host for an option.
    """
    if found := _URL.fullmatch(url):
        user, host, port, path = (unquote(part or "") for part in found.groups())
        path = path[1:] if path.startswith("/~") else path
    elif "://" not in url and (found := _SHORT.fullmatch(url)):
        user, host, path = found[1] or "", found[2], found[3]
        inner = re.fullmatch(r"\[(?:([^@]*)@)?([^:]+):(\d+)\]", host)  # or it is an address of IPv6
        user, host, port = (inner[1] or user, inner[2], inner[3]) if inner else (user, host, "")
    else:
        return None
    named = f"{user}@{host.strip('[]')}" if user else host.strip("[]")
    if named.startswith("-") or host.startswith("-") or path.startswith("-") or not _NAME.fullmatch(named):
        raise RemoteError(f"{named!r} is no host that ssh may be told", "check the URL: git remote -v")
    return SshPlace(named, port, path)


def ssh_argv(settings: Settings, place: SshPlace, command: str) -> list[str]:
    """The argv that runs a command on a host.

    ``GIT_SSH_COMMAND`` and ``core.sshCommand`` are for a shell to read, as git has it; what is given to them comes
    as arguments of their own. They are the user's: no file that a repository brings sets them.

    Raises:
        RemoteError: the ssh program takes no port.
    """
    line = os.environ.get("GIT_SSH_COMMAND") or find_setting(settings, "core.sshcommand")
    if line and line.strip():
        start = ["sh", "-c", f'{line} "$@"', line]
        program = line.split()[0].strip("'\"")
    else:
        program = os.environ.get("GIT_SSH") or "ssh"
        start = [program]
    return [*start, *_options(settings, program, place), place.host, command]


def _options(settings: Settings, program: str, place: SshPlace) -> list[str]:
    variant = os.environ.get("GIT_SSH_VARIANT") or find_setting(settings, "ssh.variant") or "auto"
    if variant == "auto":
        variant = os.path.splitext(os.path.basename(program))[0].lower()
    if variant == "simple" and place.port:
        raise RemoteError(f"the ssh program {program!r} takes no port", "see ssh.variant in git-config(1)")
    port_flag = "-P" if variant in ("plink", "putty", "tortoiseplink") else "-p"
    batch = ["-batch"] if variant == "tortoiseplink" else []
    return [*batch, *((port_flag, place.port) if place.port else ())]
