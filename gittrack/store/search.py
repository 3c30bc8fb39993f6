"""Searching runs: a question in the search language, answered by the index, with runs in flight beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gittrack.schema.records import Lifecycle, MetricSummary, Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuestion:
    """Which runs are wanted, in what order: a filter, terms to order by, experiments by id, a slice.

    Attributes:
        order_by: terms such as ``metrics.loss DESC``; what they leave equal goes newest start first, then by id.
        experiment_ids: only runs of these; all where None.
        lifecycle: only runs in this state; all where None.
    """

    filter: str = ""
    order_by: tuple[str, ...] = ()
    experiment_ids: tuple[str, ...] | None = None
    lifecycle: Lifecycle | None = "active"
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run as the index knows it; times in milliseconds since the epoch, ids as hex digits.

    ``code`` is the id of the tree ``code/``, ``environment`` the id of the list of packages.
    """

    id: str
    commit_id: str | None
    name: str
    experiment_id: str
    experiment: str
    status: str
    lifecycle: str
    started_at: int
    ended_at: int | None
    user: str
    host: str
    parent: str | None
    is_live: bool
    code: str | None
    code_commit: str | None
    dirty: bool | None
    environment: str | None
    command: str | None
    params: Mapping[str, Scalar]
    metrics: Mapping[str, MetricSummary]
    tags: Mapping[str, str]
    digests: tuple[tuple[str, str, str], ...]  # of each dataset: name, digest, context
