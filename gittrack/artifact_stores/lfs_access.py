"""Who we are to an LFS server, and asking it: credentials go to its own scheme, host and port, and nowhere else.

Sources: git-lfs's docs/api/authentication.md, and docs/api/server-discovery.md, "SSH". What the user configured as
``http.<url>.extraHeader`` comes first, then what the ssh host granted, what the URL holds, and git's helpers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from time import time

from gittrack.artifact_stores.lfs_batch import Action, parse_message
from gittrack.artifact_stores.lfs_http import (
    DRAINED_BYTES_MAX,
    Reply,
    ReplyError,
    Request,
    Web,
    label_of,
    origin_of,
)
from gittrack.git.config import strip_userinfo
from gittrack.git.credentials import (
    Credential,
    approve_credential,
    fill_credential,
    read_credential_in_url,
    reject_credential,
)
from gittrack.git.repository import Repository

WAIT_S_MAX = 120.0

_ASKED_MAX = 3  # as often as somebody is asked who they are
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_EXPLAINED = {
    401: ("it asks who you are, and git has no credentials that it takes", "set a helper: gitcredentials(7)"),
    403: ("access is denied", "ask for access, or check your credentials"),
    404: ("there is no LFS server", "name it: git config lfs.url URL; or keep artifacts elsewhere"),
    407: ("the proxy asks who you are", "put user and password into http.proxy"),
    413: ("what was sent is too large for it", ""),
    429: ("it is asked too often", "try again later"),
    507: ("it has no room left", ""),
    509: ("its limit of bandwidth is used up", ""),
}

Grant = Callable[[], Action]  # asks the ssh host that knows the server


class Access:
    """An LFS server as we may use it; for several threads.

    Args:
        url: of the server, which may hold user and password.
        granted: what an ssh host said, and ``grant`` to ask it again where that has expired.
        depth_max: how far in the server's own address may be; see `lfs_addresses`.
    """

    def __init__(
        self,
        repository: Repository,
        web: Web,
        url: str,
        *,
        depth_max: int,
        granted: Action | None = None,
        grant: Grant | None = None,
    ) -> None:
        self._repository, self._web = repository, web
        self._granted, self._grant = granted, grant
        self._lock = threading.Lock()
        self._asked_as = url  # with the user's name, by which a helper is asked
        self._authorization = read_credential_in_url(url)
        self._credential: Credential | None = None
        self.url, self.depth_max = strip_userinfo(url).rstrip("/"), depth_max
        self.depth = 0  # of the address that answered a batch request: whoever asks sets it

    @property
    def label(self) -> str:
        return label_of(self.url)

    @contextmanager
    def exchange(self, request: Request) -> Iterator[Reply]:
        """Send a request, as ourselves where it is for the server itself; the reply is one of success.

        Raises:
            ReplyError: it is not reached, or says no. RemoteError: it would lead us where it may not.
        """
        for left in reversed(range(_ASKED_MAX)):
            used, signed = self._sign(request)
            with self._web.exchange(signed) as reply:
                refusal = refusal_of(reply)
                if refusal is None:
                    if reply.origin == origin_of(self.url):
                        self._approve(used)
                    yield reply
                    return
                # some that everybody may read from forbid strangers to write, and do not ask who they are
                asks = refusal.status == 401 or (refusal.status == 403 and used is None)
                is_ours = reply.origin == origin_of(self.url) and _authorization_in(request.headers) is None
                challenges = reply.response.headers.get_all("WWW-Authenticate") or []
                challenges += reply.response.headers.get_all("LFS-Authenticate") or []
            if not (left and asks and is_ours and self._find_another(used, challenges)):
                raise refusal

    def _sign(self, request: Request) -> tuple[str | None, Request]:
        """The request with what says who we are, if it is for the server and does not say so itself."""
        if request.origin != origin_of(self.url):
            return None, request
        configured = self._web.settings_for(request.url).headers
        with self._lock:
            if self._granted is not None and self._grant is not None and self._granted.is_stale():
                self._granted = self._grant()
            granted = self._granted.headers if self._granted is not None else {}
            known = self._authorization
        used = _authorization_in(configured) or _authorization_in(granted) or known
        told = {**granted, **configured, **({"Authorization": used} if used else {}), **request.headers}
        by_name = {name.lower(): (name, value) for name, value in told.items()}  # the last of a name counts
        return used, replace(request, headers=dict(by_name.values()))

    def _find_another(self, used: str | None, challenges: list[str]) -> bool:
        """Find another credential than the one that was refused; whether there is one to try."""
        if used and used == _authorization_in(self._web.settings_for(self.url).headers):
            return False  # what the user configured comes before all others
        with self._lock:
            if self._granted is not None and self._grant is not None:
                self._granted = self._grant()
                return _authorization_in(self._granted.headers) not in (None, used)
            if self._authorization != used:
                return self._authorization is not None  # another thread was quicker
            if self._credential is not None:
                reject_credential(self._repository, self._credential)
            url = self._asked_as.removesuffix("/info/lfs")
            self._credential = fill_credential(self._repository, url, challenges)
            self._authorization = self._credential.authorization if self._credential else None
            return self._authorization not in (None, used)

    def _approve(self, used: str | None) -> None:
        """Tell the helpers once that a credential was right."""
        with self._lock:
            good = self._credential if self._credential and self._credential.authorization == used else None
            self._credential = None if good else self._credential
        if good is not None:
            approve_credential(self._repository, good)


def refusal_of(reply: Reply) -> ReplyError | None:
    """What a reply says no by, with the server's words; None for one of success."""
    status = reply.status
    if status in (200, 201, 202, 203, 204, 206):
        return None
    try:
        message = parse_message(reply.read(DRAINED_BYTES_MAX))
    except ReplyError:
        message = ""
    known, hint = _EXPLAINED.get(status, ("", ""))
    if status == 404 and not reply.url.endswith("/objects/batch"):
        known, hint = "it is not there", ""
    said = ": ".join(part for part in (known, message) if part) or f"it answers with HTTP {status}"
    return ReplyError(
        f"{label_of(reply.url)}: {said}",
        hint,
        status=status,
        is_transient=status in _TRANSIENT,
        wait_s=_parse_wait(reply.header("Retry-After")),
    )


def _parse_wait(retry_after: str) -> float:
    """Seconds of ``Retry-After``, which is a number of them or a date: RFC 9110; at most two minutes."""
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after[:9]), WAIT_S_MAX)
    try:
        return min(max(parsedate_to_datetime(retry_after).timestamp() - time(), 0.0), WAIT_S_MAX)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _authorization_in(headers: Mapping[str, str]) -> str | None:
    return next((value for name, value in headers.items() if name.lower() == "authorization"), None)
