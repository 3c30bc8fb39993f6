"""Editing makes revisions, deleting can be undone, purging cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import GITTRACK, Shell


def show(shell: Shell, run: str) -> dict[str, Any]:
    return json.loads(shell.gittrack("show", run, "--json"))  # type: ignore[no-any-return]


def test_each_edit_is_a_revision_and_nothing_is_amended(shell: Shell, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    first = shell.git("rev-parse", "gittrack/digits").strip()
    shell.gittrack("tag", run_id, "stage=candidate", "owner=ada")
    shell.gittrack("tag", run_id, "--remove", "owner")
    shell.gittrack("note", run_id, "best so far")
    shell.gittrack("note", run_id, stdin="from **stdin**\n")
    shell.gittrack("rename", run_id, "champion")
    run = show(shell, run_id)
    assert (run["revision"], run["name"], run["note"]) == (6, "champion", "from **stdin**")
    assert run["tags"] == {"stage": "candidate"}
    assert run["params"] == {"lr": 0.1}
    assert first in shell.git("rev-list", "gittrack/digits").split()
    assert (
        shell.git("log", "-1", "--format=%(trailers:key=Gittrack-Revision,valueonly)", "gittrack/digits").strip()
        == "6"
    )
    assert shell.git("fsck", "--strict") == ""


def test_an_edit_leaves_files_and_code_as_they_are(shell: Shell, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    before = shell.git("ls-tree", "-r", "gittrack/digits")
    shell.gittrack("note", run_id, "n")
    after = shell.git("ls-tree", "-r", "gittrack/digits")
    changed = set(before.splitlines()) ^ set(after.splitlines())
    assert {line.split("\t")[1] for line in changed} == {"run.yaml"}


def test_rm_hides_a_run_and_restore_brings_it_back(shell: Shell, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    shell.gittrack("rm", run_id)
    assert json.loads(shell.gittrack("ls", "--json")) == []
    assert [run["id"] for run in json.loads(shell.gittrack("ls", "--deleted", "--json"))] == [run_id]
    assert "(deleted)" in shell.git("log", "-1", "--format=%s", "gittrack/digits")
    shell.gittrack("restore", run_id)
    assert [run["id"] for run in json.loads(shell.gittrack("ls", "--json"))] == [run_id]


def test_purge_takes_a_run_out_and_leaves_the_others(shell: Shell, make_run: Callable[..., str]) -> None:
    first, gone, last = make_run("first"), make_run("gone"), make_run("last")
    (shell.folder / "secret.bin").write_bytes(b"\0secret")
    shell.gittrack("log", "artifact", "secret.bin", "--run", gone)
    (oid,) = [file["oid"] for file in show(shell, gone)["artifacts"]]
    stored = shell.folder / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid
    assert stored.exists()
    assert "asks first" in shell.error("purge", gone, code=2)
    said = shell.run(GITTRACK, "purge", gone, "--dry-run").stderr
    assert "2 commits of run" in said
    assert show(shell, gone)["id"] == gone
    shell.gittrack("purge", gone, "--yes")
    assert [run["id"] for run in json.loads(shell.gittrack("ls", "--json"))] == [last, first]
    assert gone not in shell.git("log", "--format=%B", "gittrack/digits")
    assert not stored.exists()
    assert shell.git("fsck", "--strict", "--no-dangling") == ""
    assert "0 problems" in shell.run(GITTRACK, "verify").stderr


def test_purging_the_only_run_leaves_the_experiment(shell: Shell, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    shell.gittrack("purge", run_id, "--yes")
    assert json.loads(shell.gittrack("ls", "--json")) == []
    assert "digits" in shell.gittrack("experiments")


@pytest.mark.parametrize("words", [("tag", "@last"), ("rename", "@last", " "), ("note", "nope", "x")])
def test_edits_that_make_no_sense_are_refused(
    shell: Shell, make_run: Callable[..., str], words: tuple[str, ...]
) -> None:
    make_run()
    code = 1 if words[0] == "note" else 2
    assert "error:" in shell.error(*words, code=code)
