"""gittrack's settings in git's config, as git reads them and as they are read without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.errors import InvalidValueError
from gittrack.git.command import find_git
from gittrack.git.user_settings import find_size_bytes, find_value, is_switched_off, list_values
from tests.harness import Repo, make_repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make_repo(tmp_path / "repo")


@pytest.mark.parametrize("path", [None, "/nowhere"], ids=["git", "no git"])
def test_values_come_from_the_user_and_the_repository(
    repo: Repo, tmp_path: Path, path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home/.gitconfig").write_text("[gittrack]\n\ttrustedStore = /mnt/one\n")
    repo.git("config", "--add", "gittrack.trustedStore", "/mnt/two")
    repo.git("config", "--add", "gittrack.trustedStore", "s3://bucket/with space")
    if path is not None:
        monkeypatch.setenv("PATH", path)
        find_git.cache_clear()
    assert list_values(repo.repository, "gittrack.trustedStore") == [
        "/mnt/one",
        "/mnt/two",
        "s3://bucket/with space",
    ]
    assert find_value(repo.repository, "gittrack.trustedStore") == "s3://bucket/with space"
    assert find_value(repo.repository, "gittrack.none") is None


@pytest.mark.parametrize(
    ("value", "off"), [("false", True), ("No", True), ("0", True), ("true", False), ("yes", False)]
)
def test_a_switch_takes_gits_words(repo: Repo, value: str, off: bool) -> None:
    assert is_switched_off(repo.repository, "gittrack.fetchArtifacts") is False
    repo.git("config", "gittrack.fetchArtifacts", value)
    assert is_switched_off(repo.repository, "gittrack.fetchArtifacts") is off


@pytest.mark.parametrize(
    ("value", "size_bytes"),
    [
        ("5GB", 5 * 10**9),
        ("5 gb", 5 * 10**9),
        ("1.5k", 1500),
        ("0", 0),
        ("123", 123),
        ("7B", 7),
        ("2T", 2 * 10**12),
    ],
)
def test_a_size_is_taken_with_its_unit(repo: Repo, value: str, size_bytes: int) -> None:
    assert find_size_bytes(repo.repository, "gittrack.artifactCache") is None
    repo.git("config", "gittrack.artifactCache", value)
    assert find_size_bytes(repo.repository, "gittrack.artifactCache") == size_bytes


@pytest.mark.parametrize("value", ["", "GB", "-1", "5XB", "nan", "inf", "1e99", "5bb"])
def test_what_is_no_size_is_refused(repo: Repo, value: str) -> None:
    repo.git("config", "gittrack.artifactCache", value)
    with pytest.raises(InvalidValueError, match=r"gittrack\.artifactCache is"):
        find_size_bytes(repo.repository, "gittrack.artifactCache")
