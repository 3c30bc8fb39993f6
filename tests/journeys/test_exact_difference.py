"""Two runs that differ in a param, a line of uncommitted code and a package: exactly these three are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.harness import ROOT, Repo

SCRIPT = """
import os
import gittrack

gittrack.set_experiment("three")
with gittrack.start_run(run_name=os.environ["RUN_NAME"]):
    gittrack.log_params({"lr": float(os.environ["RATE"]), "epochs": 3, "opt": "adam"})
    for step in range(3):
        gittrack.log({"loss": 1 / (step + 1)}, step=step)
    gittrack.log_text("notes\\n", "notes.txt")
"""
LINE = "# one line more\n"


def train(repo: Repo, name: str, rate: str, packages: Path) -> None:
    """Run the script in a process of its own that sees a package folder of its own."""
    environment = {**os.environ, "RUN_NAME": name, "RATE": rate, "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "train.py"], cwd=repo.path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_exactly_three_differences_are_named(repo: Repo, tmp_path: Path) -> None:
    repo.commit("script", train__py=SCRIPT)
    for version in ("1.0", "1.1"):
        (tmp_path / version / f"made_up-{version}.dist-info").mkdir(parents=True)
    train(repo, "one", "0.1", tmp_path / "1.0")
    (repo.path / "train.py").write_text(SCRIPT + LINE)
    train(repo, "two", "0.2", tmp_path / "1.1")

    command = Path(sys.executable).with_name("gittrack")
    done = subprocess.run(
        [command, "diff", "one", "two", "--json", "--exit-code"], cwd=repo.path, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    named = {
        part: [(row["name"], row["values"]) for row in rows]
        for part, rows in told.items()
        if isinstance(rows, list) and rows and part != "runs"
    }
    [(path, _)] = named.pop("code")
    assert path == "train.py"
    assert named == {"params": [("lr", [0.1, 0.2])], "environment": [("made-up", ["1.0", "1.1"])]}
    patch = told["code"][0]["patch"]
    assert (patch["added"], patch["removed"]) == (1, 0)
    changed = [
        line for line in patch["text"].splitlines() if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")
    ]
    assert changed == ["+" + LINE.rstrip()]
