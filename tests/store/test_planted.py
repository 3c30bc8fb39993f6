"""What a stranger planted where gittrack keeps its own files: not followed, not waited for, not written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gittrack.errors import RepositoryError
from gittrack.store.planted import open_plain, require_own_places
from tests.harness import Repo


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"x")
    (tmp_path / "link").symlink_to("plain")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with open_plain(str(tmp_path / "plain")) as file:
        assert file.read() == b"x"
    for name in ("link", "pipe", "folder", "nothing"):
        with pytest.raises(OSError):  # noqa: PT011
            open_plain(str(tmp_path / name))


@pytest.mark.parametrize("name", ["", "live", "tmp", "lock", "folding"])
def test_a_link_in_the_place_of_our_own_is_refused_and_what_it_leads_to_stays(
    name: str, repo: Repo, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    is_file = name in ("lock", "folding")
    place = repo.state / name if name else repo.state
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(outside / "precious" if is_file else outside)
    with pytest.raises(RepositoryError, match="is not used"):
        repo.store.recover()
    with pytest.raises(RepositoryError, match="is not used"):
        require_own_places(repo.repository)
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("precious", "precious")]


def test_folders_of_our_own_are_taken(repo: Repo) -> None:
    require_own_places(repo.repository)
    for name in ("live", "tmp"):
        (repo.state / name).mkdir(parents=True)
    (repo.state / "lock").touch()
    require_own_places(repo.repository)
