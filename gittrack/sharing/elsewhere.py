"""Tracking into a repository that is reached by git alone: a bare clone of one's own takes the runs at once.

It lies in the user's data folder and is made without the network; what ends in it is pushed in the background
(``gittrack.share``), or by any later push. A URL's password is never written down: git's own helpers have it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time

from gittrack.errors import GittrackError, RepositoryError
from gittrack.git.config import quote_value, strip_userinfo
from gittrack.git.packs import fsync_folder
from gittrack.git.remotes import find_remote, is_url
from gittrack.git.repository import Repository, create_bare_repository, open_repository

_SCHEME = "gittrack:"
_ALWAYS = ("ssh", "git")
_TOKEN = re.compile(r"(gh[a-z]_|github_pat_|glpat-|gl[a-z]{2,6}-|hf_|ATBB|ATCTT).*|.{40,}")  # not a name, a secret
_REFRESH_S = 60.0
_ANSWER_S = 10.0


def parse_git_url(uri: str) -> str | None:
    """The git URL that a tracking URI names, its password left out; None where it names a place of this machine.

    ``ssh://``, ``git://`` and ``[user@]host:path`` always are one, ``http://`` and ``https://`` where they end in
    ``.git`` (a tracking server of MLflow's does not); with ``gittrack:`` before it any of them is, and ``file://``.
    """
    is_said, text = uri.startswith(_SCHEME), uri.removeprefix(_SCHEME)
    scheme, mark, _ = text.partition("://")
    if any(char.isspace() or ord(char) < 32 or ord(char) == 127 for char in text):
        return None
    if mark:
        bare = re.split(r"[?#]", text, maxsplit=1)[0] if scheme.startswith("http") else text
        is_git = scheme in _ALWAYS or (is_said and scheme == "file")
        is_web = scheme in ("http", "https") and (is_said or bare.rstrip("/").endswith(".git"))
        return strip_password(bare) if is_git or is_web else None
    is_helper = re.match(
        r"[^:/]*::", text
    )  # <transport>::<address> names a program to start: gitremote-helpers(7)
    return text if is_url(text) and not is_helper and not os.path.lexists(text) else None


def strip_password(url: str) -> str:
    """A URL without what is secret in it; the user's name stays, unless it is a token itself."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    place = strip_userinfo(f"any://{rest}").removeprefix("any://")
    user = rest[: len(rest) - len(place)].removesuffix("@").partition(":")[0]
    return f"{scheme}://{user}@{place}" if user and not _TOKEN.fullmatch(user) else f"{scheme}://{place}"


def open_clone(url: str) -> Repository:
    """The clone that takes the runs for a URL of `parse_git_url`; made at once where there is none.

    Raises:
        RepositoryError: it cannot be made.
    """
    place = os.path.join(_clones_folder(), _name_of(url))
    if not os.path.isdir(place):
        try:
            _make(place, url)
        except OSError as error:
            raise RepositoryError(f"cannot make a clone at {place}: {error.strerror or error}") from error
    return open_repository(place)


def refresh(repository: Repository) -> str:
    """Fetch what is new for a clone, at most once a minute; returns why that could not be done, '' where it was.

    Waits ten seconds for a remote that does not answer.
    """
    from gittrack.sharing.fetching import fetch

    stamp = os.path.join(repository.state_dir, "refreshed")
    if _age_s(stamp) < _REFRESH_S:
        return ""
    remote = find_remote(repository)
    if remote is None:
        return ""
    os.makedirs(repository.state_dir, exist_ok=True)
    with open(stamp, "wb"):  # also of a failure: the next commands are not to wait as long
        os.utime(stamp)
    try:
        fetch(repository, remote, answer_s=_ANSWER_S)
    except GittrackError as error:
        return error.message
    return ""


def _make(place: str, url: str) -> None:
    """Make a clone whole under another name first: two processes may do so at once, and one of them may die."""
    folder = os.path.dirname(place)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    new = f"{place}.{os.urandom(4).hex()}.new"
    try:
        create_bare_repository(new)
        with open(os.path.join(new, "config"), "a", encoding="utf-8", errors="surrogateescape") as config:
            config.write(
                f'[remote "origin"]\n\turl = {quote_value(url)}\n'
                "\tfetch = +refs/heads/gittrack/*:refs/remotes/origin/gittrack/*\n"
                "\tfetch = +refs/gittrack/live/*:refs/gittrack/remotes/origin/live/*\n"
                "[gittrack]\n\tshare = true\n"
            )
            config.flush()
            os.fsync(config.fileno())
        os.rename(new, place)
        fsync_folder(folder)
    except OSError:
        if not os.path.isdir(place):  # nobody else was quicker
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _name_of(url: str) -> str:
    """A folder's name that a person recognises, another for each URL."""
    last = re.split(r"[/:]", url.rstrip("/"))[-1].removesuffix(".git")
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip(".-")[:40] or "runs"
    return f"{readable}-{hashlib.sha256(url.encode(errors='surrogateescape')).hexdigest()[:12]}.git"


def _clones_folder() -> str:
    import platformdirs

    folder = os.path.join(platformdirs.user_data_dir("gittrack", appauthor=False), "clones")
    if not os.path.isabs(folder):
        raise RepositoryError(
            "there is no folder for your data", "set HOME, or track into a repository by its path"
        )
    return folder


def _age_s(path: str) -> float:
    try:
        return abs(time.time() - os.stat(path).st_mtime)
    except OSError:
        return float("inf")
