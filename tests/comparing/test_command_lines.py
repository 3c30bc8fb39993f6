"""Reading recorded commands: what params tell of them, and the same with another value."""

from __future__ import annotations

import pytest

from gittrack.comparing.command_lines import change_param, split_command, untold_by_params
from gittrack.comparing.factors import Factor, is_seed, read_factors
from gittrack.schema.records import Scalar

from .rows import make_row


@pytest.mark.parametrize(
    ("command", "param", "old", "new", "expected"),
    [
        ("python t.py --lr 0.1", "lr", 0.1, 0.2, "python t.py --lr 0.2"),
        ("python t.py --lr=0.1", "lr", 0.1, 0.2, "python t.py --lr=0.2"),
        ("python t.py lr=0.10 x", "lr", 0.1, 1e-5, "python t.py lr=1e-05 x"),
        ("python t.py --batch-size 32", "batch_size", 32, 64, "python t.py --batch-size 64"),
        ("python t.py optim.lr=0.1", "lr", 0.1, 0.2, "python t.py optim.lr=0.2"),
        ("python t.py --learning-rate 0.1", "lr", 0.1, 0.2, "python t.py --learning-rate 0.2"),
        ("python t.py --opt adam", "opt", "adam", "a; rm -rf ~", "python t.py --opt 'a; rm -rf ~'"),
        ("python t.py --opt 'it'\"'\"'s'", "opt", "it's", "b", "python t.py --opt b"),
        ("python t.py --shuffle true", "shuffle", True, False, "python t.py --shuffle false"),
        ("python t.py 0.1", "lr", 0.1, 0.2, None),
        ("python t.py --a 1 --b 1", "lr", 1, 2, None),
        ("python t.py --lr 0.5", "lr", 0.1, 0.2, None),
        ("python t.py --lr 0.1 --token ***", "lr", 0.1, 0.2, None),
        ("gittrack start -e x", "lr", 0.1, 0.2, None),
        ("python 'open", "lr", 0.1, 0.2, None),
        (None, "lr", 0.1, 0.2, None),
    ],
)
def test_a_param_is_changed_where_it_stands_as_an_option(
    command: str | None, param: str, old: Scalar, new: Scalar, expected: str | None
) -> None:
    assert change_param(command, param, old, new) == expected


def test_arguments_that_params_tell_are_not_told_twice() -> None:
    commands = [
        "/a/python /x/t.py --lr 1 --learning-rate 5 --epochs 3 fast",
        "python t.py --learning-rate 6 --epochs 4",
    ]
    params: list[dict[str, Scalar]] = [{"lr": 1, "rate": 5, "layers": 3}, {"lr": 2, "rate": 6, "layers": 3}]
    assert untold_by_params(commands, params) == [
        (("@0", "python"), ("@1", "t.py"), ("--epochs", "3"), ("@2", "fast")),
        (("@0", "python"), ("@1", "t.py"), ("--epochs", "4")),
    ]


def test_a_command_that_only_began_a_run_tells_nothing() -> None:
    assert split_command("/usr/bin/gittrack start -e digits --name one") is None


@pytest.mark.parametrize(
    "name", ["seed", "random_state", "data.seed", "torch_seed", "randomState", "seed_everything"]
)
def test_seeds_are_known_by_name(name: str) -> None:
    assert is_seed(name)


@pytest.mark.parametrize("name", ["seedling", "lr", "reseeded", "state"])
def test_other_params_are_not_taken_for_seeds(name: str) -> None:
    assert not is_seed(name)


def test_factors_are_what_differs_and_texts_that_no_two_runs_share_are_labels() -> None:
    rows = [
        make_row(number, {"lr": float(number), "out": f"/tmp/{number}", "same": 1, "flag": 1 if number else True})
        for number in range(9)
    ]
    table = read_factors(rows)
    assert table.factors == (Factor("param", "lr"), Factor("label", "out"), Factor("param", "flag"))
    assert table.differing(0, 1) == [0, 1, 2]
    assert table.differing(1, 2) == [0, 1]
