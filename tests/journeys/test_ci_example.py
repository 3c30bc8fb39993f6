"""The example workflow, run step by step in a repository that plays a pull request and its forge."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from .test_examples import EXAMPLES, make_environment

# What another machine's image is set up by: nothing of it can be tried here.
SETUP = {"Check out the code that is judged, with its history", "Set up Python", "Install"}
SCRIPT = """import gittrack
gittrack.set_experiment("ci")
with gittrack.start_run():
    gittrack.log({{"accuracy": {accuracy}, "loss": 0.3}}, step=0)
"""


@dataclass(frozen=True, slots=True)
class Forge:
    """A bare repository, and what a runner does with a clone of it for an event."""

    folder: Path
    environment: dict[str, str]

    def run(self, *argv: str, cwd: Path, code: int = 0, **extra: str) -> str:
        done = subprocess.run(argv, cwd=cwd, env=self.environment | extra, capture_output=True, text=True)
        assert done.returncode == code, (argv, done.stdout, done.stderr)
        return done.stdout

    def push(self, branch: str, accuracy: float) -> None:
        """Commit a script that reaches an accuracy, on a branch of the forge."""
        place = self.folder / f"work-{branch}-{accuracy}"
        self.run("git", "clone", "-q", str(self.folder / "forge.git"), str(place), cwd=self.folder)
        self.run("git", "checkout", "-qB", branch, cwd=place)
        (place / "train.py").write_text(SCRIPT.format(accuracy=accuracy))
        self.run("git", "add", ".", cwd=place)
        self.run("git", "commit", "-qm", f"{accuracy}", cwd=place)
        self.run("git", "push", "-q", "origin", branch, cwd=place)

    def play(self, event: str, branch: str, code: int = 0) -> str:
        """Run the steps of the workflow for an event; returns the job's summary."""
        place = self.folder / f"runner-{event}-{len(os.listdir(self.folder))}"
        self.run("git", "clone", "-q", "-b", branch, str(self.folder / "forge.git"), str(place), cwd=self.folder)
        summary = self.folder / f"{place.name}.md"
        summary.touch()
        for step in steps():
            if step["name"] in SETUP or step.get("if", f"github.event_name == '{event}'") != (
                f"github.event_name == '{event}'"
            ):
                continue
            # as the runner starts a script: https://docs.github.com/actions/reference/workflow-syntax, shell
            self.run(
                *("bash", "-e", "-c", step["run"]),
                cwd=place,
                code=code if step["name"] == "Compare" else 0,
                GITHUB_BASE_REF="main",
                GITHUB_STEP_SUMMARY=str(summary),
            )
        return summary.read_text()


def workflow() -> dict[Any, Any]:
    loaded = yaml.safe_load((EXAMPLES / "ci-compare.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def steps() -> list[dict[str, Any]]:
    [job] = workflow()["jobs"].values()
    return list(job["steps"])


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    made = Forge(tmp_path, make_environment(tmp_path))
    made.run("git", "init", "-q", "--bare", "-b", "main", "forge.git", cwd=tmp_path)
    made.push("main", 0.9)
    return made


def test_the_workflow_is_one_and_its_scripts_hold_no_text_of_the_event() -> None:
    told = workflow()
    assert set(told[True]) == {"pull_request", "push"}  # 'on' is true in YAML 1.1
    assert {step["name"] for step in steps()} >= SETUP
    assert [step for step in steps() if "${{" in step.get("run", "")] == []
    fetched = next(step for step in steps() if "checkout" in step.get("uses", ""))
    assert fetched["with"]["fetch-depth"] == 0


def test_a_pull_request_passes_or_fails_by_its_run(forge: Forge) -> None:
    assert "There is no baseline" in forge.play("pull_request", "main", code=1)
    assert forge.play("push", "main") == ""
    forge.push("better", 0.95)
    passed = forge.play("pull_request", "better")
    assert passed.startswith("### gittrack: passed\n")
    assert "| `ok` | `metrics.accuracy drops 0.5%` |" in passed
    forge.push("worse", 0.8)
    failed = forge.play("pull_request", "worse", code=1)
    assert failed.startswith("### gittrack: failed\n")
    assert "| `fails` | `metrics.accuracy drops 0.5%` | `0.9 to 0.8" in failed
    assert "train.py" in failed
    forge.push("main", 0.91)
    forge.play("push", "main")
    runs = forge.run("git", "log", "--format=%s", "refs/heads/gittrack/ci", cwd=forge.folder / "forge.git")
    assert runs.count("accuracy=") == 2
