"""Objects to where a push wants them, and back here: from wherever they are, once, checked."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gittrack.artifact_stores.transfers import Outcome
from gittrack.errors import RemoteError
from gittrack.git.remotes import Remote, find_remote
from gittrack.schema.names import DEFAULT_EXPERIMENT_ID
from gittrack.sharing.objects import bring_objects, send_objects
from gittrack.sharing.places import list_store_urls
from gittrack.sharing.trust import trust_store
from gittrack.store.artifacts import Content, object_path, place_object
from gittrack.store.experiments import create_experiment, edit_experiment
from tests.harness import Repo, finish_child, make_repo, start_child


@pytest.fixture
def mine(tmp_path: Path) -> Repo:
    """A repository with a bare remote on disk."""
    return make_with_remote(tmp_path, "mine")


@pytest.fixture
def theirs(tmp_path: Path) -> Repo:
    """Another one with the same remote."""
    return make_with_remote(tmp_path, "theirs")


def make_with_remote(tmp_path: Path, name: str) -> Repo:
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "remote.git")], check=True)
    made = make_repo(tmp_path / name)
    made.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    return made


def origin(repo: Repo) -> Remote:
    found = find_remote(repo.repository)
    assert found is not None
    return found


def log_object(repo: Repo, data: bytes) -> Content:
    """Content that was logged in a repository."""
    content = Content(hashlib.sha256(data).hexdigest(), len(data), False)
    staged = repo.path.parent / "staged"
    staged.write_bytes(data)
    place_object(repo.repository, str(staged), content)
    staged.unlink()
    return content


def read(repo: Repo, content: Content) -> bytes:
    return Path(object_path(repo.repository, content.oid)).read_bytes()


def name_stores(repo: Repo, *urls: str, experiment: str = DEFAULT_EXPERIMENT_ID) -> None:
    edit_experiment(
        repo.repository, experiment, lambda record: replace(record, artifact_stores=urls), "stores named"
    )


def left_behind(repo: Repo) -> list[str]:
    folder = repo.state / "bringing"
    return os.listdir(folder) if folder.exists() else []


def test_objects_go_to_the_remote_and_come_from_it(mine: Repo, theirs: Repo) -> None:
    contents = [log_object(mine, data) for data in (b"weights", b"others", b"")]
    oids = {content.oid for content in contents}
    assert send_objects(mine.repository, origin(mine), contents) == Outcome(moved=oids)
    assert send_objects(mine.repository, origin(mine), contents) == Outcome(present=oids)
    moved: list[int] = []
    assert bring_objects(theirs.repository, contents, moved.append) == Outcome(moved=oids)
    assert sum(moved) == 13
    assert [read(theirs, content) for content in contents] == [b"weights", b"others", b""]
    assert left_behind(theirs) == []


def test_nothing_is_asked_of_anybody_for_what_is_here(mine: Repo) -> None:
    content = log_object(mine, b"weights")
    mine.git("remote", "set-url", "origin", "https://unreachable.invalid/runs.git")
    assert bring_objects(mine.repository, [content]) == Outcome(present={content.oid})
    assert send_objects(mine.repository, origin(mine), []) == Outcome()


def test_what_is_not_here_but_at_the_target_need_not_be_sent(mine: Repo, theirs: Repo) -> None:
    content = log_object(mine, b"weights")
    send_objects(mine.repository, origin(mine), [content])
    assert send_objects(theirs.repository, origin(theirs), [content]) == Outcome(present={content.oid})
    assert not os.path.exists(object_path(theirs.repository, content.oid))


def test_what_is_neither_here_nor_at_the_target_comes_from_where_it_is(
    tmp_path: Path, mine: Repo, theirs: Repo
) -> None:
    content = log_object(mine, b"weights")
    send_objects(mine.repository, origin(mine), [content])
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "mirror.git")], check=True)
    theirs.git("remote", "add", "mirror", str(tmp_path / "mirror.git"))
    mirror = find_remote(theirs.repository, "mirror")
    assert mirror is not None
    assert send_objects(theirs.repository, mirror, [content]) == Outcome(moved={content.oid})
    assert bring_objects(mine.repository, [content], remotes=[mirror]).present == {content.oid}


def test_what_is_nowhere_is_told_with_every_place_that_was_asked(mine: Repo) -> None:
    lost = Content("0" * 64, 7, False)
    here = log_object(mine, b"weights")
    outcome = send_objects(mine.repository, origin(mine), [lost, here])
    assert outcome == Outcome(moved={here.oid}, failed={lost.oid: "origin: it is not there"})
    assert left_behind(mine) == []
    mine.git("remote", "remove", "origin")
    told = bring_objects(mine.repository, [lost]).failed
    assert told == {lost.oid: "no remote and no store is known that could have it"}


def test_a_remote_that_is_gone_is_told_and_the_next_one_asked(tmp_path: Path, mine: Repo, theirs: Repo) -> None:
    content = log_object(mine, b"weights")
    send_objects(mine.repository, origin(mine), [content])
    theirs.git("remote", "rename", "origin", "second")
    theirs.git("remote", "add", "origin", str(tmp_path / "gone.git"))
    assert bring_objects(theirs.repository, [content]).moved == {content.oid}
    lost = Content("1" * 64, 7, False)
    assert bring_objects(theirs.repository, [lost]).failed == {
        lost.oid: "second: it is not there; origin: there is no repository"
    }
    with pytest.raises(RemoteError, match="origin: there is no repository"):
        send_objects(theirs.repository, origin(theirs), [content])


def test_wrong_bytes_at_one_place_are_refused_and_the_next_one_asked(
    tmp_path: Path, mine: Repo, theirs: Repo
) -> None:
    content = log_object(mine, b"weights")
    send_objects(mine.repository, origin(mine), [content])
    shutil.copytree(tmp_path / "remote.git", tmp_path / "mirror.git")
    evil = tmp_path / "remote.git/lfs/objects" / content.oid[:2] / content.oid[2:4] / content.oid
    evil.write_bytes(b"WEIGHTS")
    told = bring_objects(theirs.repository, [content]).failed
    assert told == {content.oid: "origin: it holds other bytes than its hash says"}
    assert not os.path.exists(object_path(theirs.repository, content.oid))
    theirs.git("remote", "add", "mirror", str(tmp_path / "mirror.git"))
    assert bring_objects(theirs.repository, [content]).moved == {content.oid}
    assert read(theirs, content) == b"weights"


def test_an_object_that_was_cut_here_is_fetched_again(mine: Repo, theirs: Repo) -> None:
    content = log_object(mine, b"weights")
    send_objects(mine.repository, origin(mine), [content])
    log_object(theirs, b"weights")
    Path(object_path(theirs.repository, content.oid)).write_bytes(b"wei")
    assert bring_objects(theirs.repository, [content]).moved == {content.oid}
    assert read(theirs, content) == b"weights"


def test_processes_that_want_the_same_objects_fetch_each_once(mine: Repo, theirs: Repo) -> None:
    contents = [log_object(mine, os.urandom(2_000_000)) for _ in range(6)]
    send_objects(mine.repository, origin(mine), contents)
    code = f"""
        from gittrack.git.repository import open_repository
        from gittrack.sharing.objects import bring_objects
        from gittrack.store.artifacts import Content
        contents = [Content(oid, size, False) for oid, size in {[(c.oid, c.size_bytes) for c in contents]}]
        print(len(bring_objects(open_repository("."), contents).moved))
    """
    children = [start_child(code, theirs.path) for _ in range(4)]
    assert sum(int(finish_child(child)[0]) for child in children) == 6
    assert left_behind(theirs) == []
    for content in contents:
        assert hashlib.sha256(read(theirs, content)).hexdigest() == content.oid


def test_what_a_killed_process_left_is_removed_by_the_next(mine: Repo, theirs: Repo) -> None:
    content = log_object(mine, b"weights")
    send_objects(mine.repository, origin(mine), [content])
    folder = theirs.state / "bringing"
    folder.mkdir(parents=True)
    for name in ("a" * 64 + ".lock", "a" * 64 + ".12ab.part", content.oid, content.oid + ".lock"):
        (folder / name).write_bytes(b"half")
    assert bring_objects(theirs.repository, [content]).moved == {content.oid}
    assert left_behind(theirs) == []


def test_a_repository_that_cannot_be_written_says_so(mine: Repo, theirs: Repo) -> None:
    content = log_object(mine, b"weights")
    send_objects(mine.repository, origin(mine), [content])
    theirs.state.mkdir(exist_ok=True)
    (theirs.state / "bringing").write_text("a file in its way")
    told = bring_objects(theirs.repository, [content]).failed
    assert told == {content.oid: "it cannot be kept here: File exists"}


def test_a_planted_link_is_not_followed(tmp_path: Path, mine: Repo) -> None:
    mine.state.mkdir(exist_ok=True)
    (mine.state / "bringing").symlink_to(tmp_path)
    before = sorted(os.listdir(tmp_path))
    told = bring_objects(mine.repository, [Content("0" * 64, 7, False)]).failed
    assert "is a link, a pipe or a device" in told["0" * 64]
    assert sorted(os.listdir(tmp_path)) == before


# -- stores that records name ----------------------------------------------------------------------------------


def test_a_store_named_by_the_record_takes_what_is_sent_and_is_asked_first(
    tmp_path: Path, mine: Repo, theirs: Repo
) -> None:
    (tmp_path / "store").mkdir()
    name_stores(mine, str(tmp_path / "store"))
    trust_store(mine.repository, str(tmp_path / "store"))
    stores = list_store_urls(mine.repository, "Default")
    content = log_object(mine, b"weights")
    assert send_objects(mine.repository, origin(mine), [content], stores=stores).moved == {content.oid}
    assert not (tmp_path / "remote.git/lfs").exists()
    mine.git("push", "-q", "origin", "refs/heads/gittrack/*:refs/heads/gittrack/*")
    theirs.git("fetch", "-q", "origin")
    assert bring_objects(theirs.repository, [content], remotes=[]).moved == {content.oid}


def test_nothing_is_written_into_a_folder_that_only_the_repository_names(tmp_path: Path, mine: Repo) -> None:
    (tmp_path / "store").mkdir()
    content = log_object(mine, b"weights")
    with pytest.raises(RemoteError, match=f"allow it: gittrack remote trust '{tmp_path}/store'"):
        send_objects(mine.repository, origin(mine), [content], stores=[f"file://{tmp_path}/store"])
    assert os.listdir(tmp_path / "store") == []


def test_a_host_that_only_the_repository_names_is_not_connected_to(mine: Repo) -> None:
    name_stores(mine, "sftp://stranger.invalid/objects", "https://stranger.invalid/x", "nonsense")
    mine.git("remote", "remove", "origin")
    told = bring_objects(mine.repository, [Content("0" * 64, 7, False)]).failed["0" * 64]
    assert "sftp://stranger.invalid/objects is named by the repository, and not connected to" in told
    assert "'https://stranger.invalid/x' is no store for artifacts" in told


def test_an_experiments_own_stores_come_before_those_of_the_whole_repository(mine: Repo) -> None:
    assert list_store_urls(mine.repository) == []
    name_stores(mine, "s3://all/of-them", "s3://old")
    own = create_experiment(mine.repository, "exp", {})
    name_stores(mine, "s3://own", "s3://old", experiment=own.id)
    assert list_store_urls(mine.repository, "exp") == ["s3://own", "s3://old", "s3://all/of-them"]
    assert list_store_urls(mine.repository, "Default") == ["s3://all/of-them", "s3://old"]
    assert set(list_store_urls(mine.repository)) == {"s3://own", "s3://old", "s3://all/of-them"}
