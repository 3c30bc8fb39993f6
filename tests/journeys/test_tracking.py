"""Tracking end to end: wherever a repository is and whatever the user is doing in it, beside crowds and git."""

from __future__ import annotations

import io
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import gittrack
from tests.harness import (
    Repo,
    digest_tree,
    finish_child,
    in_fork,
    make_repo,
    reset_tracking,
    run_child,
    start_child,
)

SESSION = """
import io
import os
import gittrack
gittrack.set_experiment("digits")
with gittrack.start_run(run_name="journey", tags={"a": "b"}) as run:
    gittrack.log_params({"lr": 0.1, "layers": 3})
    for step in range(20):
        gittrack.log({"loss": 1 / (step + 1), "acc": step}, step=step)
    gittrack.log_text("notes", "notes.txt")
    run.log_stream(__import__("io").BytesIO(bytes(range(256)) * 40), "model.bin")
    with gittrack.start_run(nested=True):
        gittrack.log_metric("inner", 1.0)
client = gittrack.Client()
run_id = run.info.run_id
client.set_tag(run_id, "late", "yes")
client.log_metric(run_id, "loss", 0.0, step=20)
client.delete_run(run_id)
client.restore_run(run_id)
other = gittrack.create_experiment("other")
gittrack.rename_experiment(other, "renamed")
gittrack.delete_experiment(other)
gittrack.restore_experiment(other)
client.set_experiment_tag(other, "k", "v")
made = client.create_run(other)
client.log_batch(made.info.run_id, params=[gittrack.entities.Param("p", "1")])
client.set_terminated(made.info.run_id, "FAILED")
gittrack.artifacts.download_artifacts(run_id=run_id)
gittrack.search_experiments()
print(run_id)
"""


def check_session(repo: Repo, run_id: str) -> None:
    store = repo.store
    stored = store.get_run(run_id)
    assert (stored.record.status, stored.record.lifecycle, stored.record.revision) == ("FINISHED", "active", 5)
    assert [point.step for point in store.read_history(stored, "loss")] == list(range(21))
    assert [artifact.path for artifact in store.list_artifacts(stored)] == ["model.bin", "notes.txt"]
    assert len(store.list_runs().runs) == 3
    repo.assert_sound()


# -- where ---------------------------------------------------------------------------------------------------


def linked_worktree(base: Repo, path: Path) -> Repo:
    base.git("worktree", "add", "--quiet", str(path), "-b", "side")
    return Repo(path)


def submodule(base: Repo, path: Path) -> Repo:
    outer = make_repo(path)
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(base.path), "inner")
    return Repo(path / "inner")


def separate(base: Repo, path: Path) -> Repo:
    path.mkdir()
    made = Repo(path)
    made.git("init", "--quiet", f"--separate-git-dir={path.parent / 'elsewhere.git'}")
    return made


def bare(base: Repo, path: Path) -> Repo:
    base.git("clone", "--quiet", "--bare", str(base.path), str(path))
    return Repo(path)


def empty(base: Repo, path: Path) -> Repo:
    base.git("init", "--quiet", str(path))
    return Repo(path)


def detached(base: Repo, path: Path) -> Repo:
    base.git("checkout", "--quiet", "--detach")
    return base


def shallow(base: Repo, path: Path) -> Repo:
    base.commit("second")
    base.git("clone", "--quiet", "--depth=1", f"file://{base.path}", str(path))
    return Repo(path)


def alternates(base: Repo, path: Path) -> Repo:
    base.git("clone", "--quiet", "--shared", str(base.path), str(path))
    return Repo(path)


def crlf(base: Repo, path: Path) -> Repo:
    base.git("config", "core.autocrlf", "true")
    return base


def odd_path(base: Repo, path: Path) -> Repo:
    return make_repo(path.parent / "a b#c?ü%41'\"")


def packed_refs(base: Repo, path: Path) -> Repo:
    run_child(SESSION.replace("journey", "before"), base.path)
    base.git("gc", "--quiet", "--prune=now")
    base.git("pack-refs", "--all", "--prune")
    return base


@pytest.mark.parametrize(
    "make",
    [linked_worktree, submodule, separate, bare, empty, detached, shallow, alternates, crlf, odd_path],
    ids=lambda make: make.__name__,
)
def test_a_session_works_in_every_kind_of_repository(repo: Repo, tmp_path: Path, make: object) -> None:
    made: Repo = make(repo, tmp_path / "made")  # type: ignore[operator]
    out, _ = run_child(SESSION, made.path)
    check_session(made, out.strip())


def test_a_session_works_on_packed_refs_and_objects(repo: Repo, tmp_path: Path) -> None:
    made = packed_refs(repo, tmp_path)
    out, _ = run_child(SESSION.replace("other = gittrack.create_experiment(\"other\")",
                                       "other = gittrack.create_experiment(\"more\")")
                       .replace('"renamed"', '"renamed too"'), made.path)  # fmt: skip
    assert len(made.store.list_runs().runs) == 6
    made.git("gc", "--quiet", "--prune=now")
    assert made.store.get_run(out.strip()).record.metrics["loss"].count == 21
    made.assert_sound()


def test_runs_of_a_linked_worktree_outlive_it(repo: Repo, tmp_path: Path) -> None:
    linked = linked_worktree(repo, tmp_path / "made")
    child = start_child(
        """
        import signal
        import gittrack
        run = gittrack.start_run()
        gittrack.log({"a": 1.0}, 0)
        print(run.info.run_id, flush=True)
        signal.pause()
        """,
        linked.path,
    )
    assert child.stdout is not None
    run_id = child.stdout.readline().strip()
    repo.git("worktree", "remove", "--force", str(linked.path))
    child.terminate()
    finish_child(child, -15)
    assert repo.store.get_run(run_id).record.metrics["a"].count == 1
    repo.assert_sound()


def test_without_an_identity_a_plain_one_is_used(repo: Repo) -> None:
    repo.git("config", "--unset", "user.name")
    repo.git("config", "--unset", "user.email")
    repo.git("config", "user.useConfigOnly", "true")
    run_child("import gittrack\nwith gittrack.start_run(): gittrack.log({'a': 1.0})", repo.path)
    assert repo.git("log", "-1", "--format=%an %cn", "refs/heads/gittrack/Default") == "gittrack gittrack\n"
    repo.assert_sound()


def test_in_a_plain_locale_and_without_a_home(repo: Repo) -> None:
    code = SESSION.replace('"notes"', '"n\\xf6tes"').replace("journey", "j\\xf6urney")
    out, _ = run_child(code, repo.path, LC_ALL="C", HOME="/nowhere", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    check_session(repo, out.strip())
    assert repo.store.get_run(out.strip()).record.name == "jöurney"


# -- the user's own things -----------------------------------------------------------------------------------


def test_nothing_of_the_users_is_touched_in_the_midst_of_a_merge(repo: Repo) -> None:
    """Staged, changed and untracked files, a stash, a merge in progress, hooks and settings: byte for byte."""
    repo.commit("base", merged__py="base\n", staged__py="a\n", changed__py="a\n")
    repo.git("checkout", "--quiet", "-b", "side")
    repo.commit("theirs", merged__py="theirs\n")
    repo.git("checkout", "--quiet", "main")
    (repo.path / "changed.py").write_text("stashed\n")
    repo.git("stash")
    repo.commit("ours", merged__py="ours\n")
    repo.git("merge", "side", code=1)
    (repo.path / "staged.py").write_text("staged\n")
    repo.git("add", "staged.py")
    (repo.path / "changed.py").write_text("changed\n")
    (repo.path / "untracked.py").write_text("untracked\n")
    (repo.path / ".env").write_text("SECRET=1\n")
    os.mkfifo(repo.path / "pipe")
    hooks = Path(repo.git("rev-parse", "--git-path", "hooks").strip())
    for name in (
        "pre-commit",
        "post-commit",
        "commit-msg",
        "reference-transaction",
        "post-index-change",
        "pre-auto-gc",
    ):
        hook = repo.path / hooks / name
        hook.write_text(f"#!/bin/sh\ntouch {repo.path}/hook-{name}-ran\n")
        hook.chmod(0o755)
    ours = ("objects/", "gittrack/", "refs/heads/gittrack/", "logs/refs/heads/gittrack/", "lfs/")

    def everything() -> dict[str, tuple[int, bytes, int]]:
        git = {path: found for path, found in digest_tree(repo.path / ".git").items() if not path.startswith(ours)}
        work = {path: found for path, found in digest_tree(repo.path).items() if not path.startswith(".git/")}
        return {**{f".git/{path}": found for path, found in git.items()}, **work}

    before = everything()
    out, _ = run_child(SESSION, repo.path)
    after = everything()
    assert after.keys() - before.keys() == set()
    assert {path for path in before if before[path] != after.get(path)} == set()
    check_session(repo, out.strip())
    commit = repo.store.get_run(out.strip()).commit
    assert commit is not None
    assert repo.git("show", f"{commit.id}:code/changed.py") == "changed\n"
    assert repo.git("show", f"{commit.id}:code/untracked.py") == "untracked\n"
    assert ".env" not in repo.git("ls-tree", "-r", "--name-only", f"{commit.id}:code").split("\n")
    assert "SECRET" not in repo.git("log", "-p", "--all", "--", "run.yaml", "code", ":!code/.env")


def test_what_a_user_does_meanwhile_does_not_trouble_a_run(repo: Repo) -> None:
    with gittrack.start_run() as run:
        for number, words in enumerate(
            [
                ("stash", "--include-untracked"),
                ("checkout", "--quiet", "-b", "new"),
                ("clean", "-ffdxq"),
                ("gc", "--quiet", "--prune=now"),
                ("reset", "--hard", "--quiet"),
                ("commit", "--quiet", "--allow-empty", "-m", "x"),
                ("rebase", "--quiet", "main"),
                ("lfs", "prune"),
                ("pack-refs", "--all"),
            ]
        ):
            gittrack.log({"a": number}, number)
            run.log_stream(io.BytesIO(bytes([number]) * 3000 + b"\0"), f"{number}.bin")
            repo.git(*words)
    repo.git("lfs", "prune")
    stored = repo.store.get_run(run.info.run_id)
    assert [point.step for point in repo.store.read_history(stored, "a")] == list(range(9))
    for number, artifact in enumerate(repo.store.list_artifacts(stored)):
        assert b"".join(repo.store.read_artifact(stored, artifact)) == bytes([number]) * 3000 + b"\0"
    repo.assert_sound()


# -- crowds --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_crowd_beside_gc_and_pack_refs_loses_nothing(repo: Repo) -> None:
    """8 processes of 25 runs each into one branch, while git collects garbage without grace and packs refs."""
    pids = []
    for number in range(8):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                reset_tracking()
                for turn in range(25):
                    with gittrack.start_run(run_name=f"{number}-{turn}"):
                        for step in range(20):
                            gittrack.log({"a": number}, step)
                        gittrack.log_text(f"{number} {turn}", "who.txt")
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    running, collected, codes = set(pids), 0, list[int]()
    while running:
        for words in (("gc", "--quiet", "--prune=now"), ("pack-refs", "--all")):
            subprocess.run(["git", *words], cwd=repo.path, capture_output=True, check=False)
        collected += 1
        for pid in list(running):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                running.discard(pid)
                codes.append(os.waitstatus_to_exitcode(status))
    assert codes == [0] * 8
    assert collected > 1
    repo.store.recover()
    runs = repo.store.list_runs()
    assert runs.problems == []
    assert Counter(stored.record.name for stored in runs.runs) == Counter(
        f"{number}-{turn}" for number in range(8) for turn in range(25)
    )
    assert {stored.record.metrics["a"].count for stored in runs.runs} == {20}
    assert {stored.record.revision for stored in runs.runs} == {1}
    assert len(repo.git("rev-list", "refs/heads/gittrack/Default").split()) == 200
    for stored in runs.runs:
        (artifact,) = repo.store.list_artifacts(stored)
        said = b"".join(repo.store.read_artifact(stored, artifact)).decode()
        assert said == stored.record.name.replace("-", " ")
    repo.git("gc", "--quiet", "--prune=now")
    repo.assert_sound()


def test_starting_a_run_never_takes_one_that_is_just_beginning_for_dead(repo: Repo) -> None:
    """Each start looks for the dead: eight processes begin at once, again and again."""
    child = """
        import gittrack
        from gittrack.tracking import current
        for _ in range(12):
            current._State.recovered.clear()
            with gittrack.start_run():
                gittrack.log({"a": 1.0}, 0)
    """
    for started in [start_child(child, repo.path) for _ in range(6)]:
        finish_child(started)
    runs = repo.store.list_runs().runs
    assert len(runs) == 72
    assert {(stored.record.status, stored.record.metrics["a"].count) for stored in runs} == {("FINISHED", 1)}
    assert not [stored.record.name for stored in runs if stored.record.name.startswith("recovered")]
    repo.assert_sound()


def test_a_recovery_by_another_process_leaves_a_living_run_alone(repo: Repo) -> None:
    with gittrack.start_run() as run:
        gittrack.log({"a": 1.0}, 0)

        def recover() -> None:
            assert repo.store.recover() == []

        assert in_fork(recover) == 0
        out, _ = run_child(
            "from gittrack.git.repository import open_repository\nfrom gittrack.store.store import Store\n"
            "print(Store(open_repository('.')).recover())",
            repo.path,
        )
        assert out == "[]\n"
        assert repo.store.recover() == []
        gittrack.log({"a": 2.0}, 1)
    assert repo.store.get_run(run.info.run_id).record.metrics["a"].count == 2
    repo.assert_sound()
