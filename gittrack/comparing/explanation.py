"""What `why` answers: the causes of a change, ranked, with what is known of each; as text, HTML and plain data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from gittrack.comparing.effects import Effect, Noise
from gittrack.comparing.factors import PRIOR, Factor
from gittrack.comparing.trials import Trial
from gittrack.schema.names import one_line
from gittrack.tracking import html

_TRIED_MAX = 64


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that differs between the two runs, and what runs measure of it.

    Attributes:
        effect: None where no pair of runs differs in it alone, and other pairs do not determine it either.
        is_derived: it follows from several pairs if effects add, and no pair shows it alone.
    """

    factor: Factor
    before: str
    after: str
    detail: str = ""
    effect: Effect | None = None
    is_derived: bool = False

    @property
    def status(self) -> str:
        """``measured``, ``within noise``, ``measured at other values`` or ``unmeasured``."""
        if self.effect is None:
            return "unmeasured"
        if self.effect.is_within_noise:
            return "within noise"
        return "measured at other values" if self.effect.is_other else "measured"

    @property
    def counts(self) -> bool:
        """Whether its effect is part of what is explained."""
        return self.status == "measured" and self.factor.kind != "seed"

    def rank(self, change: float) -> tuple[float, ...]:
        """What sorts causes: measured in the direction of the change, against it, elsewhere, unmeasured, noise."""
        prior = PRIOR.index(self.factor.kind)
        if self.effect is None:
            return (2, prior, 0)
        along = self.effect.mean * (1 if change >= 0 else -1)
        group = {"measured": 0, "measured at other values": 1, "within noise": 3}[self.status]
        return (group, -along, prior)


@dataclass(frozen=True, slots=True)
class Interaction:
    """Two factors that changed together add ``extra`` to the sum of what each does alone."""

    one: str
    other: str
    extra: float
    times: int
    margin: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What can explain that a metric differs between two runs; ``str`` of it is a page.

    Attributes:
        change: of the metric's last value; where one is no finite number, of whether it is one (1 or 0).
        runs: how many were looked at.
        trials: the fewest runs that would determine every cause's effect, if effects add.
        repeat: a run that would tell the noise, where nothing does.
        complete_runs: how many runs would try every combination: what to do without that assumption.
    """

    one: str
    other: str
    one_name: str
    other_name: str
    metric: str
    before: float
    after: float
    is_chosen: bool
    change: float
    asks_finite: bool
    runs: int
    noise: Noise
    causes: tuple[Cause, ...]
    interactions: tuple[Interaction, ...]
    trials: tuple[Trial, ...]
    repeat: Trial | None
    complete_runs: int

    @property
    def explained(self) -> float:
        """The sum of the measured effects, in the metric's unit."""
        return sum(cause.effect.mean for cause in self.causes if cause.counts and cause.effect)

    @property
    def share(self) -> float | None:
        """What part of the change the measured causes explain, 1 for all of it; None where nothing changed."""
        return self.explained / self.change if self.change else None

    @property
    def is_noise(self) -> bool:
        """Whether two equal runs may differ as much by chance."""
        margin = self.noise.margin(0.5)
        return margin is not None and abs(self.change) <= margin

    @property
    def verdict(self) -> str:
        """One sentence: what explains the change, or why that cannot be told."""
        if not self.change:
            return f"nothing to explain: {self.metric} is the same in both"
        measured = [cause for cause in self.causes if cause.counts]
        substance = [cause for cause in self.causes if not cause.factor.is_noise]
        untold = ("unmeasured", "measured at other values")
        open_causes = [cause.factor.title for cause in substance or self.causes if cause.status in untold]
        if not substance and not measured:
            return self._say_equal()
        if self.is_noise:
            return "the change is within noise: runs that are equal differ by as much"
        if not measured:
            if not open_causes:
                return "no cause is measured to do it: what each thing that differs does alone is within noise"
            return (
                f"it cannot be told yet: no pair of runs shows {_listed(open_causes, 'or')} alone, at these values"
            )
        joint = self.interactions[0] if self.interactions else None
        if joint is not None and abs(joint.extra) > abs(self.change) / 2:
            return f"{joint.one} and {joint.other} explain it together: neither does alone what both do"
        leading = [cause.factor.title for cause in measured if _part(cause, self.change) >= 0.1]
        if not leading:
            return "what is measured does not explain it"
        amount = f"{_percent(self.share or 0.0)} of the change"
        verb = "explain" if len(leading) > 1 else "explains"
        return f"{_listed(leading, 'and')} {verb} it: {amount}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what JSON takes, but for NaN."""
        return {
            "runs": [self.one, self.other],
            "metric": self.metric,
            "values": [self.before, self.after],
            "change": self.change,
            "asks_finite": self.asks_finite,
            "verdict": self.verdict,
            "is_noise": self.is_noise,
            "explained": self.explained,
            "share": self.share,
            "runs_looked_at": self.runs,
            "noise": asdict(self.noise),
            "causes": [_cause_dict(cause, self.change) for cause in self.causes],
            "interactions": [asdict(interaction) for interaction in self.interactions],
            "trials": [asdict(trial) for trial in self.trials],
            "repeat": asdict(self.repeat) if self.repeat else None,
        }

    def table(self) -> list[tuple[str, str, str, str, str]]:
        """The causes as cells: cause, what changed, effect, share, evidence."""
        return [
            (
                cause.factor.title,
                cause.detail or f"{cause.before} → {cause.after}",
                _effect_cell(cause),
                _percent(_part(cause, self.change)) if cause.counts else "",
                _evidence(cause),
            )
            for cause in self.causes
        ]

    def notes(self) -> list[str]:
        """What else must be said, a line each."""
        lines = [self._say_noise()]
        if self.change and any(cause.counts for cause in self.causes):
            rest = self.change - self.explained
            margin = self.noise.margin(0.5)
            lines.append(f"measured causes sum to {self.explained:+.4g}; {rest:+.4g} of {self.change:+.4g} remains"
                         + (", within noise" if margin is not None and abs(rest) <= margin else ""))  # fmt: skip
        lines += [
            f"{joint.one} and {joint.other} changed together add {joint.extra:+.4g} to what each does alone"
            for joint in self.interactions
        ]
        unmeasured = [cause.factor.title for cause in self.causes if cause.status == "unmeasured"]
        if len(unmeasured) > 1 and self.change:
            lines.append(
                f"interactions among {_listed(unmeasured, 'and')} cannot be told; unmeasured causes stand in the"
                " order of habit: params, code, data, environment, arguments, host, seed"
            )
        return lines

    def steps(self) -> list[str]:
        """Runs to try, as lines: comments and commands."""
        lines = []
        for trial in (*self.trials, *([self.repeat] if self.repeat else [])):
            lines += [f"# {trial.words}", *trial.commands]
        if lines and self.trials:
            more = self.complete_runs - len(self.trials)
            told = f"; for every interaction too: {more} more" if 0 < more <= _TRIED_MAX else ""
            count = f"{len(self.trials)} run{'s' if len(self.trials) != 1 else ''}"
            lines.insert(0, f"# {count} would tell the causes apart, if effects add{told}")
        return [one_line(line, 4000) for line in lines]

    def __str__(self) -> str:
        rows = [[one_line(cell, 60) for cell in row] for row in self.table()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        parts = [self.heading(), self.verdict, ""]
        parts += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        parts += ["", *self.notes()]
        if steps := self.steps():
            parts += ["", *steps]
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.text(line)}</li>" for line in self.notes())
        steps = "\n".join(map(html.text, self.steps()))
        return (
            f"<div>{html.heading(self.heading(), self.verdict)}"
            f"{html.table(('cause', 'change', 'effect', 'share', 'evidence'), self.table())}<ul>{notes}</ul>"
            + (f"<pre>{steps}</pre>" if steps else "")
            + "</div>"
        )

    def heading(self) -> str:
        """The metric, its two values and the two runs, on a line."""
        chosen = " (changed most for its spread)" if self.is_chosen else ""
        change = "" if self.asks_finite else f"  ({self.change:+.6g})"
        runs = f"{one_line(self.one_name)} {self.one[:8]} → {one_line(self.other_name)} {self.other[:8]}"
        return f"{one_line(self.metric)}{chosen}: {self.before:.6g} → {self.after:.6g}{change}   {runs}"

    def _say_equal(self) -> str:
        if self.is_noise:
            return "noise: all that is recorded but seed and host is equal, and such runs differ by as much"
        known = "; equal runs differ by less, though" if self.noise.deviation is not None else ""
        return f"nothing that is recorded differs but seed or host: it is noise, or what is not recorded{known}"

    def _say_noise(self) -> str:
        noise = self.noise
        if noise.deviation is None:
            return "noise: not known, as no run was repeated with another seed"
        hosts = " and host" if noise.is_across_hosts else ""
        return (
            f"noise: runs equal but for seed{hosts} differ by {noise.deviation:.3g} (standard deviation;"
            f" {noise.freedom + noise.groups} runs in {noise.groups} groups)"
        )


def _part(cause: Cause, change: float) -> float:
    return cause.effect.mean / change if cause.effect is not None and change else 0.0


def _effect_cell(cause: Cause) -> str:
    if cause.effect is None:
        return "?"
    return f"±{cause.effect.mean:.4g}" if cause.effect.is_other else f"{cause.effect.mean:+.4g}"


def _evidence(cause: Cause) -> str:
    effect = cause.effect
    if effect is None:
        return "unmeasured: no other runs differ in this alone"
    if cause.is_derived:
        return f"follows from {effect.pairs} pairs together, if effects add"
    parts = [f"{effect.pairs} pair{'s' if effect.pairs != 1 else ''}"]
    if effect.is_other:
        parts.append("between other values")
    if effect.spread is not None:
        parts.append(f"spread {effect.spread:.2g}")
    if effect.is_within_noise:
        parts.insert(0, "within noise")
    elif effect.margin is None:
        parts.append("noise not known")
    if effect.varies:
        parts.append("hangs on the rest")
    if effect.elsewhere is not None:
        parts.append(f"elsewhere {effect.elsewhere:+.3g}")
    return ", ".join(parts)


def _cause_dict(cause: Cause, change: float) -> dict[str, Any]:
    return {
        "kind": cause.factor.kind,
        "name": cause.factor.name,
        "before": cause.before,
        "after": cause.after,
        "detail": cause.detail,
        "status": cause.status,
        "is_derived": cause.is_derived,
        "share": _part(cause, change) if cause.counts else None,
        "effect": asdict(cause.effect) if cause.effect else None,
    }


def _percent(part: float) -> str:
    return f"{part * 100:.0f} %" if math.isfinite(part) else "?"


def _listed(names: list[str], word: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
