"""A stream that many short processes append to, one after the other: the commands of a shell script.

The records are those of `gittrack.store.journal`; each is appended by one ``write`` under a lock of the file, and
synced before the call returns. One file, however many commands.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import time
from typing import Any

from gittrack.errors import RunStateError
from gittrack.schema.values import check_metrics, check_step, check_time
from gittrack.store.journal import (
    EVENT_HEAD,
    EVENT_KIND,
    HEADER,
    MAGIC,
    SEAL,
    VERSION,
)
from gittrack.store.syncing import sync_file

SHARED_NAME = "shared.log"


class SharedJournal:
    """The run's shared stream, with the calls of `Journal`; made by whoever comes first."""

    dropped = 0
    was_removed = False
    spared_to = ""

    def __init__(self, folder: str, describe: Callable[[], dict[str, Any]]) -> None:
        self.path = os.path.join(folder, SHARED_NAME)
        self._describe = describe
        self._next_steps: dict[str, int] = {}

    def append(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """As `append_points`; there is no faster way here."""
        self.append_points(metrics, step)

    def append_points(
        self, metrics: Mapping[str, Any], step: int | None = None, time_s: float | None = None
    ) -> None:
        """Append values at a step, by default the one after the last of their keys; durable on return.

        Raises:
            InvalidValueError: a key, value or step is not taken. OSError: the disk is full or failing.
        """
        values = check_metrics(metrics)
        if not values:
            return
        if step is None:
            step = max(self._next_steps.get(key, 0) for key in metrics)
        self._next_steps.update(dict.fromkeys(metrics, check_step(step) + 1))
        points = dict(zip(metrics, values, strict=True))
        moment = None if time_s is None else check_time(time_s)
        self.append_event("points", {"step": check_step(step), "values": points}, moment)

    def append_event(self, kind: str, fields: Mapping[str, Any], time_s: float | None = None) -> None:
        """Append anything else; durable on return.

        Raises:
            OSError: the disk is full or failing; then nothing of it stays.
        """
        self.append_events([(kind, fields)], time_s)

    def append_events(self, events: Sequence[tuple[str, Mapping[str, Any]]], time_s: float | None = None) -> None:
        """Append several events by one write, so that a run begins whole or not at all; durable on return.

        Raises:
            OSError: the disk is full or failing; then nothing of them stays.
        """
        moment = time() if time_s is None else time_s
        with self._locked() as (descriptor, seal, head):
            records = [_encode({"e": kind, "t": moment, **fields}, seal) for kind, fields in events]
            _write(descriptor, head + b"".join(records))

    def keep_file(self, path: str) -> None:
        """Make a file durable that a record is about to name.

        Raises:
            OSError: the disk failed.
        """
        sync_file(path)

    def settle(self) -> None:
        """Everything is durable already."""

    def count_steps_from(self, last_steps: Mapping[str, int]) -> None:
        """Let steps that are not given go on after these."""
        self._next_steps.update({key: step + 1 for key, step in last_steps.items()})

    def close(self) -> None:
        """Nothing is held between two calls."""

    @contextmanager
    def _locked(self) -> Iterator[tuple[int, int, bytes]]:
        """The open file and its seal while nobody else appends, and what a new one is to begin with."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink == 0:
                raise RunStateError("the run has ended meanwhile")
            head = os.pread(descriptor, HEADER.size, 0)
            if len(head) == HEADER.size:
                yield descriptor, HEADER.unpack(head)[2], b""
                return
            os.ftruncate(descriptor, 0)
            seal = int.from_bytes(os.urandom(8), "little") | 1
            writer = _encode({"e": "writer", "t": time(), **self._describe()}, seal)
            yield descriptor, seal, HEADER.pack(MAGIC, VERSION, seal) + writer
        finally:
            os.close(descriptor)


def _encode(fields: Mapping[str, Any], seal: int) -> bytes:
    payload = json.dumps(fields, separators=(",", ":")).encode()
    return EVENT_HEAD.pack(EVENT_KIND, len(payload), zlib.crc32(payload)) + payload + SEAL.pack(seal)


def _write(descriptor: int, record: bytes) -> None:
    end = os.fstat(descriptor).st_size
    try:
        if os.write(descriptor, record) < len(record):
            raise OSError(28, "No space left on device")
        os.fdatasync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise
