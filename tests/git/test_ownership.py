"""A repository of another user is read only where git has been told that it is safe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gittrack.errors import RepositoryError
from gittrack.git.ownership import require_trusted

from .making import find, git, make


def test_ones_own_is_trusted_and_anothers_only_once_it_is_named(tmp_path: Path) -> None:
    top = make(tmp_path / "r")
    require_trusted(find(top))
    for place in (top, top / ".git"):
        os.chown(place, 4711, 4711)
    with pytest.raises(RepositoryError, match="belongs to another user") as caught:
        require_trusted(find(top))
    assert caught.value.hint.endswith(f"git config --global --add safe.directory {top}")
    git(tmp_path, "config", "--global", "--add", "safe.directory", str(top))
    require_trusted(find(top))
