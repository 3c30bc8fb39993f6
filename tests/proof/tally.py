"""What a harness tells: how often it tried, and what was lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SEED = int(os.environ.get("GITTRACK_PROOF_SEED", "20261124"))


@dataclass(frozen=True, slots=True)
class Tally:
    """The outcome of one harness.

    Attributes:
        tried: how many attempts were made, each judged by itself.
        losses: one line for each thing that was not as promised; names the attempt, so that it can be made again.
        seen: counts and figures beside it, for the reader of the table ("acknowledged points": 41_693).
    """

    tried: int
    losses: Sequence[str]
    seen: dict[str, float]


Attack = Callable[[int, int, Path], Tally]


def assert_kept(tally: Tally, at_least: int) -> None:
    """The promise held in every attempt, and as many were made as were asked for."""
    assert not tally.losses, "\n".join(
        [f"{len(tally.losses)} of {tally.tried} lost (seed {SEED}):", *tally.losses[:20]]
    )
    assert tally.tried >= at_least


def assert_lost(tally: Tally) -> None:
    """The wrong variant lost something: the harness sees what it is to see."""
    assert tally.losses, f"a variant known to be wrong lost nothing in {tally.tried} attempts (seed {SEED})"
