"""Naming stores for artifacts on the command line: what travels with the branch, and what each user allows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.conftest import Shell


def shown(shell: Shell) -> list[dict[str, Any]]:
    return list(json.loads(shell.gittrack("remote", "store", "--json")))


def test_the_newest_store_takes_what_is_new_and_older_ones_stay_known(shell: Shell) -> None:
    assert shown(shell) == []
    assert "artifacts go to the remote's LFS" in shell.on_terminal("remote", "store")
    for url in ("s3://runs/old", "s3://runs/new/", "s3://runs/new"):
        shell.gittrack("remote", "store", url)
    assert shown(shell) == [
        {"experiment": "", "url": "s3://runs/new", "takes_new": True, "allowed": True},
        {"experiment": "", "url": "s3://runs/old", "takes_new": False, "allowed": True},
    ]
    assert shell.gittrack("remote", "store").splitlines() == [
        "experiment\tstore\ttakes new\tallowed",
        "(all)\ts3://runs/new\tyes\tyes",
        "(all)\ts3://runs/old\t\tyes",
    ]
    # to name what is named already changes nothing
    assert shell.git("rev-list", "--count", "refs/heads/gittrack/Default") == "2\n"
    shell.gittrack("remote", "store", "s3://runs/new", "--unset")
    assert [one["url"] for one in shown(shell)] == ["s3://runs/old"]
    shell.gittrack("remote", "store", "--unset")
    assert shown(shell) == []


def test_an_experiment_may_have_its_own(shell: Shell, make_run: Callable[..., str]) -> None:
    make_run()
    assert "no experiment is called 'none'" in shell.error("remote", "store", "s3://runs", "-e", "none")
    shell.gittrack("remote", "store", "s3://runs/digits", "-e", "digits")
    assert shown(shell) == [
        {"experiment": "digits", "url": "s3://runs/digits", "takes_new": True, "allowed": True}
    ]


def test_whoever_names_a_folder_allows_it_and_others_allow_it_for_themselves(shell: Shell, tmp_path: Path) -> None:
    nas = f"{tmp_path}/nas"
    assert f"{nas} is allowed here" in shell.error("remote", "store", f"file://{nas}", code=0)
    assert shell.git("config", "--get-all", "gittrack.trustedStore") == f"{nas}\n"
    shell.git("config", "--unset-all", "gittrack.trustedStore")
    assert [one["allowed"] for one in shown(shell)] == [False]
    shell.gittrack("remote", "trust", f"{nas}/")
    assert [one["allowed"] for one in shown(shell)] == [True]
    assert "was allowed already" in shell.error("remote", "trust", nas, code=0)


def test_a_url_with_a_password_is_refused_and_recorded_nowhere(shell: Shell) -> None:
    told = shell.error("remote", "store", "s3://key:secret@runs", code=2)
    assert "a store's URL holds no password" in told
    assert "secret" not in told
    assert shell.git("for-each-ref", "refs/heads/gittrack") == ""
