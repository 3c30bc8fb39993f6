"""The benchmarks run and give a table; how fast anything is, no test says."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NAMES = {
    "scalar",
    "small_run",
    "startup",
    "long_run",
    "growth",
    "crowd",
    "curves",
    "histories",
    "searching",
    "live",
    "pushing",
    "uploading",
}


@pytest.mark.slow
def test_quick_run_gives_a_row_of_finite_numbers_for_every_benchmark(tmp_path: Path) -> None:
    kept = tmp_path / "found.json"
    argv = [sys.executable, str(HERE / "run.py"), "--quick", "--no-peers"]
    argv += ["--workdir", str(tmp_path / "work"), "--json", str(kept), "--plot", str(tmp_path / "curves.png")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    table = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    rows = json.loads(kept.read_text(encoding="utf-8"))["rows"]
    assert len(table) == 1 + len(rows)
    measured = [row for row in rows if row["ours"] is not None]
    assert {row["benchmark"] for row in measured} == NAMES
    for row in measured:
        assert all(math.isfinite(row["ours"][figure]) for figure in ("n", "min", "median", "max")), row
    assert {row["what"]: row["met"] for row in rows if row["benchmark"] == "crowd" and row["target"]} == {
        "runs reachable": True,
        "git fsck --strict, exit code": True,
    }
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "work").iterdir()) == []
