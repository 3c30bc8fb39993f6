"""`ActiveRun`: everything that can be logged to one run, under MLflow's names; a context manager.

The module-level calls and the client do what they do through one of these.
"""

from __future__ import annotations

import os
import posixpath
import time
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import IO, Any

from gittrack.errors import ArtifactError, InvalidValueError, NotFoundError
from gittrack.schema.names import check_key, check_name, check_text, clean_text
from gittrack.schema.records import RunRecord, Status
from gittrack.tracking import entities, folders
from gittrack.tracking.session import RunSession, to_timestamp


class ActiveRun(entities.Run):
    """A run that is open in this process; ``with`` ends it, as FAILED when an exception comes through."""

    def __init__(self, session: RunSession) -> None:
        super().__init__(session.record)
        self._session = session
        self._on_end: list[Any] = []
        #: Whether only calls by its id have opened it: then nobody holds it, and it may be left between two.
        self.is_by_id = False
        #: The signal that came while it was open, '' where none did.
        self.signal_name = ""
        self.leave_stack: Callable[[ActiveRun, Status, str], None] | None = None
        #: Log metric values in one record: ``run.log({"loss": 0.5, "acc": 0.9}, step=1)``. The shortest call
        #: and the fastest: no system call, safe from kill -9 on return. Without a step, those of the same keys
        #: count up from 0.
        self.log = session.journal.append

    @property
    def record(self) -> RunRecord:
        """The run as it stands now, journal included."""
        return self._session.store.get_run(self._session.run_id).record

    @property
    def info(self) -> entities.RunInfo:
        """Who and when; while the run is open, without reading anything."""
        return entities.run_info(self._session.record if self._session.is_open else self.record)

    @property
    def is_open(self) -> bool:
        """Whether this process may still log to it."""
        return self._session.is_open

    # -- metrics and params ------------------------------------------------------------------------------

    def log_metric(
        self,
        key: str,
        value: float,
        step: int | None = None,
        synchronous: bool | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Log one value of a metric; ``step`` is 0 where none is given, ``timestamp`` is in milliseconds.

        Raises:
            InvalidValueError: the key is not taken, or the value is no number.
        """
        self.log_metrics({key: value}, step, synchronous, timestamp)

    def log_metrics(
        self,
        metrics: Mapping[str, float],
        step: int | None = None,
        synchronous: bool | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Log values of several metrics at one step, as `log_metric`."""
        if timestamp is None:
            self.log(metrics, 0 if step is None else step)
        else:
            self._session.journal.append_points(
                metrics, 0 if step is None else step, to_timestamp(timestamp) / 1000
            )

    def log_param(self, key: str, value: Any, synchronous: bool | None = None) -> Any:
        """Log a param, with its type; returns the value.

        Raises:
            InvalidValueError: the key is not taken. ParamConflictError: it stands with another value already.
        """
        self._session.log_params({key: value})
        return value

    def log_params(self, params: Mapping[str, Any], synchronous: bool | None = None) -> None:
        """Log several params: all of them, or on an error none."""
        self._session.log_params(params)

    # -- tags --------------------------------------------------------------------------------------------

    def set_tag(self, key: str, value: Any, synchronous: bool | None = None) -> None:
        """Set a tag; a tag can be set again."""
        self._session.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any], synchronous: bool | None = None) -> None:
        """Set several tags."""
        self._session.set_tags(tags)

    def delete_tag(self, key: str) -> None:
        """Remove a tag.

        Raises:
            NotFoundError: the run has no such tag.
        """
        if check_key("tag", key) not in self.record.tags:
            raise NotFoundError(f"run {self._session.run_id} has no tag {key!r}")
        self._session.delete_tag(key)

    def set_note(self, text: str) -> None:
        """Set the run's description, Markdown."""
        self._session.journal.append_event("set", {"note": check_text("note", text)})

    def rename(self, name: str) -> None:
        """Give the run another name."""
        self._session.journal.append_event("set", {"name": check_name("run", name)})

    # -- artifacts ---------------------------------------------------------------------------------------

    def log_artifact(self, local_path: str | os.PathLike[str], artifact_path: str | None = None) -> None:
        """Keep a file (or a folder) as an artifact, in the folder ``artifact_path`` of the run's artifacts.

        Raises:
            ArtifactError: there is no such file, it cannot be read, or it changes while it is read.
        """
        source = os.fspath(local_path)
        if os.path.isdir(source):
            folder = posixpath.join(artifact_path or "", os.path.basename(os.path.abspath(source)))
            self.log_artifacts(source, folder)
            return
        if not os.path.exists(source):
            raise ArtifactError(f"no file at {source!r}")
        self._session.log_file(source, posixpath.join(artifact_path or "", os.path.basename(source)))

    def log_artifacts(self, local_dir: str | os.PathLike[str], artifact_path: str | None = None) -> None:
        """Keep all files below a folder as artifacts.

        Symbolic links are kept as links where they stay inside the folder; links that leave it, and pipes, sockets
        and devices, are left out with a warning: nothing is followed out.

        Raises:
            ArtifactError: there is no such folder, or a file in it cannot be read or changes while it is read.
        """
        source = os.fspath(local_dir)
        if not os.path.isdir(source):
            raise ArtifactError(f"no folder at {source!r}")
        for found in folders.walk_folder(source):
            path = posixpath.join(artifact_path or "", found.path)
            if found.link is not None:
                self._session.log_link(found.link, path)
            else:
                self._session.log_file(found.source, path)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Keep text as an artifact."""
        from gittrack.tracking.rendering import render_text

        self._session.log_bytes(render_text(text), artifact_file)

    def log_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Keep a dict as an artifact: YAML where the file's name ends so, else JSON."""
        from gittrack.tracking.rendering import render_dict

        self._session.log_bytes(render_dict(dictionary, artifact_file), artifact_file)

    def log_figure(self, figure: Any, artifact_file: str, *, save_kwargs: dict[str, Any] | None = None) -> None:
        """Keep a matplotlib or plotly figure, in the format that the file's name says.

        Raises:
            InvalidValueError: it is no figure. MissingToolError: the format needs a package that is not there.
        """
        from gittrack.tracking.rendering import render_figure

        self._session.log_bytes(render_figure(figure, artifact_file, save_kwargs), artifact_file)

    def log_image(
        self,
        image: Any,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        timestamp: int | None = None,
        synchronous: bool | None = False,
    ) -> None:
        """Keep an image: a PIL image or an array of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

        Either under the name ``artifact_file``, or as one of a series by ``key`` and ``step``.

        Raises:
            InvalidValueError: it is no image, or not exactly one of ``artifact_file`` and ``key`` is given.
        """
        from gittrack.tracking.rendering import image_path, render_image

        if (artifact_file is None) == (key is None):
            raise InvalidValueError("give either artifact_file or key")
        moment = int(time.time() * 1000) if timestamp is None else timestamp
        path = artifact_file if artifact_file is not None else image_path(key or "", step or 0, moment)
        self._session.log_bytes(render_image(image, path), path)

    def log_table(self, data: Any, artifact_file: str) -> None:
        """Keep a table, a dict of columns or a DataFrame; rows are added to those logged under that name before.

        Raises:
            InvalidValueError: it is no table.
        """
        from gittrack.tracking.tables import render_table

        self._session.log_bytes(render_table(data, artifact_file, self._read(artifact_file)), artifact_file)

    def log_stream(self, stream: IO[bytes], artifact_file: str) -> None:
        """Keep what a binary stream gives, as an artifact."""
        self._session.log_chunks(iter(lambda: stream.read(1 << 20), b""), artifact_file)

    def log_input(
        self,
        dataset: Any = None,
        context: str | None = None,
        tags: Mapping[str, str] | None = None,
        model: Any = None,
    ) -> None:
        """Note a dataset that the run reads: its name, source, digest, schema and row count, not its content.

        Args:
            dataset: what `gittrack.data` makes, a DataFrame, an array, or a file's path.
            context: what it is used for, such as ``training``.

        Raises:
            InvalidValueError: it is no dataset.
        """
        if dataset is None:
            return
        from gittrack.tracking.datasets import describe

        found = describe(dataset)
        names = ("name", "digest", "source", "source_type", "schema", "profile", "rows")
        fields = {name: getattr(found, name) for name in names}
        self._session.log_dataset({**fields, "context": context or "", "tags": dict(tags or {})})

    def get_artifact_uri(self, artifact_path: str | None = None) -> str:
        """The URI of the run's artifacts, or of one of them."""
        return entities.artifact_uri(self._session.run_id, artifact_path)

    # -- ending ------------------------------------------------------------------------------------------

    def end(self, status: str = "FINISHED", *, error: str = "", end_time: int | None = None) -> bool:
        """End the run; True when it is durable in its branch. ``end_time`` is in milliseconds.

        Raises:
            InvalidValueError: there is no such status, or no such time.
        """
        checked = check_status(status)
        moment = None if end_time is None else int(to_timestamp(end_time))
        while self._on_end:
            self._on_end.pop()()
        return self._session.finish(checked, error=error, ended_at=moment)

    def __enter__(self) -> ActiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status, text = status_of(kind, error, trace)
        if self.leave_stack is not None:
            self.leave_stack(self, status, text)
        else:
            self.end(status, error=text)

    def _read(self, path: str) -> bytes | None:
        """The bytes of an artifact that was logged already, or None."""
        if self._session.is_ours_alone:  # asking the store would read the whole journal
            return self._session.read_staged(path)
        store = self._session.store
        stored = store.get_run(self._session.run_id)
        for artifact in store.list_artifacts(stored):
            if artifact.path == path:
                return b"".join(store.read_artifact(stored, artifact))
        return None


def check_status(status: object) -> Status:
    """A status that a run can end with, as text; MLflow's numbers are taken too.

    Raises:
        InvalidValueError: there is no such status.
    """
    text = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}.get(status, status)  # type: ignore[call-overload]
    if text not in ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"):
        raise InvalidValueError(f"no status {status!r}", "it is FINISHED, FAILED or KILLED")
    return text  # type: ignore[no-any-return]


def status_of(
    kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> tuple[Status, str]:
    """How a run ends that an exception came through, and what is kept of it: its traceback."""
    if kind is None or (kind is SystemExit and getattr(error, "code", None) in (None, 0)):
        return "FINISHED", ""
    text = "".join(traceback.format_exception(kind, error, trace))
    status: Status = "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
    return status, clean_text(text[-20_000:])
