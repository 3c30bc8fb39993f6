"""The filters that git could run here, and the environment in which it runs none of them.

A filter is a program that a config names and an attribute calls; reading a work tree must start none. So the
names are found by a rule that finds too many rather than too few: every ``[filter …]`` header, wherever in
a file it stands, in every file that may be included on whatever condition. Where even that is not sure, git is
asked (2 ms). Source: git's config.c; a header never spans lines, so a search cannot miss one.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Collection, Iterable, Iterator

from gittrack.errors import CommandError
from gittrack.git.command import find_git, git_argv, read_output
from gittrack.git.config import unescape
from gittrack.git.repository import Repository

_BYTES_MAX = 1 << 20
_FILES_MAX = 50
# lookahead: matches may overlap, so that nothing before a header hides it
_HEADER = re.compile(
    rb'(?=\[[^\S\n]*filter(?:\.([-.\w]*))?(?:[^\S\n]+"((?:[^"\\\n]|\\[^\n])*)")?[^\S\n]*\])', re.IGNORECASE
)
_INCLUDE = re.compile(rb"\[[^\S\n]*include", re.IGNORECASE)
_CONTINUED = re.compile(rb"\\\r?(?:\n|\Z)")
_PATH = re.compile(rb"(?:^|[\]\xbf])[^\S\n]*path[^\S\n]*=[^\S\n]*(.*?)[^\S\n]*$", re.IGNORECASE | re.MULTILINE)
_PLAIN_PATH = re.compile(rb'[^\s"\\#;%]+')
_SYSTEM_CONFIGS = ("/etc/gitconfig", "/usr/local/etc/gitconfig", "/opt/homebrew/etc/gitconfig")


class _UnsureError(Exception):
    """A config file that only git can be trusted to read."""


def find_filters(repository: Repository, top: str) -> list[str]:
    """Names of the filters that git may run in a work tree, sorted; some may not be in force there.

    Raises:
        CommandError, OSError: git, which had to be asked, failed.
    """
    try:
        return sorted(set(_scan_files(_list_configs(repository, top))))
    except _UnsureError:
        return sorted(set(_ask_git(repository, top)))


def switch_off(filters: Iterable[str]) -> dict[str, str]:
    """The environment (git 2.31) in which git runs none of these filters; ``-c`` can't name one with '='."""
    environment: dict[str, str] = {}
    count = 0
    for name in filters:
        for key, value in (("clean", ""), ("process", ""), ("smudge", ""), ("required", "false")):
            environment[f"GIT_CONFIG_KEY_{count}"] = f"filter.{name}.{key}"
            environment[f"GIT_CONFIG_VALUE_{count}"] = value
            count += 1
    return environment | {"GIT_CONFIG_COUNT": str(count)}


def find_encrypted(
    repository: Repository, top: bytes, filters: Iterable[str], paths: Collection[bytes]
) -> Collection[bytes]:
    """The paths that git-crypt and its like keep encrypted in git: plain on disk, so never to be recorded."""
    if not any("crypt" in name for name in filters):
        return ()
    work_tree = f"--work-tree={os.fsdecode(top)}"
    argv = git_argv(repository.git_dir, work_tree, "check-attr", "-z", "--stdin", "filter")
    try:
        words = read_output(argv, os.fsdecode(top), stdin=b"".join(path + b"\0" for path in paths)).split(b"\0")
    except (OSError, CommandError):
        return paths
    return {path for path, value in zip(words[::3], words[2::3], strict=False) if b"crypt" in value}


def _list_configs(repository: Repository, top: str) -> list[str]:
    """The files that git reads here, there or not; relative ones are taken from where git runs."""
    if "GIT_CONFIG_GLOBAL" in os.environ:
        users = [os.environ["GIT_CONFIG_GLOBAL"]]
    else:
        folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        users = [os.path.expanduser("~/.gitconfig"), os.path.join(folder, "git", "config")]
    own = [
        os.path.join(repository.common_dir, "config"),
        os.path.join(repository.git_dir, "config.worktree"),
    ]
    system = _find_system_configs(find_git() or "git")
    return [*own, *(os.path.join(top, path) for path in users), *_SYSTEM_CONFIGS, *system]


def _scan_files(paths: Iterable[str]) -> Iterator[str]:
    """The names in some files and in all that they may include."""
    pending, seen = list(paths), set[str]()
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        names, included = _scan(_read_whole(path))
        yield from names
        if len(seen) > _FILES_MAX:
            raise _UnsureError
        pending += [os.path.join(os.path.dirname(path), os.path.expanduser(other)) for other in included]


@functools.lru_cache(maxsize=32)
def _scan(raw: bytes) -> tuple[frozenset[str], tuple[str, ...]]:
    """The filters that one file's bytes may configure, and the paths that it may include."""
    names = frozenset(_name(found[1], found[2]) for found in _HEADER.finditer(raw))
    if not _INCLUDE.search(raw):
        return names, ()
    values = [found[1] for found in _PATH.finditer(raw)]
    if _CONTINUED.search(raw) or not all(_PLAIN_PATH.fullmatch(value) for value in values):
        raise _UnsureError
    return names, tuple(os.fsdecode(value) for value in values)


def _name(dotted: bytes | None, quoted: bytes | None) -> str:
    """``[filter "Name"]`` keeps its letters; ``[filter.Name]``, the old form, means lower case."""
    parts = [] if dotted is None else [os.fsdecode(dotted.lower())]
    return ".".join(parts if quoted is None else [*parts, unescape(quoted)])


def _read_whole(path: str) -> bytes:
    try:
        if not os.path.isfile(path):  # nothing there; or a pipe, which git would wait for
            return b""
        with open(path, "rb", buffering=0) as file:
            raw = file.read(_BYTES_MAX)
    except OSError as error:
        raise _UnsureError from error
    if len(raw) >= _BYTES_MAX:
        raise _UnsureError
    return raw


@functools.cache
def _find_system_configs(git: str) -> tuple[str, ...]:
    """The system's config files that have settings, asked once a process: only this git knows where its own is."""
    try:
        words = read_output([git, "config", "--system", "--show-origin", "--null", "--list"], "/").split(b"\0")
    except (OSError, CommandError):  # there is none
        words = []
    return tuple(sorted({os.fsdecode(word[5:]) for word in words[::2] if word.startswith(b"file:")}))


def _ask_git(repository: Repository, top: str) -> Iterator[str]:
    words = ("config", "--includes", "--null", "--name-only", "--get-regexp", r"^filter\.")
    try:
        keys = read_output(git_argv(repository.git_dir, *words), top).split(b"\0")
    except CommandError as error:
        if error.returncode == 1:  # no such key
            return
        raise
    for key in keys:
        if key.count(b".") > 1:
            yield os.fsdecode(key[len(b"filter.") : key.rindex(b".")])
