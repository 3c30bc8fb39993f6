"""Who the user is to a server: asked of git's credential helpers, as git itself would.

``git credential`` and its lines are described in git-credential(1). Helpers are those of the user's configuration;
a repository's hooks never run. Nothing is kept here: helpers do that.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from gittrack.errors import CommandError, RemoteError
from gittrack.git.command import find_git, run_git
from gittrack.git.network import network_environment
from gittrack.git.repository import Repository

_UNFIT = re.compile(r"[\0\r\n]")


@dataclass(frozen=True, slots=True)
class Credential:
    """What says who one is, for one server.

    Attributes:
        authorization: the value of the HTTP header; a secret, as the lines are.
        lines: what git is told of it again when it turned out good or bad.
    """

    authorization: str = field(repr=False)
    lines: bytes = field(repr=False)


def fill_credential(repository: Repository, url: str, challenges: Sequence[str] = ()) -> Credential | None:
    """What git's helpers, or the person at the terminal, say for a URL; None where nobody says anything.

    Args:
        url: of the server, http or https; a user in it is asked for by name.
        challenges: what the server asked for, the values of ``WWW-Authenticate``; helpers choose by them.
    """
    if not find_git():
        return None
    asked = _format_question(url, challenges)
    try:
        lines = run_git(repository.git_dir, "credential", "fill", stdin=asked, extra=network_environment())
    except CommandError:
        return None
    found = dict(line.split("=", 1) for line in lines.decode(errors="replace").splitlines() if "=" in line)
    if found.get("authtype") and found.get("credential"):
        authorization = f"{found['authtype']} {found['credential']}"
    elif "username" in found and "password" in found:
        authorization = encode_basic(found["username"], found["password"])
    else:
        return None
    return None if _UNFIT.search(authorization) else Credential(authorization, lines)


def approve_credential(repository: Repository, credential: Credential) -> None:
    """Tell the helpers that a credential was right, so that they may keep it."""
    _tell(repository, "approve", credential)


def reject_credential(repository: Repository, credential: Credential) -> None:
    """Tell the helpers that a credential was refused, so that they forget it."""
    _tell(repository, "reject", credential)


def read_credential_in_url(url: str) -> str | None:
    """The header's value for a URL that holds user and password, else None."""
    parts = urlsplit(url)
    if not parts.password:
        return None
    return encode_basic(unquote(parts.username or ""), unquote(parts.password))


def encode_basic(username: str, password: str) -> str:
    """RFC 7617, in UTF-8."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode(errors="surrogateescape")).decode()


def _format_question(url: str, challenges: Sequence[str]) -> bytes:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    told = [("protocol", parts.scheme), ("host", host), ("path", unquote(parts.path).strip("/"))]
    if parts.username:
        told.append(("username", unquote(parts.username)))
    lines = ["capability[]=authtype", *(f"{key}={value}" for key, value in told if value)]
    lines += [f"wwwauth[]={challenge}" for challenge in challenges if not _UNFIT.search(challenge)]
    if any(_UNFIT.search(line) for line in lines):
        raise RemoteError(f"no credentials are asked for {host!r}: its URL holds a line break")
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def _tell(repository: Repository, verdict: str, credential: Credential) -> None:
    try:
        run_git(repository.git_dir, "credential", verdict, stdin=credential.lines, extra=network_environment())
    except CommandError:
        pass  # a helper that cannot keep it: the transfer went well or badly for reasons of its own
