"""Where the artifacts of a remote are, by Git LFS's rules: an LFS server's URL, an ssh host to ask, or a folder.

Source: git-lfs's docs/api/server-discovery.md and its man page git-lfs-config(5). Of ``.lfsconfig``, which a clone
brings along, only the keys count that git-lfs calls safe, and only URLs of web servers and ssh hosts.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from gittrack.errors import RemoteError
from gittrack.git.config import parse_settings, strip_credentials
from gittrack.git.remotes import Remote, is_url
from gittrack.git.repository import Repository
from gittrack.git.settings import Settings, find_setting, replace_url_start
from gittrack.git.ssh import SshPlace, parse_ssh_url

Operation = Literal["upload", "download"]

_CONFIG_BYTES_MAX = 1 << 16
_URL_CHARS_MAX = 4096


@dataclass(frozen=True, slots=True)
class WebEndpoint:
    """An LFS server: its URL, to which ``/objects/batch`` is added; it may hold user and password.

    ``is_brought`` says that a file of the repository named it.
    """

    url: str
    is_brought: bool


@dataclass(frozen=True, slots=True)
class SshEndpoint:
    """An ssh host that says where the LFS server is; ``url`` is the server's where it does not say so."""

    place: SshPlace
    url: str


@dataclass(frozen=True, slots=True)
class FolderEndpoint:
    """A repository on a disk of this machine: its path."""

    path: str


Endpoint = WebEndpoint | SshEndpoint | FolderEndpoint


def find_endpoint(repository: Repository, remote: Remote, operation: Operation, settings: Settings) -> Endpoint:
    """Where the artifacts of a remote are sent to, or come from.

    Args:
        settings: all that git's configuration says.

    Raises:
        RemoteError: what is configured is no place of artifacts.
    """
    brought = dict(_read_lfsconfig(repository))
    for key in _keys(remote, operation):
        if (url := find_setting(settings, key)) is not None:
            return _endpoint(replace_url_start(settings, url), is_brought=False, named_by=key)
        if key in brought:
            return _endpoint_brought(settings, brought[key], key)
    url = remote.push_url if operation == "upload" else remote.url
    return _endpoint_of_clone(url, find_setting(settings, "lfs.gitprotocol") or "https")


def require_web_url(url: str, named_by: str) -> str:
    """A URL that a server or a file named: http or https, with a host, on one line.

    Raises:
        RemoteError: it is another.
    """
    try:
        parts = urlsplit(url)
        is_fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_fit = False
    if not is_fit or len(url) > _URL_CHARS_MAX * 4 or re.search(r"[\x00-\x20\x7f\\]", url):
        raise RemoteError(f"{named_by} names {strip_credentials(url)[:200]!r}, which is no URL of a web server")
    return url


def _keys(remote: Remote, operation: Operation) -> Iterator[str]:
    """The settings that name an LFS server, the first one set counts."""
    pushes = operation == "upload"
    if pushes:
        yield "lfs.pushurl"
    yield "lfs.url"
    if remote.name:
        if pushes:
            yield f"remote.{remote.name}.lfspushurl"
        yield f"remote.{remote.name}.lfsurl"


def _endpoint(url: str, *, is_brought: bool, named_by: str) -> Endpoint:
    """The endpoint of a URL that names an LFS server, not a repository."""
    place = parse_ssh_url(url)
    if place is not None:
        return SshEndpoint(place, "")
    if urlsplit(url).scheme in ("http", "https"):
        return WebEndpoint(require_web_url(url, named_by).rstrip("/"), is_brought)
    if not is_brought and (url.startswith("file://") or not is_url(url)):
        return FolderEndpoint(_local_path(url))
    raise RemoteError(f"{named_by} names {strip_credentials(url)[:200]!r}, which is no place of artifacts")


def _endpoint_brought(settings: Settings, url: str, key: str) -> Endpoint:
    """The same of one that ``.lfsconfig`` names; a folder or a program of this machine it may not name."""
    named_by = f".lfsconfig ({key})"
    if not (re.match(r"https?://", url) or parse_ssh_url(url)):
        raise RemoteError(
            f"{named_by} names {strip_credentials(url)[:200]!r}, which is no URL of a web server or an ssh host",
            f"set another yourself, if you know one: git config {key} URL",
        )
    return _endpoint(replace_url_start(settings, url), is_brought=True, named_by=named_by)


def _endpoint_of_clone(url: str, git_protocol: str) -> Endpoint:
    """The endpoint that a repository's own URL leads to."""
    place = parse_ssh_url(url) if is_url(url) else None
    if place is not None:
        host = place.host.rpartition("@")[2]
        return SshEndpoint(place, _with_suffix(f"https://{host}/{place.path.lstrip('/')}"))
    scheme = url.partition("://")[0]
    if scheme == "git" and git_protocol in ("http", "https"):
        url, scheme = git_protocol + url.removeprefix("git"), git_protocol
    if scheme in ("http", "https"):
        return WebEndpoint(require_web_url(_with_suffix(url), "the remote"), False)
    if scheme == "file" or not is_url(url):
        return FolderEndpoint(_local_path(url))
    raise RemoteError(f"{strip_credentials(url)[:200]}: no artifacts can be kept at a remote of that kind")


def _with_suffix(url: str) -> str:
    url = url.rstrip("/")
    return f"{url}/info/lfs" if url.endswith(".git") else f"{url}.git/info/lfs"


def _local_path(url: str) -> str:
    """A path as git reads it from ``file://[host]/path``, or from no URL."""
    if not url.startswith("file://"):
        return url
    rest = unquote(url.removeprefix("file://"), errors="surrogateescape")
    return rest[max(rest.find("/"), 0) :]


def _read_lfsconfig(repository: Repository) -> Iterator[tuple[str, str]]:
    """What the work tree's ``.lfsconfig`` may say; it is anybody's file."""
    if repository.work_tree is None:
        return
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(os.path.join(repository.work_tree, ".lfsconfig"), flags)
    except OSError:
        return
    try:
        status = os.fstat(descriptor)
        is_fit = stat.S_ISREG(status.st_mode) and status.st_size <= _CONFIG_BYTES_MAX
        raw = os.read(descriptor, _CONFIG_BYTES_MAX) if is_fit else b""
    finally:
        os.close(descriptor)
    for item in parse_settings(raw):
        if item.section == "lfs" and not item.subsection and item.key in ("url", "pushurl"):
            yield f"lfs.{item.key}", item.value
        elif item.section == "remote" and item.subsection and item.key == "lfsurl":
            yield f"remote.{item.subsection}.lfsurl", item.value
