"""What a run's result may hang on: params, code, data, environment, arguments, host and seed, as small numbers.

Pure. A factor's value in a run becomes a small whole number, the same for the same value: what is grouped by many
of them, over a hundred thousand runs, is then a tuple that hashes fast.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gittrack.comparing.command_lines import untold_by_params
from gittrack.schema.records import Scalar
from gittrack.store.search_rows import RunRow

Kind = Literal["param", "code", "data", "environment", "command", "host", "seed", "label"]

# Without a measurement nobody knows; what people change on purpose comes first, what machines do last.
PRIOR: tuple[Kind, ...] = ("param", "code", "data", "environment", "command", "host", "seed", "label")
NOISE_KINDS: frozenset[Kind] = frozenset(("seed", "host", "label"))  # runs that differ in these alone are repeats

_SEED = re.compile(r"(?:.*[^a-z])?(?:seeds?|random_?state)(?:[^a-z].*)?")
_LABEL_RUNS_MIN = 8
_ABSENT = ("absent",)


@dataclass(frozen=True, slots=True)
class Factor:
    """One thing that can differ between runs; ``name`` is a param's key, a dataset's name, or the kind."""

    kind: Kind
    name: str

    @property
    def title(self) -> str:
        """As a person names it: ``lr``, ``code``, ``data mnist (training)``."""
        return f"data {self.name}" if self.kind == "data" else self.name

    @property
    def is_noise(self) -> bool:
        return self.kind in NOISE_KINDS


@dataclass(frozen=True, slots=True)
class FactorTable:
    """The factors of some runs, and each run's values as numbers in the factors' order; 0 is absent."""

    factors: tuple[Factor, ...]
    values: list[tuple[int, ...]]

    def differing(self, one: int, other: int) -> list[int]:
        """The places of the factors in which two runs differ."""
        pairs = zip(self.values[one], self.values[other], strict=True)
        return [at for at, (left, right) in enumerate(pairs) if left != right]


def read_factors(rows: Sequence[RunRow]) -> FactorTable:
    """The factors that are not the same in all runs; those that tell nothing from nothing are left out."""
    columns: list[tuple[Factor, list[int]]] = []
    for factor, raw in _read_columns(rows):
        numbers: dict[Hashable, int] = {_ABSENT: 0}
        column = [numbers.setdefault(value, len(numbers)) for value in raw]
        count = len(set(column))
        if count > 1:
            columns.append((_as_label(factor, raw, count), column))
    values: list[tuple[int, ...]] = [
        tuple(found) for found in zip(*(column for _, column in columns), strict=True)
    ]
    return FactorTable(tuple(factor for factor, _ in columns), values or [()] * len(rows))


def is_seed(name: str) -> bool:
    """Whether a param says by its name that it only seeds a random generator."""
    return _SEED.fullmatch(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()) is not None


def value_key(value: Scalar) -> Hashable:
    """What two values share exactly if they are the same: 1 and 1.0 are, 1 and true are not; NaN is NaN."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, float) and math.isnan(value):
        return ("nan",)
    return value


def _read_columns(rows: Sequence[RunRow]) -> Iterator[tuple[Factor, list[Hashable]]]:
    for key in dict.fromkeys(key for row in rows for key in row.params):
        kind: Kind = "seed" if is_seed(key) else "param"
        yield (
            Factor(kind, key),
            [value_key(row.params[key]) if key in row.params else _ABSENT for row in rows],
        )
    yield _column(rows, "code", lambda row: row.code)
    digests = [_digests_of(row) for row in rows]
    for name in dict.fromkeys(name for found in digests for name in found):
        yield Factor("data", name), [found.get(name, _ABSENT) for found in digests]
    yield _column(rows, "environment", lambda row: row.environment)
    untold = untold_by_params([row.command for row in rows], [row.params for row in rows])
    yield Factor("command", "command"), [words or _ABSENT for words in untold]
    yield _column(rows, "host", lambda row: row.host or None)


def _column(
    rows: Sequence[RunRow], kind: Kind, read: Callable[[RunRow], str | None]
) -> tuple[Factor, list[Hashable]]:
    return Factor(kind, kind), [_ABSENT if (value := read(row)) is None else value for row in rows]


def _digests_of(row: RunRow) -> dict[str, tuple[str, ...]]:
    """The digests of a run's datasets by what they are called and for."""
    found: dict[str, tuple[str, ...]] = {}
    for name, digest, context in row.digests:
        title = f"{name} ({context})" if context else name
        found[title] = (*found.get(title, ()), digest)
    return {title: tuple(sorted(held)) for title, held in found.items()}


def _as_label(factor: Factor, raw: Sequence[Hashable], distinct: int) -> Factor:
    """A text param that no two runs share names the run rather than sets it up: an output folder, a time."""
    given = [value for value in raw if value != _ABSENT]
    is_label = (
        factor.kind == "param"
        and len(given) >= _LABEL_RUNS_MIN
        and distinct >= len(given)
        and all(isinstance(value, str) for value in given)
        and len(set(given)) == len(given)
        and not all(_is_number(str(value)) for value in given)
    )
    return Factor("label", factor.name) if is_label else factor


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
