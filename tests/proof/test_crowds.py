"""Many processes on one branch lose nothing, beside upkeep, a user and readers: a slice, and the control."""

from __future__ import annotations

from pathlib import Path

from tests.proof.crowds import SLICE, attack, control
from tests.proof.tally import SEED, assert_kept, assert_lost


def test_a_crowd_on_one_branch_loses_nothing_beside_upkeep_and_a_user(tmp_path: Path) -> None:
    tally = attack(SLICE, SEED, tmp_path)
    assert_kept(tally, SLICE)
    for what in ("git gc", "git pack-refs", "commands that read", "work trees removed under a run"):
        assert tally.seen[what] > 0


def test_dulwichs_own_commit_and_packing_of_refs_lose_runs(tmp_path: Path) -> None:
    assert_lost(control(48, SEED, tmp_path))
