"""All that git's configuration says, its includes followed and its files in git's own order: git-config(1).

Asked of git in one call. None of it comes with a clone, unlike a repository's files (``.lfsconfig``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from gittrack.errors import CommandError
from gittrack.git.command import find_git, run_git
from gittrack.git.config import parse_settings
from gittrack.git.network import network_environment
from gittrack.git.remotes import replace_start
from gittrack.git.repository import Repository

Settings = Mapping[str, tuple[str, ...]]  # by key as git prints it: section and name in lower case, all values


def read_settings_of(repository: Repository) -> Settings:
    """Every setting with all its values, the one that counts last; without git, the repository's own."""
    if not find_git():
        return _gather(
            (".".join(filter(None, (item.section, item.subsection, item.key))), item.value)
            for item in parse_settings(repository.read_config())
        )
    return _gather(_split(run_git(repository.git_dir, "config", "-z", "--list", extra=network_environment())))


def read_settings_for_url(repository: Repository, section: str, url: str) -> Settings:
    """The settings of a section that hold for a URL, ``<section>.<url>.*`` among them, the best match each.

    Of a setting that is given several times for it only the last is told: git-config(1), ``--get-urlmatch``.
    """
    if not find_git():
        return {}
    words = ("config", "-z", "--get-urlmatch", section, url)
    try:
        return _gather(_split(run_git(repository.git_dir, *words, extra=network_environment())))
    except CommandError as error:
        if error.returncode == 1:  # there is none
            return {}
        raise


def find_setting(settings: Settings, key: str) -> str | None:
    """The value that counts, or None."""
    return settings[key][-1] if key in settings else None


def find_number(settings: Settings, key: str, default: int, most: int) -> int:
    """A whole number of at least 0, at most ``most``; the default where there is none, or something else."""
    value = find_setting(settings, key) or ""
    return min(int(value), most) if value.isascii() and value.isdigit() and len(value) < 10 else default


def is_true(value: str | None, default: bool) -> bool:
    """What a yes-or-no setting says."""
    if value is None:
        return default
    return value.lower() not in ("false", "no", "off", "0", "")


def replace_url_start(settings: Settings, url: str) -> str:
    """The URL that ``url.<base>.insteadOf`` makes of one: of several that fit, the longest."""
    bases = (
        (start, key[len("url.") : -len(".insteadof")])
        for key, values in settings.items()
        if key.startswith("url.") and key.endswith(".insteadof")
        for start in values
    )
    return replace_start(url, bases)


def _split(output: bytes) -> Iterable[tuple[str, str]]:
    for entry in output.split(b"\0")[:-1]:
        key, newline, value = os.fsdecode(entry).partition("\n")
        yield key, value if newline else "true"


def _gather(pairs: Iterable[tuple[str, str]]) -> Settings:
    gathered: dict[str, tuple[str, ...]] = {}
    for key, value in pairs:
        gathered[key] = (*gathered.get(key, ()), value)
    return gathered
