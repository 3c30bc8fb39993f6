"""What a run's commit holds: reading its files, and building the tree of its next revision."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from gittrack.errors import DamagedError, NotFoundError
from gittrack.git.objects import (
    BLOB,
    FILE_MODE,
    GITLINK_MODE,
    LINK_MODE,
    TREE_MODE,
    ObjectId,
    ObjectSet,
    TreeEntry,
)
from gittrack.git.reading import ObjectReader
from gittrack.git.refs import read_ref
from gittrack.git.repository import Repository
from gittrack.schema.codec import (
    EXPERIMENT_FILE,
    METRICS_FILE,
    PARAMS_FILE,
    RUN_FILE,
    encode_experiment,
    encode_run,
    parse_run,
)
from gittrack.schema.names import SCHEMA_FILE, experiment_ref, metric_key, metric_path
from gittrack.schema.points import Point, parse_rows
from gittrack.schema.records import Artifact, ExperimentRecord, RunRecord
from gittrack.schema.statement import statement
from gittrack.store.artifacts import Bring, Content, format_attributes, parse_pointer, read_object

ATTRIBUTES_FILE = ".gitattributes"
REQUIREMENTS_FILE = "environment/requirements.txt"

Files = dict[str, tuple[int, ObjectId]]


@dataclass(frozen=True, slots=True)
class RunTree:
    """The tree of one committed revision; reads on demand through an open reader.

    ``bring`` fetches the objects that are not here as they are read; without it nothing is fetched.
    """

    repository: Repository
    reader: ObjectReader
    tree: ObjectId
    where: str
    bring: Bring | None = None

    def read_record(self) -> RunRecord:
        """The record of the run.

        Raises:
            DamagedError: a file of it is missing or cannot be read.
        """
        self.reader.bring(entry.id for entry in self.reader.read_tree(self.tree) if entry.mode == FILE_MODE)
        run, params, metrics = (self._read_file(name) for name in (RUN_FILE, PARAMS_FILE, METRICS_FILE))
        return parse_run(run, params, metrics, self.where)

    def list_artifacts(self) -> list[Artifact]:
        """The run's artifacts, sorted by path."""
        found, contents = [], dict[ObjectId, Content]()
        self.reader.bring(entry.id for _, entry in self._walk("artifacts"))
        for path, entry in self._walk("artifacts"):
            if entry.id not in contents:
                contents[entry.id] = self._content_of(entry.id)
            content = contents[entry.id]
            found.append(
                Artifact(
                    path=path,
                    oid=content.oid,
                    size_bytes=content.size_bytes,
                    mode=entry.mode,
                    inline=content.inline,
                )
            )
        return sorted(found, key=lambda artifact: artifact.path)

    def read_artifact(self, path: str) -> Iterator[bytes]:
        """The chunks of one artifact, checked against its hash by the end.

        Raises:
            NotFoundError: the run has none at that path. ArtifactMissingError, DamagedError: as `read_object`.
        """
        entry = self.reader.find_path(self.tree, f"artifacts/{path}")
        if entry is None or entry.mode in (TREE_MODE, LINK_MODE):
            raise NotFoundError(f"{self.where} has no artifact {path!r}", "list them: gittrack artifacts ls RUN")
        yield from self._read_blob(entry.id, path)

    def read_link(self, path: str) -> Iterator[bytes]:
        """The target of an artifact that is a symbolic link."""
        entry = self.reader.find_path(self.tree, f"artifacts/{path}")
        if entry is None or entry.mode != LINK_MODE:
            raise NotFoundError(f"{self.where} has no link {path!r}")
        yield self.reader.read_kind(entry.id, BLOB)

    def read_history(self, key: str) -> Iterator[Point]:
        """All points of one metric in the order they were logged; none where it was never logged."""
        path = metric_path(key)
        entry = self.reader.find_path(self.tree, path)
        if entry is not None:
            self._bring_histories()
            yield from parse_rows(_lines(self._read_blob(entry.id, path)), f"{self.where} {path}")

    def read_history_bytes(self, key: str) -> Iterator[bytes]:
        """The CSV of one metric as it is stored."""
        entry = self.reader.find_path(self.tree, metric_path(key))
        if entry is not None:
            self._bring_histories()
            yield from self._read_blob(entry.id, metric_path(key))

    def list_histories(self) -> list[str]:
        """The keys of all metrics that have a history."""
        return sorted(metric_key(f"metrics/{path}") for path, _ in self._walk("metrics"))

    def list_files(self) -> Files:
        """The whole tree flat, but for ``code``, which stays one entry."""
        files: Files = {}
        for entry in self.reader.read_tree(self.tree):
            name = entry.name.decode("utf-8", "surrogateescape")
            if entry.is_tree and name != "code":
                for path, inner in self.reader.walk_tree(entry.id, f"{name}/"):
                    files[path] = (inner.mode, inner.id)
            else:
                files[name] = (entry.mode, entry.id)
        return files

    def find_pointers(self, files: Files) -> dict[str, Content]:
        """Which of these files are LFS pointers, and what each points at."""
        found = {}
        self.reader.bring(object_id for mode, object_id in files.values() if mode not in (TREE_MODE, GITLINK_MODE))
        for path, (mode, object_id) in files.items():
            if path.startswith(("artifacts/", "metrics/")) and mode not in (LINK_MODE, TREE_MODE):
                pointer = parse_pointer(self.reader.read_kind(object_id, BLOB))
                if pointer is not None:
                    found[path] = pointer
        return found

    def _bring_histories(self) -> None:
        """In a partial clone, all metrics at once: whoever reads one reads the next."""
        self.reader.bring(entry.id for _, entry in self._walk("metrics"))

    def _walk(self, folder: str) -> Iterator[tuple[str, TreeEntry]]:
        entry = self.reader.find_path(self.tree, folder)
        if entry is not None and entry.is_tree:
            yield from self.reader.walk_tree(entry.id)

    def _content_of(self, object_id: ObjectId) -> Content:
        data = self.reader.read_kind(object_id, BLOB)
        pointer = parse_pointer(data)
        return pointer or Content(hashlib.sha256(data).hexdigest(), len(data), True)

    def _read_blob(self, object_id: ObjectId, path: str) -> Iterator[bytes]:
        data = self.reader.read_kind(object_id, BLOB)
        pointer = parse_pointer(data)
        if pointer is None:
            yield data
        else:
            yield from read_object(self.repository, path, pointer, self.bring)

    def _read_file(self, name: str) -> bytes:
        entry = self.reader.find_path(self.tree, name)
        if entry is None or entry.mode != FILE_MODE:
            raise DamagedError(self.where, f"its {name} is missing")
        return self.reader.read_kind(entry.id, BLOB)


def find_newest_code(repository: Repository, made_as: str) -> ObjectId | None:
    """The code tree of an experiment's newest commit, or None: a later run need not bring along what is there."""
    tip = read_ref(repository, experiment_ref(made_as))
    if tip is None:
        return None
    with ObjectReader(repository) as reader:
        entry = reader.find_path(reader.read_commit(tip).tree, "code")
        return entry.id if entry is not None and entry.is_tree else None


def record_files(run: RunRecord, objects: ObjectSet) -> Files:
    """The files that every revision writes anew: the record, and the statement of its format."""
    files: Files = {SCHEMA_FILE: (FILE_MODE, objects.add_blob(statement()))}
    for name, data in encode_run(run).items():
        files[name] = (FILE_MODE, objects.add_blob(data))
    return files


def experiment_tree(record: ExperimentRecord, objects: ObjectSet) -> ObjectId:
    """The tree of an experiment's commit."""
    return objects.add_files(
        {
            SCHEMA_FILE: (FILE_MODE, objects.add_blob(statement())),
            EXPERIMENT_FILE: (FILE_MODE, objects.add_blob(encode_experiment(record))),
        }
    )


def revised_tree(reader: ObjectReader, tree: ObjectId, run: RunRecord, objects: ObjectSet) -> ObjectId:
    """The tree of a run's next revision, which changes its record alone."""
    files = {
        entry.name.decode("utf-8", "surrogateescape"): (entry.mode if not entry.is_tree else TREE_MODE, entry.id)
        for entry in reader.read_tree(tree)
    }
    return objects.add_files(files | record_files(run, objects))


def attributes_files(pointers: set[str], objects: ObjectSet) -> Files:
    """The ``.gitattributes`` for these pointers; nothing where there are none."""
    if not pointers:
        return {}
    return {ATTRIBUTES_FILE: (FILE_MODE, objects.add_blob(format_attributes(pointers)))}


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
