"""Every odd kind of repository and environment, in CI too."""

from __future__ import annotations

from pathlib import Path

from tests.proof import odd_repositories
from tests.proof.tally import SEED, assert_kept, assert_lost


def test_every_step_works_in_every_place_or_says_why_not(tmp_path: Path) -> None:
    assert_kept(odd_repositories.attack(odd_repositories.SLICE, SEED, tmp_path), at_least=200)


def test_a_tracker_that_commits_as_users_do_is_stopped_by_hooks(tmp_path: Path) -> None:
    assert_lost(odd_repositories.control(2, SEED, tmp_path))
