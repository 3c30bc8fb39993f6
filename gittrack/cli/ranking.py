"""`--best`: the metric that ranks runs, which way it is better, and the term of the search language for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gittrack.errors import InvalidValueError
from gittrack.schema.directions import Goal, find_goal

_WAYS: dict[str, Goal] = {"min": "min", "asc": "min", "max": "max", "desc": "max"}
_PREFIX = re.compile(r"^metrics?\.")
_PLAIN = re.compile(r"[\w/-]+(\.[\w/-]+)*")


@dataclass(frozen=True, slots=True)
class Ranking:
    """A metric by its key, behind which ``.min`` and the like may stand, and which way it is better."""

    key: str
    goal: Goal | None

    @property
    def term(self) -> str:
        """What orders by it, the best first; NaN is never best, and what lacks the metric comes last.

        Raises:
            InvalidValueError: nobody can tell which way the metric is better.
        """
        if self.goal is None:
            raise InvalidValueError(
                f"whether a lower or a higher {self.key} is better is not known",
                f"say it: --best '{self.key} max', or min",
            )
        written = self.key if _PLAIN.fullmatch(self.key) else f"`{self.key}`"
        return f"metrics.{written} {'ASC' if self.goal == 'min' else 'DESC'}"


def parse_best(text: str) -> Ranking:
    """What ``acc``, ``metrics.val/loss``, ``x min`` or ``x DESC`` ranks by; without a word, by its name.

    Raises:
        InvalidValueError: it is no metric's name.
    """
    metric, _, word = text.strip().rpartition(" ")
    way = _WAYS.get(word.lower()) if metric else None
    key = _PREFIX.sub("", text.strip() if way is None else metric.strip(), count=1).strip("`")
    if not key or "`" in key:
        raise InvalidValueError(f"{text!r} is not the name of a metric", "as in --best metrics.acc")
    return Ranking(key, way or find_goal(key))
