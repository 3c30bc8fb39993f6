"""An ssh host is asked for its LFS server, and its leave is renewed when it has expired."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gittrack.errors import RemoteError
from tests.artifact_stores.making import Told, make_object
from tests.artifact_stores.test_lfs_servers import open_store
from tests.harness import Repo
from tests.servers.lfs import LfsServer, make_token
from tests.servers.strange_lfs import serve_strange_lfs


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A program that git takes for ssh; it notes what it was told, a line a call."""
    program, log = tmp_path / "ssh", tmp_path / "asked"
    program.write_text(f"#!/bin/sh\nprintf '%s|' \"$@\" >>{log}; echo >>{log}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(program))
    return log


def grant(url: str, token: str, **more: Any) -> str:
    told = {"href": url, "header": {"Authorization": f"Bearer {token}"}, **more}
    return f"echo '{json.dumps(told)}'"


def test_what_the_host_grants_is_used(
    repo: Repo, giftless: LfsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = stand_in(tmp_path, monkeypatch, grant(giftless.url, make_token(), expires_in=600))
    repo.git("remote", "add", "origin", "git@h.example:team/it's runs.git")
    sent = make_object(tmp_path / "sent", b"an object")
    assert open_store(repo).upload([sent], Told()).moved == {sent.oid}
    assert log.read_text() == "git@h.example|git-lfs-authenticate 'team/it'\"'\"'s runs.git' upload|\n"


def test_leave_that_has_expired_is_asked_for_again(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_strange_lfs() as server:
        count = f"n=$(wc -l <{tmp_path}/asked); "
        told = {"href": server.url, "header": {"Authorization": "RemoteAuth N"}, "expires_in": 600}
        log = stand_in(tmp_path, monkeypatch, f"{count}echo '{json.dumps(told)}' | sed s/N/$n/")
        repo.git("remote", "add", "origin", "ssh://h.example:22/runs")
        server.rules.append(
            lambda exchange: exchange.headers["Authorization"] == "RemoteAuth 1" and exchange.reply(401)
        )
        store = open_store(repo, "download")
        sent = make_object(tmp_path / "sent", b"an object")
        assert store.find_absent([sent]) == {sent.oid}
        assert [headers["Authorization"] for _, _, headers in server.requests] == ["RemoteAuth 1", "RemoteAuth 2"]
    assert log.read_text() == "-p|22|h.example|git-lfs-authenticate /runs download|\n" * 2


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'sh: 1: git-lfs-authenticate: not found' >&2; exit 127",
            "has no LFS server that ssh could tell of",
        ),
        ("echo \"fatal: unrecognized command 'git-lfs-authenticate x'\" >&2; exit 128", "has no LFS server"),
        ("echo 'Permission denied (publickey).' >&2; exit 255", "does not say where .*Permission denied"),
        ("echo 'who are you\x1b[31m' >&2; exit 1", r"does not say where .*: who are you\\x1b\[31m"),
        ("echo '<html>'", "no JSON"),
        ("head -c 100000 /dev/zero", "more than 65,536 bytes"),
        ('echo \'{"href": "file:///etc"}\'', "which is no URL of a web server"),
    ],
)
def test_a_host_that_tells_of_no_server_is_told(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    stand_in(tmp_path, monkeypatch, script)
    repo.git("remote", "add", "origin", "git@h.example:runs")
    with pytest.raises(RemoteError, match=reason):
        open_store(repo)


def test_git_shell_has_no_lfs(repo: Repo, git_ssh: Any) -> None:
    """A real ssh host that serves git alone."""
    git_ssh.make()
    repo.git("remote", "add", "origin", git_ssh.url())
    with pytest.raises(RemoteError, match="has no LFS server that ssh could tell of"):
        open_store(repo)
