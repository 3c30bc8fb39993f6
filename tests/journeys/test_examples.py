"""Each example runs as a newcomer would run it, and plain git finds in the repository what it said it logs.

Every example gets a small repository of its own, with a change staged, a change not staged and a file untracked:
all of it must be there, byte for byte, when the example has ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TIMEOUT_S = 300
TRIED = {
    "ci-compare.yml",
    "digits_sweep.py",
    "mlflow_script.py",
    "multi_process.py",
    "notebook.ipynb",
    "plain_loop.py",
    "quickstart",
    "shell_run.sh",
}
# Run by the interpreter of the tests: reads a notebook, runs it, writes what came out of it.
RUN_NOTEBOOK = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=200).execute()
nbformat.write(notebook, sys.argv[2])
"""


@dataclass(frozen=True, slots=True)
class Project:
    """A user's repository, and the environment that its commands run in."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """What a command printed, run in the repository; fails with its stderr where the command fails."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments).stdout

    def run_example(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """As `run`; it must leave the user's work alone, and what it writes must be sound."""
        before = self._read_state()
        done = self.run(*command)
        assert self._read_state() == before
        self.check_objects()
        return done

    def check_objects(self) -> None:
        """Hold plain git's own check against all that was written."""
        self.git("fsck", "--strict", "--no-dangling")

    def list_runs(self, experiment: str) -> list[Run]:
        """The runs of an experiment, newest first, as `git log` shows them."""
        log = self.git("log", "--format=%H %(trailers:key=Gittrack-Run,valueonly,separator=)", _branch(experiment))
        lines = [line.split() for line in log.splitlines()]
        return [Run(self, words[0], words[1]) for words in lines if len(words) == 2]

    def get_run(self, experiment: str) -> Run:
        """The only run of an experiment."""
        [run] = self.list_runs(experiment)
        return run

    def _read_state(self) -> tuple[bytes, str, str, str, dict[str, bytes]]:
        """The index's bytes first: `git status` may refresh them."""
        index = (self.folder / ".git/index").read_bytes()
        files = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and ".git" not in path.relative_to(self.folder).parts
        }
        return (
            index,
            self.git("rev-parse", "--symbolic-full-name", "HEAD", "@"),
            self.git("--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=all"),
            self.git("stash", "list"),
            files,
        )


@dataclass(frozen=True, slots=True)
class Run:
    """A run by its commit, read with plain git."""

    project: Project
    commit: str
    id: str

    @property
    def record(self) -> dict[str, Any]:
        return self._load("run.yaml")

    @property
    def params(self) -> dict[str, Any]:
        return self._load("params.yaml")

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return {key: found["last"] for key, found in self._load("metrics.yaml").items()}

    def read(self, path: str) -> str:
        return self.project.git("show", f"{self.commit}:{path}")

    def list_artifacts(self) -> list[str]:
        names = self.project.git("ls-tree", "-r", "--name-only", f"{self.commit}:artifacts")
        return names.splitlines()

    def read_large(self, path: str) -> bytes:
        """The bytes behind the pointer of an artifact, by git-lfs."""
        pointer = self.read(f"artifacts/{path}").encode()
        done = subprocess.run(
            ["git", "lfs", "smudge"],
            input=pointer,
            cwd=self.project.folder,
            env=self.project.environment,
            capture_output=True,
            check=True,
        )
        return done.stdout

    def read_steps(self, key: str) -> list[int]:
        """The steps that a metric was logged at, in order."""
        header, *lines = self.read(f"metrics/{key}.csv").splitlines()
        assert header == "step,timestamp,value"
        return [int(line.split(",")[0]) for line in lines]

    def _load(self, path: str) -> dict[str, Any]:
        loaded = yaml.safe_load(self.read(path))
        assert isinstance(loaded, dict)
        return loaded


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A repository in the middle of somebody's work."""
    project = Project(tmp_path / "project", make_environment(tmp_path))
    project.folder.mkdir()
    project.git("init", "--quiet", "--initial-branch=main")
    for name, text in {"notes.txt": "one\n", "staged.txt": "one\n"}.items():
        (project.folder / name).write_text(text)
    project.git("add", ".")
    project.git("commit", "--quiet", "--message=notes")
    (project.folder / "staged.txt").write_text("two\n")
    project.git("add", "staged.txt")
    (project.folder / "notes.txt").write_text("two\n")
    (project.folder / "untracked.txt").write_text("one\n")
    return project


def make_environment(folder: Path) -> dict[str, str]:
    """An environment without a trace of who runs the tests; a home that is empty, this interpreter first."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    author = {"NAME": "Ada", "EMAIL": "ada@example.org"}
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(home),
        "TMPDIR": str(folder),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **{f"GIT_{who}_{key}": value for who in ("AUTHOR", "COMMITTER") for key, value in author.items()},
    }


def add_example(project: Project, name: str) -> Path:
    """An example copied into the repository, as a newcomer would try it."""
    return Path(shutil.copy(EXAMPLES / name, project.folder))


def test_every_example_is_tried_here() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.name != "__pycache__"} == TRIED


def test_the_plain_loop_logs_every_step_of_a_loss_that_falls(project: Project) -> None:
    done = project.run_example(sys.executable, add_example(project, "plain_loop.py"))

    assert done.stderr == ""
    run = project.get_run("plain-loop")
    assert run.id[:8] in done.stdout
    assert run.record["status"] == "FINISHED"
    assert run.params == {"steps": 200, "learning_rate": 0.1, "noise": 0.05, "seed": 0}
    assert run.read_steps("loss") == run.read_steps("gradient_norm") == list(range(200))
    assert run.metrics["loss"] == pytest.approx(0.05**2, rel=0.2)  # what is left is the noise
    assert yaml.safe_load(run.read("artifacts/weights.json"))["weights"] == pytest.approx([2, -3, 0.5], abs=0.02)
    assert run.read("code/plain_loop.py") == (EXAMPLES / "plain_loop.py").read_text()


def test_a_script_written_for_mlflow_runs_with_another_import(project: Project) -> None:
    done = project.run_example(sys.executable, add_example(project, "mlflow_script.py"))

    assert done.stderr == ""
    run = project.get_run("iris")
    assert run.record["name"] == "gradient-boosting"
    assert run.record["tags"] == {"stage": "example", "checked": "yes"}
    assert run.record["inputs"]["1"]["name"] == "iris"
    assert run.params == {"n_estimators": 40, "learning_rate": 0.1, "max_depth": 2, "random_state": 7}
    assert run.read_steps("test_log_loss") == list(range(1, 41))
    assert f"test accuracy {run.metrics['test_accuracy']:.3f}" in done.stdout
    assert run.metrics["test_accuracy"] > 0.9
    assert run.list_artifacts() == ["importances.json", "plots/importances.png"]
    assert run.read_large("plots/importances.png").startswith(b"\x89PNG")
    assert "artifacts: importances.json, plots\n" in done.stdout


def test_the_mlflow_script_names_gittrack_in_its_import_alone() -> None:
    code = (EXAMPLES / "mlflow_script.py").read_text()
    assert [line for line in code.splitlines() if "gittrack as" in line] == ["import gittrack as mlflow"]
    assert "gittrack" not in code.split("import gittrack as mlflow")[1]


@pytest.mark.slow
def test_every_point_of_every_process_is_in_the_run(project: Project) -> None:
    done = project.run_example(sys.executable, add_example(project, "multi_process.py"))

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "fork: 200 of 200 points, complete: True",
        "spawn: 200 of 200 points, complete: True",
    ]
    by_spawn, by_fork = project.list_runs("multi-process")
    for run, method in ((by_fork, "fork"), (by_spawn, "spawn")):
        assert run.record["name"] == f"by-{method}"
        assert run.record["status"] == "FINISHED"
        assert run.params == {"start_method": method, "workers": 4, "steps": 50}
        for rank in range(4):
            assert run.read_steps(f"rank{rank}/loss") == list(range(50))


def test_a_shell_script_is_a_run(project: Project) -> None:
    done = project.run_example(add_example(project, "shell_run.sh"))

    assert done.stdout.splitlines()[-1] == "runs: in-one-go step-by-step"
    in_one_go, step_by_step = project.list_runs("shell")
    assert step_by_step.record["status"] == in_one_go.record["status"] == "FINISHED"
    assert step_by_step.params == {"steps": 30, "rate": 0.05}
    assert step_by_step.record["tags"] == {"checked": "yes"}
    assert step_by_step.read_steps("loss") == list(range(30))
    assert step_by_step.metrics == {"loss": 0.0, "x": 1.414214, "points": 30.0}
    assert step_by_step.list_artifacts() == ["points.txt"]
    assert in_one_go.record["tags"] == {"by": "exec", "exit_code": "0"}
    assert in_one_go.metrics == {"loss": 0.0, "x": 1.414214}
    assert in_one_go.read_steps("loss") == list(range(30))
    [output] = in_one_go.list_artifacts()
    assert in_one_go.read(f"artifacts/{output}") == step_by_step.read("artifacts/points.txt")


@pytest.mark.slow
def test_the_notebook_logs_a_run_and_reads_it_back(project: Project, tmp_path: Path) -> None:
    executed = tmp_path / "executed.ipynb"
    project.run_example(sys.executable, "-c", RUN_NOTEBOOK, add_example(project, "notebook.ipynb"), executed)

    run = project.get_run("notebook")
    assert run.record["name"] == "moons"
    assert run.record["source"]["kind"] == "NOTEBOOK"
    assert run.record["inputs"]["1"]["rows"] == 450
    assert run.params == {"hidden_layer_sizes": 16, "learning_rate_init": 0.01, "random_state": 0}
    assert run.read_steps("test_loss") == list(range(60))
    assert run.metrics["test_accuracy"] > 0.8
    assert run.list_artifacts() == ["sample.json"]
    shown = read_outputs(executed)
    assert f"{run.metrics['test_accuracy']:.6f}" in shown  # by get_run
    assert f"{run.metrics['test_loss']:.6f}" in shown  # by get_metric_history
    assert "learning_rate_init: 0.01" in shown  # by git


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)


@pytest.mark.slow
def test_the_quickstart_trains_ten_models_and_shows_the_best(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "first look"
    environment = {**project.environment, "QUICKSTART_PYTHON": sys.executable}
    printed = Project(project.folder, environment).run(EXAMPLES / "quickstart", folder).stdout

    made = Project(folder / "digits", project.environment)
    made.check_objects()
    assert made.git("status", "--porcelain") == ""
    assert made.git("log", "--format=%s") == "digits: a sweep of models\n"
    sweep, *models = made.list_runs("digits")
    assert sweep.record["name"] == "sweep"
    assert len(models) == sweep.params["candidates"] == 10
    assert {run.record["parent"] for run in models} == {sweep.id}
    for run in models:
        assert run.record["status"] == "FINISHED"
        assert run.record["inputs"]["1"]["name"] == "digits"
        assert run.metrics["test_accuracy"] > 0.9
        assert run.list_artifacts() == ["confusion_matrix.png"]
        epochs = 30 if run.params["model"] in ("SGDClassifier", "MLPClassifier") else 1
        assert run.read_steps("test_accuracy") == list(range(epochs))
        assert run.read("code/digits_sweep.py") == (EXAMPLES / "digits_sweep.py").read_text()
    best = max(models, key=lambda run: run.metrics["test_accuracy"])
    assert sweep.record["tags"] == {"best": best.record["name"]}
    assert sweep.metrics == {"best_test_accuracy": best.metrics["test_accuracy"]}
    for shown in ("$ gittrack ls digits", f"$ gittrack show {best.record['name']}", best.id, best.commit[:7]):
        assert shown in printed


def test_the_quickstart_refuses_a_folder_that_is_not_its_own(project: Project) -> None:
    done = subprocess.run(
        [EXAMPLES / "quickstart", project.folder], env=project.environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"{project.folder} is there already, and not from here" in done.stderr


def read_outputs(notebook: Path) -> str:
    """The text that the cells of an executed notebook show."""
    outputs = [
        output
        for cell in nbformat.read(notebook, as_version=4).cells
        for output in cell.get("outputs", [])
        if output.output_type != "error"
    ]
    return "\n".join(output.get("text") or output["data"]["text/plain"] for output in outputs)


def _branch(experiment: str) -> str:
    return f"refs/heads/gittrack/{experiment}"
