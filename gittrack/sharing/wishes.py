"""What git's configuration wants of sharing: ``gittrack.live`` and ``gittrack.share``.

``gittrack.live = 60s`` shows every run to others while it runs, by a checkpoint so often, and
``gittrack.share = true`` pushes runs when they end. Read from the files themselves, since
starting a run must not wait for git (3 ms): of the system, of the user, of the repository, the last one counts;
what they include is not looked at.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from gittrack.errors import InvalidValueError
from gittrack.git.config import list_config_files, parse_settings, read_settings
from gittrack.git.repository import Repository

INTERVAL_MIN_S, INTERVAL_MAX_S = 1.0, 24 * 3600.0
_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_INTERVAL = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(s|m|min|h|)")
_log = logging.getLogger("gittrack")
_OFF = ("", "0", "off", "no", "false", "never")


@dataclass(frozen=True, slots=True)
class Wishes:
    """How often a run is shown to others while it runs, in seconds, or None; whether it is pushed when it ends."""

    live_s: float | None = None
    shares: bool = False


def read_wishes(repository: Repository) -> Wishes:
    """What the configuration says of a repository's runs; an interval that is none is told, and stops no run."""
    found: dict[str, str] = {}
    settings = [setting for path in list_config_files() for setting in read_settings(path)]
    for item in (*settings, *parse_settings(repository.read_config())):
        if item.section == "gittrack" and not item.subsection:
            found[item.key] = item.value
    shares = found.get("share", "").lower() in ("true", "yes", "on", "1")
    try:
        return Wishes(parse_interval(found.get("live")), shares)
    except InvalidValueError as error:
        _log.warning("gittrack shows no runs while they run: git config gittrack.live: %s", error.message)
        return Wishes(None, shares)


def has_remote(repository: Repository) -> bool:
    """Whether the repository's own config names a remote."""
    return any(item.section == "remote" and item.key == "url" for item in parse_settings(repository.read_config()))


def parse_interval(asked: object) -> float | None:
    """An interval in seconds: a number of them, or text such as ``60s``, ``5m``, ``1h``; None for ``off`` and 0.

    Raises:
        InvalidValueError: it is none, or not between a second and a day.
    """
    if asked is None or asked is False:
        return None
    text = str(asked).strip().lower()
    if text in _OFF:
        return None
    found = _INTERVAL.fullmatch(text) if isinstance(asked, int | float | str) and asked is not True else None
    if found is None:
        raise InvalidValueError(f"live={asked!r} is no interval", "as in live='60s', live='5m', live=60")
    seconds = float(found[1]) * _UNITS_S[found[2]]
    if not INTERVAL_MIN_S <= seconds <= INTERVAL_MAX_S:
        raise InvalidValueError(f"live={asked!r} is not between a second and a day", "as in live='60s'")
    return seconds
