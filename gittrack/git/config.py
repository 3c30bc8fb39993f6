"""Git's config files, read without git: settings, where the files are, the remote's URL without credentials.

Source: git-config(1), "Syntax". Includes are not followed: what decides which programs git may start is in
`filters`, which never trusts this parser.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from typing import NamedTuple

_FILE_BYTES_MAX = 1 << 20
_SECTION = re.compile(rb'\s*\[\s*([-.\w]+)\s*(?:"((?:[^"\\]|\\.)*)")?\s*\]')
_SETTING = re.compile(rb"\s*([a-zA-Z][-a-zA-Z0-9]*)\s*(?:=\s*(.*?))?\s*$")
_VALUE_PART = re.compile(rb'"((?:[^"\\]|\\.)*)"?|((?:[^"#;\\]|\\.)+)|[#;].*')


class Setting(NamedTuple):
    """One line of a git config: section and key in lower case."""

    section: str
    subsection: str
    key: str
    value: str


class CoreSettings(NamedTuple):
    """What a config says of the work tree: where it is, if elsewhere; whether there is none."""

    worktree: str
    is_bare: bool


def list_config_files() -> list[str]:
    """The config files of the machine and of the user, in git's order: git-config(1), "FILES"."""
    system = os.environ.get("GIT_CONFIG_SYSTEM", "/etc/gitconfig")
    files = [] if os.environ.get("GIT_CONFIG_NOSYSTEM") else [system]
    if "GIT_CONFIG_GLOBAL" in os.environ:
        return [*files, os.environ["GIT_CONFIG_GLOBAL"]]
    home = os.path.expanduser("~")
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    return [*files, os.path.join(folder, "git", "config"), os.path.join(home, ".gitconfig")]


def quote_value(value: str) -> str:
    """A value as a config file holds it: git-config(1), "Syntax"."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def read_settings(path: str) -> tuple[Setting, ...]:
    """The settings of one config file, in order; none where it cannot be read."""
    return parse_settings(read_small_file(path))


@functools.lru_cache(maxsize=32)
def parse_settings(raw: bytes) -> tuple[Setting, ...]:
    """The settings in one config file's bytes, in order."""
    settings: list[Setting] = []
    section = subsection = ""
    for line in re.sub(rb"\\\r?\n", b"", raw.removeprefix(b"\xef\xbb\xbf")).splitlines():
        while header := _SECTION.match(line):
            section, subsection = os.fsdecode(header[1]).lower(), unescape(header[2] or b"")
            line = line[header.end() :]
        found = _SETTING.match(line)
        if found:
            settings.append(Setting(section, subsection, os.fsdecode(found[1]).lower(), _parse_value(found[2])))
    return tuple(settings)


def read_core_settings(git_dir: str) -> CoreSettings:
    """What the config of a git folder says of its work tree; its ``config.worktree`` where that is in use."""
    settings = read_settings(os.path.join(git_dir, "config"))
    found = {(item.section, item.key): item.value for item in settings if not item.subsection}
    if _is_true(found.get(("extensions", "worktreeconfig"), "")):
        own = read_settings(os.path.join(git_dir, "config.worktree"))
        found |= {(item.section, item.key): item.value for item in own if item.section == "core"}
    return CoreSettings(found.get(("core", "worktree"), ""), _is_true(found.get(("core", "bare"), "")))


@functools.lru_cache(maxsize=32)
def read_extensions(raw: bytes) -> dict[str, str]:
    """What a repository's config says of how it is stored: its ``extensions``, by their names in lower case.

    In format version 0 git heeds few of them, and refuses the two that say how objects and refs are stored. A
    version that git does not have yet counts as an extension.
    """
    found = {(item.section, item.key): item.value for item in parse_settings(raw) if not item.subsection}
    extensions = {key: value for (section, key), value in found.items() if section == "extensions"}
    version = found.get(("core", "repositoryformatversion"), "0")
    if version == "0":
        return {key: extensions[key] for key in ("objectformat", "refstorage") if key in extensions}
    return extensions if version == "1" else extensions | {"repositoryformatversion": version}


def find_remote_url(settings: Iterable[Setting]) -> str | None:
    """The URL of ``origin``, else of the first remote; without credentials."""
    urls: dict[str, str] = {}
    for item in settings:
        if item.section == "remote" and item.key == "url":
            urls.setdefault(item.subsection, item.value)
    url = urls.get("origin") or next(iter(urls.values()), None)
    return strip_credentials(url) if url else None


def strip_credentials(url: str) -> str:
    """A URL without user, password, query and fragment; of ssh the user stays, since it is no secret."""
    if "://" not in url:
        return url
    return re.split(r"[?#]", strip_userinfo(url), maxsplit=1)[0]


def strip_userinfo(url: str) -> str:
    """A URL without user and password; of ssh the user stays. What is no URL stays as it is."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, _ = authority.rpartition("@")
    if not at and "@" in rest and not re.fullmatch(r"[^:]*(?::\d*)?|\[.*", authority):
        user, at, _ = rest.rpartition("@")  # an unescaped '/' in the password
    kept = user.partition(":")[0] + "@" if at and scheme.endswith("ssh") else ""
    return f"{scheme}://{kept}{rest[len(user) + len(at) :]}"


def read_small_file(path: str) -> bytes:
    """At most the first mebibyte of a regular file; empty where there is none, or it cannot be read."""
    try:
        if not os.path.isfile(path):  # opening a FIFO would wait
            return b""
        with open(path, "rb", buffering=0) as file:
            return file.read(_FILE_BYTES_MAX)
    except OSError:
        return b""


def unescape(raw: bytes) -> str:
    """The text of a quoted subsection or value."""
    return os.fsdecode(re.sub(rb"\\(.)", rb"\1", raw))


def _parse_value(raw: bytes | None) -> str:
    if raw is None:
        return "true"
    parts = [unescape(part[1] or part[2] or b"") for part in _VALUE_PART.finditer(raw)]
    return "".join(parts).rstrip()


def _is_true(value: str) -> bool:
    return value.lower() in ("true", "yes", "on", "1")
