"""Artifacts in real LFS servers: with logins, beside the real git-lfs, and whatever its hash says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gittrack.artifact_stores.choosing import open_lfs_store
from gittrack.artifact_stores.endpoints import Operation
from gittrack.artifact_stores.transfers import ArtifactStore, Outcome
from gittrack.errors import RemoteError
from gittrack.git.remotes import find_remote
from tests.artifact_stores.making import Told, make_object, to_fetch
from tests.harness import Repo, make_repo
from tests.servers.lfs import USER, LfsServer, make_token


def open_store(repo: Repo, operation: Operation = "upload") -> ArtifactStore:
    remote = find_remote(repo.repository)
    assert remote is not None
    return open_lfs_store(repo.repository, remote, operation)


def add_remote(repo: Repo, url: str) -> None:
    """The LFS server as the place of a remote whose git is elsewhere."""
    repo.git("remote", "add", "origin", "https://nowhere.invalid/team/runs")
    repo.git("config", "remote.origin.lfsurl", url)


def keep_credentials(repo: Repo, url: str, password: str) -> Path:
    """A helper that knows the password, as ``git credential-store`` keeps it."""
    kept = repo.path.parent / "home/.git-credentials"
    host = url.removeprefix("http://").partition("/")[0].replace(":", "%3a")  # as it writes it itself
    kept.write_text(f"http://{USER}:{password}@{host}\n")
    repo.git("config", "credential.helper", "store")
    return kept


def test_objects_go_there_and_come_back(repo: Repo, giftless: LfsServer, tmp_path: Path) -> None:
    add_remote(repo, giftless.url)
    keep_credentials(repo, giftless.url, make_token())
    sent = [make_object(tmp_path / "sent", bytes([one]) * (one * 70_000)) for one in range(20)]
    told = Told()
    outcome = open_store(repo).upload(sent, told)
    assert outcome == Outcome(moved={one.oid for one in sent})
    assert told.size_bytes == sum(one.size_bytes for one in sent)
    assert open_store(repo).upload(sent, told) == Outcome(present={one.oid for one in sent})

    store, told = open_store(repo, "download"), Told()
    wanted = [to_fetch(one, tmp_path / "came") for one in sent]
    assert store.download(wanted, told) == Outcome(moved={one.oid for one in sent})
    assert told.size_bytes == sum(one.size_bytes for one in sent)
    assert [Path(one.path).read_bytes() for one in wanted] == [Path(one.path).read_bytes() for one in sent]
    assert sorted(path.name for path in (tmp_path / "came").iterdir()) == sorted(one.oid for one in sent)


@pytest.mark.parametrize("operation", ["upload", "download"])
def test_what_is_absent_is_told(repo: Repo, giftless: LfsServer, tmp_path: Path, operation: Operation) -> None:
    add_remote(repo, giftless.url.replace("://", f"://{USER}:{make_token()}@"))
    there, other = make_object(tmp_path / "sent", b"there"), make_object(tmp_path / "sent", b"not there")
    open_store(repo).upload([there], Told())
    assert open_store(repo, operation).find_absent([there, other]) == {other.oid}
    assert open_store(repo, operation).find_absent([]) == set()


def test_a_good_password_is_kept_and_a_bad_one_forgotten(repo: Repo, giftless: LfsServer, tmp_path: Path) -> None:
    add_remote(repo, giftless.url)
    kept = keep_credentials(repo, giftless.url, "wrong")
    sent = make_object(tmp_path / "sent", b"an object")
    with pytest.raises(RemoteError, match="it asks who you are"):
        open_store(repo).upload([sent], Told())
    assert kept.read_text() == ""
    before = keep_credentials(repo, giftless.url, make_token()).read_text()
    assert open_store(repo).upload([sent], Told()).moved == {sent.oid}
    assert kept.read_text() == before


def test_a_header_of_the_configuration_is_a_login(repo: Repo, giftless: LfsServer, tmp_path: Path) -> None:
    """As continuous integration leaves it in the checkout."""
    add_remote(repo, giftless.url)
    repo.git("config", f"http.{giftless.url}.extraHeader", f"AUTHORIZATION: bearer {make_token()}")
    sent = make_object(tmp_path / "sent", b"an object")
    assert open_store(repo).upload([sent], Told()).moved == {sent.oid}


def test_who_may_only_read_is_told_so(repo: Repo, giftless: LfsServer, tmp_path: Path) -> None:
    add_remote(repo, giftless.url.replace("://", f"://{USER}:{make_token('obj:team/runs/*:read')}@"))
    with pytest.raises(RemoteError, match="/objects/batch: access is denied"):
        open_store(repo).upload([make_object(tmp_path / "sent", b"an object")], Told())


def test_wrong_bytes_of_a_server_never_get_a_name(repo: Repo, giftless: LfsServer, tmp_path: Path) -> None:
    add_remote(repo, giftless.url.replace("://", f"://{USER}:{make_token()}@"))
    sent = make_object(tmp_path / "sent", b"the right bytes")
    open_store(repo).upload([sent], Told())
    giftless.put(sent.oid, b"the wrong bytes")
    told = Told()
    outcome = open_store(repo, "download").download([to_fetch(sent, tmp_path / "came")], told)
    assert list(outcome.failed) == [sent.oid]
    assert "sent other bytes than those asked for" in outcome.failed[sent.oid]
    assert told.size_bytes == 0
    assert list((tmp_path / "came").iterdir()) == []


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_a_damaged_file_is_not_sent(repo: Repo, giftless: LfsServer, tmp_path: Path, size: int) -> None:
    """Of a small one nothing goes, of a large one never the end: this server, which takes all, has none."""
    add_remote(repo, giftless.url.replace("://", f"://{USER}:{make_token()}@"))
    bad, good = make_object(tmp_path / "sent", b"x" * size), make_object(tmp_path / "sent", b"good")
    Path(bad.path).write_bytes(b"x" * (size - 1) + b"y")
    outcome = open_store(repo).upload([bad, good], Told())
    assert (outcome.moved, list(outcome.failed)) == ({good.oid}, [bad.oid])
    assert "is damaged: it holds other bytes than its hash says" in outcome.failed[bad.oid]
    assert giftless.find(bad.oid) is None


def test_git_lfs_pulls_what_we_sent_and_we_fetch_what_it_pushed(
    repo: Repo, dulwich_lfs: LfsServer, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "there.git")], check=True)
    repo.git("remote", "add", "origin", str(tmp_path / "there.git"))
    repo.git("config", "lfs.url", dulwich_lfs.url)
    repo.git("lfs", "install", "--local")
    repo.git("lfs", "track", "*.bin")
    (repo.path / "theirs.bin").write_bytes(b"theirs" * 9000)
    repo.commit("pushed by git-lfs")
    repo.git("push", "-q", "origin", "main")
    theirs = make_object(tmp_path / "same", b"theirs" * 9000)
    wanted = to_fetch(theirs, tmp_path / "came")
    assert open_store(repo, "download").download([wanted], Told()) == Outcome(moved={theirs.oid})

    (repo.path / "ours.bin").write_bytes(b"ours" * 9000)
    repo.commit("sent by us")
    ours = make_object(tmp_path / "same", b"ours" * 9000)
    assert open_store(repo).upload([theirs, ours], Told()) == Outcome(moved={ours.oid}, present={theirs.oid})
    repo.git("-c", "core.hooksPath=/dev/null", "push", "-q", "origin", "main")
    other = make_repo(tmp_path / "other")
    other.git("config", "lfs.url", dulwich_lfs.url)
    other.git("lfs", "install", "--local")
    other.git("remote", "add", "origin", str(tmp_path / "there.git"))
    other.git("fetch", "-q")
    other.git("checkout", "-q", "-B", "main", "origin/main")
    other.git("lfs", "pull")
    assert (other.path / "ours.bin").read_bytes() == b"ours" * 9000
