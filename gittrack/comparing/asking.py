"""Runs as rows to compare, from the repository that is tracked into: by what a person or a script calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gittrack.errors import InvalidValueError, NotFoundError, RepositoryError
from gittrack.schema.records import Lifecycle
from gittrack.store.search import RunQuestion, search
from gittrack.store.search_rows import RunRow
from gittrack.store.store import Store
from gittrack.tracking.settings import fetch_artifacts, find_repository


def open_existing_store() -> Store:
    """The store that is tracked into.

    Raises:
        RepositoryError: there is no repository.
    """
    repository = find_repository()
    if repository is None:
        raise RepositoryError("no git repository here", "go into one, or set_tracking_uri to one")
    return Store(repository, fetch_artifacts)


def run_id_of(store: Store, asked: Any) -> str:
    """The id of a run given as one, as its entity, or in any way that a person names it.

    Raises:
        NotFoundError: there is none. InvalidValueError: it is neither text nor a run.
    """
    info = getattr(asked, "info", None)
    name = getattr(info, "run_id", asked)
    if not isinstance(name, str):
        raise InvalidValueError(f"{asked!r} is no run", "give a run, its id or its name")
    return str(store.resolve(name).record.id)


def read_rows(
    store: Store, experiment_ids: tuple[str, ...] | None, filter_string: str = "", *, deleted: bool = False
) -> list[RunRow]:
    """The runs of some experiments, all of them where None; deleted ones only if asked.

    Raises:
        InvalidValueError: the filter cannot be read.
    """
    lifecycle: Lifecycle | None = None if deleted else "active"
    question = RunQuestion(filter=filter_string, experiment_ids=experiment_ids, lifecycle=lifecycle)
    return search(store.repository, question).rows


def require_metric(rows: Sequence[RunRow], metric: str) -> None:
    """That any of the runs has a metric.

    Raises:
        NotFoundError: none has; the hint names what is near.
    """
    if any(metric in row.metrics for row in rows):
        return
    from difflib import get_close_matches

    known = sorted({key for row in rows for key in row.metrics})
    near = get_close_matches(metric, known, n=1)
    shown = f"did you mean {near[0]!r}?" if near else f"they have {', '.join(known[:20])}" if known else ""
    raise NotFoundError(f"none of {len(rows)} runs has a metric {metric!r}", shown or "list them: gittrack ls")
