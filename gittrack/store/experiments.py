"""The experiments of a repository: their records, and those that only their runs tell of."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from gittrack.errors import DamagedError, InvalidValueError, NotFoundError, RemoteError, RunStateError
from gittrack.git.bulk import read_blobs
from gittrack.git.repository import Repository
from gittrack.schema.codec import EXPERIMENT_FILE, parse_experiment
from gittrack.schema.messages import format_experiment_message
from gittrack.schema.names import (
    DEFAULT_EXPERIMENT,
    DEFAULT_EXPERIMENT_ID,
    check_name,
    experiment_id,
    experiment_of_ref,
    experiment_ref,
)
from gittrack.schema.records import ExperimentRecord
from gittrack.store.committing import Branches, Draft, open_branches
from gittrack.store.history import find_experiment_revisions, list_branches
from gittrack.store.trees import experiment_tree

_log = logging.getLogger("gittrack")


def list_experiments(repository: Repository) -> list[ExperimentRecord]:
    """Every experiment, active or deleted, sorted by name; Default is always among them."""
    branches = list_branches(repository)
    revisions = find_experiment_revisions(repository, branches.values())
    specs = [f"{revision.commit.id}:{EXPERIMENT_FILE}" for revision in revisions.values()]
    found: dict[str, ExperimentRecord] = {}
    for revision, data in zip(revisions.values(), _read(repository, specs), strict=True):
        record = _parse(data, f"experiment commit {revision.commit.id[:10]}")
        if record is not None:
            found[record.id] = record
    for ref in branches:
        name = experiment_of_ref(ref)
        if name and experiment_id(name) not in found and "+" not in name:
            found[experiment_id(name)] = untold(name)
    found.setdefault(DEFAULT_EXPERIMENT_ID, untold(DEFAULT_EXPERIMENT))
    return sorted(found.values(), key=lambda record: record.name)


def find_experiment(repository: Repository, *, by_id: str = "", name: str = "") -> ExperimentRecord | None:
    """The experiment with an id, or with a shown name (an active one before a deleted one), or None."""
    known = list_experiments(repository)
    fitting = [record for record in known if (record.id == by_id if by_id else record.name == name)]
    fitting.sort(key=lambda record: record.lifecycle != "active")
    return fitting[0] if fitting else None


def get_experiment(repository: Repository, experiment: str) -> ExperimentRecord:
    """The experiment with an id.

    Raises:
        NotFoundError: there is none.
    """
    found = find_experiment(repository, by_id=experiment)
    if found is None:
        raise NotFoundError(f"no experiment has the id {experiment!r}", "list them: gittrack experiments")
    return found


def resolve_experiment(repository: Repository, asked: str) -> ExperimentRecord:
    """The experiment that a person means, by its name or else by its id.

    Raises:
        NotFoundError: there is none.
    """
    found = find_experiment(repository, name=asked) or find_experiment(repository, by_id=asked)
    if found is None:
        raise NotFoundError(f"no experiment is called {asked!r}", "list them: gittrack experiments")
    return found


def create_experiment(
    repository: Repository, name: str, tags: dict[str, str], description: str = ""
) -> ExperimentRecord:
    """Make an experiment; durable on return.

    Raises:
        InvalidValueError: the name is taken or not taken as a name.
    """
    name = check_name("experiment", name)
    with open_branches(repository) as branches:
        known = list_experiments(repository)
        taken = next((record for record in known if record.name == name), None)
        is_free = taken is None or (taken.created_at == 0 and taken.id != DEFAULT_EXPERIMENT_ID)
        if taken is not None and not is_free:
            state = "" if taken.lifecycle == "active" else " and is deleted: restore it with restore_experiment"
            raise InvalidValueError(
                f"experiment {name!r} exists already{state}", "use set_experiment to go on with it"
            )
        now = _now_ms()
        record = ExperimentRecord(
            id=experiment_id(_unused_name(name, known)),
            name=name,
            made_as=_unused_name(name, known),
            created_at=now,
            updated_at=now,
            description=description,
            tags=tags,
        )
        _commit(branches, record, "created")
    return record


def edit_experiment(
    repository: Repository, experiment: str, change: Callable[[ExperimentRecord], ExperimentRecord], what: str
) -> ExperimentRecord:
    """Change an experiment's record by a new revision; durable on return.

    Raises:
        NotFoundError: there is none with that id.
    """
    from gittrack.store.joining import take_in  # training edits nothing

    with open_branches(repository) as branches:
        before = get_experiment(repository, experiment)
        based_on = find_experiment_revisions(repository, list_branches(repository).values()).get(experiment)
        if based_on and take_in(branches, repository, experiment_ref(before.made_as), based_on.commit.id):
            before = get_experiment(repository, experiment)
        changed = replace(change(before), revision=before.revision + 1, updated_at=_now_ms())
        _commit(branches, changed, what)
    return changed


def rename_experiment(repository: Repository, experiment: str, new_name: str) -> ExperimentRecord:
    """Give an experiment another shown name; its branch and its id stay.

    Raises:
        InvalidValueError: another has that name. RunStateError: it is deleted.
    """
    new_name = check_name("experiment", new_name)

    def change(record: ExperimentRecord) -> ExperimentRecord:
        other = find_experiment(repository, name=new_name)
        if other is not None and other.id != experiment:
            raise InvalidValueError(f"experiment {new_name!r} exists already")
        if record.lifecycle == "deleted":
            raise RunStateError(f"experiment {experiment} is deleted", "restore it first: restore_experiment")
        return replace(record, name=new_name)

    return edit_experiment(repository, experiment, change, f"renamed {new_name}")


def _commit(branches: Branches, record: ExperimentRecord, what: str) -> None:
    objects = branches.new_objects()
    tree = experiment_tree(record, objects)
    message = format_experiment_message(record, what)
    branches.commit(objects, Draft(record.made_as, tree, message, record.updated_at // 1000))


def _unused_name(name: str, known: list[ExperimentRecord]) -> str:
    """The name to make an experiment with: one that was made so and renamed since keeps its branch."""
    used = {record.made_as for record in known if record.created_at}
    made_as, number = name, 2
    while made_as in used:
        made_as, number = f"{name} ({number})", number + 1
    return made_as


def _read(repository: Repository, specs: Sequence[str]) -> list[bytes | None]:
    """Records as they are stored; where a partial clone cannot fetch them, none: to log needs no network."""
    try:
        return list(read_blobs(repository, specs))
    except RemoteError as error:
        _log.warning("gittrack knows experiments by their branches alone: %s", error.message)
        return [None] * len(specs)


def _parse(data: bytes | None, where: str) -> ExperimentRecord | None:
    if data is None:
        return None
    try:
        return parse_experiment(data, where)
    except DamagedError:
        return None  # `verify` tells of it; an experiment list must not end for one bad record


def untold(name: str) -> ExperimentRecord:
    """An experiment without a record: nobody has set anything about it."""
    return ExperimentRecord(
        id=experiment_id(name), name=name, made_as=name, created_at=0, updated_at=0, revision=0
    )


def _now_ms() -> int:
    return int(time.time() * 1000)
