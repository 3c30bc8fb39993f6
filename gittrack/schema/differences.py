"""What is told of a difference between runs: the sides, and a row for each thing that was compared. Pure data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from gittrack.schema.directions import Goal
from gittrack.schema.records import MetricSummary, RunRecord, Scalar, Source
from gittrack.schema.text_diff import FilePatch, quote_path


class Missing(Enum):
    """Why a side has no value: it has none of that name, or nobody wrote down whether it has."""

    ABSENT = "absent"
    UNRECORDED = "not recorded"


@dataclass(frozen=True, slots=True)
class FileFact:
    """A file as one side has it: git's mode; git's id of a blob, or the sha256 of an artifact; bytes if known."""

    mode: int
    id: str
    size_bytes: int | None = None


Change: TypeAlias = Literal["same", "added", "removed", "changed", "renamed"]
Verdict: TypeAlias = Literal["same", "better", "worse", "unknown"]
PARTS = ("params", "metrics", "tags", "artifacts", "code", "environment", "data", "source", "attributes", "system")
COUNTED = PARTS[:-1]  # of the system metrics no two runs have the same
SYSTEM_PREFIX = "system/"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """All that is compared of one side; None stands for what was not recorded.

    Attributes:
        title: what a person calls it.
        record: None for the work tree as it is now.
        commit: the run's own commit; None while it is in flight.
        code: git's modes and ids by path, of those paths alone that differ between the sides.
        code_tree: the id of the whole of its code.
        experiment_tags: may say which way a metric is better.
    """

    title: str
    record: RunRecord | None = None
    source: Source | None = None
    commit: str | None = None
    is_live: bool = False
    artifacts: Mapping[str, FileFact] | None = None
    packages: Mapping[str, str] | None = None
    code: Mapping[str, FileFact] | None = None
    code_tree: str | None = None
    experiment_tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One thing of one name, a value for each side.

    Attributes:
        differs: two sides that recorded it are not the same.
        also: of what has more to it than the value, the fields that differ.
    """

    name: str
    values: tuple[Scalar | Missing, ...]
    differs: bool
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric: ``values`` are the last ones.

    Attributes:
        goal: which way it is better. best: the side that is best, where one alone is.
        delta: of two sides, what the second has more; relative: delta as a share of the first's size.
        verdict: whether the second is better than the first; NaN is never better.
    """

    name: str
    values: tuple[float | Missing, ...]
    differs: bool
    also: tuple[str, ...]
    summaries: tuple[MetricSummary | None, ...]
    goal: Goal | None
    best: int | None
    delta: float | None = None
    relative: float | None = None
    verdict: Verdict = "unknown"


@dataclass(frozen=True, slots=True)
class FileRow:
    """One file; ``change`` tells of two sides how the second differs, ``patch`` how its text does, if compared."""

    name: str
    values: tuple[FileFact | Missing, ...]
    differs: bool
    change: Change
    renamed_from: str | None = None
    patch: FilePatch | None = None


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def differs(self) -> bool: ...


R = TypeVar("R", bound=_Named)


@dataclass(frozen=True, slots=True)
class Part(Generic[R]):
    """The rows of one kind; to loop over it gives those that differ, ``rows`` all that were compared."""

    rows: tuple[R, ...]

    def __iter__(self) -> Iterator[R]:
        return (row for row in self.rows if row.differs)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return any(row.differs for row in self.rows)

    def __getitem__(self, name: str) -> R:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def names(self) -> list[str]:
        """Of what differs."""
        return [row.name for row in self]


@dataclass(frozen=True, slots=True)
class FilePart(Part[FileRow]):
    """Files that differ; between two sides with the text of how."""

    @property
    def patch(self) -> str:
        """What ``git apply`` takes, encoded by ``encode("utf-8", "surrogateescape")``; empty for three sides."""
        return "".join(row.patch.text for row in self if row.patch is not None)

    @property
    def stat(self) -> str:
        """A line for each file: what became of it, and how many lines came and went."""
        return "".join(f"{format_stat(row)}\n" for row in self)


@dataclass(frozen=True, slots=True)
class RunDiff:
    """Everything that was compared of some runs; true where something differs."""

    runs: tuple[RunFacts, ...]
    params: Part[Row]
    metrics: Part[MetricRow]
    tags: Part[Row]
    artifacts: FilePart
    code: FilePart
    environment: Part[Row]
    data: Part[Row]
    source: Part[Row]
    attributes: Part[Row]
    system: Part[MetricRow]

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in COUNTED)


def format_stat(row: FileRow) -> str:
    """``M train.py +3 -1``: as git's letters have it, M changed, A added, D removed, R renamed."""
    letter = {"added": "A", "removed": "D", "renamed": "R"}.get(row.change, "M")
    name = (
        f"{quote_path(row.renamed_from)} => {quote_path(row.name)}" if row.renamed_from else quote_path(row.name)
    )
    patch = row.patch
    counts = "" if patch is None else f" ({patch.note})" if patch.note else f" +{patch.added} -{patch.removed}"
    return f"{letter} {name}{'' if row.change == 'renamed' else counts}"
