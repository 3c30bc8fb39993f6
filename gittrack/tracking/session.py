"""A run that this process writes to: its journal, what it knows of its params, and how it ends.

Caller mistakes raise at once; a failing disk never does: it warns, keeps what it can, and training goes on.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from gittrack.errors import GittrackError, InvalidValueError, ParamConflictError, RunStateError
from gittrack.git.carrying import carry_tree
from gittrack.git.objects import LINK_MODE, ObjectId
from gittrack.git.repository import Repository
from gittrack.schema.names import RunId, check_artifact_path, check_key, check_name, check_text
from gittrack.schema.records import Artifact, RunRecord, Scalar, Status, is_same_value
from gittrack.schema.values import check_time, shown
from gittrack.sharing.wishes import has_remote, parse_interval, read_wishes
from gittrack.store.artifacts import Content, stage_chunks, stage_file
from gittrack.store.folding import commit_live
from gittrack.store.journal import Journal
from gittrack.store.live import LiveRun, create_live, create_spooled, describe_writer, find_live, is_writer_alive
from gittrack.store.shared_journal import SharedJournal
from gittrack.store.store import Store
from gittrack.store.trees import find_newest_code
from gittrack.tracking.provenance import Provenance

if TYPE_CHECKING:
    from gittrack.sharing.beside import Sharing

PARAM_CHARS_MAX = 1 << 20
_INT_BITS_MAX = 14_280  # 4,299 decimal digits: CPython writes no more than 4,300
TAG_CHARS_MAX = 1 << 20

_log = logging.getLogger("gittrack")


class Role(Enum):
    """What this process is to the run."""

    OWNER = "ends it"
    GUEST = "joined it; another process ends it"
    EDITOR = "adds to a run that has ended; its status stays"


class RunSession:
    """An open run. Made by `begin`, `resume` and `join`; ended by `finish` or `leave`."""

    def __init__(
        self,
        store: Store,
        live: LiveRun,
        record: RunRecord,
        role: Role,
        journal: Journal | SharedJournal,
        *,
        is_new: bool = False,
    ) -> None:
        self.store = store
        self.live = live
        self.record = record
        self.role = role
        self.pid = os.getpid()
        self.is_open = True
        self._is_new = is_new
        self._params: dict[str, Scalar] = dict(record.params)
        self._artifacts: dict[str, Artifact] = {}
        self.sharing: Sharing | None = None  # where the run is shown to others, or pushed at its end
        self.journal = journal
        self.journal.count_steps_from({key: found.last_step for key, found in record.metrics.items()})

    @property
    def run_id(self) -> RunId:
        return self.record.id

    @property
    def is_ours_alone(self) -> bool:
        """Whether all that the run holds came through this session, as far as one process can tell."""
        return self._is_new and self.pid == os.getpid() and isinstance(self.journal, Journal)

    def read_staged(self, path: str) -> bytes | None:
        """The bytes of an artifact that this session logged, or None."""
        artifact = self._artifacts.get(path)
        if artifact is None:
            return None
        try:
            with open(os.path.join(self.live.staging_dir, artifact.oid), "rb") as file:
                return file.read()
        except OSError:
            return None

    # -- logging -----------------------------------------------------------------------------------------

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params; the same value again is fine.

        Raises:
            InvalidValueError: a key or a value is not taken. ParamConflictError: another value stands already.
        """
        fresh: dict[str, Scalar] = {}
        for key, raw in _check_mapping("params", params).items():
            value = to_scalar(check_key("param", key), raw)
            known = fresh.get(key, self._params.get(key, _MISSING))
            if known is _MISSING:
                fresh[key] = value
            elif not is_same_value(known, value):  # type: ignore[arg-type]
                raise ParamConflictError(key, self.run_id, known, value)
        if fresh:
            self.journal.append_event("param", {"params": fresh})
            self._params |= fresh

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags as text; MLflow's tags for a run's name and note set those.

        Raises:
            InvalidValueError: a key or a value is not taken.
        """
        self.journal.append_events(_tag_events(tags))

    def delete_tag(self, key: str) -> None:
        self.journal.append_event("untag", {"key": check_key("tag", key)})

    def log_dataset(self, dataset: Mapping[str, Any]) -> None:
        """Log a dataset that the run read: the fields of `DatasetInput`."""
        self.journal.append_event("input", {"dataset": dict(dataset)})

    def log_bytes(self, data: bytes, path: str) -> None:
        """Keep bytes as an artifact."""
        self.log_chunks([data], path)

    def log_chunks(self, chunks: Iterable[bytes], path: str) -> None:
        """Keep what chunks of bytes make together, as an artifact."""
        self._require_open()
        check_artifact_path(path)
        try:
            content = stage_chunks(chunks, self.live.staging_dir)
        except OSError as error:
            self._lose(path, error)
            return
        self._put(path, content, 0o100644)

    def log_file(self, source: str, path: str) -> None:
        """Keep a file's content as an artifact.

        Raises:
            ArtifactError: it is no regular file, cannot be read, or changes while it is read.
        """
        self._require_open()
        check_artifact_path(path)
        try:
            content, mode = stage_file(source, self.live.staging_dir)
        except OSError as error:
            self._lose(path, error)
            return
        self._put(path, content, mode)

    def log_link(self, target: str, path: str) -> None:
        """Keep a symbolic link as a link."""
        self._require_open()
        check_artifact_path(path)
        try:
            content = stage_chunks([os.fsencode(target)], self.live.staging_dir)
            self._put(path, content, LINK_MODE)
        except OSError as error:
            self._lose(path, error)

    def log_provenance(self, provenance: Provenance | None) -> None:
        """Keep what made the run, if it is known; changed code goes into the live folder until it is committed.

        Where the code lives in another repository than the runs, all of it goes along that is not there yet.
        """
        if provenance is None:
            return
        tree = None
        try:
            tree = self._keep_code(provenance)
        except OSError as error:
            self._lose("code", error)
        except GittrackError as error:
            _log.warning("gittrack cannot keep code of run %s: %s", self.run_id, error.message)
        fields = {"source": asdict(provenance.source), "requirements": provenance.requirements, "tree": tree}
        try:
            self.journal.append_event("source", fields)
        except OSError as error:  # of a shared run, which goes without
            self._lose("the source", error)

    def _keep_code(self, provenance: Provenance) -> ObjectId | None:
        code = provenance.code
        if code is None or code.tree is None:
            return None
        source, target = provenance.repository, self.store.repository
        tree, objects = code.tree, code.objects
        if (source or target).common_dir != target.common_dir or objects.object_format != target.object_format:
            known = find_newest_code(target, self.record.experiment)
            tree, objects = carry_tree(source, tree, objects, target, known)
        if len(objects):
            self.journal.keep_file(self.live.write_code(objects))
        return tree

    # -- ending ------------------------------------------------------------------------------------------

    def finish(self, status: Status | None = None, *, error: str = "", ended_at: int | None = None) -> bool:
        """End the run and commit it; True when it is durable in its branch. Idempotent.

        A guest only leaves. What cannot be committed now stays in the live folder, with one warning, and the next
        gittrack command commits it.
        """
        if not self.is_open:
            return False
        if self.role is Role.GUEST or self.pid != os.getpid():
            self.leave()
            return False
        self.is_open = False
        if status is not None:
            moment = int(time.time() * 1000) if ended_at is None else ended_at
            self.journal.append_event("end", {"status": status, "ended_at": moment, "error": error})
        self.journal.close()
        if self.journal.dropped:
            _log.warning("gittrack lost %d records of run %s: the disk failed", self.journal.dropped, self.run_id)
        try:
            if self.journal.spared_to:
                raise OSError(f"no space left, its last values are in {self.journal.spared_to}")
            is_new = self._is_new and not self.journal.was_removed
            lost_as = (status or "KILLED") if self.journal.dropped else None  # what it ended as may be lost too
            commit = commit_live(self.store.repository, self.live, is_new=is_new, lost_as=lost_as)
        except Exception as failure:  # whatever it is: training goes on, and nothing is lost
            _log.warning(
                "gittrack cannot commit run %s now (%s); it stays in %s, and the next gittrack command commits it",
                self.run_id,
                (str(failure) or repr(failure)).splitlines()[0],
                self.live.folder,
            )
            self._settle()
            return False
        if self.sharing is not None:
            self.sharing.end()
        return commit is not None or not self._is_new

    def share(self, live: str | float | None = None) -> None:
        """Let others see the run while it runs, and once it has ended, as far as that is wished.

        Args:
            live: how often, as `parse_interval` takes it; None for what git's configuration says.

        Raises:
            InvalidValueError: it is no interval.
        """
        repository = self.store.repository
        wishes = read_wishes(repository)
        live_s = wishes.live_s if live is None else parse_interval(live)
        if live_s is None and not wishes.shares:
            return
        if not has_remote(repository):
            if live is not None:
                hint = "git remote add origin URL"
                _log.warning("gittrack shows run %s to nobody: there is no remote; %s", self.run_id, hint)
            return
        from gittrack.sharing.beside import Sharing

        self.sharing = Sharing(repository, self.run_id, live_s)
        if self.role is Role.OWNER:
            self.sharing.begin()

    def take_over(self) -> None:
        """Become the one who ends the run: for a run that no process has open, only commands after each other."""
        self.role = Role.OWNER

    def leave(self) -> None:
        """Close this process's stream; the run goes on, unless nobody else is left to end it. Idempotent."""
        was_open, self.is_open = self.is_open, False
        self.journal.close()
        if was_open and self.pid == os.getpid():
            self._settle()
        if was_open and self.pid == os.getpid() and self.live.exists() and not self.live.is_alive():
            try:
                commit_live(self.store.repository, self.live, is_new=False, lost_as="KILLED")
            except Exception as failure:
                _log.debug("the next command commits run %s: %s", self.run_id, failure)

    def leave_if_alone(self) -> None:
        """As `leave`, where a guest is the only one who has the run open any more."""
        if self.role is not Role.GUEST or not isinstance(self.journal, Journal):
            return
        others = [stream for stream in self.live.read_streams() if stream.nonce != self.journal.nonce]
        if not any(is_writer_alive(stream) for stream in others):
            self.leave()

    def _settle(self) -> None:
        """Make durable what waits in the live folder now that nobody syncs it any more."""
        try:
            self.journal.settle()
        except OSError as error:
            _log.warning("gittrack cannot sync run %s: %s", self.run_id, error.strerror or error)

    def _require_open(self) -> None:
        """Refuse before anything is staged: the folder of a run that has ended must not come back."""
        if not self.is_open:
            raise RunStateError("the run has ended", "start another, or resume it: start_run(run_id=…)")

    def _put(self, path: str, content: Content, mode: int) -> None:
        artifact = Artifact(
            path=path, oid=content.oid, size_bytes=content.size_bytes, mode=mode, inline=content.inline
        )
        try:
            self.journal.keep_file(os.path.join(self.live.staging_dir, content.oid))
        except OSError as error:
            self._lose(path, error)
            return
        self.journal.append_event("artifact", asdict(artifact))
        self._artifacts[path] = artifact

    def _lose(self, what: str, error: OSError) -> None:
        _log.warning("gittrack cannot keep %s of run %s: %s", what, self.run_id, error.strerror or error)


def begin(
    store: Store,
    record: RunRecord,
    *,
    sync: bool = False,
    shared: bool = False,
    tags: Mapping[str, Any] | None = None,
) -> RunSession:
    """Begin a new run; ``shared``: it outlives this process, and the commands after it go on with it.

    Raises:
        OSError: the disk is full or failing, and the run is shared; then nothing of it stays.
    """
    live, failure = create_live(store.repository, record.id)
    if failure is not None:
        _log.warning(
            "gittrack cannot write to %s (%s): run %s waits in %s",
            store.repository.label,
            failure.strerror or failure,
            record.id,
            live.folder,
        )
    journal = _open_journal(store.repository, live, sync=sync, shared=shared)
    session = RunSession(store, live, record, Role.OWNER, journal, is_new=True)
    start = {
        "name": record.name,
        "experiment": record.experiment,
        "started_at": record.started_at,
        "user": record.user,
        "host": record.host,
        "parent": record.parent,
    }
    events: list[tuple[str, Mapping[str, Any]]] = [("start", start)]
    if record.note:
        events.append(("set", {"note": record.note}))
    events += _tag_events(tags or {})
    try:
        journal.append_events(events)
    except OSError:
        shutil.rmtree(live.folder, ignore_errors=True)
        raise
    return session


def resume(
    store: Store, run_id: RunId, *, role: Role = Role.OWNER, sync: bool = False, shared: bool = False
) -> RunSession:
    """Go on with a run: join it while others write to it, else open it again as owner or editor.

    Raises:
        NotFoundError: there is none. RunStateError: it is deleted.
    """
    while True:
        live = find_live(store.repository, run_id)
        if live is not None and not live.is_alive():
            store.recover()
            live = find_live(store.repository, run_id)
        stored = store.get_run(run_id)
        if stored.record.lifecycle == "deleted":
            raise RunStateError(f"run {run_id} is deleted", f"restore it first: gittrack restore {run_id[:8]}")
        if stored.heard_at is not None:
            raise RunStateError(f"run {run_id} is running elsewhere", "wait until it has ended")
        is_guest = live is not None
        if live is None:
            live, _ = create_live(store.repository, run_id)
        try:
            with live.fold_lock(wait=True) as held:  # whoever is committing it is let finish
                if held:
                    # all who go on with a run begin under this lock: one that has told no name died at it
                    is_guest = live.has_living_writer()
                    journal = _open_journal(store.repository, live, sync=sync, shared=shared)
                    break
        except OSError:  # the disk fails: the journal says so, and tries again
            journal = _open_journal(store.repository, live, sync=sync, shared=shared)
            break
    if is_guest:
        return RunSession(store, live, stored.record, Role.GUEST, journal)
    record = replace(stored.record, status="RUNNING", ended_at=None) if role is Role.OWNER else stored.record
    session = RunSession(store, live, record, role, journal)
    if role is Role.OWNER:
        session.journal.append_event("resume", {})
    return session


def _open_journal(repository: Repository, live: LiveRun, *, sync: bool, shared: bool) -> Journal | SharedJournal:
    if shared:
        return SharedJournal(live.folder, lambda: describe_writer(detached=True))
    return Journal(
        live.folder, describe_writer, sync=sync, spare=lambda: create_spooled(repository, live.run_id).folder
    )


def _tag_events(tags: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """The events that set tags; MLflow's tags for a run's name and note set those."""
    plain = {check_key("tag", key): to_tag(key, value) for key, value in _check_mapping("tags", tags).items()}
    told = take_told(plain)
    return [*([("set", told)] if told else []), *([("tag", {"tags": plain})] if plain else [])]


def to_scalar(key: str, value: Any) -> Scalar:
    """A param's value with its type: text, integer, float, boolean or null; all else as its text.

    Raises:
        InvalidValueError: it is longer than a megabyte, no Unicode, or an integer of more than 4,300 digits.
    """
    if isinstance(value, Enum):
        value = value.name if not isinstance(value, str | int | float) else value.value
    is_numpy = hasattr(value, "item") and type(value).__module__ == "numpy" and not isinstance(value, str)
    if is_numpy and getattr(value, "size", 1) == 1:
        value = value.item()
    if isinstance(value, int) and value.bit_length() > _INT_BITS_MAX:
        raise InvalidValueError(f"param {key!r} is an integer of {value.bit_length()} bits", "log hex(value)")
    if value is None or type(value) in (bool, int, float):
        return value  # type: ignore[no-any-return]
    for kind in (int, float):
        if isinstance(value, kind) and not isinstance(value, bool):
            return kind(value)
    text = _to_text(f"value of param {key!r}", value)
    if len(text) > PARAM_CHARS_MAX:
        raise InvalidValueError(
            f"param {key!r} has {len(text)} characters; the limit is {PARAM_CHARS_MAX}", "keep it with log_text"
        )
    return text


def to_timestamp(value: Any) -> float:
    """A time in milliseconds since the epoch that a calendar can show.

    Raises:
        InvalidValueError: it is none.
    """
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise InvalidValueError(f"a timestamp is a number of milliseconds, not {shown(value)}")
    try:
        moment_s = float(value) / 1000
    except Exception as error:
        raise InvalidValueError(f"a timestamp is a number of milliseconds, not {shown(value)}") from error
    check_time(moment_s)
    return value  # type: ignore[no-any-return]


def to_tag(key: str, value: Any) -> str:
    """A tag's value as text.

    Raises:
        InvalidValueError: it is longer than a megabyte, or no Unicode.
    """
    text = _to_text(f"value of tag {key!r}", value)
    if len(text) > TAG_CHARS_MAX:
        raise InvalidValueError(
            f"tag {key!r} has {len(text)} characters; the limit is {TAG_CHARS_MAX}", "keep it with log_text"
        )
    return text


def _to_text(what: str, value: Any) -> str:
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception as error:  # a long integer's str() raises, and so may anybody's __str__
        raise InvalidValueError(f"the {what} has no text: {type(value).__name__}: {error}") from error
    return check_text(what, text)


def _check_mapping(what: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidValueError(f"{what} are a dict of values by key, not {type(given).__name__}")
    return given


def take_told(tags: dict[str, str]) -> dict[str, str]:
    """Take out of some tags those of MLflow's that are fields of the record: by field.

    Raises:
        InvalidValueError: the run's name is none.
    """
    told = {field: tags.pop(key) for key, field in _TOLD_TAGS.items() if key in tags}
    if "name" in told:
        check_name("run", told["name"])
    return told


_MISSING = object()
_TOLD_TAGS = {"mlflow.runName": "name", "mlflow.note.content": "note"}
