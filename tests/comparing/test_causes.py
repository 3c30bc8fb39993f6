"""Causes of a change on made sets of runs, each of which has a known truth."""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from gittrack.comparing.causes import choose_metric, explain
from gittrack.comparing.explanation import Explanation
from gittrack.comparing.factors import Factor
from gittrack.comparing.trials import plan_trial
from gittrack.errors import InvalidValueError, NotFoundError
from gittrack.store.search_rows import RunRow

from .rows import make_row


def make_grid(truth: Callable[..., float], noise: float = 0.002, seeds: int = 2) -> list[RunRow]:
    """Runs over all of lr, batch size, code and data, with several seeds each; ``truth`` gives their accuracy."""
    chance = random.Random(7)
    rows = []
    settings = itertools.product((0.1, 0.01), (32, 64), ("c1", "c2"), ("d1", "d2"), range(seeds))
    for number, (lr, batch, code, data, seed) in enumerate(settings):
        acc = truth(lr=lr, batch=batch, code=code, data=data) + chance.gauss(0, noise)
        params = {"lr": lr, "batch_size": batch, "seed": 100 * number + seed}
        command = f"/usr/bin/python train.py --lr {lr} --batch-size={batch} --seed {params['seed']}"
        rows.append(
            make_row(
                number, params, code=code, digests=(("mnist", data, "training"),), command=command,
                metrics={"acc": acc},
            )
        )  # fmt: skip
    return rows


def ask(rows: list[RunRow], one: int, other: int, metric: str | None = None) -> Explanation:
    return explain(rows, rows[one].id, rows[other].id, metric)


def statuses(found: Explanation) -> dict[str, str]:
    return {cause.factor.title: cause.status for cause in found.causes}


def test_where_only_the_learning_rate_matters_it_says_so() -> None:
    rows = make_grid(lambda lr, **_: 0.9 if lr == 0.1 else 0.7)
    found = ask(rows, 0, len(rows) - 1)
    assert statuses(found) == {
        "lr": "measured",
        "batch_size": "within noise",
        "code": "within noise",
        "data mnist (training)": "within noise",
        "seed": "within noise",
    }
    assert found.causes[0].factor.name == "lr"
    assert found.share == pytest.approx(1, abs=0.05)
    assert found.verdict.startswith("lr explains it: ")
    assert found.trials == ()
    assert found.interactions == ()


def test_two_factors_share_the_change_and_the_greater_comes_first() -> None:
    rows = make_grid(lambda lr, batch, **_: 0.9 - 0.2 * (lr == 0.01) - 0.1 * (batch == 64))
    found = ask(rows, 0, len(rows) - 1)
    assert [cause.factor.name for cause in found.causes if cause.counts] == ["lr", "batch_size"]
    effects = [cause.effect.mean for cause in found.causes if cause.counts and cause.effect]
    assert effects == pytest.approx([-0.2, -0.1], abs=0.01)
    assert found.verdict.startswith("lr and batch_size explain it: ")


def test_one_that_works_against_the_change_comes_after_those_along_it() -> None:
    rows = make_grid(lambda lr, batch, **_: 0.9 - 0.2 * (lr == 0.01) + 0.1 * (batch == 64))
    found = ask(rows, 0, len(rows) - 1)
    assert [
        (cause.factor.name, cause.effect.mean > 0) for cause in found.causes if cause.counts and cause.effect
    ] == [
        ("lr", False),
        ("batch_size", True),
    ]


def test_where_only_both_together_matter_it_says_so() -> None:
    rows = make_grid(lambda lr, batch, **_: 0.9 - 0.3 * (lr == 0.01 and batch == 64))
    found = ask(rows, 0, len(rows) - 1)
    (joint,) = found.interactions
    assert {joint.one, joint.other} == {"lr", "batch_size"}
    assert joint.extra == pytest.approx(-0.3, abs=0.02)
    assert "together" in found.verdict
    assert found.share == pytest.approx(1, abs=0.05)
    assert all(cause.effect and cause.effect.varies for cause in found.causes if cause.counts)


def test_data_is_found_to_be_the_cause() -> None:
    rows = make_grid(lambda data, **_: 0.9 if data == "d1" else 0.6)
    found = ask(rows, 0, len(rows) - 1)
    assert found.verdict.startswith("data mnist (training) explains it: ")
    assert (found.causes[0].before, found.causes[0].after) == ("d1", "d2")


def test_where_noise_is_all_it_says_noise() -> None:
    rows = make_grid(lambda **_: 0.8, noise=0.01)
    found = ask(rows, 0, len(rows) - 1)
    assert found.is_noise
    assert "within noise" in found.verdict
    assert not any(cause.counts for cause in found.causes)


def test_equal_runs_that_differ_are_noise_or_not_recorded() -> None:
    rows = [make_row(number, metrics={"acc": acc}) for number, acc in enumerate((0.9, 0.8, 0.85, 0.91))]
    found = ask(rows, 0, 1)
    assert found.causes == ()
    assert found.verdict.startswith("noise: ")
    alone = ask(rows[:2], 0, 1)
    assert alone.verdict.startswith("noise: ")


def test_equal_values_leave_nothing_to_explain() -> None:
    rows = [make_row(1, {"lr": 1}, metrics={"acc": 0.5}), make_row(2, {"lr": 2}, metrics={"acc": 0.5})]
    found = ask(rows, 0, 1)
    assert found.verdict == "nothing to explain: acc is the same in both"
    assert found.trials == ()


def test_two_runs_alone_leave_all_unmeasured_and_the_fewest_runs_tell_them_apart() -> None:
    one = make_row(
        1, {"lr": 0.1, "opt": "adam", "seed": 1}, command="python train.py --lr 0.1 --opt=adam seed=1",
        metrics={"acc": 0.9}, code="c1",
    )  # fmt: skip
    other = make_row(
        2, {"lr": 0.2, "opt": "it's $HOME", "seed": 2}, metrics={"acc": 0.5}, code="c2", code_commit="b" * 40,
        environment="f", command="python train.py --lr 0.2 --opt=\"it's $HOME\" seed=2",
    )  # fmt: skip
    found = explain([one, other], one.id, other.id)
    assert statuses(found) == dict.fromkeys(("lr", "opt", "code", "environment", "seed"), "unmeasured")
    assert "cannot be told" in found.verdict
    assert [trial.changes for trial in found.trials] == [
        "lr",
        "opt",
        "code",
    ]  # four effects, and their sum is known
    assert [trial.commands[-1] for trial in found.trials] == [
        "python train.py --lr 0.2 --opt=adam seed=1",
        "python train.py --lr 0.1 '--opt=it'\"'\"'s $HOME' seed=1",
        "python train.py --lr 0.1 --opt=adam seed=1",
    ]
    assert found.trials[2].commands[0] == f"git worktree add --detach ../try {'b' * 40}"
    assert found.repeat is not None


def test_packages_that_differ_are_installed_by_name() -> None:
    one = make_row(1, environment="e1", command="python train.py", metrics={"acc": 0.9})
    other = make_row(2, {"lr": 1}, environment="e2", metrics={"acc": 0.8})
    third = make_row(3, {"lr": 1}, environment="e3", code="c3", metrics={"acc": 0.7})
    found = explain([one, other, third], one.id, other.id, pins=["numpy==2.0", "x @ https://a/b?c&d"])
    assert [trial.changes for trial in found.trials] == ["lr", "environment"]  # and the command is the rest
    trial = plan_trial(Factor("environment", "environment"), one, other, ["numpy==2.0", "x @ https://a/b?c&d"])
    assert trial.commands == ("pip install numpy==2.0 'x @ https://a/b?c&d'", "python train.py")
    assert plan_trial(Factor("environment", "environment"), one, other).commands == (
        f"git show {other.commit_id}:environment/requirements.txt > requirements.txt",
        "pip install -r requirements.txt",
        "python train.py",
    )


def test_existing_runs_shorten_the_list() -> None:
    def row(number: int, a: int, b: int, c: int, acc: float) -> RunRow:
        return make_row(number, {"a": a, "b": b, "c": c}, metrics={"acc": acc})

    rows = [row(0, 0, 0, 0, 0.0), row(1, 1, 1, 1, 6.0), row(2, 1, 1, 0, 3.0)]
    found = ask(rows, 0, 1)
    assert statuses(found) == {"a": "unmeasured", "b": "unmeasured", "c": "measured"}
    assert [trial.changes for trial in found.trials] == ["a"]
    rows.append(row(3, 0, 1, 1, 5.0))  # b and c together add 5, so that b alone adds 2
    found = ask(rows, 0, 1)
    assert found.trials == ()
    effects = {cause.factor.name: cause.effect.mean for cause in found.causes if cause.effect}
    assert effects == pytest.approx({"a": 1.0, "b": 2.0, "c": 3.0})
    assert {cause.factor.name for cause in found.causes if cause.is_derived} == {"b"}


def test_pairs_of_other_values_are_evidence_without_a_sign() -> None:
    rows = [
        make_row(number, {"lr": lr, "layers": layers}, metrics={"acc": lr * 10 + layers})
        for number, (lr, layers) in enumerate([(0.1, 1), (0.2, 2), (0.3, 5), (0.4, 5)])
    ]
    found = ask(rows, 0, 1)
    (lr,) = (cause for cause in found.causes if cause.factor.name == "lr")
    assert lr.status == "measured at other values"
    assert lr.effect is not None
    assert lr.effect.mean == pytest.approx(1.0)
    assert not lr.counts


def test_a_loss_that_is_no_number_is_asked_why() -> None:
    rows = [
        make_row(number, {"lr": lr, "n": n, "seed": number}, metrics={"loss": math.nan if lr > 1 else 0.1 * n})
        for number, (lr, n) in enumerate(itertools.product((0.1, 10.0), (1, 2, 3)))
    ]
    found = ask(rows, 0, 5)
    assert found.asks_finite
    assert found.verdict.startswith("lr explains it: 100 %")


def test_without_a_metric_the_one_that_changed_most_for_its_spread_is_taken() -> None:
    rows = [
        make_row(number, {"lr": number}, metrics={"big": 1000.0 * number, "acc": 0.5 + 1e-6 * (number % 2)})
        for number in range(9)
    ]
    rows.append(make_row(9, {"lr": 99}, metrics={"big": 1000.0, "acc": 0.9, "system/cpu": 99.0}))
    rows[0] = replace(rows[0], metrics={**rows[0].metrics, **make_row(1, metrics={"system/cpu": 1.0}).metrics})
    assert choose_metric(rows, rows[0], rows[9]) == "acc"
    assert ask(rows, 0, 9).is_chosen


def test_a_metric_that_is_missing_is_named() -> None:
    rows = [make_row(1, metrics={"a": 1.0}), make_row(2, metrics={"b": 1.0})]
    with pytest.raises(InvalidValueError, match="no metric in common"):
        ask(rows, 0, 1)
    with pytest.raises(NotFoundError, match="has no metric 'a'"):
        ask(rows, 0, 1, "a")


def test_what_it_shows_is_harmless_and_whole() -> None:
    rows = [
        make_row(1, {"<b>x": "</td><script>\x1b[31m", "n": 1}, metrics={"<i>acc": 1.0}, name="<img>"),
        make_row(2, {"<b>x": "y", "n": 2}, metrics={"<i>acc": 2.0}),
    ]
    found = ask(rows, 0, 1)
    page = found._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
    assert "<i>acc" not in page
    assert "\x1b" not in page + str(found)
    told = json.loads(json.dumps(found.to_dict()))
    assert told["causes"][0]["status"] == "unmeasured"
    assert len(told["trials"]) == 1
    assert told["metric"] == "<i>acc"


def test_a_hundred_thousand_runs_are_explained_in_seconds() -> None:
    chance = random.Random(1)
    rows = []
    for number in range(100_000):
        params = {f"p{at}": chance.randrange(4) for at in range(5)}
        metrics, command = {"acc": params["p0"] + chance.gauss(0, 0.1)}, f"python train.py --seed {number}"
        rows.append(make_row(number, {**params, "seed": number}, metrics=metrics, command=command))
    one = next(row for row in rows if not any(row.params[f"p{at}"] for at in range(5)))
    other = next(row for row in rows if all(row.params[f"p{at}"] == 3 for at in range(5)))
    began = time.process_time()
    found = explain(rows, one.id, other.id, "acc")
    assert time.process_time() - began < 15
    assert found.causes[0].factor.name == "p0"
    assert found.verdict.startswith("p0 explains it")
