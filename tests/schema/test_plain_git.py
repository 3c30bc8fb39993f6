"""The format before real git: it takes every name, reads every trailer, and finds nothing wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gittrack.git.objects import FILE_MODE, ObjectId, ObjectSet, Signature
from gittrack.git.packs import write_pack
from gittrack.schema.codec import encode_run
from gittrack.schema.messages import format_run_message
from gittrack.schema.names import clean_text, experiment_ref, metric_path
from tests.harness import Repo
from tests.harness import clean_world as clean_world
from tests.harness import repo as repo

from .making import RUN_ID, make_run, make_summary
from .test_messages import FORGERIES
from .test_names import NAMES

ADA = Signature("Ada", "ada@example.org", 1_700_000_000)
KEYS = [
    "loss", "a/b", "a.csv/b", "a.csv", "a", ".git/x", ".GIT", ".gitmodules", ".gitattributes/x", "a:b",
    "a./b ", " a",
    "é/日本", "日" * 250, ":" * 250, "con", "HEAD", "/".join("a" * 125), "git", "...", "a..b", "-x", "x" * 250,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_git_takes_every_experiments_branch(name: str) -> None:
    done = subprocess.run(["git", "check-ref-format", experiment_ref(name)], capture_output=True, check=False)
    assert done.returncode == 0, experiment_ref(name)


def test_git_holds_the_branches_of_all_names_at_once(repo: Repo) -> None:
    head = repo.git("rev-parse", "HEAD").strip()
    for name in NAMES:
        repo.git("update-ref", experiment_ref(name), head)
    refs = {experiment_ref(name) for name in NAMES}
    repo.git("pack-refs", "--all")
    assert set(repo.git("for-each-ref", "--format=%(refname)", "refs/heads/gittrack/").split("\n")[:-1]) == refs


def test_git_finds_nothing_wrong_with_a_run_of_odd_names_and_checks_it_out(repo: Repo) -> None:
    objects = ObjectSet("sha1")
    files = {name: (FILE_MODE, objects.add_blob(data)) for name, data in encode_run(make_run()).items()}
    files |= {metric_path(key): (FILE_MODE, objects.add_blob(key.encode())) for key in KEYS}
    commit = objects.add_commit(objects.add_files(files), [], ADA, ADA, "run\n")
    with write_pack(repo.repository, objects):
        repo.git("update-ref", "refs/heads/gittrack/x", commit)
    repo.git("fsck", "--strict", "--no-dangling")
    repo.git("worktree", "add", "--quiet", str(repo.path.parent / "out"), "gittrack/x")
    for key in KEYS:
        assert (repo.path.parent / "out" / metric_path(key)).read_text() == key


def test_git_reads_our_trailers_and_no_forged_ones(repo: Repo) -> None:
    objects, parent, expected = ObjectSet("sha1"), list[ObjectId](), list[str]()
    for number, text in enumerate(FORGERIES, 1):
        name = clean_text(text if text.strip() else "x")
        run = make_run(name=name, revision=number, metrics={text: make_summary(0.5)}, note=text)
        message = format_run_message(run, text, {"0" * 16: number})
        parent = [objects.add_commit(objects.add_files({}), parent, ADA, ADA, message)]
        expected.append(
            f"Gittrack-Run={RUN_ID}|Gittrack-Revision={number}|Gittrack-Status=FINISHED"
            f"|Gittrack-Journal={'0' * 16}:{number}|Gittrack-Schema=1"
        )
    with write_pack(repo.repository, objects):
        repo.git("update-ref", "refs/heads/gittrack/x", parent[0])
    repo.git("fsck", "--strict", "--no-dangling")
    shown = repo.git("log", "--reverse", "--format=%(trailers:separator=|,key_value_separator==)", "gittrack/x")
    assert shown.split("\n")[:-1] == expected
    runs = repo.git("log", "--format=%(trailers:key=Gittrack-Run,valueonly,separator=;)", "gittrack/x")
    assert set(runs.split()) == {RUN_ID}


@pytest.mark.slow
def test_the_shipped_package_carries_the_same_statement(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    wheel = [
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(root),
    ]
    subprocess.run([sys.executable, "-m", *wheel], check=True, capture_output=True)
    (built,) = tmp_path.glob("gittrack-*.whl")
    script = """if True:
        import os, gittrack.schema.statement as told
        os.write(1, told.__file__.encode() + b"\\n" + told.statement())
    """
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(built)},
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    place, _, told = done.stdout.partition(b"\n")
    assert str(built).encode() in place
    assert told == (root / ".gittrack-schema").read_bytes()
