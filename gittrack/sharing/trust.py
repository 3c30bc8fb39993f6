"""Which of the stores that a repository names may be used: its records may be a stranger's.

Reading from a bucket or a folder is harmless: the host is of the user's own settings, and what comes is checked
against its hash. Writing into a folder that a stranger names is not, nor is connecting to a stranger's host.
"""

from __future__ import annotations

from typing import Literal

from gittrack.artifact_stores.url_store import parse_store_url
from gittrack.errors import InvalidValueError, RemoteError
from gittrack.git.repository import Repository
from gittrack.git.user_settings import add_value, list_values

Operation = Literal["download", "upload"]

TRUSTED = "gittrack.trustedStore"


def require_trusted_store(repository: Repository, url: str, operation: Operation) -> None:
    """See that a store may be used so.

    Raises:
        RemoteError: the user has not allowed it. InvalidValueError: the URL is no store's.
    """
    if not needs_trust(url, operation):
        return
    found = parse_store_url(url)
    if not is_trusted(repository, url):
        what = "connected to" if found.kind == "sftp" else "written to"
        raise RemoteError(
            f"{found.text} is named by the repository, and not {what} unless you allow it",
            f"where you know it, allow it: gittrack remote trust '{found.text}'",
        )


def needs_trust(url: str, operation: Operation) -> bool:
    """Whether a store may be used so only where the user has allowed it.

    Raises:
        InvalidValueError: the URL is no store's.
    """
    kind = parse_store_url(url).kind
    return kind == "sftp" or (kind == "folder" and operation == "upload")


def is_trusted(repository: Repository, url: str) -> bool:
    """Whether the user has allowed a store."""
    return parse_store_url(url).text in {plain_url(value) for value in list_values(repository, TRUSTED)}


def trust_store(repository: Repository, url: str) -> bool:
    """Allow a store in this repository, by git config ``gittrack.trustedStore``; False where it was already.

    Raises:
        InvalidValueError: the URL is no store's.
    """
    text = parse_store_url(url).text
    if is_trusted(repository, text):
        return False
    add_value(repository, TRUSTED, text)
    return True


def plain_url(url: str) -> str:
    """A store's URL as it is recorded, the same for the same place; what is no store's stays as it is."""
    try:
        return parse_store_url(url).text
    except InvalidValueError:
        return url
