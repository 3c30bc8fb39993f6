"""Pushing: artifacts before refs, never by force, again where somebody else was quicker."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gittrack.errors import RemoteError
from gittrack.git.remotes import find_remote
from gittrack.sharing.pushing import push
from tests.sharing.clones import Clone, Clones

REF = "refs/heads/gittrack/exp"


def log_artifact(clone: Clone, name: str, data: bytes = b"\0model" * 10) -> tuple[str, str]:
    """A run with a binary artifact; returns its id and the object's oid."""
    run = clone.log(name)
    path = clone.path / "model.bin"
    path.write_bytes(data)
    clone.client.log_artifact(run, str(path))
    path.unlink()
    stored = clone.store.get_run(run)
    return run, clone.store.list_artifacts(stored)[0].oid


def objects_of(clones: Clones) -> list[str]:
    return sorted(path.name for path in (clones.remote / "lfs/objects").glob("*/*/*"))


def install_hook(clones: Clones, name: str, script: str) -> None:
    hook = clones.remote / "hooks" / name
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\n" + script)
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)


def test_runs_and_their_artifacts_arrive(clones: Clones) -> None:
    ada = clones.make("ada")
    _, oid = log_artifact(ada, "one")
    done = ada.push()
    assert (done.uploaded.sent, done.tries, list(done.branches)) == (1, 0, [REF])
    assert clones.refs[REF] == ada.tip()
    assert objects_of(clones) == [oid]
    bob = clones.make("bob")
    assert bob.names() == ["one"]


def test_pushing_again_does_nothing(clones: Clones) -> None:
    ada = clones.make("ada")
    log_artifact(ada, "one")
    ada.push()
    assert ada.push().is_nothing


def test_what_was_pushed_apart_is_joined_first(clones: Clones) -> None:
    ada, bob = clones.make("ada"), clones.make("bob")
    ada.log("ada-1")
    bob.log("bob-1")
    ada.push()
    done = bob.push()
    assert [len(pulled.branches) for pulled in done.pulled] == [1]
    ada.pull()
    assert ada.names() == bob.names() == ["ada-1", "bob-1"]
    assert clones.refs[REF] == ada.tip() == bob.tip()


def test_a_branch_that_plain_git_pushed_without_its_artifacts_is_made_whole(clones: Clones) -> None:
    ada = clones.make("ada")
    _, oid = log_artifact(ada, "one")
    ada.git("-c", "core.hooksPath=/dev/null", "push", "-q", "origin", f"{REF}:{REF}")
    assert objects_of(clones) == []
    done = ada.push()
    assert (done.uploaded.sent, objects_of(clones)) == (1, [oid])


def test_nothing_is_pushed_whose_artifact_is_nowhere(clones: Clones) -> None:
    ada = clones.make("ada")
    _, oid = log_artifact(ada, "one")
    os.unlink(ada.path / f".git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}")
    with pytest.raises(RemoteError, match=r"model\.bin"):
        ada.push()
    assert clones.refs == {}


def test_a_colleagues_artifact_that_only_the_remote_has_is_no_hindrance(clones: Clones) -> None:
    ada = clones.make("ada")
    log_artifact(ada, "one")
    ada.push()
    bob = clones.make("bob")
    bob.log("bob-1")
    assert bob.push().uploaded.sent == 0
    assert clones.refs[REF] == bob.tip()


def test_a_second_remote_gets_what_only_the_first_one_has(clones: Clones, tmp_path: Path) -> None:
    ada = clones.make("ada")
    _, oid = log_artifact(ada, "one")
    ada.push()
    bob = clones.make("bob")
    bob.pull()
    backup = tmp_path / "backup.git"
    bob.git("init", "-q", "--bare", str(backup))
    remote = find_remote(bob.repository, str(backup))
    assert remote is not None
    done = push(bob.repository, remote)
    assert done.uploaded.sent == 1
    assert (backup / f"lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}").exists()


def test_a_hook_of_the_remote_that_refuses_is_told_once(clones: Clones) -> None:
    ada = clones.make("ada")
    ada.log("one")
    install_hook(clones, "pre-receive", "echo runs are closed >&2\nexit 1\n")
    with pytest.raises(RemoteError) as caught:
        ada.push()
    assert (caught.value.message, caught.value.hint) == (
        "origin refuses refs/heads/gittrack/exp: pre-receive hook declined",
        "runs are closed",
    )


def test_all_branches_move_or_none(clones: Clones) -> None:
    ada = clones.make("ada")
    ada.log("one", "good")
    ada.log("two", "bad")
    install_hook(clones, "update", "case $1 in *bad) echo not this one >&2; exit 1;; esac\n")
    with pytest.raises(RemoteError, match="gittrack/bad: hook declined"):
        ada.push()
    assert clones.refs == {}


def test_one_experiment_of_several(clones: Clones) -> None:
    ada = clones.make("ada")
    ada.log("one", "good")
    ada.log("two", "other")
    push(ada.repository, ada.remote, ["refs/heads/gittrack/good"])
    assert list(clones.refs) == ["refs/heads/gittrack/good"]


def test_tags_of_the_registry_go_along_and_others_stay(clones: Clones) -> None:
    ada = clones.make("ada")
    ada.log("one")
    for tag in ("digits@v1.0.0", "digits#prod#1", "release-1"):
        ada.git("tag", "-a", tag, "-m", "why", "gittrack/exp")
    done = ada.push()
    assert sorted(done.tags) == ["refs/tags/digits#prod#1", "refs/tags/digits@v1.0.0"]
    assert [ref for ref in clones.refs if ref.startswith("refs/tags/")] == sorted(done.tags)


def test_the_same_tag_made_apart_is_renumbered_where_it_was_not_pushed_yet(clones: Clones) -> None:
    ada, bob = clones.make("ada"), clones.make("bob")
    for clone in (ada, bob):
        clone.log(f"{clone.path.name}-1")
        clone.git("tag", "-a", "digits@v1.0.0", "-m", f"by {clone.path.name}", "gittrack/exp")
    ada.push()
    done = bob.push()
    assert [(one.old, one.new) for one in done.renumbered] == [
        ("refs/tags/digits@v1.0.0", "refs/tags/digits@v2.0.0")
    ]
    ada.pull()
    shown = {
        clone.path.name: clone.git("tag", "-n", "--format=%(refname:short) %(tag) %(contents)")
        for clone in (ada, bob)
    }
    assert (
        shown["ada"]
        == shown["bob"]
        == ("digits@v1.0.0 digits@v1.0.0 by ada\n\ndigits@v2.0.0 digits@v2.0.0 by bob\n\n")
    )


def test_a_remote_that_was_made_anew_gets_everything_again(clones: Clones) -> None:
    ada = clones.make("ada")
    ada.log("one")
    ada.push()
    clones.git("update-ref", "-d", REF)
    assert list(ada.push().branches) == [REF]
    assert clones.refs == {REF: ada.tip()}


def test_a_remote_that_is_not_there_is_told(clones: Clones, tmp_path: Path) -> None:
    ada = clones.make("ada")
    ada.log("one")
    ada.git("remote", "set-url", "origin", str(tmp_path / "nowhere.git"))
    with pytest.raises(RemoteError, match="origin: there is no repository"):
        ada.push()
