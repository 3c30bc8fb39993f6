"""A gate for a pull request: a run of its code against a run of the code that it is to join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gittrack.comparing.baselines import Baseline, find_baseline, find_candidate
from gittrack.comparing.conditions import Check, Condition, check_condition
from gittrack.comparing.diffing import Comparison, compare
from gittrack.comparing.markdown import code_span, format_table
from gittrack.comparing.tables import Cell, Table
from gittrack.schema.directions import find_goal
from gittrack.schema.records import RunRecord
from gittrack.store import experiments
from gittrack.store.runs import StoredRun
from gittrack.store.store import Store


@dataclass(frozen=True, slots=True)
class Gate:
    """What a gate found: it is passed where there is a baseline and no check fails.

    Attributes:
        comparison: the baseline, then the candidate; None where there is no baseline.
    """

    candidate: StoredRun
    baseline: Baseline
    checks: tuple[Check, ...]
    comparison: Comparison | None

    @property
    def is_passed(self) -> bool:
        return self.baseline.run is not None and not any(check.fails for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The verdict and its reasons for JSON."""
        run = self.baseline.run
        return {
            "passed": self.is_passed,
            "candidate": self.candidate.record.id,
            "baseline": run.record.id if run is not None else None,
            "against": self.baseline.why,
            "checks": [
                {"condition": check.condition.text, "fails": check.fails, "why": check.why}
                for check in self.checks
            ],
            "diff": self.comparison.to_dict() if self.comparison is not None else None,
        }

    def to_markdown(self) -> str:
        """The verdict, the conditions and what differs, for a pull request."""
        pieces = [f"### gittrack: {'passed' if self.is_passed else 'failed'}\n"]
        if self.baseline.run is None:
            pieces.append(f"There is no baseline: {code_span(self.baseline.why)}.\n")
        else:
            pieces.append(f"A is the baseline, {code_span(self.baseline.why)}; B is the run that is judged.\n")
        if self.checks:
            rows = tuple(
                (Cell("fails" if check.fails else "ok"), Cell(check.condition.text), Cell(check.why))
                for check in self.checks
            )
            pieces.append(format_table(Table("checks", ("", "fails if", "found"), rows)))
        if self.comparison is not None:
            pieces.append(self.comparison.to_markdown())
        return "\n".join(pieces)


def judge_run(
    store: Store,
    against: str,
    conditions: Sequence[Condition],
    *,
    run: str | None = None,
    experiment_id: str | None = None,
) -> Gate:
    """Hold the run of the code that is checked out, or the one named, against a baseline.

    Raises:
        NotFoundError: there is no run to judge, or nothing is called ``against``. InvalidValueError: a condition
            cannot be told for want of a metric's direction.
    """
    candidate = find_candidate(store, run, experiment_id)
    baseline = find_baseline(store, against, candidate)
    checks = check_all(store, conditions, candidate.record, baseline.run.record if baseline.run else None)
    comparison = None
    if baseline.run is not None:
        comparison = compare(store, [baseline.run.record.id, candidate.record.id])
    return Gate(candidate, baseline, checks, comparison)


def check_all(
    store: Store, conditions: Sequence[Condition], candidate: RunRecord, baseline: RunRecord | None
) -> tuple[Check, ...]:
    """What becomes of each condition; a metric's direction is told by tags, else by its name."""
    known = {record.id: record.tags for record in experiments.list_experiments(store.repository)}
    tags = [candidate.tags, baseline.tags if baseline else {}, known.get(candidate.experiment_id, {})]
    return tuple(
        check_condition(condition, candidate, baseline, lambda metric: find_goal(metric, *tags))
        for condition in conditions
    )
