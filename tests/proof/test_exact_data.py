"""Values of every kind are read back as they were logged, or were refused: a slice, and the control."""

from __future__ import annotations

from pathlib import Path

from tests.proof.exact_data import SLICE, attack, control
from tests.proof.tally import SEED, assert_kept, assert_lost


def test_what_is_logged_is_read_back_exactly_or_was_refused(tmp_path: Path) -> None:
    tally = attack(SLICE, SEED, tmp_path)
    assert_kept(tally, SLICE)
    assert tally.seen["odd values kept"] > 200
    assert tally.seen["odd values refused"] > 50


def test_numbers_written_by_percent_g_and_texts_made_normal_are_noticed(tmp_path: Path) -> None:
    assert_lost(control(2_000, SEED, tmp_path))
