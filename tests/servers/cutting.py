"""A way to a server that breaks off: a proxy on the loopback that closes connections after so many bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.starting import HOST


class Cutter:
    """A running proxy. Of its next ``cuts`` large answers each ends after ``after_bytes``; ``done`` were cut."""

    def __init__(self, target: int, after_bytes: int) -> None:
        self._target, self._after_bytes = target, after_bytes
        self._lock = threading.Lock()
        self._listening = socket.create_server((HOST, 0))
        self.port = int(self._listening.getsockname()[1])
        self._serving: list[tuple[socket.socket, threading.Thread]] = []
        self.cuts = self.done = 0

    def run(self) -> None:
        """Take connections until `stop`."""
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            serving = threading.Thread(target=self._serve, args=(client,))
            serving.start()
            self._serving.append((client, serving))

    def stop(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for client, serving in self._serving:
            _shut(client)
            serving.join()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection((HOST, self._target)) as server:
            asking = threading.Thread(target=self._pass_on, args=(client, server, False))
            asking.start()
            self._pass_on(server, client, True)
            asking.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        count = 0
        try:
            while chunk := source.recv(1 << 16):
                count += len(chunk)
                if is_answer and count > self._after_bytes and self._takes_a_cut():
                    break
                sink.sendall(chunk)
        except OSError:
            pass
        _shut(source)
        _shut(sink)

    def _takes_a_cut(self) -> bool:
        with self._lock:
            if self.done >= self.cuts:
                return False
            self.done += 1
            return True


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


@contextmanager
def cutting(target: int, after_bytes: int) -> Iterator[Cutter]:
    """A proxy to a port of this machine."""
    cutter = Cutter(target, after_bytes)
    thread = threading.Thread(target=cutter.run, daemon=True)
    thread.start()
    try:
        yield cutter
    finally:
        cutter.stop()
        thread.join()
