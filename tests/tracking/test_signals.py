"""How a run ends that nobody ends: by a signal, an exception at the top, or the end of the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gittrack.store.runs import StoredRun
from tests.harness import ROOT, WAIT_S, Repo, finish_child, run_child, start_child

LOG = """
import os, signal, sys, threading, time
import gittrack
def log(run, count=1000):
    for step in range(count):
        run.log({"a": step}, step)
def ready():
    print("ready", flush=True)
"""


def only_run(repo: Repo) -> StoredRun:
    (stored,) = repo.store.list_runs().runs
    return stored


def check_points(repo: Repo, stored: StoredRun, count: int = 1000) -> None:
    assert [point.step for point in repo.store.read_history(stored, "a")] == list(range(count))


def signalled(repo: Repo, code: str, number: int, expect: int) -> tuple[str, str]:
    """Start a child, send it a signal once it says that it is ready, and wait for its end."""
    child = start_child(LOG + textwrap.dedent(code), repo.path)
    assert child.stdout is not None
    while (line := child.stdout.readline()) != "ready\n":
        assert line, child.communicate()
    child.send_signal(number)
    return finish_child(child, expect)


# -- signals -------------------------------------------------------------------------------------------------


def test_sigterm_kills_the_process_and_its_run_is_committed_as_killed(repo: Repo) -> None:
    signalled(
        repo, "run = gittrack.start_run(); log(run); ready(); time.sleep(60)", signal.SIGTERM, -signal.SIGTERM
    )
    stored = only_run(repo)
    assert (stored.record.status, stored.record.error, stored.is_live) == ("KILLED", "ended by SIGTERM", False)
    check_points(repo, stored)
    repo.assert_sound()


def test_sigterm_inside_with_and_nested_runs_ends_them_all(repo: Repo) -> None:
    signalled(
        repo,
        """
        with gittrack.start_run(run_name="outer"), gittrack.start_run(run_name="inner", nested=True) as run:
            log(run)
            def work():
                gittrack.start_run(run_name="thread"); ready(); time.sleep(60)
            threading.Thread(target=work).start()
            time.sleep(60)
        """,
        signal.SIGTERM,
        -signal.SIGTERM,
    )
    shown = {stored.record.name: (stored.record.status, stored.is_live) for stored in repo.store.list_runs().runs}
    assert shown == dict.fromkeys(("outer", "inner", "thread"), ("KILLED", False))
    repo.assert_sound()


def test_a_users_own_handler_is_called_and_decides(repo: Repo) -> None:
    out, _ = signalled(
        repo,
        """
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: (print("mine", number), stop.set()))
        with gittrack.start_run() as run:
            log(run)
            ready()
            while not stop.is_set():
                time.sleep(0.01)
            run.log({"a": 1000.0}, 1000)
        """,
        signal.SIGTERM,
        0,
    )
    assert out == f"mine {int(signal.SIGTERM)}\n"
    stored = only_run(repo)
    assert stored.record.status == "FINISHED"
    check_points(repo, stored, 1001)


def test_a_run_that_a_users_handler_leaves_open_is_killed_at_the_end(repo: Repo) -> None:
    signalled(
        repo,
        """
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(3))
        run = gittrack.start_run(); log(run); ready(); time.sleep(60)
        """,
        signal.SIGTERM,
        3,
    )
    stored = only_run(repo)
    assert (stored.record.status, stored.record.error) == ("KILLED", "ended by SIGTERM")
    check_points(repo, stored)


def test_an_ignored_signal_stays_ignored(repo: Repo) -> None:
    signalled(
        repo,
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        run = gittrack.start_run(); log(run); ready(); time.sleep(0.3)
        """,
        signal.SIGTERM,
        0,
    )
    assert only_run(repo).record.status == "FINISHED"


@pytest.mark.parametrize("inside", [True, False])
def test_ctrl_c_ends_the_run_as_killed_with_its_traceback(repo: Repo, inside: bool) -> None:
    body = "with gittrack.start_run() as run: log(run); ready(); time.sleep(60)"
    if not inside:
        body = "run = gittrack.start_run(); log(run); ready(); time.sleep(60)"
    child = start_child(LOG + body, repo.path)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=WAIT_S)
    assert child.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    stored = only_run(repo)
    assert stored.record.status == "KILLED"
    assert "KeyboardInterrupt" in stored.record.error
    check_points(repo, stored)


def test_a_ctrl_c_that_was_caught_ends_nothing(repo: Repo) -> None:
    """As in a notebook: the cell is interrupted, the user ends the run, and begins another."""
    signalled(
        repo,
        """
        first = gittrack.start_run(run_name="first")
        try:
            ready(); time.sleep(60)
        except KeyboardInterrupt:
            pass
        gittrack.end_run()
        gittrack.start_run(run_name="second")
        """,
        signal.SIGINT,
        0,
    )
    shown = {stored.record.name: stored.record.status for stored in repo.store.list_runs().runs}
    assert shown == {"first": "FINISHED", "second": "FINISHED"}


@pytest.mark.parametrize("where", ["finishing another run", "editing"])
def test_a_signal_while_this_thread_writes_does_not_wait_for_itself(repo: Repo, where: str) -> None:
    """The handler cannot have the lock that its own thread holds: the next command commits what is left."""
    act = "gittrack.end_run()" if where == "finishing another run" else "gittrack.set_experiment_tag('a', 'b')"
    signalled(
        repo,
        f"""
        from gittrack.store.committing import Branches
        outer = gittrack.start_run(run_name="outer"); log(outer)
        inner = gittrack.start_run(run_name="inner", nested=True)
        def commit(self, *arguments):
            ready(); time.sleep(60)
        Branches.commit = commit
        {act}
        """,
        signal.SIGTERM,
        -signal.SIGTERM,
    )
    assert len(repo.store.recover()) == 2
    shown = {stored.record.name: stored for stored in repo.store.list_runs().runs}
    assert shown["outer"].record.status == "KILLED"
    assert shown["inner"].record.status == ("FINISHED" if where == "finishing another run" else "KILLED")
    check_points(repo, shown["outer"])
    repo.assert_sound()


@pytest.mark.slow
def test_a_signal_at_any_moment_of_logging_kills_promptly_and_loses_nothing(repo: Repo) -> None:
    """In an append, in the growth of a window, in the telling of a shape."""
    code = """
    run = gittrack.start_run()
    print("ready", flush=True)
    step = 0
    while True:
        run.log({"a": step, f"k{step % 500}": 1.0}, step)
        gittrack.log_metric("b", step, step=step)
        run.set_tag("at", "x" * (step % 3000))
        step += 1
        if step % 100 == 0:
            os.write(1, b"%d\\n" % step)
    """
    acknowledged = []
    for number in range(8):
        child = start_child(LOG + textwrap.dedent(code), repo.path)
        assert child.stdout is not None
        for _ in range(2 + number):
            child.stdout.readline()
        child.send_signal(signal.SIGTERM)
        out, _ = finish_child(child, -signal.SIGTERM)
        acknowledged.append(int(out.split()[-1]) if out.split() else 0)
    repo.store.recover()
    runs = repo.store.list_runs().runs
    assert [stored.record.status for stored in runs] == ["KILLED"] * 8
    counts = []
    for stored in runs:
        steps = [point.step for point in repo.store.read_history(stored, "a")]
        assert steps == list(range(len(steps)))
        counts.append(len(steps))
    assert all(most >= least for most, least in zip(sorted(counts), sorted(acknowledged), strict=True))
    repo.assert_sound()


def test_a_second_signal_kills_at_once(repo: Repo) -> None:
    child = start_child(
        LOG
        + textwrap.dedent("""
        from gittrack.store import folding
        run = gittrack.start_run(); log(run)
        folding._Folding.read = lambda self, lost_as: (ready(), time.sleep(60))
        os.kill(os.getpid(), signal.SIGTERM)
        """),
        repo.path,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGTERM)
    finish_child(child, -signal.SIGTERM)
    (run_id,) = repo.store.recover()
    check_points(repo, repo.store.get_run(run_id))


# -- exceptions and exits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "returncode", "status", "error"),
    [
        ("gittrack.start_run(); 1 / 0", 1, "FAILED", "ZeroDivisionError"),
        ("with gittrack.start_run(): 1 / 0", 1, "FAILED", "ZeroDivisionError"),
        ("gittrack.start_run(); sys.exit(0)", 0, "FINISHED", ""),
        ("gittrack.start_run(); sys.exit(3)", 3, "FINISHED", ""),
        ("with gittrack.start_run(): sys.exit(0)", 0, "FINISHED", ""),
        ("with gittrack.start_run(): sys.exit(3)", 3, "FAILED", "SystemExit"),
        ("with gittrack.start_run(): sys.exit('why')", 1, "FAILED", "why"),
        ("gittrack.log({'x': 1.0})", 0, "FINISHED", ""),
        ("gittrack.start_run(); gittrack.end_run('KILLED')", 0, "KILLED", ""),
        ("gittrack.start_run(); os._exit(0)", 0, "KILLED", "the process ended without finishing the run"),
        ("gittrack.start_run(); os.abort()", -signal.SIGABRT, "KILLED", "without finishing"),
        ("gittrack.start_run(); os.kill(os.getpid(), 11)", -signal.SIGSEGV, "KILLED", "without finishing"),
        ("gittrack.Client().create_run('0')", 0, "FINISHED", ""),
    ],
)
def test_how_a_process_ends_tells_how_its_run_did(
    repo: Repo, code: str, returncode: int, status: str, error: str
) -> None:
    run_child(LOG + code, repo.path, expect=returncode)
    repo.store.recover()
    record = only_run(repo).record
    assert record.status == status
    assert error in record.error
    assert bool(record.error) is bool(error)
    assert record.ended_at is not None
    repo.assert_sound()


def test_an_exception_in_a_thread_is_not_the_end_of_the_run(repo: Repo) -> None:
    run_child(
        LOG
        + textwrap.dedent("""
        threading.excepthook = lambda arguments: None
        gittrack.start_run()
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start(); thread.join()
        """),
        repo.path,
    )
    assert only_run(repo).record.status == "FINISHED"


def test_an_interactive_session_that_goes_on_after_an_error_does_not_fail_its_next_run(repo: Repo) -> None:
    lines = "import gittrack\n1 / 0\nr = gittrack.start_run()\ngittrack.log({'a': 1.0}, 0)\n"
    done = subprocess.run(
        [sys.executable, "-i", "-q", "-c", "import gittrack; gittrack.start_run(run_name='old')"],
        input=lines.replace(
            "r = gittrack.start_run()", "gittrack.end_run(); r = gittrack.start_run(run_name='new')"
        ),
        cwd=repo.path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=True,
    )
    assert "ZeroDivisionError" in done.stderr
    shown = {stored.record.name: stored.record.status for stored in repo.store.list_runs().runs}
    assert shown == {"old": "FINISHED", "new": "FINISHED"}


def test_a_hook_that_was_there_before_still_shows_the_exception(repo: Repo) -> None:
    out, _ = run_child(
        LOG
        + "sys.excepthook = lambda *arguments: print('mine', arguments[0].__name__)\ngittrack.start_run(); 1 / 0",
        repo.path,
        expect=1,
    )
    assert out == "mine ZeroDivisionError\n"


def test_a_forked_child_ends_only_what_it_began(repo: Repo) -> None:
    run_child(
        LOG
        + textwrap.dedent("""
        run = gittrack.start_run(run_name="parent"); log(run, 10)
        pid = os.fork()
        if pid == 0:
            run.log({"a": 10.0}, 10)
            gittrack.start_run(run_name="child", nested=True)
            sys.exit(0)  # runs the handlers of atexit
        os.waitpid(pid, 0)
        assert run.is_open
        run.log({"a": 11.0}, 11)
        """),
        repo.path,
    )
    runs = {stored.record.name: stored for stored in repo.store.list_runs().runs}
    assert {name: stored.record.status for name, stored in runs.items()} == {
        "parent": "FINISHED",
        "child": "FINISHED",
    }
    check_points(repo, runs["parent"], 12)
    repo.assert_sound()


def test_multiprocessing_workers_log_to_runs_of_their_own(repo: Repo, tmp_path: Path) -> None:
    script = tmp_path / "work" / "sweep.py"
    script.write_text(
        textwrap.dedent("""
        import multiprocessing, sys
        import gittrack
        def train(number):
            with gittrack.start_run(run_name=f"w{number}"):
                for step in range(100):
                    gittrack.log({"a": step}, step)
            return number
        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            gittrack.set_experiment("sweep")
            with context.Pool(3) as pool:
                assert sorted(pool.map(train, range(6))) == list(range(6))
        """)
    )
    for method in ("fork", "spawn"):
        subprocess.run(
            [sys.executable, str(script), method],
            cwd=repo.path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
            timeout=WAIT_S,
        )
    assert len(repo.store.list_runs().runs) == 12
    assert {stored.record.status for stored in repo.store.list_runs().runs} == {"FINISHED"}
    repo.assert_sound()
