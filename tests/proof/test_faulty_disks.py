"""A slice of the disk faults, and the variant that must lose."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof import faulty_disks
from tests.proof.tally import SEED, assert_kept, assert_lost


@pytest.mark.slow
def test_a_failing_disk_stops_no_training_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    assert_kept(faulty_disks.attack(faulty_disks.SLICE, SEED, tmp_path), faulty_disks.SLICE)


@pytest.mark.slow
def test_a_journal_that_drops_what_fails_is_found_out(tmp_path: Path) -> None:
    assert_lost(faulty_disks.control(24, SEED, tmp_path))
