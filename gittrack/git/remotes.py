"""The remotes of a repository, as the user's git knows them: names, and the URLs that git would really use.

``git config`` is asked once, for all files it reads and includes; ``url.<base>.insteadOf`` and ``pushInsteadOf``
are applied as git-config(1) says. Where there is no git, the repository's own config says it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gittrack.errors import CommandError, NotFoundError
from gittrack.git.command import find_git, run_git
from gittrack.git.config import parse_settings, strip_credentials
from gittrack.git.repository import Repository

TRACKED = "refs/remotes/"  # what a configured remote had when it was last asked
_FETCHED = "refs/gittrack/remotes/"  # the same of one without a name, given by its URL


@dataclass(frozen=True, slots=True)
class Remote:
    """Another repository.

    Attributes:
        name: as in the config; empty for one that was given by its URL.
        url: where git fetches from; push_url: where it pushes to. Both may hold credentials: show `label`.
    """

    name: str
    url: str
    push_url: str

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.name or strip_credentials(self.url)

    @property
    def asked_as(self) -> str:
        """How a git command is told of it."""
        return self.name or self.url

    @property
    def key(self) -> str:
        """A name for what is noted about it: another where its URL changes. It is fit for a file or a ref."""
        return hashlib.sha256(f"{self.name}\n{self.url}\n{self.push_url}".encode()).hexdigest()[:16]

    @property
    def tracked(self) -> str:
        """The folder of refs that stand for its own, with the '/' at the end."""
        return f"{TRACKED}{self.name}/" if self.name else f"{_FETCHED}{self.key}/"


def list_remotes(repository: Repository) -> list[Remote]:
    """The configured remotes, ``origin`` first, then by name."""
    urls: dict[str, dict[str, str]] = {}
    bases: dict[str, list[tuple[str, str]]] = {"insteadof": [], "pushinsteadof": []}
    for section, name, key, value in _read_settings(repository):
        if section == "remote" and key in ("url", "pushurl"):
            urls.setdefault(name, {}).setdefault(key, value)
        elif section == "url" and key in bases and value:
            bases[key].append((value, name))
    found = [_resolve(name, held, bases) for name, held in urls.items() if name and held.get("url")]
    return sorted(found, key=lambda remote: (remote.name != "origin", remote.name))


def find_remote(repository: Repository, asked: str | None = None) -> Remote | None:
    """The remote that is meant: by its name, URL or path; without a word ``origin``, or the only one.

    None only where nothing is asked for and there is none.

    Raises:
        NotFoundError: no remote has that name; or there are several, none is ``origin``, and none is named.
    """
    known = list_remotes(repository)
    if asked is None:
        if len(known) > 1 and known[0].name != "origin":
            names = ", ".join(remote.name for remote in known)
            raise NotFoundError(f"{repository.label} has several remotes", f"name one of them: {names}")
        return known[0] if known else None
    for remote in known:
        if asked in (remote.name, remote.url):
            return remote
    if is_url(asked) or os.path.isdir(asked):
        place = os.path.abspath(asked) if not is_url(asked) else asked
        return Remote("", place, place)
    names = ", ".join(remote.name for remote in known)
    hint = f"there are: {names}" if names else "add one: git remote add origin URL"
    raise NotFoundError(f"{repository.label} has no remote {asked!r}", hint)


def is_url(text: str) -> bool:
    """Whether a text is a git URL, or ssh's short form ``[user@]host:path``: git-clone(1), "Git URLs"."""
    if re.match(r"[A-Za-z0-9+.-]*::", text):  # a helper of git's would take it, by any program
        return False
    if re.match(r"[a-z][a-z0-9+.-]*://.", text):
        return True
    host, colon, path = text.partition(":")
    return bool(colon and path and host) and "/" not in host and not host.startswith("-") and len(host) > 1


def _read_settings(repository: Repository) -> Iterator[tuple[str, str, str, str]]:
    """Section, subsection, key and value of what config says of remotes and URLs, in order."""
    if not find_git():
        yield from parse_settings(repository.read_config())
        return
    try:
        told = run_git(
            repository.git_dir, "config", "-z", "--get-regexp", r"^(remote|url)\..*\.(push)?(url|insteadof)$"
        )
    except CommandError:  # there is none
        return
    for entry in told.decode(errors="surrogateescape").split("\0")[:-1]:
        whole, _, value = entry.partition("\n")
        section, _, rest = whole.partition(".")
        name, _, key = rest.rpartition(".")
        yield section, name, key, value


def _resolve(name: str, held: Mapping[str, str], bases: Mapping[str, list[tuple[str, str]]]) -> Remote:
    url = replace_start(held["url"], bases["insteadof"])
    if "pushurl" in held:
        return Remote(name, url, replace_start(held["pushurl"], bases["insteadof"]))
    pushed = replace_start(held["url"], bases["pushinsteadof"])
    return Remote(name, url, pushed if pushed != held["url"] else url)


def replace_start(url: str, bases: Iterable[tuple[str, str]]) -> str:
    """A URL with another beginning, by pairs of an old and a new one: of those that fit, the longest old one."""
    fitting = [(start, base) for start, base in bases if start and url.startswith(start)]
    if not fitting:
        return url
    start, base = max(fitting, key=lambda one: len(one[0]))
    return base + url[len(start) :]
