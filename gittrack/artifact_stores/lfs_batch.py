"""What is said to an LFS server and what it answers, as data: git-lfs's docs/api/batch.md. It uses no network.

An answer is a stranger's: sizes are bounded, types are checked, and what nobody asked for is passed over.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gittrack.artifact_stores.transfers import Transfer
from gittrack.errors import RemoteError
from gittrack.schema.names import one_line

MEDIA_TYPE = "application/vnd.git-lfs+json"
OBJECTS_MAX = 100  # a request, as git-lfs asks
ANSWER_BYTES_MAX = 4 << 20  # a hundred actions with signed URLs take a tenth of it

_HEADERS_MAX = 50
_HEADER_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]{1,200}")  # RFC 9110, token
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,16384}")
_OURS = frozenset(  # what a server's header may not say for us: where a message ends, and whom it is for
    (
        *("accept-encoding", "connection", "content-length", "expect", "host", "proxy-authorization", "range"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)
_NEWLY_S = 5.0


@dataclass(frozen=True, slots=True)
class Action:
    """A request that the server wants us to make.

    Attributes:
        headers: what it gave for it; secrets, as the query of ``href`` may be.
        answered_at, expires_at: by `time.monotonic`.
    """

    href: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    answered_at: float
    expires_at: float

    def is_stale(self) -> bool:
        """Whether another should be asked for. One that is too old on arrival is tried: clocks differ."""
        now = time.monotonic()
        return now >= self.expires_at - _NEWLY_S and now > self.answered_at + _NEWLY_S


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says of one object: what is to be done, or why nothing can be. Neither: it is there."""

    actions: Mapping[str, Action]
    is_authenticated: bool = False
    error_code: int = 0
    error: str = ""


def format_request(operation: str, objects: Iterable[tuple[str, int]], ref: str = "") -> bytes:
    """The body of a batch request for oids and sizes; ``ref`` is the full name of the branch that is pushed."""
    asked: dict[str, Any] = {"operation": operation, "transfers": ["basic"], "hash_algo": "sha256"}
    if ref:
        asked["ref"] = {"name": ref}
    asked["objects"] = [{"oid": oid, "size": size} for oid, size in objects]
    return json.dumps(asked).encode()


def format_verification(transfer: Transfer) -> bytes:
    """The body that asks whether an object has arrived: docs/api/basic-transfers.md, "Verification"."""
    return json.dumps({"oid": transfer.oid, "size": transfer.size_bytes}).encode()


def parse_answer(body: bytes, asked: Sequence[tuple[str, int]]) -> dict[str, Answer]:
    """What the server says of each oid; of one that it passed over, an error.

    Raises:
        RemoteError: it is no answer of the batch API, or wants what was not offered.
    """
    told = _parse_object(body)
    if told.get("transfer") not in (None, "basic"):
        raise RemoteError(f"the server wants the transfer {one_line(str(told['transfer']), 40)!r}, not basic")
    if told.get("hash_algo") not in (None, "sha256"):
        raise RemoteError(f"the server hashes by {one_line(str(told['hash_algo']), 40)!r}, not sha256")
    entries = told.get("objects")
    if not isinstance(entries, list):
        raise RemoteError("the server's answer is not one of the LFS batch API: it lists no objects")
    wanted = {oid for oid, _ in asked}
    found = {entry["oid"]: _parse_entry(entry) for entry in entries if _names_one_of(entry, wanted)}
    return {oid: found.get(oid) or Answer({}, error="the server said nothing of it") for oid in wanted}


def parse_grant(body: bytes) -> Action:
    """What ``git-lfs-authenticate`` prints; ``href`` may be empty.

    Raises:
        RemoteError: it is not what it should be.
    """
    return _parse_action(_parse_object(body))


def parse_message(body: bytes) -> str:
    """What a server says of a request that it refused, on one line; empty where it says nothing of use."""
    try:
        message = _parse_object(body).get("message")
    except RemoteError:
        return ""
    return one_line(message) if isinstance(message, str) else ""


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RemoteError("the server's answer is no JSON", "is its URL right?  git config lfs.url") from error
    if not isinstance(told, dict):
        raise RemoteError("the server's answer is no JSON object")
    return told


def _names_one_of(entry: object, wanted: set[str]) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("oid"), str) and entry["oid"] in wanted


def _parse_entry(entry: dict[str, Any]) -> Answer:
    error = entry.get("error")
    if error is not None:
        code = error.get("code") if isinstance(error, dict) else 0
        message = error.get("message") if isinstance(error, dict) else error
        return Answer({}, error_code=code if isinstance(code, int) else 0, error=one_line(str(message)) or "error")
    actions = entry.get("actions") or entry.get("_links") or {}
    if not isinstance(actions, dict):
        return Answer({}, error="the server's actions are no object")
    try:
        parsed = {
            name: _parse_action(actions[name]) for name in ("upload", "verify", "download") if actions.get(name)
        }
    except RemoteError as refusal:
        return Answer({}, error=refusal.message)
    return Answer(parsed, entry.get("authenticated") is True)


def _parse_action(told: object) -> Action:
    if not isinstance(told, dict) or not isinstance(told.get("href", ""), str):
        raise RemoteError("the server's action names no URL")
    headers = told.get("header") or {}
    if not isinstance(headers, dict) or len(headers) > _HEADERS_MAX:
        raise RemoteError("the server's action has headers that cannot be sent")
    kept: dict[str, str] = {}
    for name, value in headers.items():
        value = str(value) if isinstance(value, str | int) else "\n"
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise RemoteError(f"the server's action has a header that cannot be sent: {one_line(name, 40)!r}")
        if name.lower() not in _OURS:
            kept[name] = value
    now = time.monotonic()
    return Action(told.get("href", ""), kept, now, now + _remaining_s(told))


def _remaining_s(told: dict[str, Any]) -> float:
    """Seconds that an action holds for: ``expires_in``, else ``expires_at``, else a day."""
    expires_in = told.get("expires_in")
    if isinstance(expires_in, int) and expires_in and abs(expires_in) < 1 << 31:
        return float(expires_in)
    try:
        expires_at = datetime.fromisoformat(told.get("expires_at") or "")
        return expires_at.timestamp() - time.time() if expires_at.year > 1 else 86_400.0  # Go's zero time
    except (ValueError, TypeError, OverflowError):
        return 86_400.0
