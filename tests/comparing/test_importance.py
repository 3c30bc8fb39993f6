"""Which params matter over many runs: known truths are found, poor fits are not believed."""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from typing import Any

from gittrack.comparing.importance import Importance, rank_params
from gittrack.store.search_rows import RunRow

from .rows import make_row


def make_rows(count: int, truth: Any, noise: float = 0.01) -> list[RunRow]:
    chance = random.Random(3)
    rows = []
    for number in range(count):
        params = {
            "lr": 10 ** chance.uniform(-5, -1), "opt": chance.choice(["adam", "sgd", "lion"]),
            "layers": chance.randrange(1, 9), "seed": number, "same": "x",
        }  # fmt: skip
        rows.append(make_row(number, params, metrics={"loss": truth(params) + chance.gauss(0, noise)}))
    return rows


def by_name(found: Importance) -> dict[str, Any]:
    return {row.param: row for row in found.table}


def test_the_params_that_matter_come_first_with_their_sign() -> None:
    rows = make_rows(200, lambda params: math.log10(params["lr"]) - 2 * (params["opt"] == "adam"))
    found = rank_params(rows, "loss")
    assert [row.param for row in found.table][:2] in (["lr", "opt"], ["opt", "lr"])
    table = by_name(found)
    assert table["lr"].correlation is not None
    assert table["lr"].correlation > 0.6
    assert table["opt"].correlation is None
    assert abs(table["seed"].importance or 0) < 0.05
    assert table["lr"].runs == 200
    assert found.constant == ("same",)
    assert found.is_believable
    assert found.score is not None
    assert found.score > 0.8


def test_where_params_explain_nothing_the_ranking_is_not_to_be_believed() -> None:
    found = rank_params(make_rows(100, lambda params: 0.0, noise=1.0), "loss")
    assert not found.is_believable
    assert "do not believe" in found.verdict


def test_few_runs_are_not_ranked_by_a_forest() -> None:
    found = rank_params(make_rows(9, lambda params: math.log10(params["lr"])), "loss")
    assert found.score is None
    assert "too few" in found.verdict
    assert all(row.importance is None for row in found.table)
    assert by_name(found)["lr"].correlation is not None


def test_the_same_runs_give_the_same_answer_in_any_order() -> None:
    rows = make_rows(60, lambda params: params["layers"])
    assert rank_params(rows, "loss") == rank_params(rows[::-1], "loss")


def test_runs_without_a_number_are_dropped_and_counted() -> None:
    rows = make_rows(40, lambda params: params["layers"])
    rows += [make_row(100 + number, {"lr": 1.0}, metrics={"loss": math.nan}) for number in range(3)]
    rows.append(make_row(200, {"lr": 1.0}, metrics={"other": 1.0}))
    found = rank_params(rows, "loss")
    assert (found.runs, found.runs_found, found.dropped_nan) == (40, 43, 3)


def test_params_that_go_together_are_flagged() -> None:
    rows = [
        make_row(number, {"width": width, "params": width * width, "other": other}, metrics={"loss": float(width)})
        for number, (width, other) in enumerate(itertools.product(range(10), (1, 2, 3)))
    ]
    table = by_name(rank_params(rows, "loss"))
    assert table["width"].correlated_with == ("params",)
    assert table["params"].correlated_with == ("width",)
    assert table["other"].correlated_with == ()


def test_missing_and_mixed_values_are_values_of_their_own() -> None:
    rows = [
        make_row(number, {} if number % 3 == 0 else {"drop": 0.1 if number % 3 == 1 else "none"},
                 metrics={"loss": float(number % 3)})
        for number in range(60)
    ]  # fmt: skip
    found = rank_params(rows, "loss")
    assert found.score is not None
    assert found.score > 0.95
    (row,) = found.table
    assert (row.param, row.values, row.runs, row.correlation) == ("drop", 3, 40, None)


def test_a_hundred_thousand_runs_are_sampled_and_it_says_so() -> None:
    rows = make_rows(100_000, lambda params: math.log10(params["lr"]))
    began = time.process_time()
    found = rank_params(rows, "loss")
    assert time.process_time() - began < 60
    assert found.runs == 10_000
    assert "10000 of 100000 runs were taken, by chance" in found.notes()
    assert found.table[0].param == "lr"


def test_what_it_shows_is_harmless() -> None:
    rows = [make_row(n, {"<u>\x1b": n}, metrics={"<script>": float(n)}) for n in range(12)]
    found = rank_params(rows, "<script>")
    assert "<u>" not in found._repr_html_()
    assert "<script>" not in found._repr_html_()
    assert "\x1b" not in found._repr_html_() + str(found)
    assert json.loads(json.dumps(found.to_dict()))["table"][0]["param"] == "<u>\x1b"
