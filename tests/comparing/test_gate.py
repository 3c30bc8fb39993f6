"""Which runs a gate compares: of the commit that is checked out, and of the nearest ancestor that has one."""

from __future__ import annotations

from pathlib import Path

import pytest

import gittrack
from gittrack.comparing.conditions import parse_condition
from gittrack.comparing.gate import Gate, judge_run
from gittrack.errors import AmbiguousError, InvalidValueError, NotFoundError
from tests.harness import Repo

from .making import make


def judge(repo: Repo, against: str, *conditions: str, run: str | None = None) -> Gate:
    return judge_run(repo.store, against, [parse_condition(text) for text in conditions], run=run)


def names(gate: Gate) -> tuple[str, str | None]:
    baseline = gate.baseline.run
    return gate.candidate.record.name, baseline.record.name if baseline is not None else None


def test_a_branch_is_held_against_the_nearest_ancestor_that_has_a_run(repo: Repo) -> None:
    make("old", metrics={"acc": 0.5})
    repo.commit("more", a__py="1\n")
    make("base", metrics={"acc": 0.8})
    make("failed", metrics={"acc": 0.1}, status="FAILED")
    make("elsewhere", experiment="other", metrics={"acc": 0.9})
    repo.commit("without a run", b__py="1\n")
    repo.git("checkout", "-qb", "feature")
    repo.commit("feature", c__py="1\n")
    make("mine", metrics={"acc": 0.79})
    gate = judge(repo, "main", "metrics.acc drops 5%")
    assert names(gate) == ("mine", "base")
    assert gate.is_passed
    assert "nearest run at" in gate.baseline.why
    assert not judge(repo, "main", "metrics.acc drops 1%").is_passed
    assert names(judge(repo, "HEAD~2", "metrics.acc drops 1%")) == ("mine", "base")
    assert names(judge(repo, "HEAD~3")) == ("mine", "old")
    assert names(judge(repo, "old")) == ("mine", "old")
    assert names(judge(repo, "main", run="old")) == ("old", "base")


def test_the_candidate_is_of_the_branch_where_the_commit_has_no_run(repo: Repo) -> None:
    make("on-main")
    repo.git("checkout", "-qb", "feature")
    repo.commit("feature", c__py="1\n")
    make("mine")
    repo.commit("a change of a text", readme="1\n")
    assert names(judge(repo, "main")) == ("mine", "on-main")
    repo.git("checkout", "-q", "--orphan", "bare")
    repo.commit("nothing")
    with pytest.raises(NotFoundError, match="no finished run is of commit"):
        judge(repo, "main")


def test_a_missing_baseline_fails_and_says_what_was_looked_for(repo: Repo) -> None:
    make("mine", metrics={"acc": 0.9})
    gate = judge(repo, "main", "metrics.acc drops 1%", "metrics.acc < 0.5")
    assert (gate.is_passed, [check.fails for check in gate.checks]) == (False, [True, False])
    assert "There is no baseline" in gate.to_markdown()
    assert gate.to_dict()["baseline"] is None
    assert not judge(repo, "main").is_passed


def test_what_nobody_knows_is_an_error(repo: Repo) -> None:
    make("twin")
    make("twin")
    make("mine", metrics={"x": 1.0}, tags={"gittrack.goal.y": "max"})
    with pytest.raises(NotFoundError, match="neither a run nor a revision"):
        judge(repo, "--output=evil")
    with pytest.raises(AmbiguousError):
        judge(repo, "twin")
    with pytest.raises(InvalidValueError, match="which way metric 'x'"):
        judge(repo, "main", "metrics.x worsens 1%")
    assert not Path("evil").exists()


def test_an_experiments_tag_tells_the_direction(repo: Repo) -> None:
    make("base", metrics={"x": 1.0})
    make("mine", metrics={"x": 2.0})
    gittrack.set_experiment_tag("gittrack.goal.x", "min")
    gate = judge(repo, "main", "metrics.x worsens 1%")
    assert (names(gate), gate.is_passed) == (("mine", "base"), False)
    assert "| `fails` | `metrics.x worsens 1%` | `1.0 to 2.0 (+1, +100.000%)` |" in gate.to_markdown()


def test_of_several_runs_at_a_commit_the_one_with_the_same_params_counts(repo: Repo) -> None:
    make("adam", opt="adam", seed=1, metrics={"acc": 0.9})
    make("sgd", opt="sgd", seed=2, metrics={"acc": 0.5})
    repo.git("checkout", "-qb", "feature")
    repo.commit("feature", c__py="1\n")
    make("mine", opt="adam", seed=3, metrics={"acc": 0.6})
    gate = judge(repo, "main", "metrics.acc drops 5%")
    assert (names(gate), gate.is_passed) == (("mine", "adam"), False)
    make("other", opt="lion", lr=1.0, metrics={"acc": 0.6})
    gate = judge(repo, "main", run="other")
    assert names(gate) == ("other", "sgd")
    assert gate.baseline.why.endswith(", the newest of 2 runs there, with other params: lr, opt")
