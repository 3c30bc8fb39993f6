"""A run described for comparing: its record, artifacts and packages, and where its code is; in flight or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gittrack.errors import DamagedError, NotFoundError
from gittrack.git.objects import BLOB, ObjectId, ObjectSet
from gittrack.git.reading import ObjectReader
from gittrack.schema.diff import file_facts
from gittrack.schema.differences import RunFacts
from gittrack.schema.packages import parse_packages
from gittrack.schema.records import Artifact
from gittrack.store import experiments
from gittrack.store.folding import fold_live
from gittrack.store.live import LiveRun
from gittrack.store.runs import StoredRun
from gittrack.store.store import Store
from gittrack.store.trees import REQUIREMENTS_FILE


@dataclass(frozen=True, slots=True)
class RunView:
    """One side of a comparison as it was read; ``facts.code`` is not filled yet.

    Attributes:
        code: the tree of its code; None where none was recorded.
        objects: those of its code that are in no repository yet.
        stored: what its artifacts are read by; None for the work tree.
    """

    facts: RunFacts
    code: ObjectId | None
    objects: ObjectSet
    artifacts: Mapping[str, Artifact]
    stored: StoredRun | None = None


def view_run(store: Store, stored: StoredRun) -> RunView:
    """A run as it stands; one that is committed while it is read is read again."""
    while True:
        live = stored.live
        try:
            return _view(store, stored)
        except FileNotFoundError:
            if live is None or live.exists():
                raise
        stored = store.get_run(stored.record.id)


def add_experiment_tags(store: Store, views: list[RunView]) -> list[RunView]:
    """The same views, with the tags of their experiments."""
    known = {record.id: record.tags for record in experiments.list_experiments(store.repository)}
    return [
        replace(view, facts=replace(view.facts, experiment_tags=known.get(view.facts.record.experiment_id)))
        if view.facts.record is not None
        else view
        for view in views
    ]


def _view(store: Store, stored: StoredRun) -> RunView:
    record, repository = stored.record, store.repository
    code, requirements = _read_committed(store, stored)
    objects = ObjectSet(repository.object_format)
    if stored.live is not None:
        fold = fold_live(stored.live, None)
        requirements = fold.environment or requirements
        if fold.code_tree is not None:
            objects = stored.live.read_code(repository.object_format)
            code = ObjectId(fold.code_tree)
        _require(stored.live)
    artifacts = {artifact.path: artifact for artifact in store.list_artifacts(stored)}
    facts = RunFacts(
        title=record.name,
        record=record,
        source=record.source,
        commit=stored.commit.id if stored.commit else None,
        is_live=stored.is_live,
        artifacts=file_facts(list(artifacts.values())),
        packages=parse_packages(requirements) if requirements is not None else None,
        code_tree=code,
    )
    return RunView(facts, code, objects, artifacts, stored)


def _require(live: LiveRun) -> None:
    if not live.exists():
        raise FileNotFoundError(live.folder)


def _read_committed(store: Store, stored: StoredRun) -> tuple[ObjectId | None, str | None]:
    """The tree of the code and the list of packages that a run's commit holds; None for what it does not."""
    if stored.commit is None:
        return None, None
    with ObjectReader(store.repository) as reader:
        code = reader.find_path(stored.commit.tree, "code")
        listed = reader.find_path(stored.commit.tree, REQUIREMENTS_FILE)
        text = None
        if listed is not None and not listed.is_tree:
            try:
                text = reader.read_kind(listed.id, BLOB).decode(errors="replace")
            except (NotFoundError, DamagedError):
                text = None  # the rest can still be compared
        return (code.id if code is not None and code.is_tree else None), text
