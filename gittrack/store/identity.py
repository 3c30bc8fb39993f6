"""Who makes a commit: git's own configuration, and a plain fallback where it says nothing."""

from __future__ import annotations

import functools
import getpass
import os
import platform

from gittrack.git.identity import read_configured_user
from gittrack.git.objects import Signature
from gittrack.git.repository import Repository


def read_signature(repository: Repository, time_s: int) -> Signature:
    """The user's name and e-mail as git would take them, or ``gittrack <user@host>``, at a time in UTC."""
    name, email = _identity(repository)
    return Signature(name, email, time_s)


@functools.cache
def login_name() -> str:
    """The login name, or the user's number where the system has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())


@functools.cache
def _identity(repository: Repository) -> tuple[str, str]:
    name = os.environ.get("GIT_COMMITTER_NAME", "")
    email = os.environ.get("GIT_COMMITTER_EMAIL", "")
    if not (name and email):
        configured = read_configured_user(repository)
        name, email = name or configured[0], email or configured[1]
    return name or "gittrack", email or f"{login_name()}@{platform.node() or 'localhost'}"
