"""why and importance, from the command line and from a script."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

import gittrack
from gittrack.errors import InvalidValueError

from .conftest import Shell

TRAIN = """
import sys
import gittrack
lr, batch, seed = float(sys.argv[2]), int(sys.argv[4]), int(sys.argv[6])
gittrack.set_experiment("digits")
with gittrack.start_run(run_name=f"{lr}-{batch}-{seed}"):
    gittrack.log_params({"lr": lr, "batch_size": batch, "seed": seed})
    gittrack.log_metric("acc", 0.9 - lr + seed / 10000)
"""


@pytest.fixture
def grid(shell: Shell) -> Shell:
    """Twelve runs over learning rate, batch size and seed; only the learning rate matters."""
    (shell.folder / "train.py").write_text(TRAIN)
    shell.git("commit", "-qam", "train")
    for lr in ("0.1", "0.4"):
        for batch in ("32", "64"):
            for seed in ("1", "2", "3"):
                shell.run(sys.executable, "train.py", "--lr", lr, "--batch", batch, "--seed", seed)
    return shell


def test_why_names_the_learning_rate(grid: Shell) -> None:
    told = json.loads(grid.gittrack("why", "0.1-32-1", "0.4-64-2", "--json"))
    assert told["verdict"] == "lr explains it: 100 % of the change"
    statuses = {cause["name"]: cause["status"] for cause in told["causes"]}
    assert statuses == {"lr": "measured", "batch_size": "within noise", "seed": "within noise"}
    shown = grid.gittrack("why", "0.1-32-1", "0.4-64-2", "-m", "acc")
    assert "lr explains it" in shown
    assert "lr\t0.1 → 0.4\t" in shown


def test_why_gives_commands_to_try_where_nothing_is_measured(shell: Shell) -> None:
    (shell.folder / "train.py").write_text(TRAIN)
    shell.git("commit", "-qam", "train")
    shell.run(sys.executable, "train.py", "--lr", "0.1", "--batch", "32", "--seed", "1")
    (shell.folder / "train.py").write_text(TRAIN + "# more\n")
    shell.run(sys.executable, "train.py", "--lr", "0.4", "--batch", "64", "--seed", "1")
    shown = shell.gittrack("why", "@last", "digits~1")
    assert "it cannot be told yet" in shown
    assert "train.py: +0 -1" in shown
    assert "train.py --lr 0.1 --batch 64 --seed 1" in shown
    assert "train.py --lr 0.4 --batch 32 --seed 1" in shown
    assert "would tell the causes apart, if effects add" in shown


def test_what_why_cannot_compare_is_said(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run("one", metrics="acc=1")
    make_run("two", metrics="loss=1")
    assert "no metric in common" in shell.error("why", "one", "two", code=2)
    assert "has no metric 'acc'" in shell.error("why", "one", "two", "-m", "acc")
    assert "both name run" in shell.error("why", "one", "one", code=2)


def test_importance_ranks_what_matters(grid: Shell) -> None:
    told = json.loads(grid.gittrack("importance", "acc", "digits", "--json"))
    assert told["table"][0]["param"] == "lr"
    assert told["is_believable"]
    assert told["runs"] == 12
    few = grid.gittrack("importance", "acc", "--filter", "params.seed = '1'")
    assert "4 runs are too few for a forest" in few
    assert "no experiment is called 'x'" in grid.error("importance", "acc", "x")
    assert "did you mean 'acc'?" in grid.error("importance", "acx", "digits")
    assert "did you mean 'acc'?" in grid.error("bisect", "acx", "--below", "1", "--runs")


def test_a_script_asks_the_same(grid: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(grid.folder)
    found = gittrack.why("0.1-32-1", "0.4-64-2", metric="acc")
    assert found.causes[0].factor.name == "lr"
    assert "<table" in found._repr_html_()
    assert "lr explains it" in str(found)
    run = gittrack.get_run(found.one)
    assert gittrack.why(run, found.other).verdict == found.verdict
    ranked = gittrack.importance("acc", experiment="digits")
    assert ranked.table[0].param == "lr"
    assert gittrack.importance("acc", runs=[found.one, found.other]).runs == 2
    with pytest.raises(InvalidValueError, match="is no run"):
        gittrack.why(3, 4)
