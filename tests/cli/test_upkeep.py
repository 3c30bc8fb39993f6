"""Looking after a repository: init, recover, verify."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from .conftest import GITTRACK, Shell, clean_environment


def verify(shell: Shell, *words: str, code: int) -> dict[str, list[dict[str, str]]]:
    return json.loads(shell.gittrack("verify", "--json", *words, code=code))  # type: ignore[no-any-return]


def test_init_makes_a_bare_repository_only_where_there_is_none(bare_shell: Shell) -> None:
    bare_shell.gittrack("init")
    assert (bare_shell.folder / "gittrack.git" / "HEAD").exists()
    bare_shell.run(GITTRACK, "exec", "--", "true")
    assert len(json.loads(bare_shell.gittrack("ls", "--json"))) == 1
    assert bare_shell.git("--git-dir=gittrack.git", "fsck", "--strict") == ""


def test_init_in_a_repository_changes_nothing(shell: Shell) -> None:
    before = sorted(path.as_posix() for path in (shell.folder / ".git").rglob("*"))
    shell.gittrack("init")
    assert sorted(path.as_posix() for path in (shell.folder / ".git").rglob("*")) == before


def test_a_killed_process_is_recovered_by_the_next_command(shell: Shell) -> None:
    script = (
        "import gittrack, os, signal\n"
        "gittrack.start_run(run_name='doomed')\n"
        "gittrack.log_param('lr', 0.1)\n"
        "for step in range(100):\n"
        "    gittrack.log({'loss': float(step)}, step=step)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=shell.folder, env=clean_environment(shell.home), check=False
    )
    assert done.returncode == -signal.SIGKILL
    listed = shell.run(GITTRACK, "ls", "--json")
    (run,) = json.loads(listed.stdout)
    assert "recovered run" in listed.stderr
    assert (run["name"], run["status"], run["params"]) == ("doomed", "KILLED", {"lr": 0.1})
    assert run["metrics"]["loss"]["count"] == 100
    assert run["live"] is False
    assert os.listdir(shell.folder / ".git/gittrack/live") == []
    assert json.loads(shell.gittrack("recover", "--json")) == {"recovered": [], "running": []}


def test_verify_finds_nothing_wrong_in_a_sound_repository(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run("one", metrics="loss=nan acc=0.5")
    make_run("two")
    assert verify(shell, code=0) == {"runs": 2, "problems": []}


def test_verify_names_a_damaged_and_a_missing_artifact(shell: Shell) -> None:
    for name in ("a.bin", "b.bin"):
        (shell.folder / name).write_bytes(b"\0" + name.encode() * 100)
    shell.gittrack("start")
    shell.gittrack("log", "artifact", "a.bin", "b.bin")
    shell.gittrack("finish")
    first, second = (file["oid"] for file in json.loads(shell.gittrack("artifacts", "ls", "@last", "--json")))
    objects = shell.folder / ".git/lfs/objects"
    damaged = objects / first[:2] / first[2:4] / first
    damaged.chmod(0o644)
    damaged.write_bytes(b"?")
    (objects / second[:2] / second[2:4] / second).unlink()
    problems = verify(shell, code=1)["problems"]
    assert [(problem["kind"], problem["where"].split()[-1]) for problem in problems] == [
        ("damaged", "artifacts/a.bin"),
        ("missing", "artifacts/b.bin"),
    ]
    assert all(problem["hint"] for problem in problems)


def test_an_artifact_that_is_merely_elsewhere_is_no_failure(shell: Shell) -> None:
    (shell.folder / "a.bin").write_bytes(b"\0a")
    shell.gittrack("start")
    shell.gittrack("log", "artifact", "a.bin")
    shell.gittrack("finish")
    (path,) = (path for path in (shell.folder / ".git/lfs/objects").rglob("*") if path.is_file())
    path.unlink()
    assert [problem["kind"] for problem in verify(shell, code=0)["problems"]] == ["missing"]


def test_verify_finds_a_forged_record(shell: Shell, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    text = shell.git("show", "gittrack/digits:run.yaml").replace(run_id, "0" * 32)
    blob = shell.run("git", "hash-object", "-w", "--stdin", stdin=text).stdout.strip()
    rows = [line for line in shell.git("ls-tree", "gittrack/digits").splitlines() if not line.endswith("run.yaml")]
    listing = "\n".join([*rows, f"100644 blob {blob}\trun.yaml"]) + "\n"
    tree = shell.run("git", "mktree", stdin=listing).stdout.strip()
    message = shell.git("log", "-1", "--format=%B", "gittrack/digits")
    forged = message.replace("Gittrack-Revision: 1", "Gittrack-Revision: 2")
    commit = shell.run("git", "commit-tree", tree, "-p", "gittrack/digits", stdin=forged).stdout.strip()
    shell.git("update-ref", "refs/heads/gittrack/digits", commit)
    (problem,) = verify(shell, code=1)["problems"]
    assert "trailers and its record differ" in problem["message"]
    shown = shell.run(GITTRACK, "ls", "--json")
    assert "warning:" in shown.stderr


def test_verify_finds_a_corrupt_pack(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run()
    pack = max((shell.folder / ".git/objects/pack").glob("*.pack"), key=lambda path: path.stat().st_size)
    pack.chmod(0o644)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0xFF
    pack.write_bytes(bytes(data))
    assert any(problem["kind"] == "damaged" for problem in verify(shell, code=1)["problems"])


def test_the_version_is_told_without_a_command(shell: Shell) -> None:
    import gittrack

    assert shell.gittrack("--version") == f"gittrack {gittrack.__version__}\n"


def test_another_repository_is_named_by_an_option(shell: Shell, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    shell.git("init", "-q", "other")
    assert json.loads(shell.gittrack("-C", "other", "ls", "--json")) == []
    assert json.loads(shell.gittrack("-C", f"gittrack:{shell.folder}", "ls", "--json"))[0]["id"] == run_id
    assert "no folder at" in shell.error("-C", "nowhere", "ls")


def test_verify_names_a_branch_whose_commit_is_gone(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run()
    (shell.folder / ".git/refs/heads/gittrack/gone").write_text("1" * 40 + "\n")
    told = verify(shell, code=1)["problems"]
    assert [problem["message"] for problem in told] == [
        "the branch refs/heads/gittrack/gone leads to no commit that can be read"
    ]


def test_a_repository_of_another_user_is_refused_with_gits_own_hint(
    shell: Shell, make_run: Callable[..., str]
) -> None:
    make_run()
    os.chown(shell.folder / ".git", 4711, 4711)
    for words in (("ls",), ("recover",), ("verify",)):
        told = shell.error(*words)
        assert "belongs to another user" in told
        assert "safe.directory" in told
