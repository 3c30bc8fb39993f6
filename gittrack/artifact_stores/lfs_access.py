"""Who we are to an LFS server, and asking it: credentials go to its own scheme, host and port, and nowhere else.

Sources: git-lfs's docs/api/authentication.md, and docs/api/server-discovery.md, "SSH". What the user configured as
``http.<url>.extraHeader`` comes first, then what the URL holds, then what an ssh host granted, then git's helpers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from time import time

from gittrack.artifact_stores.lfs_batch import Action, parse_message
from gittrack.artifact_stores.lfs_http import DRAINED_BYTES_MAX, Reply, ReplyError, Request, Web, label_of, origin_of
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

_ROUNDS = 3  # as often as somebody is asked who they are
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_EXPLAINED = {
    401: ("it asks who you are, and git has no credentials that it takes", "set a credential helper: gitcredentials(7)"),
    403: ("access is denied", "ask for access, or check your credentials"),
    404: ("there is no LFS server", "name it: git config lfs.url URL; or keep artifacts elsewhere"),
    407: ("the proxy asks who you are", "put user and password into http.proxy"),
    413: ("what was sent is too large for it", ""),
    507: ("it has no room left", ""),
    509: ("its limit of bandwidth is used up", ""),
}

Grant = Callable[[], Action]  # what an ssh host says now


class Access:
    """An LFS server as we may use it; for several threads.

    Args:
        url: of the server, which may hold user and password. Empty where ``grant`` tells it.
        grant: asks the ssh host that knows the server; called again where what it said has expired.
        depth_max: how far in the server's own address may be.
    """

    def __init__(
        self, repository: Repository, web: Web, url: str, *, grant: Grant | None = None, depth_max: int
    ) -> None:
        self._repository, self._web, self._grant = repository, web, grant
        self._lock = threading.Lock()
        self._granted = grant() if grant is not None else None
        url = (self._granted.href if self._granted else "") or url
        self._asked_as = url  # with the user's name, by which a helper is asked
        self._authorization = read_credential_in_url(url)
        self._credential: Credential | None = None
        self._is_refused = False
        self.url, self.depth_max, self.depth = strip_userinfo(url).rstrip("/"), depth_max, depth_max

    @property
    def label(self) -> str:
        return label_of(self.url)

    @contextmanager
    def exchange(self, request: Request) -> Iterator[Reply]:
        """Send a request, as ourselves where it is for the server itself; the reply is one of success.

        Raises:
            ReplyError: it is not reached, or says no. RemoteError: it would lead us where it may not.
        """
        for left in range(_ROUNDS, -1, -1):
            used, sent = self._sign(request)
            with self._web.exchange(sent) as reply:
                is_ours = request.origin == reply.origin == origin_of(self.url)
                if reply.status == 401 and is_ours and left and not _has_authorization(request.headers):
                    challenges = reply.response.headers.get_all("WWW-Authenticate") or []
                    challenges += reply.response.headers.get_all("LFS-Authenticate") or []
                    reply.read(DRAINED_BYTES_MAX)
                elif reply.status in (401, 403) and is_ours and self._forget_grant(used):
                    continue
                else:
                    require_success(reply)
                    if is_ours:
                        self.depth = min(self.depth, reply.depth) if self.depth != self.depth_max else reply.depth
                        self._approve(used)
                    yield reply
                    return
            if not self._answer(used, challenges):
                raise refusal_of(401, self.url)
        raise refusal_of(401, self.url)

    def _sign(self, request: Request) -> tuple[str | None, Request]:
        """The request with what says who we are, if it is for the server and does not say so itself."""
        if request.origin != origin_of(self.url):
            return None, request
        headers = {**self._web.settings_for(request.url).headers}
        if self._granted is not None:
            headers |= self._renewed().headers
        used = None
        if not _has_authorization({**headers, **request.headers}):
            used = self._authorization
            headers |= {"Authorization": used} if used else {}
        if _has_authorization(request.headers):
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        return used, replace(request, headers={**headers, **request.headers})

    def _renewed(self) -> Action:
        with self._lock:
            if self._granted is not None and self._grant is not None and self._granted.is_stale():
                self._granted = self._grant()
            assert self._granted is not None
            return self._granted

    def _answer(self, used: str | None, challenges: list[str]) -> bool:
        """Find another credential than the one that was refused; whether there is one to try."""
        with self._lock:
            if self._authorization != used:
                return True  # another thread was quicker
            if self._is_refused or _has_authorization(self._web.settings_for(self.url).headers):
                return False
            if self._credential is not None:
                reject_credential(self._repository, self._credential)
            url = self._asked_as.removesuffix("/info/lfs")
            self._credential = fill_credential(self._repository, url, challenges)
            self._is_refused = self._credential is None or self._credential.authorization == used
            self._authorization = None if self._credential is None else self._credential.authorization
            return not self._is_refused

    def _approve(self, used: str | None) -> None:
        with self._lock:
            if self._credential is not None and self._credential.authorization == used:
                approve_credential(self._repository, self._credential)
                self._credential = None
