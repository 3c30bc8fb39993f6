"""The module-level calls: the current run, and everything that is logged to it.

A run that is started in a thread is that thread's own; a thread without one logs to the main thread's. Logging
without a run starts one, which ends with the process.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from gittrack.errors import InvalidValueError, RepositoryError, RunStateError
from gittrack.schema.names import RunId, check_run_id, check_text
from gittrack.schema.records import Status
from gittrack.sharing.wishes import parse_interval
from gittrack.store.store import Store
from gittrack.tracking import by_id, entities, session, settings, signals, starting
from gittrack.tracking.active import ActiveRun, check_status
from gittrack.tracking.client import Client
from gittrack.tracking.opened import opened_runs

if TYPE_CHECKING:
    from gittrack.tracking.monitor import SystemMonitor

_PARENT_TAG = "mlflow.parentRunId"
_log = logging.getLogger("gittrack")


class _Stack(threading.local):
    """The runs that this thread has begun, the innermost last."""

    def __init__(self) -> None:
        self.runs: list[ActiveRun] = []


class _State:
    """What the process knows beyond its threads."""

    main_runs: list[ActiveRun]
    last: str | None = None
    adopted: set[str]
    system_metrics = False
    interval_s = 10.0
    samples = 1
    recovered: set[str]
    in_threads: list[ActiveRun]  # begun by other threads than the main one


_stack = _Stack()
_State.main_runs = _stack.runs if threading.current_thread() is threading.main_thread() else []
_State.adopted, _State.recovered, _State.in_threads = set(), set(), []


def start_run(
    run_id: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    log_system_metrics: bool | None = None,
    *,
    live: str | float | None = None,
) -> ActiveRun:
    """Start a run, or go on with one by ``run_id``; use it with ``with``, or end it with `end_run`.

    A run that another process has open is joined: both log to it, and the other one ends it.

    Args:
        nested: allow it inside the current run, which becomes its parent.
        log_system_metrics: sample CPU, memory, disk, network and GPU meanwhile (`gittrack[system]`).
        live: show it to others while it runs, by a checkpoint at the remote so often (``"60s"``, ``"5m"``, or
            seconds), and push it when it has ended; a process of its own does both. None: as
            ``git config gittrack.live`` says.

    Raises:
        RunStateError: a run is active and ``nested`` is not given, or the run or experiment is deleted.
        NotFoundError: there is no such run or experiment. InvalidValueError: a name or tag is not taken,
            or ``live`` is no interval.
    """
    parse_interval(live)
    runs = _own_runs()
    if runs and not nested:
        raise RunStateError(
            f"run {runs[-1].info.run_id} is active already",
            "end it first with end_run(), or start this one inside it with start_run(nested=True)",
        )
    if parent_run_id is not None:
        check_run_id(parent_run_id)
    if _wants_system(log_system_metrics):
        _new_monitor(lambda values, step: None, 0)  # what it lacks is said before anything has begun
    store = settings.open_store()
    _recover_once(store)
    wanted = check_run_id(run_id) if run_id is not None else _adopt(runs)
    if wanted is not None:
        run = opened_runs.find(store, wanted) or _resume(store, wanted, live)
        run.is_by_id = False
        if tags:
            run.set_tags(tags)
    else:
        named = (tags or {}).get(_PARENT_TAG)
        parent = parent_run_id or (check_run_id(named) if named else None)
        parent = parent or (runs[-1].info.run_id if runs else None)
        run = _begin(store, experiment_id, run_name, parent, tags, description, live)
    runs.append(run)
    run.leave_stack = end_one
    _State.last = run.info.run_id
    if threading.current_thread() is threading.main_thread():
        _State.main_runs = runs  # another thread may have been the first to import this module
    else:
        _State.in_threads.append(run)
    if _wants_system(log_system_metrics):
        _watch_system(run)
    signals.watch(opened_runs.list_own)
    _choose_append()
    return run


def end_run(status: str = "FINISHED") -> None:
    """End the current run of this thread and commit it; nothing happens where there is none.

    Raises:
        InvalidValueError: there is no such status.
    """
    checked = check_status(status)
    runs = _own_runs()
    if runs:
        end_one(runs[-1], checked, "")


def end_one(run: ActiveRun, status: Status, error: str) -> None:
    """End one run, and those of this thread that were begun inside it and are still open."""
    runs = _stack.runs
    if run in runs:
        while runs[-1] is not run:
            runs.pop().end(status, error=error)
        runs.pop()
    _choose_append()  # so that no other thread logs to it while it ends
    run.end(status, error=error)
    _choose_append()


def active_run() -> ActiveRun | None:
    """The run that a call in this thread would log to, or None."""
    runs = _stack.runs or _State.main_runs
    while runs and not runs[-1].is_open:
        runs.pop()  # ended by another thread or a signal
    return runs[-1] if runs else None


def last_active_run() -> entities.Run | None:
    """The run that is active, or else the one that was last in this process, as it stands now."""
    run = active_run()
    if run is not None or _State.last is None:
        return run
    return by_id.get_run(_State.last)


def log(metrics: Mapping[str, Any], step: int | None = None) -> None:
    """Log metric values in one record: ``gittrack.log({"loss": 0.5, "acc": 0.9}, step=1)``.

    The shortest call and the fastest. Takes numbers, NumPy and torch scalars. Safe from ``kill -9`` on return.
    Without ``step``, the steps of the same keys count up from 0.

    Raises:
        InvalidValueError: a key is not taken, or a value is no number; then nothing of the call was logged.
    """
    try:
        _append(metrics, step)
    except RunStateError:  # it was ended by its id, or by another thread
        _choose_append()
        _append_to_current(metrics, step)


def log_metric(
    key: str,
    value: float,
    step: int | None = None,
    synchronous: bool | None = None,
    timestamp: int | None = None,
    run_id: str | None = None,
    model_id: str | None = None,
    dataset: Any = None,
) -> None:
    """Log one value of a metric; ``step`` is 0 where none is given, ``timestamp`` is in milliseconds.

    Raises:
        InvalidValueError: the key is not taken, or the value is no number.
    """
    if timestamp is None and run_id is None:
        log({key: value}, 0 if step is None else step)
    else:
        log_metrics({key: value}, step, synchronous, run_id, timestamp)


def log_metrics(
    metrics: Mapping[str, float],
    step: int | None = None,
    synchronous: bool | None = None,
    run_id: str | None = None,
    timestamp: int | None = None,
    model_id: str | None = None,
    dataset: Any = None,
) -> None:
    """Log values of several metrics at one step, as `log_metric`."""
    _on(run_id, lambda run: run.log_metrics(metrics, step, synchronous, timestamp))


def log_param(key: str, value: Any, synchronous: bool | None = None) -> Any:
    """Log a param, with its type; returns the value.

    Raises:
        InvalidValueError: the key is not taken. ParamConflictError: it stands with another value already.
    """
    return current_run().log_param(key, value)


def log_params(params: Mapping[str, Any], synchronous: bool | None = None, run_id: str | None = None) -> None:
    """Log several params: all of them, or on an error none."""
    _on(run_id, lambda run: run.log_params(params))


def set_tag(key: str, value: Any, synchronous: bool | None = None) -> None:
    """Set a tag of the run."""
    current_run().set_tag(key, value)


def set_tags(tags: Mapping[str, Any], synchronous: bool | None = None) -> None:
    """Set several tags of the run."""
    current_run().set_tags(tags)


def delete_tag(key: str) -> None:
    """Remove a tag of the run.

    Raises:
        NotFoundError: it has no such tag.
    """
    current_run().delete_tag(key)


def log_artifact(
    local_path: str | os.PathLike[str], artifact_path: str | None = None, run_id: str | None = None
) -> None:
    """Keep a file as an artifact; see `ActiveRun.log_artifact`."""
    _on(run_id, lambda run: run.log_artifact(local_path, artifact_path))


def log_artifacts(
    local_dir: str | os.PathLike[str], artifact_path: str | None = None, run_id: str | None = None
) -> None:
    """Keep all files below a folder as artifacts; see `ActiveRun.log_artifacts`."""
    _on(run_id, lambda run: run.log_artifacts(local_dir, artifact_path))


def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    """Keep text as an artifact."""
    _on(run_id, lambda run: run.log_text(text, artifact_file))


def log_dict(dictionary: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Keep a dict as an artifact: YAML where the file's name ends so, else JSON."""
    _on(run_id, lambda run: run.log_dict(dictionary, artifact_file))


def log_figure(figure: Any, artifact_file: str, *, save_kwargs: dict[str, Any] | None = None) -> None:
    """Keep a matplotlib or plotly figure; see `ActiveRun.log_figure`."""
    current_run().log_figure(figure, artifact_file, save_kwargs=save_kwargs)


def log_image(
    image: Any,
    artifact_file: str | None = None,
    key: str | None = None,
    step: int | None = None,
    timestamp: int | None = None,
    synchronous: bool | None = False,
) -> None:
    """Keep an image, a PIL image or an array; see `ActiveRun.log_image`."""
    current_run().log_image(image, artifact_file, key, step, timestamp)


def log_table(data: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Keep a table, or add rows to it; see `ActiveRun.log_table`."""
    _on(run_id, lambda run: run.log_table(data, artifact_file))


def log_stream(stream: IO[bytes], artifact_file: str, run_id: str | None = None) -> None:
    """Keep what a binary stream gives, as an artifact."""
    _on(run_id, lambda run: run.log_stream(stream, artifact_file))


def log_input(
    dataset: Any = None, context: str | None = None, tags: Mapping[str, str] | None = None, model: Any = None
) -> None:
    """Note a dataset that the run reads; see `ActiveRun.log_input`."""
    current_run().log_input(dataset, context, tags)


def log_inputs(
    datasets: list[Any] | None = None,
    contexts: list[str | None] | None = None,
    tags_list: list[dict[str, str] | None] | None = None,
    models: list[Any] | None = None,
) -> None:
    """Note several datasets, each with its context and tags; lists of one length.

    Raises:
        InvalidValueError: the lists differ in length.
    """
    found = datasets or []
    contexts, tags_list = contexts or [None] * len(found), tags_list or [None] * len(found)
    if not len(found) == len(contexts) == len(tags_list):
        raise InvalidValueError("datasets, contexts and tags_list differ in length")
    for dataset, context, tags in zip(found, contexts, tags_list, strict=True):
        log_input(dataset, context, tags)


def get_artifact_uri(artifact_path: str | None = None) -> str:
    """The URI of the run's artifacts, or of one of them."""
    return current_run().get_artifact_uri(artifact_path)


def enable_system_metrics_logging() -> None:
    """Sample system metrics in every run from now on."""
    _State.system_metrics = True


def disable_system_metrics_logging() -> None:
    """Sample system metrics only where `start_run` says so."""
    _State.system_metrics = False


def set_system_metrics_sampling_interval(interval: float | None) -> None:
    """Seconds between two samples; None for 10."""
    _State.interval_s = 10.0 if interval is None else float(interval)


def set_system_metrics_samples_before_logging(samples: int | None) -> None:
    """How many samples one logged value is the mean of; None for 1."""
    _State.samples = 1 if samples is None else int(samples)


def flush_async_logging() -> None:
    """Nothing is ever pending: every call is safe when it returns. For scripts that call it."""


# -- inside --------------------------------------------------------------------------------------------------


def current_run() -> ActiveRun:
    """The run to log to; starts one where there is none."""
    return active_run() or start_run()


def _own_runs() -> list[ActiveRun]:
    """This thread's runs, without those that others have ended."""
    runs = _stack.runs
    while runs and not runs[-1].is_open:
        runs.pop()
    return runs


def _on(run_id: str | None, write: Callable[[ActiveRun], Any]) -> None:
    if run_id is None:
        write(current_run())
    else:
        Client().write(run_id, write)


def _append_to_current(metrics: Mapping[str, Any], step: int | None) -> None:
    current_run().log(metrics, step)


_append: Callable[[Mapping[str, Any], int | None], None] = _append_to_current


def _choose_append() -> None:
    """Point the hot path straight at the journal while there is but one run that a call could mean."""
    global _append
    main = _State.main_runs
    _State.in_threads = [run for run in _State.in_threads if run.is_open]
    is_plain = main and main[-1].is_open and not _State.in_threads
    _append = main[-1].log if is_plain else _append_to_current


def _begin(
    store: Store,
    experiment_id: str | None,
    run_name: str | None,
    parent: str | None,
    tags: Mapping[str, Any] | None,
    description: str | None,
    live: str | float | None,
) -> ActiveRun:
    note = check_text("description", description) if description else ""
    with starting.read_provenance() as reading:
        record = starting.new_record(store, experiment_id, run_name, tags)
        record = replace(record, parent=parent, note=note or record.note)
        begun = session.begin(store, record, sync=settings.wants_sync())
        begun.log_provenance(reading.finish_or_warn())
    begun.share(live)
    run = opened_runs.add(ActiveRun(begun))
    if tags:
        run.set_tags({key: value for key, value in tags.items() if key not in starting.HEAD_TAGS})
    return run


def _resume(store: Store, run_id: RunId, live: str | float | None) -> ActiveRun:
    resumed = session.resume(store, run_id, sync=settings.wants_sync())
    resumed.share(live)
    return opened_runs.add(ActiveRun(resumed))


def _adopt(runs: list[ActiveRun]) -> RunId | None:
    """The run that the environment names, the first time that this process starts one."""
    wanted = settings.adopted_run_id()
    if wanted is None or runs or wanted in _State.adopted:
        return None
    _State.adopted.add(wanted)
    return check_run_id(wanted)


def _recover_once(store: Store) -> None:
    """Commit what dead processes left, once a process: a run's start is a gittrack command too."""
    place = store.repository.common_dir
    if place not in _State.recovered:
        _State.recovered.add(place)
        try:
            store.recover()
        except RepositoryError as error:  # no reason not to train: the new run then waits in the spool
            _log.warning("gittrack recovers no runs: %s", error.message)


def _wants_system(wanted: bool | None) -> bool:
    return _State.system_metrics if wanted is None else wanted


def _watch_system(run: ActiveRun) -> None:
    before = [found.last_step for key, found in run.record.metrics.items() if key.startswith("system/")]
    monitor = _new_monitor(run.log, max(before, default=-1) + 1)
    monitor.start()
    run._on_end.append(monitor.stop)


def _new_monitor(log_values: Callable[[dict[str, float], int], None], first_step: int) -> SystemMonitor:
    from gittrack.tracking.monitor import SystemMonitor

    return SystemMonitor(
        log_values,
        interval_s=_State.interval_s,
        samples_before_logging=_State.samples,
        first_step=first_step,
    )
