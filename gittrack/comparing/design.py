"""Which effects a set of runs can tell apart, as linear algebra: exact, in fractions.

Pure. With effects that add, two runs that differ in some of ``k`` factors give one equation between their effects:
a vector of -1, 0 and 1. An effect is determined where its unit vector lies in the span of all equations, and the
fewest further runs that determine everything number ``k`` less the span's rank: each adds one dimension at most,
and a run that changes one factor alone adds one wherever that factor's effect is not determined yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


class Span:
    """The vectors that some equations span; kept in reduced form."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows: dict[int, list[Fraction]] = {}  # by the place of the leading 1

    @property
    def rank(self) -> int:
        return len(self._rows)

    def add(self, vector: Sequence[int]) -> bool:
        """Take an equation in; whether it told anything new."""
        rest = self._reduce(vector)
        lead = next((at for at, value in enumerate(rest) if value), None)
        if lead is None:
            return False
        scale = rest[lead]
        rest = [value / scale for value in rest]
        for at, row in self._rows.items():
            if row[lead]:
                factor = row[lead]
                self._rows[at] = [value - factor * own for value, own in zip(row, rest, strict=True)]
        self._rows[lead] = rest
        return True

    def determines(self, place: int) -> bool:
        """Whether the effect at a place follows from the equations."""
        return not any(self._reduce([int(at == place) for at in range(self._width)]))

    def _reduce(self, vector: Sequence[int]) -> list[Fraction]:
        rest = [Fraction(value) for value in vector]
        for lead, row in self._rows.items():
            if rest[lead]:
                factor = rest[lead]
                rest = [value - factor * own for value, own in zip(rest, row, strict=True)]
        return rest


def find_missing(span: Span, places: Sequence[int], width: int) -> list[int]:
    """The factors to change alone, a run each, until every effect is determined; the first come first."""
    chosen = []
    for place in places:
        if span.rank == width:
            break
        if span.add([int(at == place) for at in range(width)]):
            chosen.append(place)
    return chosen
