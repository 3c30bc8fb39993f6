"""An LFS server that does what a test says: fails, lies, leads elsewhere, or stops in the middle."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.servers.starting import HOST

Rule = Callable[["Exchange"], bool]  # whether it has answered; otherwise the server does as it should


@dataclass
class StrangeLfs:
    """A running server: what it has, and what it was asked, as ``(method, path, headers)``."""

    url: str = ""
    rules: list[Rule] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)
    broken: int = 0  # uploads that were announced larger than they came

    def asked_url(self, method: str) -> str:
        """The whole address of the last request by a method."""
        return self.url + self.asked(method)[-1]

    def asked(self, method: str) -> list[str]:
        """The paths that it was asked for by a method."""
        return [path for one, path, _ in self.requests if one == method]


class Exchange(BaseHTTPRequestHandler):
    """One request; rules answer by `reply`."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a reply is one write: what is half sent is told as such
    state: StrangeLfs
    body = b""

    def reply(self, status: int, body: bytes = b"", **headers: str) -> bool:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
        return True

    def reply_json(self, told: object, status: int = 200, **headers: str) -> bool:
        return self.reply(status, json.dumps(told).encode(), **headers)

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.body = self.rfile.read(size)
        self._answer(self._batch if self.path.endswith("/objects/batch") else self._verify)

    def do_PUT(self) -> None:
        size = int(self.headers["Content-Length"])
        self.body = self.rfile.read(size)
        if len(self.body) < size:
            self.state.broken += 1
            self.close_connection = True
            return
        self._answer(self._put)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_CONNECT(self) -> None:
        """What a proxy does: a tunnel for somebody else's bytes."""
        self.state.requests.append((self.command, self.path, dict(self.headers)))
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            back = threading.Thread(target=_pump, args=(there, self.connection))
            back.start()
            _pump(self.connection, there)
            back.join()
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, as_it_should: Callable[[], object]) -> None:
        self.state.requests.append((self.command, self.path, dict(self.headers)))
        if self.path.endswith("/objects/batch"):
            self.state.batches.append(json.loads(self.body))
        if not any(rule(self) for rule in self.state.rules):
            as_it_should()

    def _batch(self) -> None:
        asked = json.loads(self.body)
        self.reply_json({"objects": [self._entry(asked["operation"], one) for one in asked["objects"]]})

    def _entry(self, operation: str, one: dict[str, Any]) -> dict[str, Any]:
        url, oid = self.state.url, one["oid"]
        if operation == "upload":
            names = {} if oid in self.state.objects else {"upload": "data", "verify": "verify"}
        elif oid not in self.state.objects:
            return {**one, "error": {"code": 404, "message": "Object does not exist"}}
        else:
            names = {"download": "data"}
        return {**one, "actions": {name: {"href": f"{url}/{part}/{oid}"} for name, part in names.items()}}

    def _put(self) -> None:
        self.state.objects[self.path.rpartition("/")[2]] = self.body
        self.reply(200)

    def _verify(self) -> None:
        asked = json.loads(self.body)
        held = self.state.objects.get(asked["oid"], b"")
        is_right = hashlib.sha256(held).hexdigest() == asked["oid"] and len(held) == asked["size"]
        self.reply(200 if is_right else 404)

    def _get(self) -> None:
        data = self.state.objects[self.path.rpartition("/")[2]]
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        told = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if wanted else {}
        self.reply(206 if wanted else 200, data[start:], **told)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that breaks off is nothing to print."""


@contextmanager
def serve_strange_lfs(*rules: Rule, certificate: Path | None = None) -> Iterator[StrangeLfs]:
    """A server that answers by the first rule that wants to, and else as it should.

    Args:
        certificate: a file with a key and a certificate; it speaks https then.
    """
    state = StrangeLfs(rules=list(rules))
    handler = type("Handler", (Exchange,), {"state": state})
    with _Server((HOST, 0), handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        state.url = f"{'https' if certificate else 'http'}://{HOST}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def times(count: int, rule: Rule) -> Rule:
    """A rule that holds so many times only."""
    left = [count]
    lock = threading.Lock()

    def limited(exchange: Exchange) -> bool:
        with lock:
            if not left[0]:
                return False
            answered = rule(exchange)
            left[0] -= answered
            return answered

    return limited


def on(method: str, part: str, answer: Callable[[Exchange], object]) -> Rule:
    """A rule for the requests by a method whose path has a part."""

    def rule(exchange: Exchange) -> bool:
        if exchange.command != method or part not in exchange.path:
            return False
        answer(exchange)
        return True

    return rule
