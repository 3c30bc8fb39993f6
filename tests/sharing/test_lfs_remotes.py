"""A remote by HTTP as forges have it: git and LFS behind one URL and one login; a plain clone needs neither."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gittrack.errors import RemoteError
from gittrack.sharing.objects import bring_objects
from gittrack.store.artifacts import Content
from tests.harness import make_repo
from tests.servers.git_http import GitHttp, serve_git_over_http
from tests.servers.lfs import USER, LfsServer, make_token, serve_giftless
from tests.sharing.clones import Clone
from tests.sharing.test_pushing import log_artifact

DATA = b"\0model" * 200_000


@pytest.fixture
def lfs(tmp_path: Path) -> Iterator[LfsServer]:
    with serve_giftless(tmp_path / "giftless", anonymous=True) as server:
        yield server


@pytest.fixture
def forge(tmp_path: Path, lfs: LfsServer) -> Iterator[GitHttp]:
    """Everybody reads; the owner of the token writes, git and LFS."""
    users = {USER: make_token("obj:git/runs/*")}
    with serve_git_over_http(tmp_path / "forge", users=users, lfs_port=urlsplit(lfs.url).port) as server:
        server.make()
        yield server


@pytest.fixture
def ada(tmp_path: Path, forge: GitHttp) -> Clone:
    """A repository whose user has stored a login for the forge, as git does."""
    made = Clone(make_repo(tmp_path / "ada").path)
    made.git("remote", "add", "origin", forge.url())
    made.git("config", "credential.helper", "store")
    (tmp_path / "home/.git-credentials").write_text(
        f"http://{USER}:{make_token('obj:git/runs/*')}@127.0.0.1%3a{forge.port}\n"
    )
    return made


def test_a_plain_clone_without_a_login_fetches_what_was_pushed_with_one(
    ada: Clone, forge: GitHttp, lfs: LfsServer, tmp_path: Path
) -> None:
    _, oid = log_artifact(ada, "one", DATA)
    done = ada.push()
    assert (done.uploaded.sent, ada.push().is_nothing) == (1, True)
    kept = lfs.find(oid)
    assert kept is not None
    assert kept.read_bytes() == DATA

    (tmp_path / "home/.git-credentials").unlink()
    subprocess.run(["git", "clone", "-q", forge.url(), str(tmp_path / "newcomer")], check=True)
    newcomer = Clone(tmp_path / "newcomer")
    assert newcomer.names() == ["one"]
    content = Content(oid, len(DATA), False)
    assert bring_objects(newcomer.repository, [content]).moved == {oid}
    assert (tmp_path / f"newcomer/.git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}").read_bytes() == DATA


def test_no_ref_moves_where_the_artifacts_are_refused(ada: Clone, forge: GitHttp, tmp_path: Path) -> None:
    """The login may write git, and read LFS alone."""
    log_artifact(ada, "one", DATA)
    token = make_token("obj:git/runs/*:read")
    ada.git("config", f"http.{forge.url()}/info/lfs.extraHeader", f"Authorization: Bearer {token}")
    with pytest.raises(RemoteError, match="access is denied"):
        ada.push()
    assert ada.git("ls-remote", "origin") == ""
