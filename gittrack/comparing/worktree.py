"""The work tree as it is now, as one side of a comparison: code and packages as a run that starts now has them."""

from __future__ import annotations

import os

from gittrack.errors import RepositoryError
from gittrack.git.carrying import carry_tree
from gittrack.git.objects import ObjectSet
from gittrack.git.ownership import require_trusted
from gittrack.git.repository import Repository, discover_repository
from gittrack.schema.differences import RunFacts
from gittrack.schema.packages import parse_packages
from gittrack.store.run_views import RunView
from gittrack.store.store import Store
from gittrack.tracking.provenance import read_provenance

WORDS = (".", "@worktree")


def find_code_repository(store: Store) -> Repository | None:
    """Where a run that starts now would find its code: around the current folder, else where the runs are."""
    try:
        found = discover_repository(os.getcwd())
    except (FileNotFoundError, RepositoryError):
        found = None
    if found is None or found.work_tree is None:
        found = store.repository if store.repository.work_tree else None
    if found is not None:
        require_trusted(found)
    return found


def view_worktree(store: Store) -> tuple[RunView, Repository]:
    """The work tree's code, this interpreter's packages, and the repository that has what the code's tree needs.

    What only a run has (params, metrics, artifacts, a command) counts as not recorded.

    Raises:
        RepositoryError: there is no work tree here, or it is another user's.
    """
    repository = find_code_repository(store)
    if repository is None or repository.work_tree is None:
        raise RepositoryError("there is no work tree here", "go into one, or compare two runs")
    made_by = read_provenance(repository.work_tree)
    code = made_by.code
    tree = code.tree if code is not None else None
    objects = code.objects if code is not None else ObjectSet(store.repository.object_format)
    if tree is not None and objects.object_format != store.repository.object_format:
        tree, objects = carry_tree(repository, tree, objects, store.repository)
    facts = RunFacts(
        title="work tree",
        source=made_by.source,
        packages=parse_packages(made_by.requirements),
        code_tree=tree,
    )
    return RunView(facts, tree, objects, {}), repository
