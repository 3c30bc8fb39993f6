"""A folder over SFTP, against OpenSSH's own server."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.artifact_stores.transfers import ArtifactStore, Outcome
from gittrack.artifact_stores.url_store import open_url_store
from gittrack.errors import RemoteError
from tests.artifact_stores.making import Told, make_object, to_fetch


@pytest.fixture
def store(tmp_path: Path, sftp_place: str) -> ArtifactStore:
    (tmp_path / "store").mkdir()
    return open_url_store(f"sftp://{sftp_place}{tmp_path}/store")


def test_what_is_sent_is_what_is_fetched_and_sent_only_once(tmp_path: Path, store: ArtifactStore) -> None:
    objects = [make_object(tmp_path / "here", data) for data in (b"", b"weights", bytes(range(256)) * 20_000)]
    oids, told = {one.oid for one in objects}, Told()
    assert store.find_absent(objects) == oids
    assert store.upload(objects, told) == Outcome(moved=oids)
    assert told.size_bytes == 5_120_007
    assert store.upload(objects, told) == Outcome(present=oids)
    wanted = [to_fetch(one, tmp_path / "there") for one in objects]
    assert store.download(wanted, told) == Outcome(moved=oids)
    for one, other in zip(objects, wanted, strict=True):
        assert Path(other.path).read_bytes() == Path(one.path).read_bytes()


def test_nothing_wrong_goes_or_comes(tmp_path: Path, store: ArtifactStore) -> None:
    good, bad, lost = (make_object(tmp_path / "here", data) for data in (b"good", b"evil", b"lost"))
    Path(bad.path).write_bytes(b"EVIL")
    why = "it holds other bytes than its hash says"
    assert store.upload([good, bad], Told()) == Outcome(moved={good.oid}, failed={bad.oid: why})
    stored = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert [path.name for path in stored] == [good.oid]
    stored[0].write_bytes(b"GOOD")
    outcome = store.download([to_fetch(one, tmp_path / "there") for one in (good, lost)], Told())
    assert outcome == Outcome(failed={good.oid: why, lost.oid: "it is not there"})
    assert list((tmp_path / "there").iterdir()) == []


def test_a_host_whose_key_is_not_known_is_refused(tmp_path: Path, store: ArtifactStore) -> None:
    known = tmp_path / "home/.ssh/known_hosts"
    known.write_text("")
    with pytest.raises(RemoteError, match="its host key is not the one that is known"):
        store.find_absent([])
    assert known.read_text() == ""


def test_a_key_that_is_not_let_in_says_so(tmp_path: Path, store: ArtifactStore) -> None:
    (tmp_path / "home/.ssh/id_ed25519").unlink()
    with pytest.raises(RemoteError, match=r"[Aa]uthentication"):
        store.find_absent([])


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path, store: ArtifactStore) -> None:
    (tmp_path / "store").rmdir()
    with pytest.raises(RemoteError, match="there is no such folder"):
        store.upload([make_object(tmp_path / "here", b"weights")], Told())
