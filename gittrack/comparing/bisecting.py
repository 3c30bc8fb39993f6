"""Where a metric crossed a threshold: over an experiment's runs in time, or over the code commits behind them.

Existing runs are the first evidence; with a command, commits without a run are measured by running it there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any, Literal

from gittrack.comparing.asking import read_rows, require_metric
from gittrack.comparing.bisection import Bisection, Turn, Verdict
from gittrack.comparing.factors import is_seed
from gittrack.comparing.trials import repeat_command
from gittrack.comparing.trying import Workbench, open_workbench
from gittrack.errors import InvalidValueError, NotFoundError
from gittrack.git.lineage import CommitTold, list_first_parents, tell_commit
from gittrack.git.revisions import get_commit
from gittrack.store.search_rows import RunRow
from gittrack.store.store import Store

_CLOCK_SLACK_MS = 1000
Judged = Literal["good", "bad", "undecided", "failed", "given good", "given bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What is bad: a metric's last value below a number, or above it; within ``tolerance`` nobody knows."""

    metric: str
    value: float
    bad_is_below: bool
    tolerance: float = 0.0

    def judge(self, values: Sequence[float]) -> Judged:
        """The mean of some values; one that is NaN is bad."""
        if not values:
            return "failed"
        mean = fmean(values)
        if math.isnan(mean):
            return "bad"
        if self.tolerance and abs(mean - self.value) <= self.tolerance:
            return "undecided"
        return "bad" if (mean < self.value if self.bad_is_below else mean > self.value) else "good"

    def __str__(self) -> str:
        return f"{self.metric} {'below' if self.bad_is_below else 'above'} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one commit, or one run: the values of its runs, their ids, and the verdict."""

    place: int
    subject: str  # the id of the commit or the run
    values: tuple[float, ...]
    runs: tuple[str, ...]
    verdict: Judged

    @property
    def mean(self) -> float | None:
        return fmean(self.values) if self.values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """What a bisection found, with its evidence, oldest first.

    Attributes:
        suspects: the commits or runs of which one is the first bad; none where nothing crossed.
        next: the commit to run where more evidence is needed.
    """

    threshold: Threshold
    kind: Literal["commits", "runs"]
    evidence: tuple[Evidence, ...]
    suspects: tuple[str, ...]
    is_found: bool
    verdict: str
    notes: tuple[str, ...] = ()
    culprit: CommitTold | None = None
    next: str | None = None
    steps: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what JSON takes, but for NaN."""
        return {**asdict(self), "evidence": [{**asdict(one), "mean": one.mean} for one in self.evidence]}


def bisect_runs(rows: Sequence[RunRow], threshold: Threshold) -> Crossing:
    """Where runs in the order of their start crossed a threshold for the last time.

    Raises:
        NotFoundError: no run has the metric.
    """
    require_metric(rows, threshold.metric)
    known = sorted(_measured(rows, threshold.metric), key=lambda row: (row.started_at, row.id))
    evidence = [
        Evidence(at, row.id, (value,), (row.id,), threshold.judge((value,)))
        for at, row in enumerate(known)
        for value in (row.metrics[threshold.metric].last,)
    ]
    search = Bisection(len(known), {one.place: _as_verdict(one.verdict) for one in evidence})
    turn = search.answer()
    names = [row.id for row in known]
    verdict = _say(turn, threshold, names, "run")
    steps: tuple[str, ...] = ()
    if turn is not None and turn.is_found:
        before = max(one.place for one in evidence if one.verdict == "good")
        steps = (f"gittrack why {names[before][:12]} {names[turn.last][:12]} --metric {threshold.metric}",)
    return Crossing(
        threshold=threshold, kind="runs", evidence=tuple(evidence), suspects=_suspects(turn, names),
        is_found=turn is not None and turn.is_found, verdict=verdict, notes=tuple(_tell_turns(search, names)),
        steps=steps,
    )  # fmt: skip


class CommitBisection:
    """A bisection over commits of one store."""

    def __init__(
        self, store: Store, threshold: Threshold, experiment_id: str | None = None, filter_string: str = ""
    ) -> None:
        self._store, self._threshold = store, threshold
        self._experiment_id = experiment_id
        self._rows = _measured(read_rows(store, self._scope, filter_string), threshold.metric)
        self._values: dict[str, list[tuple[str, float]]] = {}
        for row in self._rows:
            if row.code_commit and row.dirty is False:
                value = row.metrics[threshold.metric].last
                self._values.setdefault(row.code_commit, []).append((row.id, value))
        self._given: dict[str, Judged] = {}
        self._failed: set[str] = set()

    @property
    def _scope(self) -> tuple[str, ...] | None:
        return (self._experiment_id,) if self._experiment_id is not None else None

    def run(
        self,
        good: str | None = None,
        bad: str | None = None,
        command: Sequence[str] = (),
        repeats: int = 1,
        told: Callable[[str], None] = lambda line: None,
    ) -> Crossing:
        """Search between two commits, or runs that name them; by default those that existing runs show.

        Args:
            command: is run at commits that have no run, ``repeats`` times; without it nothing is run.
            told: is called with a line for each step.

        Raises:
            NotFoundError: a commit is unknown, or no run shows where it was good or bad. CommandError: git fails.
        """
        line = self._find_line(good, bad, has_command=bool(command))
        places = {commit: at for at, commit in enumerate(line)}
        search = Bisection(len(line))
        for commit, place in places.items():
            verdict = self._judge(commit)
            if verdict not in ("failed", "undecided"):
                search.judge(place, _as_verdict(verdict))
            elif verdict == "undecided" and not command:
                search.judge(place, "skipped")
        if command:
            with open_workbench(self._store.repository) as bench:
                while (at := search.next()) is not None:
                    told(f"{line[at][:12]}: {len(search.verdicts)} of {len(line)} commits are judged")
                    search.judge(at, self._measure(bench, line[at], command, repeats, told))
        return self._conclude(line, search)

    def _find_line(self, good: str | None, bad: str | None, *, has_command: bool) -> list[str]:
        """The commits from the good one to the bad one, both included."""
        repository = self._store.repository
        newest = self._resolve(bad) if bad else self._find_bad(has_command=has_command)
        line = list_first_parents(repository, newest)
        if good:
            begin = self._resolve(good)
            if begin not in line:
                raise NotFoundError(
                    f"{begin[:12]} is not in the first-parent history of {newest[:12]}",
                    "name a good commit that is: git log --first-parent",
                )
            self._given[begin] = "given good"
        else:
            found = [commit for commit in line[:-1] if self._judge(commit) == "good"]
            if not found:
                raise NotFoundError(
                    f"no run at a commit before {newest[:12]} shows {self._threshold.metric} on the good side",
                    "name a commit that is good: --good COMMIT",
                )
            begin = found[-1]
        if bad:
            self._given[newest] = "given bad"
        return line[line.index(begin) :]

    def _find_bad(self, *, has_command: bool) -> str:
        bad = [row for row in self._rows if row.code_commit and self._judge(row.code_commit) == "bad"]
        if bad:
            return str(max(bad, key=lambda row: (row.started_at, row.id)).code_commit)
        if has_command:
            return get_commit(self._store.repository, "HEAD")
        raise NotFoundError(
            f"no run at a clean commit has {self._threshold}", "name a commit that is bad: --bad COMMIT"
        )

    def _resolve(self, asked: str) -> str:
        try:
            record = self._store.resolve(asked).record
        except NotFoundError:
            return get_commit(self._store.repository, asked)
        if record.source is None or not record.source.commit:
            raise NotFoundError(f"run {record.id[:8]} does not know its code's commit", "name the commit")
        return get_commit(self._store.repository, record.source.commit)

    def _judge(self, commit: str) -> Judged:
        values = [value for _, value in self._values.get(commit, ())]
        return self._threshold.judge(values) if values else self._given.get(commit, "failed")

    def _measure(
        self, bench: Workbench, commit: str, command: Sequence[str], repeats: int, told: Callable[[str], None]
    ) -> Verdict:
        """Run the command at a commit; up to twice the repeats where the mean is within the tolerance."""
        most = 2 * repeats if self._threshold.tolerance else repeats
        for number in range(most):
            if number >= repeats and self._judge(commit) != "undecided":
                break
            bench.lay_out(commit)
            began = round(time.time() * 1000)
            code = bench.run(command, self._experiment_id)
            found = self._read_back(commit, began) if code == 0 else []
            if not found:
                why = f"exit code {code}" if code else f"it logged no {self._threshold.metric}"
                told(f"{commit[:12]} is skipped: {why}")
                self._failed.add(commit)
                return "skipped"
            self._values.setdefault(commit, []).extend(found)
            told(f"{commit[:12]}: {self._threshold.metric} = {found[-1][1]:g}")
        return _as_verdict(self._judge(commit))

    def _read_back(self, commit: str, began: int) -> list[tuple[str, float]]:
        """The runs that the command has just made: at this commit, started since, not known before."""
        known = {run_id for held in self._values.values() for run_id, _ in held}
        rows = _measured(read_rows(self._store, None), self._threshold.metric)
        return [
            (row.id, row.metrics[self._threshold.metric].last)
            for row in rows
            if row.code_commit == commit and row.started_at >= began - _CLOCK_SLACK_MS and row.id not in known
        ]

    def _conclude(self, line: list[str], search: Bisection) -> Crossing:
        evidence = [self._evidence(at, line[at]) for at in sorted(search.verdicts)]
        turn, wanted = search.answer(), search.next()
        is_found = turn is not None and turn.is_found
        suspects = _suspects(turn, line)
        culprit = tell_commit(self._store.repository, suspects[0]) if is_found else None
        notes = [*_tell_turns(search, line), *self._contradictions(), *self._mixtures(line)]
        steps = self._steps(line[wanted]) if wanted is not None else ()
        return Crossing(
            threshold=self._threshold, kind="commits", evidence=tuple(evidence), suspects=suspects,
            is_found=is_found, verdict=_say(turn, self._threshold, line, "commit"), notes=tuple(notes),
            culprit=culprit,            next=line[wanted] if wanted is not None else None, steps=steps,
        )  # fmt: skip

    def _evidence(self, at: int, commit: str) -> Evidence:
        held = self._values.get(commit, [])
        ids, values = tuple(run_id for run_id, _ in held), tuple(value for _, value in held)
        return Evidence(at, commit, values, ids, self._judge(commit))

    def _contradictions(self) -> list[str]:
        lines = []
        for commit, given in self._given.items():
            judged = self._judge(commit)
            if judged in ("good", "bad") and judged != given.removeprefix("given "):
                lines.append(f"{commit[:12]} was {given.replace('given', 'given as')}, and its runs say {judged}")
        return lines

    def _mixtures(self, line: Sequence[str]) -> list[str]:
        """That the mean of a commit is one of runs with several settings, where it is."""
        found: dict[str, set[str]] = {}
        for commit in line:
            held = {run_id for run_id, _ in self._values.get(commit, ())}
            rows = [row for row in self._rows if row.id in held]
            for key in {key for row in rows for key in row.params if not is_seed(key)}:
                if len({repr(row.params.get(key)) for row in rows}) > 1:
                    found.setdefault(key, set()).add(commit)
        if not found:
            return []
        names = ", ".join(sorted(found)[:6])
        return [f"runs of one commit differ in {names}, and count alike: keep one setting by --filter"]

    def _steps(self, commit: str) -> tuple[str, ...]:
        """How to run a commit by hand."""
        newest = max(self._rows, key=lambda row: row.started_at, default=None)
        command = repeat_command(newest) if newest is not None else None
        return (
            f"git worktree add --detach ../try {commit}",
            "cd ../try",
            command or f"# the training command that logs {self._threshold.metric}",
        )


def _measured(rows: Sequence[RunRow], metric: str) -> list[RunRow]:
    return [row for row in rows if row.status == "FINISHED" and metric in row.metrics]


def _as_verdict(judged: Judged) -> Verdict:
    table: Mapping[str, Verdict] = {"good": "good", "given good": "good", "bad": "bad", "given bad": "bad"}
    return table.get(judged, "skipped")


def _suspects(turn: Turn | None, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names[turn.first : turn.last + 1]) if turn is not None and turn.has_good else ()


def _say(turn: Turn | None, threshold: Threshold, names: Sequence[str], kind: str) -> str:
    if turn is None:
        return f"no {kind} that is judged last has {threshold}: nothing to find"
    if not turn.has_good:
        return (
            f"{threshold} already at {kind} {names[turn.last][:12]}, the oldest judged: none is known to be good"
        )
    if turn.is_found:
        return f"{kind} {names[turn.last][:12]} is the first with {threshold}"
    count = turn.last - turn.first + 1
    ends = f"{names[turn.first][:12]} to {names[turn.last][:12]}"
    return f"one of {count} {kind}s from {ends} is the first with {threshold}"


def _tell_turns(search: Bisection, names: Sequence[str]) -> list[str]:
    earlier = search.list_earlier_turns()
    if not earlier:
        return []
    shown = ", ".join(names[at][:12] for at in earlier[:5]) + (" …" if len(earlier) > 5 else "")
    return [f"it crossed more than once: {shown} older than a good one is bad; the last crossing is told"]


def check_threshold(metric: str, below: float | None, above: float | None, tolerance: float) -> Threshold:
    """The threshold that options name.

    Raises:
        InvalidValueError: not exactly one of both, or a tolerance below 0.
    """
    if (below is None) == (above is None):
        raise InvalidValueError("give either --below or --above", "as in: gittrack bisect acc --below 0.9")
    if not tolerance >= 0:
        raise InvalidValueError(f"the tolerance is {tolerance}", "it is 0 or more, in the metric's unit")
    value = below if below is not None else above
    assert value is not None
    return Threshold(metric=metric, value=value, bad_is_below=below is not None, tolerance=tolerance)
