"""Every revision of every run, and which one counts: the same answer in every clone.

The union of local branches and remote-tracking ones is read, so that a colleague's runs are there after a
plain fetch. Trailers say whose a commit is; the record in its tree has the last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gittrack.git.bulk import read_shallow, walk_sound_commits
from gittrack.git.objects import Commit, ObjectId
from gittrack.git.refs import list_refs
from gittrack.git.repository import Repository
from gittrack.schema.messages import (
    EXPERIMENT_TRAILER,
    RUN_TRAILER,
    parse_experiment_trailers,
    parse_journal_trailers,
    parse_run_trailers,
)
from gittrack.schema.names import HEADS, REMOTES, experiment_of_ref


class Owner(NamedTuple):
    """Whose revision a commit is: a run's, or an experiment's record's."""

    kind: Literal["run", "experiment"]
    id: str


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit of a run or of an experiment's record."""

    id: str
    revision: int
    commit: Commit

    @property
    def rank(self) -> tuple[int, int, str]:
        """What the winner has most of: revision, then committer time, then commit id."""
        return self.revision, self.commit.committed_at_s, self.commit.id

    @property
    def journal(self) -> Mapping[str, int]:
        """Bytes taken from each journal stream, by nonce."""
        return parse_journal_trailers(self.commit.message)


def read_revision(commit: Commit) -> tuple[Owner, Revision] | None:
    """The revision that a commit is, and whose; None where it only joins histories, or is of nothing of ours."""
    if len(commit.parents) > 1:
        return None
    named, kind = parse_run_trailers(commit.message), "run"
    if named is None:
        named, kind = parse_experiment_trailers(commit.message), "experiment"
    if named is None:
        return None
    return Owner(kind, named[0]), Revision(named[0], named[1], commit)  # type: ignore[arg-type]


def list_branches(repository: Repository) -> dict[str, ObjectId]:
    """The experiments' branches, local and of every remote, by full ref name."""
    refs = list_refs(repository, HEADS, REMOTES)
    return {ref: tip for ref, tip in refs.items() if experiment_of_ref(ref) is not None}


def find_winners(
    repository: Repository, tips: Iterable[ObjectId] | None = None
) -> tuple[dict[str, Revision], dict[str, Revision]]:
    """The winning revision of every run, and of every experiment's record, by id; newest commits first."""
    runs: dict[str, Revision] = {}
    experiments: dict[str, Revision] = {}
    for commit in walk_sound_commits(repository, list_branches(repository).values() if tips is None else tips):
        named = read_revision(commit)
        if named is not None:
            _keep_greater(runs if named[0].kind == "run" else experiments, named[1])
    return runs, experiments


def find_revisions(repository: Repository, id_prefix: str) -> list[Revision]:
    """All revisions of the runs whose id begins so, the winner of each last; empty where there is none."""
    found = []
    tips = list_branches(repository).values()
    for commit in walk_sound_commits(repository, tips, grep=f"{RUN_TRAILER}: {id_prefix}"):
        named = parse_run_trailers(commit.message)
        if named is not None and named[0].startswith(id_prefix) and len(commit.parents) < 2:
            found.append(Revision(named[0], named[1], commit))
    return sorted(found, key=lambda revision: revision.rank)


def find_experiment_revisions(repository: Repository, tips: Iterable[ObjectId]) -> dict[str, Revision]:
    """The winning revision of every experiment's record, by id."""
    found: dict[str, Revision] = {}
    for commit in walk_sound_commits(repository, tips, grep=f"{EXPERIMENT_TRAILER}: "):
        named = parse_experiment_trailers(commit.message)
        if named is not None and len(commit.parents) < 2:
            _keep_greater(found, Revision(named[0], named[1], commit))
    return found


def is_cut(repository: Repository) -> bool:
    """Whether a shallow clone left older commits of experiments with its remote."""
    edge = read_shallow(repository)
    return bool(edge) and any(
        commit.id in edge for commit in walk_sound_commits(repository, list_branches(repository).values())
    )


def _keep_greater(found: dict[str, Revision], revision: Revision) -> None:
    known = found.get(revision.id)
    if known is None or revision.rank > known.rank:
        found[revision.id] = revision
