"""Opening a repository for a command, and the experiment that one names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gittrack.cli import output

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gittrack.git.repository import Repository
    from gittrack.store.artifacts import Content
    from gittrack.store.store import Store


def open_reading() -> Store:
    """The store to read: dead runs are committed first, a clone that stands for a git URL is brought up to date.

    Raises:
        RepositoryError: there is no repository.
    """
    from gittrack.tracking.settings import is_elsewhere

    store = open_writing()
    if is_elsewhere():
        from gittrack.sharing.elsewhere import refresh

        problem = refresh(store.repository)
        if problem:
            output.note(f"{problem}; shown is what is here")
    return store


def open_writing() -> Store:
    """The store to log to, without the network: dead runs are committed first, as every command does.

    Raises:
        RepositoryError: there is no repository.
    """
    from gittrack.errors import RepositoryError
    from gittrack.git.ownership import require_trusted
    from gittrack.store.store import Store
    from gittrack.tracking.settings import find_repository

    repository = find_repository()
    if repository is None:
        raise RepositoryError("no git repository here", "go into one, or name it: gittrack -C PATH …")
    require_trusted(repository)
    store = Store(repository, _fetch_artifacts)
    for run_id in store.recover():
        output.note(f"recovered run {run_id}: its process ended without finishing it")
    return store


def _fetch_artifacts(repository: Repository, contents: Collection[Content]) -> Mapping[str, str]:
    from gittrack.sharing.lazy import bring_missing

    total = sum(content.size_bytes for content in contents)
    return bring_missing(repository, contents, output.count_bytes(total, "fetching artifacts"))


def tell_if_cut(store: Store) -> None:
    """Say where a shallow clone has not all runs."""
    from gittrack.store.history import is_cut

    if is_cut(store.repository):
        output.note("this clone is shallow: older runs are not here; get them: git fetch --unshallow")


def find_experiment_id(store: Store, name: str) -> str:
    """The id of the experiment that is called so, or has that id.

    Raises:
        NotFoundError: there is none.
    """
    from gittrack.store.experiments import resolve_experiment

    return resolve_experiment(store.repository, name).id
