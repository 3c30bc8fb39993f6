"""The pointers that one history adds to another."""

from __future__ import annotations

import subprocess

import pytest

from gittrack.git.command import find_git
from gittrack.git.objects import ObjectId
from gittrack.sharing.pointers import list_pointers
from gittrack.store.artifacts import Content, format_pointer
from tests.harness import Repo

BRANCH = "refs/heads/runs"


def commit(repo: Repo, **files: bytes) -> ObjectId:
    """A commit of files, '__' for '/', on top of the branch; returns its id."""
    index = {**dict(line.split("\t")[::-1] for line in repo.git("ls-tree", "-r", BRANCH, code=None).splitlines())}
    lines = [f"{entry}\t{path}" for path, entry in index.items()]
    for name, data in files.items():
        blob = subprocess.run(
            ["git", "hash-object", "-w", "--stdin"], cwd=repo.path, input=data, capture_output=True, check=True
        )
        lines.append(f"100644 blob {blob.stdout.decode().strip()}\t{name.replace('__', '/')}")
    env_index = repo.path / ".git/other-index"
    env_index.unlink(missing_ok=True)
    git = ["env", f"GIT_INDEX_FILE={env_index}", "git", "-C", str(repo.path)]
    subprocess.run([*git, "update-index", "--index-info"], input="\n".join(lines).encode() + b"\n", check=True)
    tree = subprocess.run([*git, "write-tree"], capture_output=True, check=True).stdout.decode().strip()
    parent = repo.git("rev-parse", "--verify", "-q", BRANCH, code=None).strip()
    made = repo.git("commit-tree", tree, "-m", "x", *(("-p", parent) if parent else ())).strip()
    repo.git("update-ref", BRANCH, made)
    return ObjectId(made)


def pointer(number: int, size: int = 10) -> bytes:
    return format_pointer(Content(f"{number:064x}", size, False))


def found(repo: Repo, tips: list[ObjectId], beyond: list[ObjectId] | None = None) -> list[tuple[int, str, bool]]:
    listed = list_pointers(repo.repository, tips, beyond or [])
    return [(int(one.content.oid, 16), one.where, one.is_of_run) for one in listed]


@pytest.fixture(params=["git", "no git"])
def program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> object:
    """What takes git away where it is to be done without."""

    def take_away() -> None:
        if request.param == "no git":
            monkeypatch.setenv("PATH", "")
            find_git.cache_clear()

    yield take_away
    find_git.cache_clear()


def test_each_object_is_told_once_with_a_place(repo: Repo, program: object) -> None:
    tip = commit(
        repo,
        artifacts__model=pointer(1),
        artifacts__again=pointer(1),
        metrics__loss=pointer(2, 10**17),
        code__data=pointer(3),
        artifacts__text=b"text",
        artifacts__nearly=pointer(4) + b"ext\n",
    )
    program()  # type: ignore[operator]
    assert found(repo, [tip]) == [(1, "artifacts/again", True), (2, "metrics/loss", True), (3, "code/data", False)]


def test_what_is_behind_is_left_out_also_where_it_is_not_here(repo: Repo) -> None:
    old = commit(repo, artifacts__old=pointer(1))
    tip = commit(repo, artifacts__new=pointer(2))
    assert found(repo, [tip], [old, ObjectId("12" * 20)]) == [(2, "artifacts/new", True)]
    assert found(repo, []) == []


def test_a_tag_is_looked_behind(repo: Repo) -> None:
    commit(repo, artifacts__model=pointer(1))
    repo.git("tag", "-a", "digits@v1.0.0", "-m", "why", BRANCH)
    tag = ObjectId(repo.git("rev-parse", "digits@v1.0.0").strip())
    assert found(repo, [tag]) == [(1, "artifacts/model", True)]
