"""Runs as rows to compare, from the repository that is tracked into: by what a person or a script calls them."""

from __future__ import annotations

from typing import Any

from gittrack.errors import InvalidValueError, RepositoryError
from gittrack.schema.records import Lifecycle
from gittrack.store.search import RunQuestion, search
from gittrack.store.search_rows import RunRow
from gittrack.store.store import Store
from gittrack.tracking.settings import find_repository


def open_existing_store() -> Store:
    """The store that is tracked into.

    Raises:
        RepositoryError: there is no repository.
    """
    repository = find_repository()
    if repository is None:
        raise RepositoryError("no git repository here", "go into one, or set_tracking_uri to one")
    return Store(repository)


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
