"""A slice of the kill points, and the variant that must lose."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof import kill_points
from tests.proof.tally import SEED, assert_kept, assert_lost


@pytest.mark.slow
def test_a_process_killed_anywhere_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    assert_kept(kill_points.attack(kill_points.SLICE, SEED, tmp_path), at_least=200)


@pytest.mark.slow
def test_a_folder_that_goes_before_its_commit_stands_is_found_out(tmp_path: Path) -> None:
    assert_lost(kill_points.control(20, SEED, tmp_path))
