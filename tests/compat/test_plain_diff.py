"""Differences as plain git tells them: the same files, and ``git apply`` turns one tree into the other."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import gittrack
from gittrack.comparing.diffing import Comparison, compare
from tests.harness import Repo


def write(top: Path, path: str, data: bytes, mode: int = 0o644) -> None:
    place = top / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    place.chmod(mode)


def log_run(repo: Repo, name: str) -> str:
    gittrack.set_experiment("d")
    with gittrack.start_run(run_name=name):
        gittrack.log_param("name", name)
    return repo.git("rev-parse", "gittrack/d").strip()


def git_files(repo: Repo, one: str, other: str) -> set[str]:
    told = repo.git("diff", "--no-renames", "--name-only", "-z", f"{one}:code", f"{other}:code")
    return set(told.split("\0")) - {""}


def files_of(found: Comparison) -> set[str]:
    return {name for row in found.code for name in (row.name, row.renamed_from) if name}


def apply(repo: Repo, tree: str, patch: str, place: Path) -> str:
    """The tree that ``git apply`` makes of a tree."""
    environment = {**os.environ, "GIT_INDEX_FILE": str(place)}

    def git(*words: str, stdin: bytes = b"") -> str:
        done = subprocess.run(["git", *words], cwd=repo.path, env=environment, input=stdin, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    git("read-tree", tree)
    git("apply", "--cached", "--whitespace=nowarn", "-", stdin=patch.encode("utf-8", "surrogateescape"))
    return git("write-tree")


def test_plain_git_diff_names_the_same_files_and_git_apply_takes_the_patch(repo: Repo, tmp_path: Path) -> None:
    top = repo.path
    write(top, "pkg/moved.py", b"import os\n" * 5)
    write(top, "pkg/twice.py", b"import os\n" * 5)
    write(top, "mode.sh", b"#!/bin/sh\n")
    write(top, "with space é.py", b"a\nb\nc\n")
    write(top, 'odd"name\t\\.py', b"a\n")
    write(top, "binary.py", b"a\0b")
    write(top, "no_newline.txt", b"a\nb")
    write(top, "crlf.txt", b"a\r\nb\r\n\x0c\x85\xff\n")
    write(top, "becomes_folder", b"x\n")
    write(top, "big.txt", b"x" * (1 << 20) + b"\n\n")
    (top / "link").symlink_to("train.py")
    (top / "becomes_file").symlink_to("train.py")
    repo.commit("many files")
    one = log_run(repo, "one")

    (top / "pkg/moved.py").rename(top / "moved.py")
    (top / "mode.sh").chmod(0o755)
    write(top, "with space é.py", b"a\nB\nc\n")
    write(top, 'odd"name\t\\.py', b"b\n")
    write(top, "binary.py", b"a\0c")
    write(top, "no_newline.txt", b"a\nc")
    write(top, "crlf.txt", b"a\r\nc\r\n\x0c\x85\xfe\n")
    (top / "becomes_folder").unlink()
    write(top, "becomes_folder/deep/x.py", b"x\n")
    write(top, "big.txt", b"y" * (1 << 20) + b"\n\n")
    (top / "link").unlink()
    (top / "link").symlink_to("mode.sh")
    (top / "becomes_file").unlink()
    write(top, "becomes_file", b"now a file\n")
    write(top, "empty.py", b"")
    (top / "train.py").unlink()
    other = log_run(repo, "other")

    found = compare(repo.store, ["one", "other"])
    assert files_of(found) == git_files(repo, one, other)
    assert found.code["moved.py"].renamed_from == "pkg/moved.py"
    assert {row.name: row.patch.note for row in found.code if row.patch and row.patch.note} == {
        "binary.py": "binary",
        "big.txt": "too large",
    }
    assert (
        apply(repo, f"{one}:code", found.code.patch, tmp_path / "index")
        == repo.git("rev-parse", f"{other}:code").strip()
    )
    back = compare(repo.store, ["other", "one"]).code.patch
    assert apply(repo, f"{other}:code", back, tmp_path / "index") == repo.git("rev-parse", f"{one}:code").strip()


def test_git_apply_takes_the_patch_of_any_text(repo: Repo, tmp_path: Path) -> None:
    chance = random.Random(5)

    def text() -> bytes:
        words = [b"a\n", b"b\n", b"c\n", b"  d\n", b"\n", b"\r\n", b"%d\n" % chance.randrange(50)]
        return b"".join(chance.choices(words, k=chance.randrange(60))) + chance.choice([b"", b"end"])

    for number in range(200):
        write(repo.path, f"{number:03}.txt", text())
    repo.commit("texts")
    one = log_run(repo, "one")
    for number in range(200):
        write(repo.path, f"{number:03}.txt", text())
    other = log_run(repo, "other")
    patch = compare(repo.store, ["one", "other"]).code.patch
    assert apply(repo, f"{one}:code", patch, tmp_path / "index") == repo.git("rev-parse", f"{other}:code").strip()


def test_plain_git_diff_of_two_runs_commits_names_the_same_code_and_artifacts(repo: Repo) -> None:
    commits = []
    for name in ("one", "two"):
        write(repo.path, f"{name}.py", b"x\n")
        gittrack.set_experiment("d")
        with gittrack.start_run(run_name=name):
            gittrack.log_text(f"{name}\n", "notes.txt")
            gittrack.log_text("same\n", "same.txt")
            gittrack.log_text(f"{name}\n" * 100_000, f"large/{name}.txt")
        commits.append(repo.git("rev-parse", "gittrack/d").strip())
    told = repo.git("diff", "--no-renames", "--name-only", *commits, "--", "code", "artifacts").splitlines()
    found = compare(repo.store, ["one", "two"])
    named = [f"artifacts/{name}" for name in found.artifacts.names] + [f"code/{name}" for name in found.code.names]
    assert (
        named
        == told
        == [
            "artifacts/large/one.txt",
            "artifacts/large/two.txt",
            "artifacts/notes.txt",
            "code/two.py",
        ]
    )


def test_nothing_that_a_repository_names_is_run(repo: Repo) -> None:
    repo.git("config", "diff.external", "touch ran-external #")
    repo.git("config", "diff.evil.textconv", "touch ran-textconv #")
    repo.git("config", "diff.evil.command", "touch ran-command #")
    write(repo.path, ".gitattributes", b"*.py diff=evil\n")
    repo.commit("attributes")
    log_run(repo, "one")
    write(repo.path, "train.py", b"print('other')\n")
    log_run(repo, "other")
    for runs in (["one", "other"], ["one", "."]):
        assert compare(repo.store, runs).code.names == ["train.py"]
    assert [path.name for path in repo.path.iterdir() if path.name.startswith("ran-")] == []
