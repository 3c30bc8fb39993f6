"""A slice of the power cuts, and the variants that must lose."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof import power_cuts
from tests.proof.tally import SEED, assert_kept, assert_lost


@pytest.mark.slow
def test_power_cuts_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    tally = power_cuts.attack(power_cuts.SLICE, SEED, tmp_path / "disks")
    print(tally.seen)
    assert_kept(tally, power_cuts.SLICE)


@pytest.mark.slow
def test_commits_as_dulwich_makes_them_are_lost(tmp_path: Path) -> None:
    assert_lost(power_cuts.control(power_cuts.CONTROL, SEED, tmp_path / "disks"))


@pytest.mark.slow
def test_runs_without_a_sync_are_lost(tmp_path: Path) -> None:
    assert_lost(power_cuts.control_without_sync(power_cuts.CONTROL, SEED, tmp_path / "disks"))
