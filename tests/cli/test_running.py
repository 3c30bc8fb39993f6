"""A shell script is a run: start, log, finish, exec."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from .conftest import GITTRACK, Shell, clean_environment


def show(shell: Shell, run: str = "@last") -> dict[str, object]:
    return json.loads(shell.gittrack("show", run, "--json"))  # type: ignore[no-any-return]


def test_a_started_run_takes_params_metrics_tags_and_files(shell: Shell) -> None:
    run_id = shell.gittrack("start", "-e", "digits", "--name", "from-shell", "-t", "team=vision").strip()
    shell.gittrack("log", "param", "lr=0.1", "epochs=3", "opt=adam", "shuffle=true", "seed=null", "code=007")
    shell.gittrack("log", "metric", "loss=0.3", "--step", "5")
    shell.gittrack("log", "metric", "loss=0.25", "acc=0.9")
    shell.gittrack("log", "tag", "stage=draft")
    shell.gittrack("log", "artifact", "train.py", "--to", "src")
    assert shell.gittrack("finish").strip() == run_id
    run = show(shell)
    assert run["id"] == run_id
    assert run["status"] == "FINISHED"
    expected = {"lr": 0.1, "epochs": 3, "opt": "adam", "shuffle": True, "seed": None, "code": "007"}
    assert run["params"] == expected
    assert run["tags"] == {"team": "vision", "stage": "draft"}
    assert [file["path"] for file in run["artifacts"]] == ["src/train.py"]  # type: ignore[attr-defined]
    history = json.loads(shell.gittrack("show", run_id, "-m", "loss", "--json"))
    assert [(point["step"], point["value"]) for point in history] == [(5, 0.3), (6, 0.25)]
    assert shell.git("fsck", "--strict") == ""
    assert shell.git("status", "--porcelain") == ""


def test_metrics_come_from_lines_and_from_csv(shell: Shell) -> None:
    shell.gittrack("start", "--name", "piped")
    shell.gittrack("log", "metric", stdin="loss=0.5 acc=0.1 step=1\n\nloss=0.4 step=2\n")
    shell.gittrack("log", "metric", stdin="step,loss,timestamp\n3,0.3,1700000000000\n4,,\n5,0.1,1700000001000\n")
    shell.gittrack("finish")
    history = json.loads(shell.gittrack("show", "@last", "-m", "loss", "--json"))
    assert {(point["step"], point["value"]) for point in history} == {(1, 0.5), (2, 0.4), (3, 0.3), (5, 0.1)}
    assert {point["timestamp"] for point in history if point["step"] == 5} == {1700000001000}


def test_many_commands_share_one_journal_file(shell: Shell) -> None:
    run_id = shell.gittrack("start").strip()
    for _ in range(5):
        shell.gittrack("log", "metric", "loss=1")
    live = shell.folder / ".git" / "gittrack" / "live" / run_id
    assert [path.name for path in live.glob("*.log")] == ["shared.log"]
    shell.gittrack("finish")
    assert show(shell)["metrics"]["loss"]["count"] == 5  # type: ignore[index]
    assert not live.exists()


def test_commands_at_once_lose_nothing(shell: Shell) -> None:
    shell.gittrack("start")
    environment = clean_environment(shell.home)
    argv = [GITTRACK, "log", "metric", "loss=1"]
    crowd = [subprocess.Popen(argv, cwd=shell.folder, env=environment) for _ in range(8)]
    assert [process.wait() for process in crowd] == [0] * 8
    shell.gittrack("finish")
    assert show(shell)["metrics"]["loss"]["count"] == 8  # type: ignore[index]


def test_logging_to_a_run_that_has_ended_makes_a_revision(shell: Shell, make_run: Callable[..., str]) -> None:
    run_id = make_run(metrics="acc=0.9")
    shell.gittrack("log", "metric", "acc=0.95", "--run", run_id)
    run = show(shell, run_id)
    assert (run["revision"], run["status"], run["metrics"]["acc"]["last"]) == (2, "FINISHED", 0.95)  # type: ignore[index]


def test_what_cannot_be_logged_is_one_clear_line(shell: Shell) -> None:
    assert "no run is started" in shell.error("log", "metric", "loss=1")
    shell.gittrack("start")
    assert "metric 'loss' is no number: 'low'" in shell.error("log", "metric", "loss=low", code=2)
    assert "no KEY=VALUE" in shell.error("log", "param", "lr", code=2)
    shell.gittrack("log", "param", "lr=0.1")
    message = shell.error("log", "param", "lr=0.2", code=2)
    assert "'lr'" in message
    assert "0.1" in message
    assert "0.2" in message
    shell.gittrack("start")
    assert "2 runs are started" in shell.error("finish")


def test_finishing_twice_and_in_a_bad_way_is_refused(shell: Shell, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    assert "has ended already" in shell.error("finish", "--run", run_id)
    shell.gittrack("start")
    assert "no status 'GREAT'" in shell.error("finish", "--status", "great", code=2)
    shell.gittrack("finish", "--status", "failed")
    assert show(shell)["status"] == "FAILED"


def test_a_run_that_a_script_had_joined_is_finished_once_the_script_has_left(shell: Shell) -> None:
    run_id = shell.gittrack("start").strip()
    join = "import gittrack, os; run = gittrack.start_run(); run.log({'loss': 0.5}, 1); "
    shell.extra["GITTRACK_RUN_ID"] = run_id
    shell.run(sys.executable, "-c", join + "gittrack.end_run()")
    shell.run(sys.executable, "-c", join + "os.kill(os.getpid(), 9)", code=-9)
    assert show(shell)["status"] == "RUNNING"
    assert shell.gittrack("finish").strip() == run_id
    run = show(shell)
    assert (run["status"], run["metrics"]["loss"]["count"]) == ("FINISHED", 2)  # type: ignore[index]


def test_words_that_are_no_unicode_are_refused_before_a_run_begins_and_a_programs_name_is_made_visible(
    shell: Shell,
) -> None:
    for words in (("--name", "a\udcff"), ("--note", "a\udcff"), ("--tag", "k=a\udcff")):
        said = shell.error("start", *words, code=2)
        assert "has a lone surrogate (U+DCFF), which is no Unicode text" in said
    assert shell.gittrack("ls", "--json") == "[]\n"
    program = shell.folder / "run-\udcff"
    program.write_text("#!/bin/sh\necho done\n")
    program.chmod(0o755)
    shell.gittrack("exec", "--", str(program))
    assert show(shell)["name"] == "run-\\udcff"


def test_exec_keeps_output_and_status_and_hands_the_exit_code_on(shell: Shell) -> None:
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = shell.run(GITTRACK, "exec", "-e", "digits", "--", sys.executable, "-c", script, code=3)
    assert done.stdout == "out\n"
    assert "err" in done.stderr
    run = show(shell)
    assert (run["status"], run["tags"]) == ("FAILED", {"exit_code": "3"})
    kept = shell.gittrack("artifacts", "get", "@last", "output.txt", "-o", "-")  # two pipes: any order of pieces
    assert sorted(kept) == sorted("out\nerr\n")
    assert run["error"] == "exit code 3"


def test_a_script_under_exec_logs_into_that_run(shell: Shell) -> None:
    (shell.folder / "train.py").write_text(
        "import gittrack\n"
        "with gittrack.start_run():\n"
        "    gittrack.log_param('lr', 0.5)\n"
        "    for step in range(3):\n"
        "        gittrack.log({'loss': 1 / (step + 1)}, step=step)\n"
    )
    shell.run(GITTRACK, "exec", "--name", "outer", "--", sys.executable, "train.py")
    runs = json.loads(shell.gittrack("ls", "--json"))
    assert [run["name"] for run in runs] == ["outer"]
    assert runs[0]["params"] == {"lr": 0.5}
    assert runs[0]["metrics"]["loss"]["count"] == 3
    assert runs[0]["source"]["name"] == "train.py"
    assert runs[0]["source"]["dirty"] is True


def test_a_command_that_is_not_there_is_a_failed_run(shell: Shell) -> None:
    assert "command not found" in shell.error("exec", "--", "no-such-command")
    assert show(shell)["status"] == "FAILED"


def test_a_signal_to_exec_reaches_the_command_and_marks_the_run(shell: Shell) -> None:
    script = "import time; print('ready', flush=True); time.sleep(60)"
    argv = [GITTRACK, "exec", "--", sys.executable, "-c", script]
    process = subprocess.Popen(
        argv,
        cwd=shell.folder,
        env=clean_environment(shell.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    process.stdout.close()
    assert process.wait(timeout=20) == 128 + signal.SIGTERM
    run = show(shell)
    assert (run["status"], run["error"]) == ("KILLED", "ended by SIGTERM")


def test_the_environment_is_never_recorded(shell: Shell) -> None:
    shell.extra = {"MY_API_TOKEN": "hunter2hunter2"}
    shell.run(GITTRACK, "exec", "--", "true")
    tips = shell.git("rev-list", "--objects", "--all").split("\n")
    blobs = "".join(shell.git("cat-file", "-p", line.split()[0]) for line in tips if line.endswith(".yaml"))
    assert "hunter2" not in blobs
    assert os.environ.get("MY_API_TOKEN") is None


def test_a_run_whose_finish_died_before_the_commit_is_committed_by_the_next_command(shell: Shell) -> None:
    run_id = shell.gittrack("start").strip()
    shell.git("update-ref", "refs/heads/gittrack", "HEAD")  # a branch in its way: the commit cannot be made
    assert "try again: gittrack recover" in shell.error("finish", "--status", "failed")
    shell.git("update-ref", "-d", "refs/heads/gittrack")
    assert shell.gittrack("recover").split() == [run_id]
    (listed,) = json.loads(shell.gittrack("ls", "--json"))
    assert (listed["status"], listed["live"]) == ("FAILED", False)


def test_a_start_that_fails_leaves_no_run_behind(shell: Shell) -> None:
    """Its name, and logging without naming it, would mean two runs from then on."""
    limit = ["sh", "-c", 'ulimit -f 1; trap "" XFSZ; exec "$0" "$@"', GITTRACK]  # no file over 512 bytes
    failed = shell.run(*limit, "start", "--name", "twice", "--note", "n" * 400, code=1)
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
    run_id = shell.gittrack("start", "--name", "twice", "--note", "n", "-t", "a=b").strip()
    shell.gittrack("log", "metric", "loss=0.5")
    assert shell.gittrack("finish").strip() == run_id
    (listed,) = json.loads(shell.gittrack("ls", "--json"))
    assert (listed["name"], listed["note"], listed["tags"]) == ("twice", "n", {"a": "b"})
