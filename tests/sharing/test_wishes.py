"""What git's configuration wants of sharing, from any of its files."""

from __future__ import annotations

import subprocess

import pytest

from gittrack.errors import InvalidValueError
from gittrack.sharing.wishes import Wishes, parse_interval, read_wishes
from tests.harness import Repo


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        *(("60s", 60.0), ("5m", 300.0), ("1h", 3600.0), ("1.5 min", 90.0), ("60", 60.0), (60, 60.0), (2.5, 2.5)),
        *((None, None), (False, None), ("off", None), (0, None), ("", None)),
    ],
)
def test_intervals_are_seconds_or_text(asked: object, seconds: float | None) -> None:
    assert parse_interval(asked) == seconds


@pytest.mark.parametrize(
    "asked", ["soon", "-5s", "1d", True, float("nan"), float("inf"), 0.2, "25h", [60], "60s "[::-1]]
)
def test_what_is_no_interval_is_refused(asked: object) -> None:
    with pytest.raises(InvalidValueError):
        parse_interval(asked)


def test_the_last_file_counts_as_git_has_it(repo: Repo) -> None:
    assert read_wishes(repo.repository) == Wishes()
    repo.git("config", "--global", "gittrack.live", "5m")
    repo.git("config", "--global", "gittrack.share", "true")
    assert read_wishes(repo.repository) == Wishes(300.0, True)
    repo.git("config", "gittrack.live", "off")
    assert read_wishes(repo.repository) == Wishes(None, True)
    repo.git("config", "gittrack.share", "no")
    assert read_wishes(repo.repository) == Wishes()


def test_a_mistake_in_the_configuration_is_told_and_stops_nothing(
    repo: Repo, caplog: pytest.LogCaptureFixture
) -> None:
    repo.git("config", "gittrack.live", "often")
    assert read_wishes(repo.repository) == Wishes()
    assert "git config gittrack.live" in caplog.text


def test_the_global_file_may_be_elsewhere(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    place = repo.path.parent / "other"
    subprocess.run(["git", "config", "--file", str(place), "gittrack.live", "10"], check=True)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(place))
    assert read_wishes(repo.repository) == Wishes(10.0)
