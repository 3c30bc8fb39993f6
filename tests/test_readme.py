"""The README is true: its code runs, its commands run, its map is the house's."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proof import HARNESSES

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT", "XDG_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    home = tmp_path / "home"
    home.mkdir()
    return {**kept, "HOME": str(home), "PATH": path, "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture
def folder(tmp_path: Path, environment: dict[str, str]) -> Path:
    place = tmp_path / "project"
    subprocess.run(["git", "init", "-q", str(place)], env=environment, check=True)
    return place


def run(argv: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def test_the_python_code_runs(folder: Path, environment: dict[str, str]) -> None:
    for code in blocks("python"):  # the second looks for what the first has logged
        assert run([sys.executable, "-W", "error", "-c", code], folder, environment) == "0.7\n"


def test_the_commands_run_in_their_order(folder: Path, environment: dict[str, str]) -> None:
    script = "set -euo pipefail\n" + "".join(blocks("bash"))
    said = run(["bash", "-c", script], folder, environment)
    assert "from-bash" in said
    assert (folder / "fetched" / "output.txt").read_text() == "any command is a run\n"


def test_the_session_shows_what_appears(folder: Path, environment: dict[str, str]) -> None:
    session, quickstart = blocks("console")
    commands = [line[2:] for line in session.splitlines() if line.startswith("$ ")]
    said = run(["bash", "-c", " 2>&1\n".join(commands) + " 2>&1"], folder, environment)
    shown = [line for line in session.splitlines() if not line.startswith("$ ")]
    blurred = [re.sub(r"\b[0-9a-f]{7,8}\b", "ID", text) for text in ("\n".join(shown), said.strip())]
    assert blurred[0] == blurred[1]
    assert os.access(ROOT / quickstart.removeprefix("$ ").strip(), os.X_OK)


def test_the_map_is_todays() -> None:
    rows = re.findall(r"^\| `(gittrack[\w.]*)` \| (\d?) ?\| (.+?) \|$", TEXT, re.MULTILINE)
    packages = {path.parent.name for path in (ROOT / "gittrack").glob("*/__init__.py")}
    assert {name.removeprefix("gittrack.") for name, _, _ in rows} == packages | {"errors"}
    for name, floor, sentence in rows:
        first = (importlib.import_module(name).__doc__ or "").splitlines()[0]
        expected = f"Floor {floor}, {name.removeprefix('gittrack.')}: {sentence}" if floor else sentence
        assert first.rstrip(".") == expected.rstrip("."), name


def test_the_table_of_what_was_tried_has_every_promise() -> None:
    rows = re.findall(r"^\| (.+?) \| [\d,]+ (.+?) \| \d+ \| \d+ in [\d,]+ \|$", TEXT, re.MULTILINE)
    harnesses = [importlib.import_module(f"tests.proof.{name}") for name in HARNESSES]
    assert rows == [(harness.PROMISE, harness.UNIT) for harness in harnesses]


def test_every_file_that_it_names_is_there() -> None:
    for path in re.findall(r"`((?:examples|tests)/[\w./-]+)`", TEXT) + re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / path).exists(), path
