"""One object to an LFS server or from it, streamed: git-lfs's basic transfer, docs/api/basic-transfers.md.

The last piece of a file is sent only once the hash of the whole is known to be right: a server that was announced
more than it got keeps nothing, and a large file is still read only once.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO

from gittrack.artifact_stores.endpoints import require_web_url
from gittrack.artifact_stores.lfs_access import Access
from gittrack.artifact_stores.lfs_batch import MEDIA_TYPE, Action, Answer, format_verification
from gittrack.artifact_stores.lfs_http import Reply, ReplyError, Request, label_of
from gittrack.artifact_stores.moving import ObjectError, open_object, unlink_if_there
from gittrack.artifact_stores.transfers import Told, Transfer
from gittrack.git.config import strip_userinfo

CHUNK_BYTES = 1 << 18  # each must be sent within the time that a server may say nothing


def send_object(access: Access, answer: Answer, transfer: Transfer, told: Told) -> None:
    """Upload a file, and have the server confirm it where it wants to be asked.

    Raises:
        ObjectError: the file is not what its oid says, or cannot be read; the server does not have it whole.
        ReplyError: the server is not reached, or refuses.
    """
    action = answer.actions["upload"]

    sent = 0

    def send(connection: http.client.HTTPConnection) -> None:
        nonlocal sent
        told(-sent)  # of a connection that turned out to be closed
        sent = 0
        for chunk in read_holding_back(transfer):
            connection.send(chunk)
            sent += len(chunk)
            told(len(chunk))

    given = {"Content-Type": "application/octet-stream", **action.headers, "Content-Length": transfer.size_bytes}
    headers = {name: str(value) for name, value in given.items()}
    request = Request("PUT", _url_of(access, action), headers, send, transfer.size_bytes, access.depth)
    with access.exchange(request):
        pass
    verify = answer.actions.get("verify")
    if verify is not None:
        _ask_whether_there(access, verify, transfer)


def fetch_object(access: Access, answer: Answer, transfer: Transfer, told: Told) -> None:
    """Download a file, going on where an earlier attempt was cut; it has its name once it is known to be right.

    What came so far stays as ``<path>.part`` where the connection broke, to be gone on with.

    Raises:
        ReplyError: the server is not reached, refuses, or sends something else.
        ObjectError: the file cannot be written.
    """
    with _open_part(transfer) as part, _own_disk(transfer):
        done = _Received(part, transfer)
        told(done.size_bytes)
        if done.size_bytes < transfer.size_bytes or not transfer.size_bytes:
            action = answer.actions["download"]
            headers = dict(action.headers)
            if done.size_bytes:
                headers["Range"] = f"bytes={done.size_bytes}-"
            request = Request("GET", _url_of(access, action), headers, depth_max=access.depth)
            with access.exchange(request) as reply:
                _receive(reply, done, told)
        if done.digest.hexdigest() != transfer.oid:
            unlink_if_there(part.name)
            raise ReplyError(f"{access.label} sent other bytes than those asked for", is_transient=done.is_resumed)
        os.replace(part.name, transfer.path)


def read_holding_back(transfer: Transfer) -> Iterator[memoryview]:
    """The chunks of a file, of which the last comes only if the whole is what the oid says.

    A chunk holds until the next but one is taken.

    Raises:
        ObjectError: it is something else, or cannot be read.
    """
    buffers = memoryview(bytearray(2 * CHUNK_BYTES))
    digest, left, held = hashlib.sha256(), transfer.size_bytes, memoryview(b"")
    start = 0
    with open_object(transfer) as file:
        while left:
            size = _read_into(file, buffers[start : start + min(CHUNK_BYTES, left)], transfer)
            if held:
                yield held
            held = buffers[start : start + size]
            digest.update(held)
            left, start = left - size, CHUNK_BYTES - start
    if digest.hexdigest() != transfer.oid:
        raise ObjectError(f"{transfer.path} is damaged: it holds other bytes than its hash says")
    if held:
        yield held


class _Received:
    """What has come of an object: bytes in its ``.part``, and their hash. Large parts are not trusted unread."""

    def __init__(self, part: FileIO, transfer: Transfer) -> None:
        self.part, self.transfer = part, transfer
        self.digest, self.size_bytes = hashlib.sha256(), 0
        buffer = memoryview(bytearray(CHUNK_BYTES))
        while size := part.readinto(buffer):
            self.digest.update(buffer[:size])
            self.size_bytes += size
        self.is_resumed = self.size_bytes > 0
        if self.size_bytes > transfer.size_bytes:
            self.restart()

    def restart(self) -> None:
        self.part.seek(0)
        self.part.truncate()
        self.digest, self.size_bytes, self.is_resumed = hashlib.sha256(), 0, False

    def add(self, chunk: memoryview) -> None:
        self.digest.update(chunk)
        self.size_bytes += len(chunk)
        while chunk:
            chunk = chunk[self.part.write(chunk) :]


def _receive(reply: Reply, done: _Received, told: Told) -> None:
    """Take the bytes of a reply, at most as many as the object has."""
    if reply.status == 206:
        start = re.match(r"bytes (\d+)-", reply.header("Content-Range"))
        if start is None or int(start[1]) != done.size_bytes:
            done.part.truncate(0)
            raise ReplyError(f"{label_of(reply.url)} sent another part than asked for", is_transient=True)
    elif done.size_bytes:  # it does not take ranges
        told(-done.size_bytes)
        done.restart()
    if reply.header("Content-Encoding").lower() not in ("", "identity"):
        raise ReplyError(f"{label_of(reply.url)} sent the object encoded, unasked")
    buffer = memoryview(bytearray(CHUNK_BYTES))
    wanted = done.transfer.size_bytes
    while True:
        try:
            size = reply.response.readinto(buffer)
        except (http.client.HTTPException, OSError) as error:
            raise ReplyError(f"{label_of(reply.url)} broke off", is_transient=True) from error
        if not size:
            break
        if done.size_bytes + size > wanted:
            unlink_if_there(done.part.name)
            raise ReplyError(f"{label_of(reply.url)} sent more than the {wanted:,} bytes of the object")
        done.add(buffer[:size])
        told(size)
    if done.size_bytes < wanted:
        raise ReplyError(f"{label_of(reply.url)} broke off after {done.size_bytes:,} bytes", is_transient=True)


def _ask_whether_there(access: Access, verify: Action, transfer: Transfer) -> None:
    body = format_verification(transfer)
    headers = {
        "Accept": MEDIA_TYPE,
        "Content-Type": MEDIA_TYPE,
        **verify.headers,
        "Content-Length": str(len(body)),
    }
    request = Request(
        "POST", _url_of(access, verify), headers, lambda connection: connection.send(body), 0, access.depth
    )
    try:
        with access.exchange(request):
            pass
    except ReplyError as error:
        if error.status in (404, 422):
            raise ReplyError(f"{access.label} has not kept what was sent to it", status=error.status) from error
        raise


def _url_of(access: Access, action: Action) -> str:
    return strip_userinfo(require_web_url(action.href, access.label))


def _read_into(file: BufferedReader, buffer: memoryview, transfer: Transfer) -> int:
    try:
        size = file.readinto(buffer)
    except OSError as error:
        raise ObjectError(f"{transfer.path} cannot be read: {error.strerror}") from error
    if not size:
        raise ObjectError(f"{transfer.path} became shorter while it was read")
    return size


@contextmanager
def _own_disk(transfer: Transfer) -> Iterator[None]:
    """What the disk complains of concerns this object; a server's complaints are told apart before."""
    try:
        yield
    except OSError as error:
        raise ObjectError(f"{transfer.path} cannot be written: {error.strerror}") from error


def _open_part(transfer: Transfer) -> FileIO:
    """The file that an object grows in: what an earlier attempt left, or a new one where another is at that."""
    path = f"{transfer.path}.part"
    with _own_disk(transfer):
        os.makedirs(os.path.dirname(transfer.path), exist_ok=True)
        return _open_old_part(path) or _open_new_part(f"{transfer.path}.{os.urandom(4).hex()}.part")


def _open_old_part(path: str) -> FileIO | None:
    """The part at a path, nobody else's while it is open; None where something else is there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        part = open(path, "r+b", buffering=0, opener=lambda name, _: os.open(name, flags, 0o644))  # noqa: SIM115
    except OSError:  # a link, a folder, a pipe
        return None
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(part.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and os.path.samestat(status, os.lstat(path)):
            return part
    except OSError:  # another process is at it, or has just given it its name
        pass
    part.close()
    return None


def _open_new_part(path: str) -> FileIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return open(path, "r+b", buffering=0, opener=lambda name, _: os.open(name, flags, 0o644))
