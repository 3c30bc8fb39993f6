"""`diff`: what differs between runs, or between a run and the work tree as it is now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from gittrack.comparing.markdown import format_markdown
from gittrack.comparing.plain_data import diff_data
from gittrack.comparing.text import format_text
from gittrack.comparing.web_page import format_html
from gittrack.comparing.worktree import WORDS, view_worktree
from gittrack.errors import DamagedError, GittrackError, InvalidValueError, NotFoundError
from gittrack.git.objects import GITLINK_MODE, LINK_MODE, ObjectId
from gittrack.git.tree_diff import ObjectSource, diff_trees
from gittrack.schema.diff import compare_runs
from gittrack.schema.differences import FileFact, FilePart, FileRow, MetricRow, Part, Row, RunDiff, RunFacts
from gittrack.schema.records import RunRecord
from gittrack.schema.text_diff import FilePatch, FileSide, patch_file
from gittrack.store.run_views import RunView, add_experiment_tags, view_run
from gittrack.store.store import Store
from gittrack.tracking.active import ActiveRun
from gittrack.tracking.entities import Run
from gittrack.tracking.settings import open_store

CodeDetail: TypeAlias = Literal["unified", "stat", "none"]
AnyRun: TypeAlias = str | Run | RunRecord | ActiveRun

_DETAILS = ("unified", "stat", "none")
_TEXT_CHARS_MAX = 16 << 20  # of all patches of one comparison
_INLINE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between some runs; true where something does.

    A part (`params`, `metrics`, `tags`, `artifacts`, `code`, `environment`, `data`, `source`, `attributes`, and
    `system` for the metrics ``system/…``) is true where something of it differs; to loop over it gives the rows
    that differ, ``part.rows`` all of them, ``part["lr"]`` the one of that name; ``row.values`` has a value for
    each run. ``code.patch`` is a unified diff, ``code.stat`` a line for each file.

    Attributes:
        diff: all that was found.
        problems: what could not be compared, a line each.
    """

    diff: RunDiff
    problems: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.diff)

    @property
    def runs(self) -> tuple[RunFacts, ...]:
        return self.diff.runs

    @property
    def params(self) -> Part[Row]:
        return self.diff.params

    @property
    def metrics(self) -> Part[MetricRow]:
        return self.diff.metrics

    @property
    def tags(self) -> Part[Row]:
        return self.diff.tags

    @property
    def artifacts(self) -> FilePart:
        return self.diff.artifacts

    @property
    def code(self) -> FilePart:
        return self.diff.code

    @property
    def environment(self) -> Part[Row]:
        return self.diff.environment

    @property
    def data(self) -> Part[Row]:
        return self.diff.data

    @property
    def source(self) -> Part[Row]:
        return self.diff.source

    @property
    def attributes(self) -> Part[Row]:
        return self.diff.attributes

    @property
    def system(self) -> Part[MetricRow]:
        return self.diff.system

    def to_dict(self, everything: bool = False) -> dict[str, Any]:
        """Plain dicts, lists and scalars: what differs, or all that was compared."""
        return {**diff_data(self.diff, everything=everything), "problems": list(self.problems)}

    def to_markdown(self, everything: bool = False) -> str:
        """Tables for a pull request; nothing of a run's texts is taken for Markdown, HTML, a link or a mention."""
        return format_markdown(self.diff, self.problems, everything=everything)

    def __str__(self) -> str:
        return format_text(self.diff, self.problems)

    def _repr_html_(self) -> str:
        return format_html(self.diff, self.problems)


def diff(*runs: AnyRun, code: CodeDetail = "unified") -> Comparison:
    """What differs between two runs or more; between one and the work tree as it is now, as in ``git diff
    COMMIT``.

    Args:
        runs: each an id or its beginning, a name, a commit, ``<experiment>~N``, ``@last``, ``.`` or ``@worktree``
            for the work tree, or what `get_run` and `start_run` give. All are read as they stand now.
        code: of two, give the text of how files differ (``unified``), only count lines (``stat``), or leave the
            code out (``none``).

    Raises:
        NotFoundError: nothing has that name. AmbiguousError: several runs do. InvalidValueError: no run is given.
    """
    return compare(open_store(), runs, code)


def compare(store: Store, runs: Sequence[AnyRun], code: CodeDetail = "unified") -> Comparison:
    """As `diff`, in a store."""
    if not runs:
        raise InvalidValueError("there is nothing to compare", "name two runs: gittrack diff A B")
    if code not in _DETAILS:
        raise InvalidValueError(f"code is {code!r}", f"it is one of {', '.join(_DETAILS)}")
    views, repositories = list[RunView](), [store.repository]
    for asked in runs if len(runs) > 1 else (*runs, WORDS[0]):
        if asked in WORDS:
            view, repository = view_worktree(store)
            repositories.append(repository)
        else:
            view = view_run(store, store.resolve(_spec(asked)))
        views.append(view)
    views = add_experiment_tags(store, views)
    with ObjectSource(repositories, [view.objects for view in views]) as source:
        problems: list[str] = []
        if code != "none":
            views = _with_code(source, views, problems)
        found = compare_runs([view.facts for view in views])
        if len(views) == 2:
            found = _with_texts(store, source, views, found, has_text=code == "unified")
    return Comparison(found, tuple(problems))


def _spec(run: AnyRun) -> str:
    match run:
        case str():
            return run
        case RunRecord():
            return run.id
        case Run() | ActiveRun():
            return run.info.run_id
        case _:
            raise InvalidValueError(f"{run!r} is no run", "give an id, a name, or what get_run returns")


def _with_code(source: ObjectSource, views: list[RunView], problems: list[str]) -> list[RunView]:
    """The same views with the files of their code that differ."""
    having = [view for view in views if view.code is not None]
    try:
        differing = diff_trees(source, [view.code for view in having]) if having else {}
    except (NotFoundError, DamagedError) as error:
        problems.append(f"the code cannot be compared: {error.message}")
        return views
    for view in having:
        left_out = view.facts.source.left_out if view.facts.source else 0
        if left_out:
            problems.append(f"{view.facts.title}: {left_out} changed files of its code were not recorded")
    filled, at = [], 0
    for view in views:
        if view.code is None:
            filled.append(view)
            continue
        leaves = {path: sides[at] for path, sides in differing.items()}
        code = {path: FileFact(*leaf) for path, leaf in leaves.items() if leaf is not None}
        filled.append(replace(view, facts=replace(view.facts, code=code)))
        at += 1
    return filled


def _with_texts(
    store: Store, source: ObjectSource, views: list[RunView], found: RunDiff, *, has_text: bool
) -> RunDiff:
    """The same difference of two, with how the texts of files differ."""
    room = _Room()
    blobs = source.read_blobs([ObjectId(fact.id) for row in found.code for fact in _blobs_of(row)])
    code = [replace(row, patch=_patch_code(row, blobs, room)) if row.differs else row for row in found.code.rows]
    artifacts = [
        replace(row, patch=_patch_artifact(store, views, row, room)) if row.differs else row
        for row in found.artifacts.rows
    ]
    if not has_text:
        code = [replace(row, patch=replace(row.patch, text="")) if row.patch else row for row in code]
    return replace(found, code=FilePart(tuple(code)), artifacts=FilePart(tuple(artifacts)))


class _Room:
    """How much text a comparison may still have."""

    def __init__(self) -> None:
        self._left = _TEXT_CHARS_MAX

    def fit(self, patch: FilePatch) -> FilePatch:
        self._left -= len(patch.text)
        return patch if self._left >= 0 else FilePatch("", patch.added, patch.removed, patch.note or "too large")


def _blobs_of(row: FileRow) -> list[FileFact]:
    """The sides of a file whose bytes are wanted; what is only renamed has the same."""
    facts = [fact for fact in row.values if isinstance(fact, FileFact) and fact.mode != GITLINK_MODE]
    return [] if row.change == "renamed" or len({fact.id for fact in facts}) < len(facts) else facts


def _patch_code(row: FileRow, blobs: Iterator[bytes | None], room: _Room) -> FilePatch | None:
    wanted, sides = _blobs_of(row), list[FileSide | None]()
    for fact, path in zip(row.values, (row.renamed_from or row.name, row.name), strict=True):
        if isinstance(fact, FileFact):
            sides.append(FileSide(path, fact.mode, fact.id, next(blobs) if fact in wanted else None))
        else:
            sides.append(None)
    return room.fit(patch_file(*sides))


def _patch_artifact(store: Store, views: list[RunView], row: FileRow, room: _Room) -> FilePatch | None:
    """How a small text differs; None for what stands behind pointers, of which sizes and hashes say enough."""
    sides = list[FileSide | None]()
    for view, fact in zip(views, row.values, strict=True):
        if not isinstance(fact, FileFact):
            sides.append(None)
            continue
        artifact = view.artifacts[row.name]
        if not (artifact.inline or artifact.mode == LINK_MODE) or artifact.size_bytes > _INLINE_BYTES_MAX:
            return None
        sides.append(FileSide(f"artifacts/{row.name}", fact.mode, fact.id, _read_artifact(store, view, row.name)))
    return room.fit(patch_file(*sides)) if any(sides) else None


def _read_artifact(store: Store, view: RunView, path: str) -> bytes | None:
    artifact = view.artifacts[path]
    assert view.stored is not None
    read = store.read_link if artifact.mode == LINK_MODE else store.read_artifact
    try:
        return b"".join(read(view.stored, artifact))
    except GittrackError:
        return None
