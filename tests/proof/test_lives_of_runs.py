"""Whatever is done to runs in any order, what stands is what was done: a slice, and the control."""

from __future__ import annotations

from pathlib import Path

from tests.proof.lives_of_runs import SLICE, attack, control
from tests.proof.tally import SEED, assert_kept, assert_lost


def test_runs_are_what_was_done_to_them_in_any_order(tmp_path: Path) -> None:
    tally = attack(SLICE, SEED, tmp_path)
    assert_kept(tally, SLICE)
    assert len(tally.seen) > 15


def test_an_edit_that_forgets_the_tags_before_is_noticed(tmp_path: Path) -> None:
    assert_lost(control(1_000, SEED, tmp_path))
