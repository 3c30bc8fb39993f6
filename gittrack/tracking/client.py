"""`Client`: runs and experiments by id, with the methods of MLflow's client.

Writing to a run that is open (here or in another process) goes to its journal; writing to one that has ended
makes a revision of it, durable on return.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from gittrack.errors import InvalidValueError, NotFoundError, RunStateError
from gittrack.schema.names import check_key, check_name, check_run_id, check_text
from gittrack.schema.records import ExperimentRecord, RunRecord
from gittrack.store import experiments
from gittrack.store.live import find_live
from gittrack.store.store import Store
from gittrack.tracking import (
    artifacts,
    entities,
    experiment_search,
    session,
    settings,
    signals,
    starting,
)
from gittrack.tracking.active import ActiveRun, check_status
from gittrack.tracking.opened import opened_runs

if TYPE_CHECKING:
    from gittrack.tracking.run_lists import RunList


class Client:
    """Runs and experiments of one repository, by id.

    Args:
        tracking_uri: the repository; what the settings or the current folder lead to where it is not given.
    """

    def __init__(self, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        self._uri = tracking_uri

    @property
    def tracking_uri(self) -> str:
        return self._uri or settings.get_tracking_uri()

    # -- experiments -------------------------------------------------------------------------------------

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Mapping[str, Any] | None = None
    ) -> str:
        """Make an experiment; returns its id.

        Raises:
            InvalidValueError: the name is taken, or not taken as a name.
        """
        plain = {check_key("tag", key): session.to_tag(key, value) for key, value in (tags or {}).items()}
        return experiments.create_experiment(self._store().repository, name, plain).id

    def get_experiment(self, experiment_id: str) -> entities.Experiment:
        """The experiment with an id.

        Raises:
            NotFoundError: there is none.
        """
        return entities.to_experiment(experiments.get_experiment(self._store().repository, str(experiment_id)))

    def get_experiment_by_name(self, name: str) -> entities.Experiment | None:
        """The experiment with a name, or None."""
        found = experiments.find_experiment(self._store().repository, name=name)
        return entities.to_experiment(found) if found else None

    def search_experiments(
        self,
        view_type: int = entities.ViewType.ACTIVE_ONLY,
        max_results: int | None = None,
        filter_string: str | None = None,
        order_by: Sequence[str] | None = None,
    ) -> list[entities.Experiment]:
        """Experiments that fit: MLflow's filter of ``name``, ``creation_time`` and ``tags.<key>``, joined by AND.

        Raises:
            InvalidValueError: the filter or the order cannot be read.
        """
        records = experiments.list_experiments(self._store().repository)
        found = experiment_search.search(records, view_type, filter_string or "", order_by or ())
        return [entities.to_experiment(record) for record in found[:max_results]]

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Give an experiment another shown name.

        Raises:
            InvalidValueError: another has it. NotFoundError: no such id. RunStateError: it is deleted.
        """
        experiments.rename_experiment(self._store().repository, experiment_id, new_name)

    def delete_experiment(self, experiment_id: str) -> None:
        """Mark an experiment as deleted; its runs stay."""
        self._set_lifecycle(experiment_id, "deleted")

    def restore_experiment(self, experiment_id: str) -> None:
        """Take a deleted experiment back into use."""
        self._set_lifecycle(experiment_id, "active")

    def set_experiment_tag(self, experiment_id: str, key: str, value: Any) -> None:
        """Set a tag of an experiment."""
        text = session.to_tag(check_key("tag", key), value)
        self._edit_experiment(
            experiment_id, lambda record: replace(record, tags={**record.tags, key: text}), "tag"
        )

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Remove a tag of an experiment."""

        def change(record: ExperimentRecord) -> ExperimentRecord:
            return replace(record, tags={name: text for name, text in record.tags.items() if name != key})

        self._edit_experiment(experiment_id, change, "tag removed")

    # -- runs --------------------------------------------------------------------------------------------

    def create_run(
        self,
        experiment_id: str,
        start_time: int | None = None,
        tags: Mapping[str, Any] | None = None,
        run_name: str | None = None,
    ) -> entities.Run:
        """Begin a run without making it the current one; `set_terminated` ends it. Times in milliseconds."""
        store = self._store()
        record = starting.new_record(store, str(experiment_id), run_name, tags)
        parent = (tags or {}).get("mlflow.parentRunId")
        record = replace(
            record,
            started_at=record.started_at if start_time is None else int(session.to_timestamp(start_time)),
            parent=check_run_id(parent) if parent else None,
        )
        with starting.read_provenance() as reading:
            begun = session.begin(store, record, sync=settings.wants_sync())
            begun.log_provenance(reading.finish_or_warn())
        begun.share()
        run = opened_runs.add(ActiveRun(begun))
        if tags:
            run.set_tags({key: value for key, value in tags.items() if key not in starting.HEAD_TAGS})
        signals.watch(opened_runs.list_own)
        return entities.Run(run.record)

    def get_run(self, run_id: str) -> entities.Run:
        """The run with an id, as it stands.

        Raises:
            NotFoundError: there is none.
        """
        return entities.Run(self._store().get_run(run_id).record)

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        run_view_type: int = entities.ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> RunList:
        """A page of the runs of some experiments that fit a filter; its ``token`` asks for the next one.

        Raises:
            InvalidQueryError: the filter or the order cannot be read; it shows where.
            InvalidValueError: there is no such view, the token is none, or ``max_results`` is over 50,000.
        """
        from gittrack.tracking import run_search  # with SQLite, which a script that only logs does without

        question = run_search.make_question(experiment_ids, filter_string, run_view_type, order_by)
        return run_search.search_page(self._store().repository, question, max_results, page_token)

    def get_parent_run(self, run_id: str) -> entities.Run | None:
        """The run that a run is nested in, or None."""
        parent = self.get_run(run_id).record.parent
        return self.get_run(parent) if parent else None

    def set_terminated(self, run_id: str, status: str | None = None, end_time: int | None = None) -> None:
        """End a run; ``status`` is FINISHED where none is given, ``end_time`` is in milliseconds.

        Raises:
            NotFoundError: there is none. InvalidValueError: no such status.
        """
        checked = check_status(status or "FINISHED")
        store = self._store()
        run = opened_runs.find(store, check_run_id(run_id))
        if run is not None:
            run.end(checked, end_time=end_time)
        elif find_live(store.repository, check_run_id(run_id)) is not None:
            self.write(run_id, lambda other: other._session.journal.append_event("set", {"status": checked}))
        else:
            ended_at = {} if end_time is None else {"ended_at": int(session.to_timestamp(end_time))}
            changed = {"status": checked, **ended_at}
            store.edit_run(run_id, lambda record: replace(record, **changed), f"status {checked}")  # type: ignore[arg-type]

    def update_run(self, run_id: str, status: str | None = None, name: str | None = None) -> None:
        """Give a run another status or name."""
        if name is not None:
            checked = check_name("run", name)
            self._edit(run_id, {"name": checked}, f"renamed {checked}")
        if status is not None:
            self._edit(run_id, {"status": check_status(status)}, f"status {status}")

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted; it can be restored.

        Raises:
            NotFoundError: there is none. RunStateError: it is running.
        """
        self._store().edit_run(run_id, lambda record: replace(record, lifecycle="deleted"), "deleted")

    def restore_run(self, run_id: str) -> None:
        """Take a deleted run back into use."""
        self._store().edit_run(run_id, lambda record: replace(record, lifecycle="active"), "restored")

    # -- logging -----------------------------------------------------------------------------------------

    def log_metric(
        self,
        run_id: str,
        key: str,
        value: float,
        timestamp: int | None = None,
        step: int | None = None,
        synchronous: bool | None = None,
        dataset_name: str | None = None,
        dataset_digest: str | None = None,
        model_id: str | None = None,
    ) -> None:
        """Log one value of a metric; ``timestamp`` is in milliseconds."""
        self.write(run_id, lambda run: run.log_metric(key, value, step, timestamp=timestamp))

    def log_param(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> Any:
        """Log a param; returns the value.

        Raises:
            ParamConflictError: it stands with another value already.
        """
        self.write(run_id, lambda run: run.log_param(key, value))
        return value

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Any] = (),
        params: Sequence[Any] = (),
        tags: Sequence[Any] = (),
        synchronous: bool | None = None,
    ) -> None:
        """Log `Metric`, `Param` and `RunTag` entities at once."""

        def write(run: ActiveRun) -> None:
            run.log_params({param.key: param.value for param in params})
            run.set_tags({tag.key: tag.value for tag in tags})
            for metric in metrics:
                run.log_metric(metric.key, metric.value, metric.step, timestamp=metric.timestamp)

        self.write(run_id, write)

    def set_tag(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> None:
        """Set a tag of a run."""
        self.edit_tags(run_id, {key: value})

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag of a run.

        Raises:
            NotFoundError: it has no such tag.
        """
        self.edit_tags(run_id, {}, [key])

    def edit_tags(self, run_id: str, tags: Mapping[str, Any], removed: Sequence[str] = ()) -> None:
        """Set and remove several tags of a run by one revision.

        Raises:
            NotFoundError: it has none of a removed key. InvalidValueError: a key or a value is not taken.
        """
        texts = {check_key("tag", key): session.to_tag(key, value) for key, value in tags.items()}
        if self._is_open(run_id):
            self.write(run_id, lambda run: _edit_open_tags(run, texts, removed))
            return
        told = session.take_told(texts)

        def change(record: RunRecord) -> RunRecord:
            _refuse_deleted(record)
            kept = {**record.tags, **texts}
            for key in removed:
                if kept.pop(key, None) is None:
                    raise NotFoundError(f"run {run_id} has no tag {key!r}")
            return replace(record, tags=kept, **told)  # type: ignore[arg-type]

        self._store().edit_run(run_id, change, f"tags {', '.join([*tags, *removed])}")

    def set_note(self, run_id: str, text: str) -> None:
        """Set a run's description, Markdown."""
        self._edit(run_id, {"note": check_text("note", text)}, "note")

    def log_artifact(
        self, run_id: str, local_path: str | os.PathLike[str], artifact_path: str | None = None
    ) -> None:
        """Keep a file as an artifact of a run."""
        self.write(run_id, lambda run: run.log_artifact(local_path, artifact_path))

    def log_artifacts(
        self, run_id: str, local_dir: str | os.PathLike[str], artifact_path: str | None = None
    ) -> None:
        """Keep all files below a folder as artifacts of a run."""
        self.write(run_id, lambda run: run.log_artifacts(local_dir, artifact_path))

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Keep text as an artifact of a run."""
        self.write(run_id, lambda run: run.log_text(text, artifact_file))

    def log_dict(self, run_id: str, dictionary: Any, artifact_file: str) -> None:
        """Keep a dict as an artifact of a run."""
        self.write(run_id, lambda run: run.log_dict(dictionary, artifact_file))

    def log_figure(
        self, run_id: str, figure: Any, artifact_file: str, *, save_kwargs: dict[str, Any] | None = None
    ) -> None:
        """Keep a figure as an artifact of a run."""
        self.write(run_id, lambda run: run.log_figure(figure, artifact_file, save_kwargs=save_kwargs))

    def log_image(
        self,
        run_id: str,
        image: Any,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        timestamp: int | None = None,
        synchronous: bool | None = None,
    ) -> None:
        """Keep an image as an artifact of a run."""
        self.write(run_id, lambda run: run.log_image(image, artifact_file, key, step, timestamp))

    def log_table(self, run_id: str, data: Any, artifact_file: str) -> None:
        """Keep a table as an artifact of a run, or add rows to it."""
        self.write(run_id, lambda run: run.log_table(data, artifact_file))

    def log_stream(self, run_id: str, stream: IO[bytes], artifact_file: str) -> None:
        """Keep what a binary stream gives, as an artifact of a run."""
        self.write(run_id, lambda run: run.log_stream(stream, artifact_file))

    def log_inputs(
        self, run_id: str, datasets: Sequence[Any] | None = None, models: Sequence[Any] | None = None
    ) -> None:
        """Note datasets that a run read: `DatasetInput` entities, or what `log_input` takes."""

        def write(run: ActiveRun) -> None:
            for found in datasets or ():
                tags = {tag.key: tag.value for tag in getattr(found, "tags", None) or ()}
                context = tags.pop("mlflow.data.context", None)
                run.log_input(getattr(found, "dataset", found), context, tags)

        self.write(run_id, write)

    # -- reading -----------------------------------------------------------------------------------------

    def get_metric_history(self, run_id: str, key: str) -> list[entities.Metric]:
        """All values of a metric in the order they were logged; empty where it was never logged.

        Raises:
            NotFoundError: there is no such run.
        """
        store = self._store()
        points = store.read_history(store.get_run(run_id), key)
        return [entities.Metric(key, point.value, point.timestamp, point.step, run_id) for point in points]

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[entities.FileInfo]:
        """The files and folders among a run's artifacts, those right below ``path``; sorted by path."""
        store = self._store()
        return artifacts.list_files(store, store.get_run(run_id), path)

    def download_artifacts(self, run_id: str, path: str, dst_path: str | None = None) -> str:
        """Write an artifact, or a folder of them, to a local folder; returns its path there.

        Raises:
            NotFoundError: there is none. ArtifactMissingError, DamagedError: as when reading.
        """
        return artifacts.download_artifacts(
            artifact_uri=entities.artifact_uri(run_id, path or None), dst_path=dst_path, tracking_uri=self._uri
        )

    def load_table(self, run_id: str, artifact_file: str) -> Any:
        """A table that was logged to a run, as a DataFrame."""
        from gittrack.tracking.tables import read_table

        store = self._store()
        stored = store.get_run(run_id)
        for artifact in store.list_artifacts(stored):
            if artifact.path == posixpath.normpath(artifact_file):
                return read_table(b"".join(store.read_artifact(stored, artifact)), artifact_file)
        raise NotFoundError(f"run {run_id} has no table {artifact_file!r}")

    # -- inside ------------------------------------------------------------------------------------------

    def write(self, run_id: str, write: Callable[[ActiveRun], Any]) -> None:
        """Write to a run: into its journal while it is open anywhere, else as one revision of it.

        Raises:
            NotFoundError: there is none. RunStateError: it is deleted.
        """
        store = self._store()
        wanted = check_run_id(run_id)
        run = opened_runs.find(store, wanted)
        if run is None:
            sync = settings.wants_sync()
            run = ActiveRun(session.resume(store, wanted, role=session.Role.EDITOR, sync=sync))
            run._session.share()
            run.is_by_id = True
            if run._session.role is session.Role.GUEST:
                opened_runs.add(run)  # the next call by id finds it open
                signals.watch(opened_runs.list_own)
        try:
            write(run)
        finally:
            if run._session.role is session.Role.EDITOR:
                run._session.finish()
            elif run.is_by_id:
                run._session.leave_if_alone()

    def _store(self) -> Store:
        return settings.open_store(self._uri)

    def _is_open(self, run_id: str) -> bool:
        store = self._store()
        wanted = check_run_id(run_id)
        return opened_runs.find(store, wanted) is not None or find_live(store.repository, wanted) is not None

    def _edit(self, run_id: str, changes: dict[str, Any], what: str) -> None:
        if self._is_open(run_id):
            self.write(run_id, lambda run: run._session.journal.append_event("set", changes))
        else:

            def change(record: RunRecord) -> RunRecord:
                _refuse_deleted(record)
                return replace(record, **changes)

            self._store().edit_run(run_id, change, what)

    def _set_lifecycle(self, experiment_id: str, lifecycle: Any) -> None:
        def change(record: ExperimentRecord) -> ExperimentRecord:
            if record.lifecycle == lifecycle:
                raise RunStateError(f"experiment {record.name!r} is {lifecycle} already")
            return replace(record, lifecycle=lifecycle)

        self._edit_experiment(experiment_id, change, lifecycle)

    def _edit_experiment(
        self, experiment_id: str, change: Callable[[ExperimentRecord], ExperimentRecord], what: str
    ) -> None:
        if not isinstance(experiment_id, str):
            raise InvalidValueError(f"an experiment id is text, not {experiment_id!r}")
        experiments.edit_experiment(self._store().repository, experiment_id, change, what)


def _refuse_deleted(record: RunRecord) -> None:
    if record.lifecycle == "deleted":
        raise RunStateError(f"run {record.id} is deleted", f"restore it first: gittrack restore {record.id[:8]}")


MlflowClient = Client


def _edit_open_tags(run: ActiveRun, tags: Mapping[str, Any], removed: Sequence[str]) -> None:
    for key in removed:
        run.delete_tag(key)
    if tags:
        run.set_tags(tags)
