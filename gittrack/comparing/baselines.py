"""Which two runs a gate compares: that of the code as it stands, and that of the code that it is to join."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gittrack.comparing.worktree import find_code_repository
from gittrack.errors import AmbiguousError, NotFoundError
from gittrack.git.bulk import walk_sound_commits
from gittrack.git.refs import read_head
from gittrack.git.repository import Repository
from gittrack.git.revisions import find_commit
from gittrack.store.index_answers import list_finished_code
from gittrack.store.runs import StoredRun
from gittrack.store.store import Store


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a candidate is held against; ``run`` is None where there is none, and ``why`` says what was looked
    for."""

    run: StoredRun | None
    why: str


def find_candidate(store: Store, spec: str | None, experiment_id: str | None) -> StoredRun:
    """The run that is judged: as named, else the newest finished one of the commit that is checked out.

    Where no run is of that commit, the newest finished one of the branch that is checked out.

    Raises:
        NotFoundError: there is none. AmbiguousError: the name fits several.
    """
    if spec:
        return store.resolve(spec)
    repository = find_code_repository(store)
    head, branch = read_head(repository) if repository is not None else (None, None)
    runs = list_finished_code(store.repository, experiment_id)
    for found in runs:
        if head is not None and found.commit == head:
            return store.get_run(found.run_id)
    for found in runs:
        if branch is not None and found.branch == branch:
            return store.get_run(found.run_id)
    place = f"commit {head[:10]}" if head else "a commit"
    raise NotFoundError(
        f"no finished run is of {place}, which is checked out",
        "train first, or name a run: gittrack compare --run RUN",
    )


def find_baseline(store: Store, against: str, candidate: StoredRun) -> Baseline:
    """The run that ``against`` names; else the newest finished one of that git revision, or of its nearest
    ancestor.

    Only runs of the candidate's experiment count, and never the candidate itself.

    Raises:
        NotFoundError: neither a run nor a revision has that name. AmbiguousError: several runs do, and no
        revision.
    """
    unnamed: NotFoundError
    try:
        return Baseline(store.resolve(against), f"run {against}")
    except NotFoundError as error:  # an ambiguous one is none either, where git knows the name
        unnamed = error
    repository = find_code_repository(store) or store.repository
    commit = find_commit(repository, against)
    if commit is None:
        if isinstance(unnamed, AmbiguousError):
            raise unnamed
        raise NotFoundError(
            f"{against!r} is neither a run nor a revision that git knows here", "fetch it: git fetch origin"
        ) from unnamed
    by_commit: dict[str, str] = {}
    for found in list_finished_code(store.repository, candidate.record.experiment_id):
        if found.commit is not None and found.run_id != candidate.record.id:
            by_commit.setdefault(found.commit, found.run_id)
    place = _nearest(repository, commit, by_commit)
    if place is None:
        return Baseline(
            None,
            f"no finished run of experiment {candidate.record.experiment} is of {against} ({commit[:10]})"
            " or of an ancestor of it that is here",
        )
    nearest = "" if place == commit else f", nearest run at {place[:10]}"
    return Baseline(store.get_run(by_commit[place]), f"{against} ({commit[:10]}){nearest}")


def _nearest(repository: Repository, commit: str, runs: Collection[str]) -> str | None:
    """The newest of a commit and its ancestors that has a run."""
    if runs:
        for found in walk_sound_commits(repository, [commit]):  # type: ignore[list-item]
            if found.id in runs:
                return found.id
    return None
