"""HTTP for LFS: connections that are kept while they are used, through the user's proxy, with bounded answers.

On `http.client`, since no more is needed: bodies are streamed both ways, a connection belongs to one thread at a
time, and every redirect and address is looked at before anything is sent. Nothing here knows credentials.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urljoin, urlsplit

from gittrack.artifact_stores.endpoints import require_web_url
from gittrack.artifact_stores.lfs_addresses import LINK, depth_of
from gittrack.errors import RemoteError
from gittrack.git.config import strip_userinfo
from gittrack.git.credentials import read_credential_in_url
from gittrack.git.repository import Repository
from gittrack.git.web import WebSettings, read_web_settings
from gittrack.schema.names import one_line

REDIRECTS_MAX = 5
DRAINED_BYTES_MAX = 1 << 16

_REDIRECTS = (301, 302, 303, 307, 308)
_ON_THE_WAY = frozenset(("accept", "content-type", "content-length", "range", "user-agent"))
_CONNECTION_ERRORS = (OSError, http.client.HTTPException)

Origin = tuple[str, str, int]  # scheme, host, port
Sender = Callable[[http.client.HTTPConnection], None]


class ReplyError(RemoteError):
    """A server was not reached, or did not do what it was asked to.

    Attributes:
        status: of HTTP, or 0 where there was no answer. is_transient: whether it may go well the next time.
        wait_s: how long it asks to wait before that, or 0.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        status: int = 0,
        is_transient: bool = False,
        wait_s: float = 0,
    ) -> None:
        super().__init__(message, hint)
        self.status, self.is_transient, self.wait_s = status, is_transient, wait_s


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: ``send`` writes the body that the headers announce, again where it is to be sent again.

    ``depth_max`` is how far in the address may be: see `lfs_addresses`.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    send: Sender | None = None
    size_bytes: int = 0
    depth_max: int = LINK

    @property
    def origin(self) -> Origin:
        return origin_of(self.url)


@dataclass(slots=True)
class Reply:
    """What came back; its body is read before the next request, or not at all."""

    status: int
    url: str
    response: http.client.HTTPResponse
    depth: int

    def read(self, most: int) -> bytes:
        """The whole body.

        Raises:
            ReplyError: it is larger than ``most`` bytes, or ends too early.
        """
        try:
            body = self.response.read(most + 1)
        except _CONNECTION_ERRORS as error:
            raise ReplyError(f"{label_of(self.url)} broke off: {_said(error)}", is_transient=True) from error
        if len(body) > most:
            raise ReplyError(f"{label_of(self.url)} answers with more than {most:,} bytes")
        return body

    def header(self, name: str) -> str:
        return self.response.headers.get(name) or ""

    @property
    def origin(self) -> Origin:
        return origin_of(self.url)


class Web:
    """Connections to servers, as git's settings for each say; for several threads.

    ``wait_s`` is how long a server may say nothing; ``connect_s`` how long a connection may take to stand.
    """

    def __init__(self, repository: Repository, *, connect_s: float = 30, wait_s: float = 60) -> None:
        self._repository = repository
        self._connect_s, self._wait_s = connect_s, wait_s
        self._lock = threading.Lock()
        self._settings: dict[str, WebSettings] = {}
        self._idle: dict[Origin, list[_Connection]] = {}

    def settings_for(self, url: str) -> WebSettings:
        """What git's settings say for a URL; asked once for each path but the last part."""
        key = strip_userinfo(url).partition("?")[0].rpartition("/")[0]
        with self._lock:
            if key not in self._settings:
                self._settings[key] = read_web_settings(self._repository, strip_userinfo(url).partition("?")[0])
            return self._settings[key]

    @contextmanager
    def exchange(self, request: Request) -> Iterator[Reply]:
        """Send a request and follow redirects; to another host goes nothing that could be a secret.

        Raises:
            ReplyError: there is no answer. RemoteError: it would go where it may not.
        """
        for _ in range(REDIRECTS_MAX + 1):
            connection, reply = self._ask(request)
            is_kept = False
            try:
                is_last = reply.status not in _REDIRECTS or not reply.header("Location")
                if is_last:
                    yield reply
                else:
                    request = _redirected(request, reply)
                is_kept = self._give_back(connection, reply)
            finally:
                if not is_kept:
                    reply.response.close()
                    connection.close()
            if is_last:
                return
        raise ReplyError(f"{label_of(request.url)} redirects without end")

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            kept = [connection for found in self._idle.values() for connection in found]
            self._idle.clear()
        for connection in kept:
            connection.close()

    def _ask(self, request: Request) -> tuple[_Connection, Reply]:
        """The reply on a kept connection; on a new one where that has meanwhile been closed by the server."""
        with self._lock:
            kept = self._idle.get(request.origin)
            connection = kept.pop() if kept else None
        if connection is not None and connection.depth > request.depth_max:
            connection.close()
        elif connection is not None:
            try:
                return connection, self._ask_or_close(connection, request)
            except (ConnectionError, http.client.CannotSendRequest):  # RemoteDisconnected is one of the first
                pass
            except _CONNECTION_ERRORS as error:
                raise _unreached(request.url, error) from error
        connection = self._connect(request)
        try:
            return connection, self._ask_or_close(connection, request)
        except _CONNECTION_ERRORS as error:
            raise _unreached(request.url, error) from error

    def _ask_or_close(self, connection: _Connection, request: Request) -> Reply:
        try:
            return self._ask_on(connection, request)
        except BaseException:
            connection.close()
            raise

    def _ask_on(self, connection: _Connection, request: Request) -> Reply:
        connection.putrequest(request.method, connection.target(request.url), skip_accept_encoding=True)
        for name, value in {"User-Agent": "gittrack", **connection.headers, **request.headers}.items():
            connection.putheader(name, value.encode("latin-1", "replace"))
        connection.endheaders()
        refusal: OSError | None = None
        if request.send is not None:
            try:
                request.send(connection)
            except (BrokenPipeError, ConnectionResetError) as error:
                refusal = error  # it may have said why before it closed
        assert connection.sock is not None
        connection.sock.settimeout(self._wait_s + request.size_bytes / 4e6)  # it may still be writing it down
        try:
            response = connection.getresponse()
        except _CONNECTION_ERRORS:
            if refusal is not None:
                raise refusal from None
            raise
        if connection.sock is not None:
            connection.sock.settimeout(self._wait_s)
        if refusal is not None and response.status < 300:
            raise refusal
        return Reply(response.status, request.url, response, connection.depth)

    def _connect(self, request: Request) -> _Connection:
        """A new connection, whose address has been looked at.

        Raises:
            ReplyError: there is none to be had. RemoteError: the address is further in than the request may go.
        """
        settings = self.settings_for(request.url)
        scheme, host, port = request.origin
        proxy = urlsplit(settings.proxy)
        if settings.proxy and (proxy.scheme != "http" or not proxy.hostname):
            raise RemoteError(f"a proxy like {label_of(settings.proxy)} is not supported", "use one of http://")
        there = (proxy.hostname or "", proxy.port or 1080) if settings.proxy else (host, port)
        connection = _Connection(there[0], there[1], timeout=self._wait_s)
        try:
            sock = socket.create_connection(there, self._connect_s)
            connection.sock = sock
            sock.settimeout(self._wait_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.depth = depth_of(host if settings.proxy else sock.getpeername()[0])
            if connection.depth > request.depth_max:
                raise RemoteError(f"a server leads to {host}, an address that it has no business with: refused")
            if settings.proxy:
                connection.pass_proxy(settings.proxy, request.origin)
            if scheme == "https":
                connection.sock = _tls_context(settings).wrap_socket(sock, server_hostname=host)
        except _CONNECTION_ERRORS as error:
            connection.close()
            raise _unreached(request.url, error) from error
        except BaseException:
            connection.close()
            raise
        connection.host, connection.port = host, port  # what its Host header says
        connection.is_secure = scheme == "https"
        return connection

    def _give_back(self, connection: _Connection, reply: Reply) -> bool:
        """Keep a connection whose answer is read, or nearly so, for whoever comes next; whether it is kept."""
        try:
            if not reply.response.isclosed():
                reply.response.read(DRAINED_BYTES_MAX)
        except _CONNECTION_ERRORS:
            return False
        if not reply.response.isclosed() or connection.sock is None:
            return False
        with self._lock:
            self._idle.setdefault(origin_of(reply.url), []).append(connection)
        return True


class _Connection(http.client.HTTPConnection):
    """One connection. Whoever makes it connects it too."""

    auto_open = 0
    depth = LINK
    is_secure = False
    proxied_from = ""

    def __init__(self, host: str, port: int, *, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self.headers: dict[str, str] = {}

    @property
    def default_port(self) -> int:  # type: ignore[override]
        return 443 if self.is_secure else 80

    def target(self, url: str) -> str:
        """What the request line asks for."""
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return f"{self.proxied_from}{path}"

    def pass_proxy(self, proxy: str, origin: Origin) -> None:
        """Have a proxy connect us to an https server, or be asked for whole URLs: RFC 9110, "CONNECT"."""
        scheme, host, port = origin
        authorization = read_credential_in_url(proxy)
        known = {"Proxy-Authorization": authorization} if authorization else {}
        named = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if scheme == "http":
            self.proxied_from, self.headers = f"http://{named.removesuffix(':80')}", known
            return
        assert self.sock is not None
        lines = [f"CONNECT {named} HTTP/1.1", f"Host: {named}", *(f"{key}: {known[key]}" for key in known)]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        response = http.client.HTTPResponse(self.sock, method="CONNECT")
        response.begin()
        status = response.status
        response.close()
        if status != 200:
            raise OSError(f"the proxy {label_of(proxy)} refuses (HTTP {status})")


def origin_of(url: str) -> Origin:
    """What a credential belongs to."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def label_of(url: str) -> str:
    """A URL as it may be shown: without user, password and query."""
    return one_line(strip_userinfo(url).partition("?")[0].partition("#")[0])


def _redirected(request: Request, reply: Reply) -> Request:
    """The request that a redirect asks for; git-lfs and we keep the method, since ours make no sense as a GET.

    Raises:
        RemoteError: it leads to no web server, or from https to http.
    """
    url = require_web_url(urljoin(reply.url, reply.header("Location")), f"a redirect of {label_of(reply.url)}")
    url = strip_userinfo(url)
    if urlsplit(reply.url).scheme == "https" and urlsplit(url).scheme == "http":
        raise RemoteError(f"{label_of(reply.url)} redirects from https to http: refused")
    headers = request.headers
    if origin_of(url) != request.origin:
        headers = {name: value for name, value in headers.items() if name.lower() in _ON_THE_WAY}
    return replace(request, url=url, headers=headers, depth_max=min(request.depth_max, max(reply.depth, 0)))


def _tls_context(settings: WebSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None, capath=settings.ca_folder or None)
        if settings.certificate:
            context.load_cert_chain(settings.certificate, settings.key or None)
    except OSError as error:
        raise RemoteError(
            f"git's certificates cannot be read: {error}", "see http.ssl* in git-config(1)"
        ) from error
    if not settings.verifies:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _unreached(url: str, error: Exception) -> ReplyError:
    host = unquote(urlsplit(url).hostname or "")
    if isinstance(error, ssl.SSLCertVerificationError):
        return ReplyError(
            f"{host} has no certificate to be trusted: {one_line(error.verify_message)}",
            "name the authority that signed it: git config http.sslCAInfo FILE",
        )
    hint = "what is here stays here: try again when there is a network"
    return ReplyError(f"{label_of(url)} cannot be reached: {_said(error)}", hint, is_transient=True)


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it says nothing"
    return one_line((error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__)
