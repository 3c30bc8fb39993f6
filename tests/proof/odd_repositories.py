"""Repositories and environments of every odd kind: each step works there, or says in one line why not."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.harness import ROOT
from tests.proof.places import PLACES, Place, build, command_of
from tests.proof.tally import Tally

PROMISE = "Odd repositories and environments work, or are refused in one line"
UNIT = "places × steps"
FULL = SLICE = len(PLACES)
STEPS = ("log", "finish", "ls", "show", "edit")
POINTS = 20
_AT_ONCE = 2
TEXT = "tëxt ✓\r\n"

_TRAINING = """
import os, sys, logging
if os.environ.get("CLOSE_STREAMS"):
    answers = os.dup(1)
    for number in (0, 1, 2):
        os.close(number)
else:
    answers = 1
import gittrack
def told(word, value=""):
    os.write(answers, f"{word} {value}\\n".encode())
try:
    gittrack.set_experiment(sys.argv[1])
    run = gittrack.start_run(run_name="premi\\u00e8re \\u2713")
    gittrack.log_param("p/\\u00fc", "valeur \\u2713")
    for step in range(20):
        gittrack.log({"loss": step / 3}, step=step)
    gittrack.log_text("t\\u00ebxt \\u2713\\r\\n", "dir/note.txt")
    gittrack.log_text("x" * (2 << 20), "large.txt")
    told("log", run.info.run_id)
    gittrack.end_run()
    told("finish")
except gittrack.errors.GittrackError as error:
    sys.stderr.write(f"error: {error.message}\\n")
    sys.exit(1)
"""

# Each command in a fork of one process that has everything loaded: its code and what it printed, as JSON.
_COMMANDS = """
import json, os, sys, tempfile
from gittrack.cli import app
answers = []
for argv in json.loads(sys.argv[1]):
    names = [os.memfd_create("out"), os.memfd_create("err")]
    pid = os.fork()
    if not pid:
        os.dup2(names[0], 1)
        os.dup2(names[1], 2)
        sys.argv = ["gittrack", *argv]
        app.run()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    texts = []
    for name in names:
        os.lseek(name, 0, 0)
        texts.append(open(name, "rb").read().decode("utf-8", "surrogateescape"))
    answers.append([code, *texts])
sys.stdout.buffer.write(json.dumps(answers).encode())
"""


def attack(count: int, seed: int, folder: Path) -> Tally:
    """Take every step in ``count`` places, in an order of chance."""
    names = random.Random(seed).sample(sorted(PLACES), count)

    def try_one(name: str) -> tuple[list[str], int]:
        with contextmanager(build)(name, folder / name) as place:
            problems, refusals = _try_place(place)
        return [f"{name}: {problem}" for problem in problems], refusals

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(try_one, names))
    losses = [loss for lost, _ in found for loss in lost]
    refused = sum(refusals for _, refusals in found)
    return Tally(len(names) * len(STEPS), losses, {"places": len(names), "steps refused in one line": refused})


def control(count: int, seed: int, folder: Path) -> Tally:
    """The same steps as a tracker takes them that commits as users do: by git commit, with its hooks."""
    losses = []
    for name in ("hooks_and_signing_set", "detached")[:count]:
        with contextmanager(build)(name, folder / name) as place:
            script = "import dulwich.porcelain as p; p.commit('.', message=b'run'); print('log', 'x')"
            losses += _judge_training(place, ["-c", script])[1]
    return Tally(2, losses, {})


def _try_place(place: Place) -> tuple[list[str], int]:
    before = _look(place)
    run_id, problems, refusals = _train(place)
    if run_id:
        found, refused = _read_and_edit(place, run_id, is_committed=not refusals)
        problems, refusals = problems + found, refusals + refused
    problems += _find_traces(place, before)
    return problems, refusals


def _train(place: Place) -> tuple[str, list[str], int]:
    told, problems = _judge_training(place, ["-c", _TRAINING, place.experiment])
    refused = [step for step in ("log", "finish") if step not in told and step in place.refuses]
    missing = [step for step in ("log", "finish") if step not in told and step not in place.refuses]
    problems += [f"{step} did not come to its end" for step in missing]
    return told.get("log", ""), problems, len(refused)


def _judge_training(place: Place, words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What a script acknowledged, and what is wrong with how it ended."""
    done = _run(place, ["-W", "error", *words])
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    problems = []
    if "Traceback" in done.stderr:
        problems.append(f"training: a traceback: {done.stderr.strip().splitlines()[-1]}")
    elif done.returncode and not _is_refusal(done.stderr, place.refuses.get("log")):
        problems.append(f"training: exit {done.returncode}, {done.stderr!r}")
    return told, problems


def _read_and_edit(place: Place, run_id: str, *, is_committed: bool) -> tuple[list[str], int]:
    edits = [["tag", run_id, "k=v ✓"], ["note", run_id, "nöte"], ["rename", run_id, "seconde"]]
    edits += [["rm", run_id], ["restore", run_id]]
    reads = [["ls", "--json"], ["show", run_id, "--json"], ["show", run_id, "--metric", "loss", "--json"]]
    reads += [["artifacts", "ls", run_id, "--json"], ["ls"], ["show", run_id]]
    argv = reads + edits + [["show", run_id, "--json"], ["verify"]]
    done = _run(place, ["-c", _COMMANDS, json.dumps(argv)])
    if done.returncode:
        return [f"the command line: exit {done.returncode}, {done.stderr!r}"], 0
    problems, refused = list[str](), 0
    answers = dict(zip(map(tuple, argv), json.loads(done.stdout), strict=True))
    for words, (code, out, err) in zip(argv, json.loads(done.stdout), strict=True):
        step = words[0] if words[0] in STEPS else "edit" if words in edits else "show"
        if code == 0 and "Traceback" not in err:
            continue
        refused += 1
        if not _is_refusal(err, place.refuses.get(step)):
            problems.append(f"{' '.join(words)}: exit {code}, {err!r} {out[-300:]!r}")
    if not problems and not refused:
        problems += _compare(answers, run_id)
    return problems, refused


def _compare(answers: dict[tuple[str, ...], Any], run_id: str) -> list[str]:
    """What reads differently from what was logged."""

    def said(*words: str) -> Any:
        return json.loads(answers[words][1])

    run = said("show", run_id, "--json")
    history = said("show", run_id, "--metric", "loss", "--json")
    files = {item["path"]: item["size_bytes"] for item in said("artifacts", "ls", run_id, "--json")}
    seen = {
        "listed": [item["id"] for item in said("ls", "--json")],
        "params": run["params"],
        "history": [(point["step"], point["value"]) for point in history],
        "files": files,
        "edited": [run["tags"].get("k"), run["note"], run["name"], run["lifecycle"], run["status"]],
    }
    wanted = {
        "listed": [run_id],
        "params": {"p/ü": "valeur ✓"},
        "history": [(step, step / 3) for step in range(POINTS)],
        "files": {"dir/note.txt": len(TEXT.encode()), "large.txt": 2 << 20},
        "edited": ["v ✓", "nöte", "seconde", "active", "FINISHED"],
    }
    return [f"{key} is {seen[key]}, not {wanted[key]}" for key in wanted if seen[key] != wanted[key]]


def _look(place: Place) -> dict[str, str]:
    """What a user sees of a repository, and must see again afterwards."""
    words = (
        ["status", "--porcelain=v2", "--untracked-files=all"],
        ["rev-parse", "HEAD"],
        ["stash", "list"],
        ["for-each-ref", "refs/heads/main", "refs/tags"],
    )
    return {" ".join(argv): _git(place, argv) for argv in words}


def _find_traces(place: Place, before: dict[str, str]) -> list[str]:
    now = _look(place)
    changed = [argv for argv in before if before[argv] != now[argv] and not place.is_on_experiment]
    problems = [f"git {argv} printed {before[argv]!r}, now {now[argv]!r}" for argv in changed]
    if not place.reads_only:
        made = place.cwd / "gittrack.git"  # where there was no repository before
        common = _git(place, ["rev-parse", "--path-format=absolute", "--git-common-dir"]).strip()
        folder = made if made.exists() else Path(common)
        left = [path for path in folder.rglob("*.lock") if path.name not in ("fold.lock", "index.lock")]
        left += [*(folder / "objects/pack").glob("*.keep"), *(folder / "gittrack/tmp").glob("*")]
        problems += [f"{path} was left" for path in left]
        told = _git(place, [f"--git-dir={folder}", "fsck", "--strict", "--no-dangling"]).splitlines()
        problems += [f"fsck: {line}" for line in told if not line.startswith("notice: HEAD points to an unborn")]
    return problems


def _git(place: Place, argv: list[str]) -> str:
    """What git says, of either stream; with what a place does not have put back."""
    environment = {**place.environment, "PATH": place.environment["PATH"] + ":/usr/bin:/bin"}
    environment = {key: value for key, value in environment.items() if not key.startswith("GIT_")}
    safe = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", **safe}
    done = subprocess.run(["git", *argv], cwd=place.cwd, env=environment, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode(errors="surrogateescape")


def _is_refusal(err: str, told: str | None) -> bool:
    """Whether an error is one line, with a hint at most, and says what the place may say."""
    lines = err.strip().splitlines()
    shown = [line for line in lines if not line.startswith(("hint: ", "gittrack", "  "))]
    return told is not None and len(shown) == 1 and shown[0].startswith("error: ") and told in shown[0]


def _run(place: Place, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A Python of ours in the place, as its user."""
    return subprocess.run(
        [*command_of(place), sys.executable, *words],
        cwd=place.cwd,
        env={**place.environment, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=60,
    )
