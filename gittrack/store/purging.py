"""Taking a run out of its branch for good: the one operation that rewrites history.

Every commit after the run's first one gets another id; clones that have the old ones bring them back when they
push. Restoring is for `rm`; this is for what must not stay.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from gittrack.errors import BusyError, NotFoundError, RunStateError
from gittrack.git.bulk import walk_commits
from gittrack.git.objects import COMMIT, Commit, ObjectId, ObjectSet
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository
from gittrack.schema.messages import parse_run_trailers
from gittrack.schema.names import HEADS, RunId, check_run_id
from gittrack.store.artifacts import object_path
from gittrack.store.committing import open_branches
from gittrack.store.history import find_revisions, list_branches
from gittrack.store.live import find_live
from gittrack.store.trees import RunTree


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What purging a run does (or did): by branch, how many commits go and how many get another id."""

    run_id: str
    branches: dict[str, tuple[int, int]]
    remote_branches: list[str]
    objects: list[str]


def plan_purge(repository: Repository, run_id: str) -> Rewrite:
    """What `purge` would do; changes nothing.

    Raises:
        NotFoundError: no local branch has the run. RunStateError: it is in flight.
    """
    wanted = check_run_id(run_id)
    if find_live(repository, RunId(wanted)) is not None:
        raise RunStateError(f"run {wanted} is running", "finish it first")
    if not find_revisions(repository, wanted):
        raise NotFoundError(f"no run has the id {wanted}", "list the runs: gittrack ls")
    branches, remote_branches = {}, []
    for ref, tip in list_branches(repository).items():
        commits = list(walk_commits(repository, [tip]))
        gone = {commit.id for commit in commits if _is_of(commit, wanted)}
        if gone and ref.startswith(HEADS):
            branches[ref] = (len(gone), len(_rewritten(commits, gone)))
        elif gone:
            remote_branches.append(ref)
    return Rewrite(wanted, branches, remote_branches, _only_here(repository, wanted))


def purge(repository: Repository, run_id: str) -> Rewrite:
    """Rewrite the local branches without a run, and remove the artifact copies that only it used.

    Raises:
        NotFoundError, RunStateError: as `plan_purge`. BusyError: another program moved a branch meanwhile.
    """
    with open_branches(repository) as branches:
        plan = plan_purge(repository, run_id)
        for ref in plan.branches:
            tip = list_branches(repository)[ref]
            objects = branches.new_objects()
            new = _rebuild(repository, tip, plan.run_id, objects)
            has_moved = branches.move(ref, new, tip, objects) if new else branches.remove(ref, tip)
            if not has_moved:
                raise BusyError(f"{ref} was moved meanwhile", "try again")
        for oid in plan.objects:  # with the lock still held: the next to be committed may be a run that has it too
            try:
                os.unlink(object_path(repository, oid))
            except FileNotFoundError:
                pass
    shutil.rmtree(os.path.join(repository.state_dir, "live", plan.run_id), ignore_errors=True)
    return plan


def _is_of(commit: Commit, run_id: str) -> bool:
    named = parse_run_trailers(commit.message)
    return named is not None and named[0] == run_id and len(commit.parents) < 2


def _rewritten(commits: list[Commit], gone: set[ObjectId]) -> set[ObjectId]:
    """The commits that stay but get another id: those with a commit that goes among their ancestors."""
    changed: set[ObjectId] = set()
    for commit in _parents_first(commits):
        if (any(parent in gone or parent in changed for parent in commit.parents) and commit.id not in gone) or (
            commit.id in gone and any(parent in changed for parent in commit.parents)
        ):
            changed.add(commit.id)
    return changed - gone


def _rebuild(repository: Repository, tip: ObjectId, run_id: str, objects: ObjectSet) -> ObjectId | None:
    """The branch's new tip with the run's commits left out; None where nothing is left."""
    became: dict[ObjectId, ObjectId | None] = {}
    with ObjectReader(repository) as reader:
        for commit in _parents_first(list(walk_commits(repository, [tip]))):
            parents = [became.get(parent, parent) for parent in commit.parents]
            kept = list(dict.fromkeys(parent for parent in parents if parent is not None))
            if _is_of(commit, run_id):
                became[commit.id] = kept[0] if kept else None
            elif kept == list(commit.parents):
                became[commit.id] = commit.id
            elif len(commit.parents) > 1 and len(kept) < 2:
                became[commit.id] = kept[0] if kept else None  # a join with nothing left to join
            else:
                became[commit.id] = _with_parents(reader, commit, kept, objects)
    return became[tip]


def _with_parents(reader: ObjectReader, commit: Commit, parents: list[ObjectId], objects: ObjectSet) -> ObjectId:
    """The commit with other parents; a signature, which no longer fits, goes."""
    head, _, message = reader.read_kind(commit.id, COMMIT).partition(b"\n\n")
    lines, in_signature = [], False
    for line in head.split(b"\n"):
        in_signature = line.startswith(b"gpgsig") or (in_signature and line.startswith(b" "))
        if not in_signature and not line.startswith(b"parent "):
            lines.append(line)
    lines[1:1] = [b"parent " + parent.encode() for parent in parents]
    return objects.add(COMMIT, b"\n".join(lines) + b"\n\n" + message)


def _parents_first(commits: list[Commit]) -> list[Commit]:
    """The commits in an order in which each comes after its parents."""
    by_id = {commit.id: commit for commit in commits}
    ordered: list[Commit] = []
    done: set[ObjectId] = set()
    for start in commits:
        pending = [start]
        while pending:
            commit = pending[-1]
            waiting = [by_id[parent] for parent in commit.parents if parent in by_id and parent not in done]
            if commit.id in done:
                pending.pop()
            elif waiting:
                pending.extend(waiting)
            else:
                done.add(commit.id)
                ordered.append(commit)
                pending.pop()
    return ordered


def _only_here(repository: Repository, run_id: str) -> list[str]:
    """The artifact objects that no other run's commit points at, by any revision."""
    own: set[str] = set()
    others: set[str] = set()
    with ObjectReader(repository) as reader:
        trees: set[ObjectId] = set()
        for commit in walk_commits(repository, list_branches(repository).values()):
            if len(commit.parents) > 1 or (commit.tree in trees and not _is_of(commit, run_id)):
                continue
            trees.add(commit.tree)
            tree = RunTree(repository, reader, commit.tree, f"commit {commit.id}")
            oids = {content.oid for content in tree.find_pointers(tree.list_files()).values()}
            (own if _is_of(commit, run_id) else others).update(oids)
    return sorted(own - others)
