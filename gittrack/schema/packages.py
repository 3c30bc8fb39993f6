"""The list of packages that a run was made with: ``name==version`` a line, as pip reads it."""

from __future__ import annotations

import re

_SEPARATORS = re.compile(r"[-_.]+")


def normalize_package(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return _SEPARATORS.sub("-", name).lower()


def parse_packages(requirements: str) -> dict[str, str]:
    """Versions by normalised name; what was installed from a URL or a folder has ``@ <url>`` for a version."""
    found = {}
    for line in requirements.splitlines():
        name, pinned, version = line.partition("==")
        if not pinned:
            name, at, version = line.partition(" @ ")
            version = f"@ {version.strip()}" if at else ""
        if name.strip() and version:
            found[normalize_package(name.strip())] = version.strip()
    return found
