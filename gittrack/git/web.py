"""How git would speak HTTP with a server: proxy, certificates and extra headers, of git-config(1), ``http.*``.

The environment comes before the configuration, as for git: ``GIT_SSL_NO_VERIFY``, ``GIT_SSL_CAINFO`` and so on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gittrack.git.config import strip_userinfo
from gittrack.git.repository import Repository
from gittrack.git.settings import Settings, find_setting, is_true, read_settings_for_url


@dataclass(frozen=True, slots=True)
class WebSettings:
    """What holds for one URL.

    Attributes:
        headers: ``http.extraHeader``, by name; often a token, so for that server alone.
        proxy: URL of the proxy, which may hold user and password; empty for none.
        verifies: whether the server's certificate is checked.
        ca_file, ca_folder: whom to believe, instead of the system's; certificate, key: who we are. Empty for none.
    """

    headers: dict[str, str] = field(repr=False)
    proxy: str = field(repr=False)
    verifies: bool
    ca_file: str
    ca_folder: str
    certificate: str
    key: str


def read_web_settings(repository: Repository, url: str) -> WebSettings:
    """What git's configuration and the environment say for a URL, in one git call of 3 ms."""
    found = read_settings_for_url(repository, "http", strip_userinfo(url))
    return WebSettings(
        headers=_parse_header(find_setting(found, "http.extraheader") or ""),
        proxy=_find_proxy(find_setting(found, "http.proxy"), url),
        verifies="GIT_SSL_NO_VERIFY" not in os.environ and is_true(find_setting(found, "http.sslverify"), True),
        ca_file=_find_path(found, "sslcainfo", "GIT_SSL_CAINFO"),
        ca_folder=_find_path(found, "sslcapath", "GIT_SSL_CAPATH"),
        certificate=_find_path(found, "sslcert", "GIT_SSL_CERT"),
        key=_find_path(found, "sslkey", "GIT_SSL_KEY"),
    )


def _find_path(found: Settings, key: str, variable: str) -> str:
    return os.environ.get(variable) or os.path.expanduser(find_setting(found, f"http.{key}") or "")


def _find_proxy(configured: str | None, url: str) -> str:
    """What curl, and so git, takes: the setting, else the environment's; none where NO_PROXY says so."""
    from urllib import request

    parts = urlsplit(url)
    known = request.getproxies_environment()
    host = parts.netloc.rpartition("@")[2]
    if request.proxy_bypass_environment(host, known):  # type: ignore[attr-defined]  # typeshed lacks it
        return ""
    proxy = known.get(parts.scheme) or known.get("all") or "" if configured is None else configured
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


def _parse_header(line: str) -> dict[str, str]:
    name, colon, value = line.partition(":")
    return {name.strip(): value.strip()} if colon else {}
