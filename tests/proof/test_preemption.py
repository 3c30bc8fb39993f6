"""Signals at random moments lose and double nothing, and runs go on when resumed: a slice, and the control."""

from __future__ import annotations

from pathlib import Path

from tests.proof.preemption import SLICE, attack, control
from tests.proof.tally import SEED, assert_kept, assert_lost


def test_signals_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    tally = attack(SLICE, SEED, tmp_path)
    assert_kept(tally, SLICE)
    assert tally.seen["resumed"] >= SLICE / 2
    assert tally.seen["marked KILLED"] > 0


def test_points_gathered_in_memory_are_lost_or_doubled(tmp_path: Path) -> None:
    assert_lost(control(9, SEED, tmp_path))
