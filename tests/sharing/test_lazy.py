"""Artifacts come when they are opened, and not before; and how much of them is kept here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import gittrack
from gittrack import Client
from gittrack.errors import ArtifactMissingError, InvalidValueError
from gittrack.git.remotes import list_remotes
from gittrack.sharing.cache import keep_within_limit
from gittrack.sharing.objects import bring_objects, send_objects
from gittrack.store.artifacts import Content, has_object, object_path
from gittrack.store.verification import verify
from gittrack.tracking.settings import open_store
from tests.harness import Repo, make_repo, run_child
from tests.servers.seaweed import BUCKET, Seaweed

DATA = {"a.bin": b"\0a" * 500, "b.bin": b"\0b" * 500, "c.txt": b"text", "sub/d.bin": b"\0d" * 500}


@pytest.fixture
def run_id(repo: Repo, tmp_path: Path) -> str:
    """A run in `repo` whose artifacts are in its remote on disk."""
    return log_run(repo, tmp_path)


def log_run(repo: Repo, tmp_path: Path) -> str:
    repo.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    client = Client(str(repo.path))
    run = client.create_run("0", run_name="first")
    for path, data in DATA.items():
        file = tmp_path / Path(path).name
        file.write_bytes(data)
        client.log_artifact(run.info.run_id, str(file), str(Path(path).parent) if "/" in path else None)
    client.set_terminated(run.info.run_id)
    send_objects(repo.repository, list_remotes(repo.repository)[0], contents(repo, run.info.run_id))
    repo.git("push", "-q", "origin", "refs/heads/gittrack/*:refs/heads/gittrack/*")
    return str(run.info.run_id)


@pytest.fixture
def clone(run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A plain clone of the remote."""
    made = make_repo(tmp_path / "clone")
    made.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    made.git("fetch", "-q", "origin")
    monkeypatch.chdir(made.path)
    return made


def contents(repo: Repo, run_id: str) -> list[Content]:
    found = repo.store.list_artifacts(repo.store.get_run(run_id))
    return [Content(one.oid, one.size_bytes, False) for one in found if not one.inline]


def here(repo: Repo, run_id: str) -> int:
    return sum(has_object(repo.repository, content) for content in contents(repo, run_id))


def cli(place: Path, *words: str, expect: int = 0) -> tuple[str, str]:
    code = f"import sys; sys.argv[1:] = {list(words)!r}\nfrom gittrack.cli import main\nmain()"
    return run_child(code, place, expect)


def test_what_is_opened_comes_alone(clone: Repo, run_id: str, tmp_path: Path) -> None:
    cli(clone.path, "ls")
    cli(clone.path, "show", run_id)
    cli(clone.path, "artifacts", "ls", run_id)
    cli(clone.path, "verify")
    assert verify(clone.repository)[0] == 1
    assert here(clone, run_id) == 0
    cli(clone.path, "artifacts", "get", run_id, "b.bin", "--to", str(tmp_path / "out"))
    assert (tmp_path / "out/b.bin").read_bytes() == DATA["b.bin"]
    assert here(clone, run_id) == 1


def test_a_pattern_names_several(clone: Repo, run_id: str, tmp_path: Path) -> None:
    cli(clone.path, "artifacts", "get", run_id, "*.bin", "--to", str(tmp_path / "out"))
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"a.bin", "b.bin", "sub/d.bin"}
    _, err = cli(clone.path, "artifacts", "get", run_id, "*.onnx", expect=1)
    assert "has no artifact '*.onnx'" in err


def test_a_script_gets_what_it_opens(clone: Repo, run_id: str) -> None:
    folder = gittrack.artifacts.download_artifacts(run_id=run_id)
    assert {path: (Path(folder) / path).read_bytes() for path in DATA} == DATA
    assert here(clone, run_id) == 3


def test_a_history_that_is_an_object_comes_when_it_is_read(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gittrack.start_run() as run:
        for step in range(60_000):
            gittrack.log_metric("loss", 0.123456789, step=step)
    repo.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    objects = [path for path in Path(repo.repository.lfs_objects_dir).rglob("*") if path.is_file()]
    sent = [Content(path.name, path.stat().st_size, False) for path in objects]
    assert len(sent) == 1
    send_objects(repo.repository, list_remotes(repo.repository)[0], sent)
    objects[0].unlink()
    points = open_store().read_history(open_store().get_run(run.info.run_id), "loss")
    assert sum(1 for _ in points) == 60_000


def test_what_is_nowhere_says_where_it_was_looked_for(clone: Repo, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "remote.git").rename(tmp_path / "away.git")
    with pytest.raises(ArtifactMissingError) as caught:
        gittrack.artifacts.download_artifacts(run_id=run_id, artifact_path="a.bin")
    assert "looked for it: origin: there is no repository; it lives where the run was made" in caught.value.hint


def test_a_setting_keeps_everything_where_it_is(clone: Repo, run_id: str) -> None:
    clone.git("config", "gittrack.fetchArtifacts", "false")
    with pytest.raises(ArtifactMissingError, match=r"git config gittrack\.fetchArtifacts is off"):
        gittrack.artifacts.download_artifacts(run_id=run_id, artifact_path="a.bin")
    assert here(clone, run_id) == 0


# -- how much is kept --------------------------------------------------------------------------------------------


def use_at(repo: Repo, content: Content, time_s: int) -> None:
    os.utime(object_path(repo.repository, content.oid), (time_s, time_s))


def test_the_longest_unused_copies_go_when_there_are_too_many(clone: Repo, run_id: str) -> None:
    first, second, third = contents(clone, run_id)
    clone.git("config", "gittrack.artifactCache", "2kB")
    bring_objects(clone.repository, [first])
    bring_objects(clone.repository, [second])
    use_at(clone, first, 2_000)
    use_at(clone, second, 1_000)
    bring_objects(clone.repository, [third])
    assert [has_object(clone.repository, one) for one in (first, second, third)] == [True, False, True]
    bring_objects(clone.repository, [second])
    assert here(clone, run_id) == 2


def test_a_copy_stays_while_its_place_does_not_prove_to_have_it(clone: Repo, run_id: str, tmp_path: Path) -> None:
    bring_objects(clone.repository, contents(clone, run_id))
    clone.git("config", "gittrack.artifactCache", "0")
    (tmp_path / "remote.git").rename(tmp_path / "away.git")
    assert keep_within_limit(clone.repository) == []
    (tmp_path / "away.git").rename(tmp_path / "remote.git")
    first = contents(clone, run_id)[0]
    place = tmp_path / "remote.git/lfs/objects" / first.oid[:2] / first.oid[2:4] / first.oid
    place.unlink()
    assert len(keep_within_limit(clone.repository)) == 2
    assert has_object(clone.repository, first)


def test_what_was_logged_here_never_goes(clone: Repo, repo: Repo, run_id: str) -> None:
    repo.git("config", "gittrack.artifactCache", "0")
    assert keep_within_limit(repo.repository) == []
    assert here(repo, run_id) == 3
    bring_objects(clone.repository, contents(clone, run_id))
    (clone.path / "a.bin").write_bytes(DATA["a.bin"])
    with gittrack.start_run():
        gittrack.log_artifact("a.bin")
    clone.git("config", "gittrack.artifactCache", "0")
    assert len(keep_within_limit(clone.repository)) == 2
    assert here(clone, run_id) == 1


def test_without_a_limit_all_stays_and_a_limit_must_be_a_size(clone: Repo, run_id: str) -> None:
    bring_objects(clone.repository, contents(clone, run_id))
    assert keep_within_limit(clone.repository) == []
    clone.git("config", "gittrack.artifactCache", "plenty")
    with pytest.raises(InvalidValueError, match=r"git config gittrack\.artifactCache is 'plenty'"):
        keep_within_limit(clone.repository)


# -- a bucket ----------------------------------------------------------------------------------------------


def test_a_clone_gets_from_a_bucket_what_a_push_sent_there(
    repo: Repo, tmp_path: Path, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record that names the bucket travels with the branch; nothing is set up in the clone."""
    cli(repo.path, "remote", "store", f"s3://{BUCKET}/{tmp_path.name}")
    repo.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    (tmp_path / "model.bin").write_bytes(bytes(range(256)) * 5000)
    with gittrack.start_run() as run:
        gittrack.log_artifact(str(tmp_path / "model.bin"))
    cli(repo.path, "push")
    assert not (tmp_path / "remote.git/lfs").exists()
    repo.git("clone", "-q", str(tmp_path / "remote.git"), str(tmp_path / "clone"))
    cli(tmp_path / "clone", "artifacts", "get", run.info.run_id, "model.bin", "--to", str(tmp_path / "out"))
    assert (tmp_path / "out/model.bin").read_bytes() == (tmp_path / "model.bin").read_bytes()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    again = tmp_path / "again"
    repo.git("clone", "-q", str(tmp_path / "remote.git"), str(again))
    _, err = cli(again, "artifacts", "get", run.info.run_id, "--to", str(tmp_path / "no"), expect=1)
    assert "origin: it is not there; s3://" in err
    assert "access is denied" in err
