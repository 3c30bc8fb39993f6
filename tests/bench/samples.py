"""Repeated measurements, and what one says of them. Knows nothing of what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """Figures of one thing, measured again and again; at least one."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a sample holds at least one figure")

    @classmethod
    def of(cls, values: Iterable[float], scale: float = 1.0) -> Sample:
        """A sample of figures, each times ``scale``: 1e3 for seconds to milliseconds."""
        return cls(tuple(value * scale for value in values))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def minus(self, other: Sample) -> Sample:
        """Each figure less that of the other sample of the same round."""
        return Sample(tuple(one - two for one, two in zip(self.values, other.values, strict=True)))

    def spread(self) -> dict[str, float]:
        """What ``--json`` keeps of it."""
        return {
            "n": len(self.values),
            "min": min(self.values),
            "median": self.median,
            "max": max(self.values),
        }


def interleave(measures: Mapping[str, Callable[[], Iterable[float]]], rounds: int) -> dict[str, Sample]:
    """Run every measure once a round, so that a slow minute of the machine falls on all of them alike."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            found[name].extend(measure())
    return {name: Sample(tuple(values)) for name, values in found.items()}
