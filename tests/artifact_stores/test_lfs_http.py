"""How LFS servers are reached: by git's certificates and proxies, over connections that are kept while in use."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gittrack.errors import RemoteError
from tests.artifact_stores.making import Told, make_object
from tests.artifact_stores.test_lfs_servers import add_remote, open_store
from tests.harness import Repo
from tests.servers.strange_lfs import serve_strange_lfs


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody has signed."""
    file = tmp_path / "server.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    argv += [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(tmp_path / "key"),
        "-out",
        str(tmp_path / "crt"),
    ]
    subprocess.run(argv, check=True, capture_output=True)
    file.write_text((tmp_path / "key").read_text() + (tmp_path / "crt").read_text())
    return file


def test_a_certificate_is_checked_as_git_is_told(repo: Repo, tmp_path: Path, certificate: Path) -> None:
    sent = make_object(tmp_path / "sent", b"an object")
    with serve_strange_lfs(certificate=certificate) as server:
        add_remote(repo, server.url)
        with pytest.raises(RemoteError, match=r"127\.0\.0\.1 has no certificate to be trusted"):
            open_store(repo).upload([sent], Told())
        assert server.requests == []
        repo.git("config", "http.https://127.0.0.1.sslCAInfo", str(tmp_path / "crt"))
        with pytest.raises(RemoteError, match="has no certificate"):  # that was for another port
            open_store(repo).upload([sent], Told())
        repo.git("config", f"http.{server.url}.sslCAInfo", str(tmp_path / "crt"))
        assert open_store(repo).upload([sent], Told()).moved == {sent.oid}


def test_no_check_where_git_makes_none(repo: Repo, tmp_path: Path, certificate: Path) -> None:
    sent = make_object(tmp_path / "sent", b"an object")
    with serve_strange_lfs(certificate=certificate) as server:
        add_remote(repo, server.url)
        repo.git("config", "http.sslVerify", "false")
        assert open_store(repo).upload([sent], Told()).moved == {sent.oid}


def test_a_proxy_is_asked_for_whole_addresses(repo: Repo, tmp_path: Path) -> None:
    """It sees the server's credentials as any proxy of http does, and the server never its own."""
    with serve_strange_lfs() as proxy:
        add_remote(repo, "http://ada:secret@lfs.example/team/runs")
        repo.git("config", "http.proxy", proxy.url.replace("://", "://bob:word@"))
        open_store(repo).find_absent([make_object(tmp_path / "sent", b"an object")])
    ((method, path, headers),) = proxy.requests
    assert (method, path) == ("POST", "http://lfs.example/team/runs/objects/batch")
    assert (headers["Host"], headers["Proxy-Authorization"]) == ("lfs.example", "Basic Ym9iOndvcmQ=")


def test_https_goes_through_a_proxy_unseen(repo: Repo, tmp_path: Path, certificate: Path) -> None:
    sent = make_object(tmp_path / "sent", b"an object" * 100_000)
    with serve_strange_lfs() as proxy, serve_strange_lfs(certificate=certificate) as server:
        add_remote(repo, server.url.replace("://", "://ada:secret@"))
        repo.git("config", "http.sslCAInfo", str(tmp_path / "crt"))
        repo.git("config", "http.proxy", proxy.url.replace("://", "://bob:word@"))
        assert open_store(repo).upload([sent], Told()).moved == {sent.oid}
    assert [(method, path) for method, path, _ in proxy.requests] == [("CONNECT", urlsplit(server.url).netloc)]
    assert [headers.get("Authorization") for _, _, headers in proxy.requests] == [None]
    assert all("Proxy-Authorization" not in headers for _, _, headers in server.requests)


def test_a_proxy_that_is_not_spoken_to_is_told(repo: Repo, tmp_path: Path) -> None:
    add_remote(repo, "https://lfs.example/team/runs")
    repo.git("config", "http.proxy", "socks5://127.0.0.1:1")
    with pytest.raises(RemoteError, match=r"a proxy like socks5://.* is not supported"):
        open_store(repo).find_absent([make_object(tmp_path / "sent", b"an object")])


def test_a_connection_that_the_server_closed_is_made_again(repo: Repo, tmp_path: Path) -> None:
    sent = [make_object(tmp_path / "sent", bytes([one])) for one in range(30)]

    def close_silently(exchange: object) -> bool:
        exchange.close_connection = True  # type: ignore[attr-defined]
        return False

    with serve_strange_lfs(close_silently) as server:
        add_remote(repo, server.url)
        assert open_store(repo).upload(sent, Told()).moved == {one.oid for one in sent}
    assert len(server.asked("PUT")) == len(sent)
