"""Two people share by plain git alone: push by what `gittrack init` set up, clone, fetch, checkout, archive."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import Repo, make_repo
from tests.servers.git_http import USER, serve_git_over_http
from tests.servers.starting import HOST, running

GITTRACK = str(Path(sys.executable).with_name("gittrack"))
WEIGHTS = bytes(range(256)) * 400
OID = hashlib.sha256(WEIGHTS).hexdigest()


def gittrack(repo: Repo, *words: str) -> str:
    """What a command prints there."""
    done = subprocess.run([GITTRACK, *words], cwd=repo.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def list_names(repo: Repo) -> list[str]:
    return sorted(row["name"] for row in json.loads(gittrack(repo, "ls", "--json")))


def log_run(repo: Repo, name: str, rate: float) -> str:
    """A finished run with a file of weights and a note."""
    run_id = gittrack(repo, "start", "-e", "digits", "--name", name).strip()
    (repo.path / "weights.tmp").write_bytes(WEIGHTS)
    (repo.path / "notes.tmp").write_text(f"notes of {name}\n")
    gittrack(repo, "log", "param", f"lr={rate}")
    gittrack(repo, "log", "metric", f"acc={1 - rate}")
    gittrack(repo, "log", "artifact", "weights.tmp", "notes.tmp")
    gittrack(repo, "finish")
    return run_id


@dataclass(frozen=True, slots=True)
class Host:
    """Where two people meet: the URL to push to, the one to clone from, and where its LFS objects lie."""

    push_url: str
    url: str
    lfs_objects: Path

    def has_weights(self) -> bool:
        return any(path.read_bytes() == WEIGHTS for path in self.lfs_objects.rglob(OID))


@pytest.fixture(params=["file", "http"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with ExitStack() as opened:
        if request.param == "file":
            bare = tmp_path / "remote.git"
            subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
            yield Host(f"file://{bare}", f"file://{bare}", bare / "lfs/objects")
            return
        objects = tmp_path / "lfs"
        objects.mkdir()
        server = opened.enter_context(serve_git_and_lfs(tmp_path, objects, opened))
        server.make()
        yield Host(server.url(user=USER), server.url(), objects)


def serve_git_and_lfs(tmp_path: Path, objects: Path, opened: ExitStack):  # type: ignore[no-untyped-def]
    """Git and LFS under one URL, as on a forge: to read takes no login, to push does."""
    script = (
        "import sys; from dulwich.lfs_server import run_lfs_server; "
        "run_lfs_server(sys.argv[1], int(sys.argv[2]), sys.argv[3])[0].serve_forever()"
    )

    def make_argv(port: int) -> list[str]:
        return [sys.executable, "-c", script, HOST, str(port), str(objects)]

    port = opened.enter_context(running(make_argv, tmp_path / "lfs-log"))
    return serve_git_over_http(tmp_path / "http", lfs_port=port, lfs_path="$2")


@pytest.fixture
def ada(tmp_path: Path, host: Host) -> Repo:
    """Whoever logs runs: plain git is set up, git-lfs is not."""
    made = make_repo(tmp_path / "ada")
    made.git("remote", "add", "origin", host.push_url)
    gittrack(made, "init", "--push", "--hook")
    return made


def clone(host: Host, path: Path, *options: str) -> Repo:
    subprocess.run(["git", "clone", "-q", *options, host.url, str(path)], check=True)
    return Repo(path)


def test_a_plain_clone_shows_runs_and_a_plain_fetch_the_next(ada: Repo, host: Host, tmp_path: Path) -> None:
    first = log_run(ada, "first", 0.5)
    ada.git("push", "-q")
    bob = clone(host, tmp_path / "bob")
    assert list_names(bob) == ["first"]
    assert json.loads(gittrack(bob, "show", first, "--json"))["params"] == {"lr": 0.5}
    second = log_run(ada, "second", 0.25)
    ada.git("push", "-q")
    bob.git("fetch", "-q")
    assert list_names(bob) == ["first", "second"]
    differences = gittrack(bob, "diff", first, second)
    assert "lr" in differences
    assert "0.25" in differences


def test_a_plain_push_has_uploaded_the_artifacts(ada: Repo, host: Host) -> None:
    log_run(ada, "first", 0.5)
    ada.git("push", "-q")
    assert host.has_weights()


def test_git_checkout_of_a_run_materialises_its_artifacts(ada: Repo, host: Host, tmp_path: Path) -> None:
    log_run(ada, "first", 0.5)
    ada.git("push", "-q")
    subprocess.run(["git", "lfs", "install"], check=True, capture_output=True)  # for the user: HOME is the test's
    bob = clone(host, tmp_path / "bob")
    bob.git("checkout", "-q", "gittrack/digits")
    assert (bob.path / "artifacts/weights.tmp").read_bytes() == WEIGHTS
    assert (bob.path / "artifacts/notes.tmp").read_text() == "notes of first\n"
    assert bob.git("status", "--porcelain") == ""


def test_git_archive_of_a_run_materialises_its_artifacts(ada: Repo, host: Host, tmp_path: Path) -> None:
    log_run(ada, "first", 0.5)
    ada.git("push", "-q")
    subprocess.run(["git", "lfs", "install"], check=True, capture_output=True)
    bob = clone(host, tmp_path / "bob")
    words = ["git", "archive", "origin/gittrack/digits", "artifacts", "params.yaml"]
    packed = subprocess.run(words, cwd=bob.path, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        held = {item.name: archive.extractfile(item) for item in archive if item.isfile()}
        assert sorted(held) == ["artifacts/notes.tmp", "artifacts/weights.tmp", "params.yaml"]
        weights = held["artifacts/weights.tmp"]
        assert weights is not None
        assert weights.read() == WEIGHTS
