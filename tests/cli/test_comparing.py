"""The commands that compare, as a person types them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from .conftest import GITTRACK, Shell


def test_a_page_names_what_differs_and_nothing_else(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run("one", params="lr=0.1 same=1", metrics="acc=0.9")
    make_run("two", params="lr=0.2 same=1", metrics="acc=0.8")
    shown = shell.gittrack("diff", "one", "two", "--part", "params,metrics")
    assert shown.split("\n\n")[1:] == [
        "params  A    B\n  lr      0.1  0.2",
        "metrics  A    B    change\n  acc      0.9  0.8  -0.1 (-11.11%)  worse\n",
    ]
    everything = shell.gittrack("diff", "one", "two", "--all", "--part", "params")
    assert "  same    1    1\n" in everything


def test_exit_codes_say_whether_something_differs(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run("one")
    make_run("two", params="lr=0.2")
    shell.gittrack("diff", "one", "two")
    shell.gittrack("diff", "one", "two", "--exit-code", code=1)
    shell.gittrack("diff", "one", "two", "--exit-code", "--part", "code", code=0)
    assert shell.gittrack("diff", "one", "one", "--exit-code", code=0).endswith("\n\nno difference\n")
    assert "no run is called 'nope'" in shell.error("diff", "one", "nope")
    assert "'nope' is no part of a difference" in shell.error("diff", "one", "--part", "nope", code=2)
    make_run("two")
    assert shell.error("diff", "one", "two").count("  two\n") == 2


def test_colour_is_for_terminals(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run("one", metrics="acc=0.9")
    make_run("two", metrics="acc=0.8")
    assert "\x1b[31mworse\x1b[0m" in shell.on_terminal("diff", "one", "two")
    assert "\x1b" not in shell.gittrack("diff", "one", "two")
    shell.extra = {"NO_COLOR": "1"}
    assert "\x1b" not in shell.on_terminal("diff", "one", "two")


def test_json_is_complete_and_markdown_is_a_table(shell: Shell, make_run: Callable[..., str]) -> None:
    one, two = make_run("one", params="lr=0.1"), make_run("two", params="lr=nan")
    told = json.loads(shell.gittrack("diff", "one", "two", "--json"))
    assert [run["id"] for run in told["runs"]] == [one, two]
    assert [(row["name"], row["values"]) for row in told["params"]] == [("lr", [0.1, "nan"])]
    assert '| `lr` | `0.1` | `"nan"` |' in shell.gittrack("diff", "one", "two", "--md").splitlines()


def test_the_work_tree_is_compared_as_it_is_now(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run("one")
    (shell.folder / "train.py").write_bytes(b"print('training')\n# \xff\x1b[31m\n")
    shell.gittrack("diff", "one", "--part", "code", "--exit-code", code=1)
    shown = shell.gittrack("diff", "one", ".")
    assert "+# \\udcff\\x1b[31m" in shown
    assert "train.py  " in shell.gittrack("diff", "one", ".", "--stat")
    assert "@@" not in shell.gittrack("diff", "one", ".", "--stat")
    assert "train.py" not in shell.gittrack("diff", "one", ".", "--no-code")


def test_the_patch_alone_is_what_git_apply_takes(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run("one")
    changed = b"print('training')\n# \xff\x1b\r\nend"
    (shell.folder / "train.py").write_bytes(changed)
    make_run("two")
    shell.git("checkout", "-q", ".")
    patch = subprocess.run(
        [GITTRACK, "diff", "one", "two", "--patch"], cwd=shell.folder, capture_output=True, check=True
    ).stdout
    shell.run("git", "apply", "--whitespace=nowarn", "-", stdin=patch)
    assert (shell.folder / "train.py").read_bytes() == changed


def test_compare_is_a_gate(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run("base", metrics="acc=0.9")
    make_run("mine", metrics="acc=0.8")
    passed = shell.gittrack("compare", "--against", "base", "--fail-if", "metrics.acc drops 50%")
    assert passed.startswith("### gittrack: passed\n")
    failed = shell.gittrack(
        "compare",
        "--against",
        "base",
        "--fail-if",
        "metrics.acc drops 1%",
        "--fail-if",
        "metrics.acc < 0.1",
        code=1,
    )
    assert failed.startswith("### gittrack: failed\n")
    assert "| `fails` | `metrics.acc drops 1%` | `0.9 to 0.8 (-0.1, -11.111%)` |\n" in failed
    assert "| `ok` | `metrics.acc < 0.1` | `it is 0.8` |\n" in failed
    told = json.loads(
        shell.gittrack("compare", "--against", "base", "--fail-if", "metrics.x > 1", "--json", code=1)
    )
    assert (told["passed"], told["checks"][0]["why"]) == (False, "the candidate has no such metric")
    assert "is no condition" in shell.error("compare", "--against", "base", "--fail-if", "acc drops", code=2)
    assert "which way" in shell.error("compare", "--against", "base", "--fail-if", "metrics.x worsens 1%", code=2)
    make_run("other", experiment="other", metrics="acc=0.1")
    told = json.loads(shell.gittrack("compare", "--against", "base", "-e", "digits", "--json"))
    assert told["diff"]["runs"][1]["name"] == "mine"
    assert "no experiment is called 'x'" in shell.error("compare", "--against", "base", "-e", "x")
    assert "Missing option" in shell.error("compare", code=2)
