"""The artifact store that an LFS server is: what it lacks, and objects sent and fetched, several at a time.

What went wrong for a passing reason is asked for anew and tried again, a few times, with longer and longer waits
that differ between clients. An action is used soon, so that it has not expired; one that has is asked for again.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from gittrack.artifact_stores.endpoints import Operation
from gittrack.artifact_stores.lfs_access import WAIT_S_MAX, Access
from gittrack.artifact_stores.lfs_batch import (
    ANSWER_BYTES_MAX,
    MEDIA_TYPE,
    OBJECTS_MAX,
    Answer,
    format_request,
    parse_answer,
)
from gittrack.artifact_stores.lfs_http import ReplyError, Request, Web
from gittrack.artifact_stores.lfs_transfers import fetch_object, send_object
from gittrack.artifact_stores.moving import ObjectError
from gittrack.artifact_stores.transfers import Outcome, Told, Transfer
from gittrack.errors import RemoteError

ATTEMPTS = 5

_FIRST_WAIT_S = 0.25
_GONE = (404, 410, 422)  # of an object that is asked for: it is not there, or not with that size
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class LfsStore:
    """An LFS server as an artifact store.

    Args:
        operation: what the user's credentials are asked for, as far as servers tell that apart.
        at_once: objects that are moved at the same time.
        ref: full name of the branch that is pushed, for servers that grant by it.
    """

    def __init__(self, access: Access, web: Web, operation: Operation, *, at_once: int = 8, ref: str = "") -> None:
        self._access, self._web = access, web
        self._operation, self._at_once, self._ref = operation, max(at_once, 1), ref

    @property
    def label(self) -> str:
        return self._access.label

    def find_absent(self, objects: Sequence[Transfer]) -> set[str]:
        absent = set()
        try:
            for group in _groups(list({one.oid: one for one in objects}.values())):
                for oid, answer in self._ask_patiently(self._operation, group).items():
                    if self._is_absent(answer):
                        absent.add(oid)
        finally:
            self._web.close()
        return absent

    def upload(self, transfers: Sequence[Transfer], told: Told) -> Outcome:
        return self._move("upload", transfers, told)

    def download(self, transfers: Sequence[Transfer], told: Told) -> Outcome:
        return self._move("download", transfers, told)

    def _is_absent(self, answer: Answer) -> bool:
        if self._operation == "upload" and not answer.error:
            return "upload" in answer.actions
        if answer.error and answer.error_code not in _GONE:
            raise RemoteError(f"{self.label} cannot tell what it has: {answer.error}")
        return bool(answer.error) or "download" not in answer.actions

    def _move(self, operation: Operation, transfers: Sequence[Transfer], told: Told) -> Outcome:
        outcome = Outcome()
        moving = _Moving(self._access, operation, told, outcome)
        waiting = list({transfer.oid: transfer for transfer in transfers}.values())
        try:
            with ThreadPoolExecutor(self._at_once, "gittrack-lfs") as pool:
                try:
                    for attempt in range(ATTEMPTS):
                        if attempt:
                            moving.pause(attempt)
                        waiting = self._move_once(waiting, moving, pool)
                        if not waiting:
                            break
                finally:
                    moving.stopped.set()  # what still moves when this ends by an error ends too
                    pool.shutdown(cancel_futures=True)
        finally:
            self._web.close()
        return outcome

    def _move_once(self, waiting: list[Transfer], moving: _Moving, pool: ThreadPoolExecutor) -> list[Transfer]:
        """Try every object once; those that may go well the next time come back."""
        again: list[Transfer] = []
        running: dict[Future[None], Transfer] = {}
        for group in _groups(waiting):
            answers = self._ask_patiently(moving.operation, group)
            for transfer in group:
                answer = answers[transfer.oid]
                if moving.settle(transfer, answer):
                    continue
                if answer.error:
                    again.append(transfer)
                else:
                    running[pool.submit(moving.move, transfer, answer)] = transfer
            again += moving.collect(running, until=self._at_once)
        return again + moving.collect(running, until=0)

    def _ask_patiently(self, operation: Operation, objects: Sequence[Transfer]) -> dict[str, Answer]:
        """What the server says of objects; asked again where that failed for a passing reason."""
        for attempt in range(1, ATTEMPTS):
            try:
                return self._ask(operation, objects)
            except ReplyError as error:
                if error.status == 413 and len(objects) > 1:
                    half = len(objects) // 2
                    first = self._ask_patiently(operation, objects[:half])
                    return first | self._ask_patiently(operation, objects[half:])
                if not error.is_transient or (
                    attempt > 1 and not error.status
                ):  # nobody answers: no use to insist
                    raise
                threading.Event().wait(_wait_before(attempt, error.wait_s))
        return self._ask(operation, objects)

    def _ask(self, operation: Operation, objects: Sequence[Transfer]) -> dict[str, Answer]:
        asked = [(one.oid, one.size_bytes) for one in objects]
        body = format_request(operation, asked, self._ref)
        headers = {"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE, "Content-Length": str(len(body))}
        url = f"{self._access.url}/objects/batch"
        request = Request(
            "POST", url, headers, lambda connection: connection.send(body), 0, self._access.depth_max
        )
        with self._access.exchange(request) as reply:
            answer = reply.read(ANSWER_BYTES_MAX)
            self._access.depth = reply.depth
        try:
            return parse_answer(answer, asked)
        except RemoteError as error:
            raise RemoteError(f"{self.label}: {error.message}", error.hint) from error


@dataclass(slots=True)
class _Moving:
    """The objects that are being moved by one call, and what becomes of them."""

    access: Access
    operation: Operation
    told: Told
    outcome: Outcome
    stopped: threading.Event = field(default_factory=threading.Event)
    wait_s: float = 0.0

    def move(self, transfer: Transfer, answer: Answer) -> None:
        """Move one object, in a thread of its own; what was told of a failed attempt is taken back."""
        moved = 0

        def tell(size_bytes: int) -> None:
            nonlocal moved
            if self.stopped.is_set():
                raise ObjectError("it was broken off")
            moved += size_bytes
            self.told(size_bytes)

        try:
            if any(action.is_stale() for action in answer.actions.values()):
                raise ReplyError("the server's leave has expired", is_transient=True)
            (send_object if self.operation == "upload" else fetch_object)(self.access, answer, transfer, tell)
        except BaseException:
            self.told(-moved)
            raise

    def settle(self, transfer: Transfer, answer: Answer) -> bool:
        """Note what needs no moving: it is there, or cannot be had. Whether that is so."""
        if answer.error:
            if answer.error_code in _PASSING:
                self.outcome.failed[transfer.oid] = answer.error  # for now
                return False
            is_gone = self.operation == "download" and answer.error_code in _GONE
            self.outcome.failed[transfer.oid] = "the server does not have it" if is_gone else answer.error
        elif self.operation not in answer.actions:
            self._settle_without_action(transfer)
        else:
            return False
        return True

    def collect(self, running: dict[Future[None], Transfer], until: int) -> list[Transfer]:
        """Wait until at most so many are moving; note what became of the others, and give those to try again."""
        again = []
        while len(running) > until:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                transfer = running.pop(future)
                if self._note(transfer, future):
                    again.append(transfer)
        return again

    def pause(self, attempt: int) -> None:
        """Wait before another attempt: longer each time, and as long as a server has asked for."""
        self.stopped.wait(_wait_before(attempt, self.wait_s))
        self.wait_s = 0.0

    def _note(self, transfer: Transfer, future: Future[None]) -> bool:
        try:
            future.result()
        except ReplyError as error:
            self.outcome.failed[transfer.oid] = error.message
            self.wait_s = max(self.wait_s, error.wait_s)
            return error.is_transient
        except (ObjectError, RemoteError) as error:
            self.outcome.failed[transfer.oid] = str(error).splitlines()[0]
            return False
        self.outcome.moved.add(transfer.oid)
        self.outcome.failed.pop(transfer.oid, None)
        return False

    def _settle_without_action(self, transfer: Transfer) -> None:
        if self.operation == "upload":
            was_sent = self.outcome.failed.pop(transfer.oid, None) is not None  # and only its confirmation failed
            (self.outcome.moved if was_sent else self.outcome.present).add(transfer.oid)
        else:
            self.outcome.failed[transfer.oid] = "the server says not where it is"


def _groups(transfers: Sequence[Transfer]) -> Iterator[Sequence[Transfer]]:
    for start in range(0, len(transfers), OBJECTS_MAX):
        yield transfers[start : start + OBJECTS_MAX]


def _wait_before(attempt: int, asked_s: float) -> float:
    """Seconds to wait: what the server asked for, and some by chance, so that clients do not come all at once."""
    longest: float = min(_FIRST_WAIT_S * 2.0**attempt, WAIT_S_MAX)
    return asked_s + longest * random.uniform(0.5, 1.0)
