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


@pytest.mark.parametrize("program", hostile.NAIVE)
def test_a_reader_that_trusts_what_it_reads_is_caught(program: str, tmp_path: Path) -> None:
    tally = hostile.control(1, SEED, tmp_path, only=program)
    assert_lost(tally)
    kind = hostile.NAIVE[program]
    assert any(f": {kind}: " in line or f"{program}: {kind}" in line for line in tally.losses), tally.losses
