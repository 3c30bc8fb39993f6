"""Folders as artifacts: nothing is followed out, and what cannot be kept is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import gittrack
from gittrack.errors import ArtifactError
from gittrack.tracking.folders import FolderFile, walk_folder
from tests.harness import Repo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def paths(folder: Path) -> list[tuple[str, str | None]]:
    return [(found.path, found.link) for found in walk_folder(str(folder))]


def test_files_come_sorted_with_their_paths(folder: Path) -> None:
    for name in ("b.txt", "a/z.txt", "a/b/c.txt", "ümlaut", "with space"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / "empty").mkdir()
    found = list(walk_folder(str(folder)))
    assert [file.path for file in found] == ["a/b/c.txt", "a/z.txt", "b.txt", "with space", "ümlaut"]
    assert found[0] == FolderFile(str(folder / "a/b/c.txt"), "a/b/c.txt")


def test_links_that_stay_inside_are_kept_and_others_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "real").mkdir()
    (folder / "real/file").write_text("x")
    links = {
        "good": "real/file",
        "real/up": "../real",
        "dangling": "nowhere",
        "absolute": str(folder / "real/file"),
        "out": "../secret",
        "real/sly": "../../folder/real/file/../../../secret",
        "self": ".",
    }
    (folder.parent / "secret").write_text("s")
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (folder / "through").symlink_to("self/../../secret")
    kept = {path: link for path, link in paths(folder) if link is not None}
    assert kept == {"good": "real/file", "real/up": "../real", "dangling": "nowhere", "self": "."}
    assert len(caplog.records) == 1
    assert "leaves out 4" in caplog.text


def test_pipes_and_names_that_no_artifact_has_are_left_out_and_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(folder / "pipe")
    (folder / ".git").mkdir()
    (folder / ".git/config").write_text("x")
    for name in (".gitattributes", "back\\slash", "trailing.", "con", "new\nline", "a:b", "good"):
        (folder / name).write_text("x")
    (folder / os.fsdecode(b"latin-\xfc")).write_text("x")
    assert paths(folder) == [("good", None)]
    assert len(caplog.records) == 1
    assert "leaves out 9" in caplog.text
    assert "\n" not in caplog.records[0].getMessage()


def test_a_folder_as_a_hub_hands_it_out_is_kept_but_for_its_git_files(
    repo: Repo, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (".gitattributes", "config.json", ".gitignore", "model.bin"):
        (folder / name).write_text(name)
    with gittrack.start_run() as run:
        gittrack.log_artifacts(folder, "model")
    listed = [
        info.path for info in gittrack.artifacts.list_artifacts(run_id=run.info.run_id, artifact_path="model")
    ]
    assert listed == ["model/.gitignore", "model/config.json", "model/model.bin"]
    assert ".gitattributes" in caplog.text


def test_a_folder_that_cannot_be_read_says_which(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot read"):
        paths(tmp_path / "nowhere")


def test_a_link_to_the_folder_itself_is_walked(folder: Path, tmp_path: Path) -> None:
    (folder / "a").write_text("x")
    (tmp_path / "link").symlink_to(folder)
    assert paths(tmp_path / "link") == [("a", None)]
