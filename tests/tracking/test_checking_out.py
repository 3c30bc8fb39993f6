"""Getting artifacts back: whole or not at all, and never outside of where they were asked for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gittrack
from gittrack.errors import ArtifactMissingError, DamagedError, InvalidValueError, NotFoundError
from gittrack.git import reading
from gittrack.git.objects import LINK_MODE
from gittrack.schema.records import Artifact
from gittrack.store.artifacts import object_path
from gittrack.tracking.artifacts import check_out
from tests.harness import Repo

BINARY = os.urandom(5000)


@pytest.fixture
def run_id(repo: Repo, tmp_path: Path) -> str:
    folder = tmp_path / "logged"
    (folder / "deep").mkdir(parents=True)
    (folder / "tool.sh").write_text("#!/bin/sh\n")
    (folder / "tool.sh").chmod(0o755)
    (folder / "deep/weights.bin").write_bytes(BINARY)
    (folder / "link").symlink_to("deep/weights.bin")
    with gittrack.start_run() as run:
        gittrack.log_artifacts(folder, "model")
        gittrack.log_text("hello", "notes.txt")
    return run.info.run_id


def test_a_file_a_folder_and_everything_come_back(repo: Repo, run_id: str, tmp_path: Path) -> None:
    download = gittrack.artifacts.download_artifacts
    for target in (tmp_path / "one", tmp_path / "deep/er"):
        path = download(f"runs:/{run_id}/model/deep/weights.bin", dst_path=str(target))
        assert path == str(target / "model/deep/weights.bin")
        assert Path(path).read_bytes() == BINARY
    folder = Path(download(run_id=run_id, artifact_path="model"))
    assert (folder / "tool.sh").stat().st_mode & 0o777 == 0o755
    assert (folder / "link").is_symlink()
    assert (folder / "link").read_bytes() == BINARY
    whole = Path(download(run_id=run_id, dst_path=str(tmp_path / "whole")))
    assert sorted(path.name for path in whole.rglob("*") if path.is_file()) == [
        "link", "notes.txt", "tool.sh", "weights.bin",
    ]  # fmt: skip
    assert Path(gittrack.Client().download_artifacts(run_id, "model/")).name == "model"
    assert gittrack.artifacts.load_text(f"runs:/{run_id}/notes.txt") == "hello"


def test_a_run_in_flight_hands_out_its_artifacts_too(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "logged").mkdir()
    (tmp_path / "logged/file").write_text("x")
    (tmp_path / "logged/link").symlink_to("file")
    with gittrack.start_run() as run:
        gittrack.log_artifacts(tmp_path / "logged")
        folder = Path(gittrack.artifacts.download_artifacts(run_id=run.info.run_id))
        assert (folder / "file").read_text() == "x"
        assert os.readlink(folder / "link") == "file"


def test_what_is_asked_for_wrongly_is_said(repo: Repo, run_id: str) -> None:
    download = gittrack.artifacts.download_artifacts
    for arguments in (
        {},
        {"artifact_uri": f"runs:/{run_id}", "run_id": run_id},
        {"artifact_uri": f"s3://{run_id}"},
        {"artifact_uri": f"runs:/{run_id}/../../etc"},
        {"run_id": run_id, "artifact_path": "../x"},
    ):
        with pytest.raises(InvalidValueError):
            download(**arguments)
    for arguments in ({"run_id": run_id, "artifact_path": "mod"}, {"artifact_uri": f"runs:/{'f' * 32}/x"}):
        with pytest.raises(NotFoundError):
            download(**arguments)
    with pytest.raises(NotFoundError):
        gittrack.artifacts.load_text(f"runs:/{run_id}/model")


def test_a_damaged_or_missing_object_never_appears(repo: Repo, run_id: str, tmp_path: Path) -> None:
    stored = repo.store.get_run(run_id)
    (artifact,) = [found for found in repo.store.list_artifacts(stored) if found.path == "model/deep/weights.bin"]
    place = Path(object_path(repo.repository, artifact.oid))
    place.unlink()
    place.write_bytes(BINARY[:-1] + b"x")
    target = tmp_path / "out"
    with pytest.raises(DamagedError):
        gittrack.artifacts.download_artifacts(run_id=run_id, artifact_path=artifact.path, dst_path=str(target))
    place.unlink()
    with pytest.raises(ArtifactMissingError):
        gittrack.artifacts.download_artifacts(run_id=run_id, artifact_path=artifact.path, dst_path=str(target))
    assert [path for path in target.rglob("*") if not path.is_dir()] == []


def forged(path: str, mode: int = 0o100644) -> Artifact:
    return Artifact(path=path, oid="0" * 64, size_bytes=1, mode=mode, inline=True)


class ForgedStore:
    """Hands out whatever a hostile repository holds."""

    def __init__(self, links: dict[str, str]) -> None:
        self.links = links

    def open_artifacts(self, stored: Any) -> ForgedStore:
        return self

    def __enter__(self) -> ForgedStore:
        return self

    def __exit__(self, *exception: object) -> None: ...

    def bring(self, artifacts: list[Artifact]) -> None: ...

    def read(self, artifact: Artifact) -> list[bytes]:
        return [b"evil"]

    def read_link(self, artifact: Artifact) -> list[bytes]:
        return [self.links[artifact.path].encode()]


@pytest.mark.parametrize(
    "path",
    ["../evil", "/evil", "a/../../evil", ".git/hooks/post-checkout", "a\\..\\evil", "a//b", "./a", "C:/evil"],
)
def test_a_path_that_leaves_its_folder_is_refused(repo: Repo, tmp_path: Path, path: str) -> None:
    store: Any = ForgedStore({})
    with pytest.raises(InvalidValueError):
        check_out(store, None, [forged(path)], str(tmp_path / "out"))  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("file", True),
        ("../b/file", True),
        ("deep/er", True),
        ("/etc/passwd", False),
        ("../../secret", False),
        ("..", True),
        ("self/../../secret", False),
        ("x/../y", False),
        ("../..", False),
    ],
)
def test_a_link_is_made_only_where_it_cannot_lead_out(repo: Repo, tmp_path: Path, target: str, kept: bool) -> None:
    (tmp_path / "secret").write_text("s")
    store: Any = ForgedStore({"a/self": ".", "a/link": target})
    out = tmp_path / "out"
    links = [forged("a/self", LINK_MODE), forged("a/link", LINK_MODE)]
    check_out(store, None, links, str(out))  # type: ignore[arg-type]
    made = out / "a/link"
    assert made.is_symlink() is kept
    if kept:
        assert os.readlink(made) == target
        assert str(made.resolve()).startswith(str(out.resolve()))
    else:
        assert made.read_bytes() == target.encode()


def test_nothing_is_written_through_a_link(repo: Repo, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").symlink_to(outside)
    store: Any = ForgedStore({})
    with pytest.raises(InvalidValueError, match="link"):
        check_out(store, None, [forged("a/b")], str(out))  # type: ignore[arg-type]
    assert os.listdir(outside) == []
    (out / "a").unlink()
    (out / "file").symlink_to(outside / "target")
    check_out(store, None, [replace(forged("file"))], str(out))  # type: ignore[arg-type]
    assert ((out / "file").read_bytes(), os.listdir(outside)) == (b"evil", [])


@pytest.mark.parametrize("is_live", [False, True])
def test_one_tree_is_opened_for_all_that_is_checked_out(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_live: bool
) -> None:
    for number in range(300):
        place = tmp_path / "logged" / str(number % 3) / "deep" / "er" / f"{number}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(str(number))
    (tmp_path / "logged/0/link").symlink_to("deep")
    with gittrack.start_run() as run:
        gittrack.log_artifacts(tmp_path / "logged")
    if is_live:  # the tree is asked for what is not staged
        gittrack.start_run(run_id=run.info.run_id)
        gittrack.log_text("new", "0/deep/new.txt")
    store = repo.store
    stored = store.get_run(run.info.run_id)
    assert stored.is_live is is_live
    artifacts = store.list_artifacts(stored)
    parsed, parse = list[str](), reading.parse_tree
    monkeypatch.setattr(reading, "parse_tree", lambda name, data: parsed.append(name) or parse(name, data))
    written = check_out(store, stored, artifacts, str(tmp_path / "out"))
    assert len(written) == 301 + is_live
    assert len(parsed) <= 2 + 3 * 3  # the run, its artifacts, and three folders with two more in each
    for path in (tmp_path / "logged").rglob("*.txt"):
        assert (tmp_path / "out" / path.relative_to(tmp_path / "logged")).read_text() == path.read_text()
    assert os.readlink(tmp_path / "out/0/link") == "deep"


def test_a_run_that_is_committed_amid_the_check_out_is_read_to_its_end(repo: Repo) -> None:
    with gittrack.start_run() as run:
        gittrack.log_text("before", "a/committed.txt")
    gittrack.start_run(run_id=run.info.run_id)
    for number in range(3):
        gittrack.log_text(str(number), f"b/{number}.txt")
    store = repo.store
    stored = store.get_run(run.info.run_id)
    with store.open_artifacts(stored) as reader:
        texts = []
        for artifact in store.list_artifacts(stored):
            texts.append(b"".join(reader.read(artifact)))
            if artifact.path == "b/0.txt":
                gittrack.end_run()
    assert texts == [b"before", b"0", b"1", b"2"]


def test_a_staged_file_that_is_damaged_never_appears(repo: Repo, tmp_path: Path) -> None:
    gittrack.start_run()
    gittrack.log_text("hello", "notes.txt")
    stored = repo.store.get_run(gittrack.active_run().info.run_id)  # type: ignore[union-attr]
    (artifact,) = repo.store.list_artifacts(stored)
    assert stored.live is not None
    Path(stored.live.staging_dir, artifact.oid).write_bytes(b"hell")
    with pytest.raises(DamagedError):
        check_out(repo.store, stored, [artifact], str(tmp_path / "out"))
    assert not (tmp_path / "out/notes.txt").exists()
    gittrack.log_text("hello", "notes.txt")
    assert check_out(repo.store, stored, [artifact], str(tmp_path / "out"))
