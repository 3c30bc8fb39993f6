"""Where a line of commits turned from good to bad, in the fewest judgements: what to judge next, and the answer.

Pure. Judgements may come in any order and may contradict that there is one turn; what is looked for is the last
turn from good to bad before the newest bad commit, which is what made the line bad as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["good", "bad", "skipped"]


@dataclass(frozen=True, slots=True)
class Turn:
    """The answer: one of the commits ``first`` to ``last`` is the first bad one; just one where both are the same.

    ``first`` is 0 and nothing is good where the line was bad as far as it was looked at.
    """

    first: int
    last: int
    has_good: bool

    @property
    def is_found(self) -> bool:
        return self.has_good and self.first == self.last


class Bisection:
    """A search over commits numbered from 0, the oldest, to ``count - 1``."""

    def __init__(self, count: int, known: Mapping[int, Verdict] | None = None) -> None:
        self._count = count
        self._verdicts: dict[int, Verdict] = dict(known or {})

    def judge(self, at: int, verdict: Verdict) -> None:
        """Take in what a commit turned out to be."""
        self._verdicts[at] = verdict

    @property
    def verdicts(self) -> Mapping[int, Verdict]:
        return self._verdicts

    def next(self) -> int | None:
        """The commit to judge next; None where the answer stands, or no further judgement helps.

        The newest comes first where it is not known to be bad: without it there is nothing to find.
        """
        if not self._count:
            return None
        low, high = self._bounds()
        if high is None:
            newest = max((at for at, verdict in self._verdicts.items() if verdict == "good"), default=-1)
            return self._nearest(newest + 1, self._count, self._count - 1)
        return self._nearest(low + 1, high, (low + high) // 2)

    def answer(self) -> Turn | None:
        """Where it turned, as far as is known; None where no commit is bad, or the newest judged one is good."""
        low, high = self._bounds()
        return None if high is None else Turn(low + 1, high, low >= 0)

    def list_earlier_turns(self) -> list[int]:
        """Commits that are bad and older than a good one: the line did not turn only once."""
        good = [at for at, verdict in self._verdicts.items() if verdict == "good"]
        return sorted(at for at, verdict in self._verdicts.items() if verdict == "bad" and good and at < max(good))

    def _bounds(self) -> tuple[int, int | None]:
        """The last good commit, -1 where there is none, and the first bad one after it."""
        low = max((at for at, verdict in self._verdicts.items() if verdict == "good"), default=-1)
        high = min((at for at, verdict in self._verdicts.items() if verdict == "bad" and at > low), default=None)
        return low, high

    def _nearest(self, begin: int, end: int, wanted: int) -> int | None:
        """The commit next to a wanted one that has not been judged, of ``begin`` to ``end - 1``."""
        free = (at for at in range(begin, end) if at not in self._verdicts)
        return min(free, key=lambda at: (abs(at - wanted), at), default=None)
