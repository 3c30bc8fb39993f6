"""Hostile repositories run nothing, write nothing outside, hide no honest run; naive readers are caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof import hostile
from tests.proof.tally import SEED, assert_kept, assert_lost


@pytest.mark.slow
def test_a_strangers_repository_is_read_safely(tmp_path: Path) -> None:
    tally = hostile.attack(hostile.SLICE, SEED, tmp_path)
    assert_kept(tally, hostile.SLICE)
    assert tally.seen["commands"] > 10 * hostile.SLICE


@pytest.mark.slow
def test_what_tries_to_start_programs_or_to_connect_starts_git_alone(tmp_path: Path) -> None:
    tally = hostile.trace(hostile.TRACED, SEED, tmp_path)
    assert_kept(tally, hostile.TRACED)
    assert tally.seen["programs started, all git"] > 0


def test_readers_that_trust_what_they_read_are_caught_each_at_what_it_breaks(tmp_path: Path) -> None:
    tally = hostile.control(len(hostile.NAIVE), SEED, tmp_path)
    assert_lost(tally)
    for program, kind in hostile.NAIVE.items():
        assert any(line.startswith(f"{program}: {kind}") for line in tally.losses), (program, kind, tally.losses)
