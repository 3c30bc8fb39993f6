"""The user's name and e-mail by git's configuration: that of the repository, of the user and of the machine."""

from __future__ import annotations

import os
from typing import Any

from gittrack.git.repository import Repository


def read_configured_user(repository: Repository) -> tuple[str, str]:
    """``user.name`` and ``user.email``; each empty where no configuration says it, or none can be read."""
    from dulwich.config import ConfigFile, StackedConfig

    try:
        backends = list(StackedConfig.default_backends())
    except Exception:  # a broken or unreadable file in the user's home must not stop a run
        backends = []
    try:
        backends.insert(0, ConfigFile.from_path(os.path.join(repository.common_dir, "config")))
    except Exception:
        pass
    return _first(backends, b"name"), _first(backends, b"email")


def _first(backends: list[Any], key: bytes) -> str:
    for backend in backends:
        try:
            found: bytes = backend.get((b"user",), key)
        except KeyError:
            continue
        return found.decode(errors="replace").strip()
    return ""
