"""Runs tracked in another repository than their code's bring the code along, each file once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TRAIN = """
import sys, gittrack
gittrack.set_tracking_uri(sys.argv[1])
with gittrack.start_run():
    gittrack.log({"loss": 0.5})
"""


def run(*argv: str, folder: Path) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT")}
    environment = {**kept, "HOME": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_code_is_carried_into_the_other_repository(tmp_path: Path) -> None:
    code, runs = tmp_path / "code", tmp_path / "runs.git"
    run("git", "init", "-q", str(code), folder=tmp_path)
    run("git", "init", "-q", "--bare", str(runs), folder=tmp_path)
    (code / "train.py").write_text(TRAIN)
    (code / "lib").mkdir()
    (code / "lib" / "part.py").write_text("x = 1\n")
    run("git", "add", ".", folder=code)
    run("git", "-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "c", folder=code)
    before = run("git", "for-each-ref", folder=code)
    run(sys.executable, "train.py", str(runs), folder=code)
    clean = run("git", "rev-parse", "gittrack/Default:code", folder=runs)
    assert clean == run("git", "rev-parse", "HEAD^{tree}", folder=code)
    (code / "lib" / "part.py").write_text("x = 2\n")
    run(sys.executable, "train.py", str(runs), folder=code)
    assert run("git", "show", "gittrack/Default:code/lib/part.py", folder=runs) == "x = 2\n"
    assert run("git", "show", "gittrack/Default~1:code/lib/part.py", folder=runs) == "x = 1\n"
    assert run("git", "fsck", "--strict", folder=runs) == ""
    assert run("git", "for-each-ref", folder=code) == before
    packs = run("git", "count-objects", "-v", folder=runs)
    assert "packs: 2" in packs
