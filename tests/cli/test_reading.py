"""Reading: tables for people, TSV for pipes, JSON for programs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from .conftest import GITTRACK, Shell, clean_environment


def test_ls_is_whole_tsv_in_a_pipe(shell: Shell, make_run: Callable[..., str]) -> None:
    long_name = "a-name-that-is-much-longer-than-a-terminal-is-wide-" * 3
    run_id = make_run(long_name, metrics="acc=0.123456789012345", params="lr=0.1 note=x")
    lines = shell.gittrack("ls").splitlines()
    header, row = lines[0].split("\t"), lines[1].split("\t")
    assert header == ["run", "name", "status", "acc", "lr", "note", "started", "took_s"]
    assert row[:6] == [run_id, long_name, "FINISHED", "0.123456789012345", "0.1", "x"]


def test_ls_fits_the_terminal_and_shows_what_differs(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run("first", params="lr=0.1 same=1")
    make_run("second", params="lr=0.2 same=1")
    shown = shell.on_terminal("ls", columns=100)
    lines = [line for line in shown.splitlines() if line]
    assert "LR" in lines[0]
    assert "SAME" not in lines[0]
    assert "second" in lines[1]
    narrow = shell.on_terminal("ls", columns=40)
    assert all(
        len(line.replace("\x1b[1m", "").replace("\x1b[32m", "").replace("\x1b[0m", "")) <= 64
        for line in narrow.splitlines()
    )
    assert "…" in narrow or "more columns" in narrow


def test_colour_obeys_its_variables(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run()
    assert "\x1b[" in shell.on_terminal("ls")
    shell.extra = {"NO_COLOR": "1"}
    assert "\x1b[" not in shell.on_terminal("ls")
    shell.extra = {"TERM": "dumb"}
    assert "\x1b[" not in shell.on_terminal("ls")
    shell.extra = {}
    assert "\x1b[" not in shell.gittrack("ls")


def test_a_long_list_goes_through_the_pager(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run("one")
    make_run("two")
    shell.extra = {"PAGER": "sed s/^/PAGED:/"}
    assert "PAGED:" in shell.on_terminal("ls", lines=2)
    assert "PAGED:" not in shell.gittrack("ls")


def test_ls_filters_by_experiment_and_limit(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run("a", experiment="x")
    make_run("b", experiment="y")
    make_run("c", experiment="y")
    assert [run["name"] for run in json.loads(shell.gittrack("ls", "y", "--json"))] == ["c", "b"]
    assert [run["name"] for run in json.loads(shell.gittrack("ls", "-n", "1", "--json"))] == ["c"]
    assert "no experiment is called 'z'" in shell.error("ls", "z")


def test_a_run_is_found_in_every_way_a_person_names_it(shell: Shell, make_run: Callable[..., str]) -> None:
    first, second = make_run("first"), make_run("second")
    commit = shell.git("rev-parse", "gittrack/digits").strip()
    named = {
        "@last": second,
        "digits~0": second,
        "digits~1": first,
        "first": first,
        first: first,
        first[:8]: first,
        commit: second,
        commit[:10]: second,
    }
    for asked, expected in named.items():
        assert json.loads(shell.gittrack("show", asked, "--json"))["id"] == expected, asked
    make_run("second")
    message = shell.error("show", "second")
    assert "fits 2 runs" in message
    assert second[:12] in message
    assert "no run is called 'third'" in shell.error("show", "third")


def test_json_has_no_bare_nan(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run(metrics="loss=nan gain=inf")
    text = shell.gittrack("ls", "--json")
    (run,) = json.loads(text, parse_constant=lambda word: (_ for _ in ()).throw(AssertionError(word)))
    assert run["metrics"]["loss"]["last"] == "NaN"
    assert run["metrics"]["gain"]["max"] == "Infinity"


def test_head_is_no_error(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run()
    script = f"{GITTRACK} ls | head -n 0; echo ${{PIPESTATUS[0]}}"
    argv = ["bash", "-c", script]
    done = subprocess.run(
        argv, cwd=shell.folder, env=clean_environment(shell.home), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "0"


def test_escape_sequences_of_a_stranger_do_not_reach_the_terminal(shell: Shell) -> None:
    shell.gittrack("start", "--name", "evil\x1b]0;owned\x07\u202ename")
    shell.gittrack("log", "param", "x=\x1b[31mred")
    shell.gittrack("finish")
    for shown in (shell.on_terminal("show", "@last"), shell.on_terminal("ls"), shell.gittrack("ls")):
        assert "\x1b]0" not in shown
        assert "\x07" not in shown
        assert "\u202e" not in shown
        assert "\x1b[31mred" not in shown


def test_experiments_are_listed_with_their_runs(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run(experiment="x/y")
    rows = {row["name"]: row["runs"] for row in json.loads(shell.gittrack("experiments", "--json"))}
    assert rows == {"Default": 0, "x/y": 1}


def test_artifacts_are_listed_fetched_and_checked(shell: Shell) -> None:
    (shell.folder / "model.bin").write_bytes(bytes(range(256)) * 10)
    shell.gittrack("start")
    shell.gittrack("log", "artifact", "model.bin", "--to", "models")
    shell.gittrack("log", "artifact", "train.py")
    shell.gittrack("finish")
    listed = json.loads(shell.gittrack("artifacts", "ls", "@last", "--json"))
    assert [(file["path"], file["size_bytes"], file["inline"]) for file in listed] == [
        ("models/model.bin", 2560, False),
        ("train.py", 18, True),
    ]
    shell.gittrack("artifacts", "get", "@last", "-o", "out")
    assert (shell.folder / "out/models/model.bin").read_bytes() == bytes(range(256)) * 10
    oid = listed[0]["oid"]
    stored = shell.folder / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid
    stored.chmod(0o644)
    stored.write_bytes(b"x" * 2560)
    assert "is damaged on this machine" in shell.error("artifacts", "get", "@last", "models", "-o", "out2")
    stored.unlink()
    assert "is not on this machine" in shell.error("artifacts", "get", "@last", "models", "-o", "out2")
    assert "has no artifact 'nope'" in shell.error("artifacts", "get", "@last", "nope")
    assert not list((shell.folder / "out2").rglob("*.bin*"))


def test_outside_a_repository_one_line_says_so(bare_shell: Shell) -> None:
    assert "no git repository here" in bare_shell.error("ls")
    assert "hint:" in bare_shell.error("verify")


def test_a_wrong_command_line_exits_with_2(shell: Shell) -> None:
    assert "No such command" in shell.error("frobnicate", code=2)
    assert "No such option" in shell.error("ls", "--frobnicate", code=2)


def test_completion_scripts_are_there(shell: Shell) -> None:
    shell.extra = {"SHELL": "/bin/bash", "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert "gittrack" in shell.gittrack("--show-completion", "bash")


def test_columns_keep_the_case_of_their_keys(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run(metrics="Loss=1 loss=2", params="C=1 c=2")
    assert shell.gittrack("ls").splitlines()[0].split("\t")[3:7] == ["Loss", "loss", "C", "c"]


def test_what_the_terminal_cannot_show_is_escaped(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run("première ✓")
    for encoding, shown in (("ascii", "premi\\xe8re \\u2713"), ("utf-8", "première ✓")):
        shell.extra = {"PYTHONIOENCODING": encoding}
        assert json.loads(shell.gittrack("ls", "--json"))[0]["name"] == "première ✓"
        assert shown in shell.gittrack("ls")


def test_no_name_of_a_stranger_reaches_the_terminal_as_it_is(shell: Shell, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    files = {}
    for line in shell.git("ls-tree", "-r", "gittrack/digits").splitlines():
        head, _, path = line.partition("\t")
        files[path] = head.split()[2]
    blob = files["params.yaml"]
    odd = subprocess.run(
        ["git", "mktree", "-z"], cwd=shell.folder, capture_output=True, check=True,
        input=f"100644 blob {blob}\tevil\u202egnp\x1b[2J\0".encode(),
    ).stdout.decode().strip()  # fmt: skip
    top = shell.git("ls-tree", "gittrack/digits") + f"040000 tree {odd}\tartifacts\n"
    tree = (
        subprocess.run(["git", "mktree"], cwd=shell.folder, input=top.encode(), capture_output=True, check=True)
        .stdout.decode()
        .strip()
    )
    message = shell.git("log", "-1", "--format=%B", "gittrack/digits")
    commit = shell.git("commit-tree", tree, "-m", message).strip()
    shell.git("update-ref", "refs/heads/gittrack/digits", commit)
    for words in (("show", run_id), ("show", run_id, "--json"), ("artifacts", "ls", run_id)):
        shown = shell.gittrack(*words)
        assert "\u202e" not in shown
        assert "\x1b" not in shown
        assert "evil" in shown
    assert "\x1b" not in shell.error("artifacts", "get", run_id, code=2)
