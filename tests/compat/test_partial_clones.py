"""Clones that left something with the remote: what is read is fetched at once, and what lacks is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gittrack.git.bulk import read_blobs
from gittrack.git.promised import bring_missing, is_partial
from tests.harness import Repo, make_repo
from tests.servers.git_http import GitHttp
from tests.sharing.clones import Clone

GITTRACK = str(Path(sys.executable).with_name("gittrack"))
RUNS = 20


@pytest.fixture
def ids(git_http: GitHttp, tmp_path: Path) -> list[str]:
    """Runs at the server, by one who then goes away."""
    git_http.make()
    ada = Clone(make_repo(tmp_path / "ada").path)
    (ada.path / "train.py").write_text("print('other')\n")
    made = [ada.log(f"run-{number}", lr=number) for number in range(RUNS)]
    ada.git("push", "-q", str(git_http.folder / "runs.git"), "main", "refs/heads/gittrack/*")
    return made


def clone(git_http: GitHttp, path: Path, *options: str) -> Clone:
    subprocess.run(["git", "clone", "-q", *options, git_http.url(), str(path)], check=True)
    (git_http.folder.parent / "requests").unlink()
    return Clone(path)


def connections(git_http: GitHttp) -> int:
    """How often somebody connected to fetch, since the last look."""
    count = sum("info/refs" in line for line in git_http.requests())
    (git_http.folder.parent / "requests").unlink(missing_ok=True)
    return count


def gittrack(repo: Repo, *words: str, code: int = 0) -> tuple[str, str]:
    """What a command prints, and says on stderr."""
    done = subprocess.run([GITTRACK, *words], cwd=repo.path, capture_output=True, text=True, check=False)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout, done.stderr


@pytest.mark.usefixtures("newer_git")
def test_a_git_that_knows_to_fetch_nothing_unasked_reads_it_too(
    ids: list[str], git_http: GitHttp, tmp_path: Path
) -> None:
    url = f"file://{git_http.folder}/runs.git"  # the newer git of the tests speaks no HTTP
    subprocess.run(["git", "clone", "-q", "--filter=blob:none", url, str(tmp_path / "bob")], check=True)
    bob = Clone(tmp_path / "bob")
    assert bob.names() == sorted(f"run-{number}" for number in range(RUNS))
    assert json.loads(gittrack(bob, "show", ids[3], "--json")[0])["params"] == {"lr": 3}


def test_runs_are_listed_with_a_connection_for_each_kind_of_record_not_for_each_run(
    ids: list[str], git_http: GitHttp, tmp_path: Path
) -> None:
    bob = clone(git_http, tmp_path / "bob", "--filter=blob:none")
    rows = json.loads(gittrack(bob, "ls", "--json")[0])
    assert sorted((row["name"], row["params"]) for row in rows) == sorted(
        (f"run-{number}", {"lr": number}) for number in range(RUNS)
    )
    assert connections(git_http) <= 3  # records, lists of packages, experiments
    gittrack(bob, "ls")
    assert connections(git_http) == 0


def test_a_run_is_shown_and_two_are_compared_with_few_connections(
    ids: list[str], git_http: GitHttp, tmp_path: Path
) -> None:
    bob = clone(git_http, tmp_path / "bob", "--filter=blob:none")
    shown = json.loads(gittrack(bob, "show", ids[3], "--json")[0])
    assert shown["params"] == {"lr": 3}
    assert connections(git_http) <= 4
    assert "lr" in gittrack(bob, "diff", ids[4], ids[5])[0]
    assert connections(git_http) <= 8
    assert [point.value for point in bob.client.get_metric_history(ids[6], "loss")] == [0.5]
    bob.git("fsck")


def test_a_clone_without_trees_is_slow_but_right(ids: list[str], git_http: GitHttp, tmp_path: Path) -> None:
    bob = clone(git_http, tmp_path / "bob", "--filter=tree:0", "--no-checkout")
    assert bob.names() == sorted(f"run-{number}" for number in range(RUNS))
    assert json.loads(gittrack(bob, "show", ids[0], "--json")[0])["params"] == {"lr": 0}


def test_without_a_network_one_line_says_what_is_wrong(ids: list[str], git_http: GitHttp, tmp_path: Path) -> None:
    bob = clone(git_http, tmp_path / "bob", "--filter=blob:none")
    bob.git("remote", "set-url", "origin", "http://127.0.0.1:1/git/runs.git")
    for words in (("ls",), ("show", ids[0])):
        told = gittrack(bob, *words, code=1)[1].splitlines()
        assert len(told) == 2
        assert "is a partial clone, and" in told[0]
        assert "cannot be fetched: origin: it cannot be reached" in told[0]


def test_what_the_remote_lacks_too_does_not_keep_the_rest_away(
    ids: list[str], git_http: GitHttp, tmp_path: Path
) -> None:
    bob = clone(git_http, tmp_path / "bob", "--filter=blob:none")
    listed = bob.git("ls-tree", "-r", "--format=%(objectname)", "origin/gittrack/exp").split()
    lost = "12" * 20
    wanted = [listed[0], lost, *listed[1:]]
    blobs = list(read_blobs(bob.repository, wanted))
    assert [data is None for data in blobs] == [blob == lost for blob in wanted]


def test_a_path_that_is_not_there_is_none(ids: list[str], git_http: GitHttp, tmp_path: Path) -> None:
    bob = clone(git_http, tmp_path / "bob", "--filter=blob:none")
    tip = bob.tip("refs/remotes/origin/gittrack/exp")
    specs = [f"{tip}:run.yaml", f"{tip}:none.yaml", f"{tip}:metrics/loss.csv", f"{tip}:none/at/all", ""]
    assert [data is not None for data in read_blobs(bob.repository, specs)] == [True, False, True, False, False]


def test_a_whole_clone_asks_nobody(ids: list[str], git_http: GitHttp, tmp_path: Path) -> None:
    bob = clone(git_http, tmp_path / "bob")
    assert not is_partial(bob.repository)
    assert bring_missing(bob.repository, ["12" * 20]) == 0  # type: ignore[list-item]
    assert connections(git_http) == 0


def test_a_shallow_clone_says_that_it_is_one(ids: list[str], git_http: GitHttp, tmp_path: Path) -> None:
    bob = clone(git_http, tmp_path / "bob", "--depth=1", "--no-single-branch")
    shown, told = gittrack(bob, "ls", "--json")
    assert [row["name"] for row in json.loads(shown)] == [f"run-{RUNS - 1}"]
    assert told == "this clone is shallow: older runs are not here; get them: git fetch --unshallow\n"
    bob.git("fetch", "-q", "--unshallow")
    shown, told = gittrack(bob, "ls", "--json")
    assert (len(json.loads(shown)), told) == (RUNS, "")


def test_logging_in_a_partial_clone_asks_nobody_and_its_runs_are_pushed(
    ids: list[str], git_http: GitHttp, tmp_path: Path
) -> None:
    bob = clone(git_http, tmp_path / "bob", "--filter=blob:none")
    bob.git("config", "user.name", "Bob")
    bob.git("config", "user.email", "bob@example.org")
    bob.git("remote", "set-url", "origin", "http://127.0.0.1:1/git/runs.git")
    script = "import gittrack; gittrack.set_experiment('exp'); gittrack.log({'loss': 1.0}, step=0)"
    subprocess.run([sys.executable, "-c", script], cwd=bob.path, check=True)
    bob.git("remote", "set-url", "origin", str(git_http.folder / "runs.git"))
    gittrack(bob, "push")
    assert len(Repo(git_http.folder / "runs.git").git("rev-list", "gittrack/exp").split()) > RUNS


def test_verify_tells_no_damage_of_a_partial_clone(ids: list[str], git_http: GitHttp, tmp_path: Path) -> None:
    bob = clone(git_http, tmp_path / "bob", "--filter=blob:none")
    assert json.loads(gittrack(bob, "verify", "--json")[0]) == {"runs": RUNS, "problems": []}
    assert connections(git_http) <= 4
