"""Plain git is set up by refspecs of its own, noted so that they can be taken back, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.errors import NotFoundError
from gittrack.git.remotes import Remote
from gittrack.sharing.setup import PUSHES, Plan, plan_fetches, plan_pushes, plan_undoing, tell_of_git_lfs
from tests.sharing.clones import Clone, Clones

RUNS = "refs/heads/gittrack/*:refs/heads/gittrack/*"


@pytest.fixture
def clone(clones: Clones) -> Clone:
    made = clones.make("ada")
    made.commit("begin", train__py="print()\n")
    made.git("push", "-q", "-u", "origin", "HEAD")
    return made


def config_of(clone: Clone) -> str:
    return (clone.path / ".git/config").read_text()


def commands(plan: Plan) -> list[str]:
    return [change.command for change in plan.changes]


def test_a_plain_push_then_carries_the_branch_the_runs_and_on_request_all_tags(
    clone: Clone, clones: Clones
) -> None:
    clone.log("one")
    clone.git("tag", "v1")
    plan_pushes(clone.repository, clone.remote, ["branch", "runs"]).apply()
    clone.commit("more")
    clone.git("push", "-q")
    assert sorted(clones.refs) == ["refs/heads/gittrack/exp", "refs/heads/main"]
    assert clones.refs["refs/heads/main"] == clone.tip("HEAD")
    plan_pushes(clone.repository, clone.remote, ["tags"]).apply()
    clone.git("push", "-q")
    assert "refs/tags/v1" in clones.refs


def test_the_plan_names_the_commands_and_what_becomes_of_push_default(clone: Clone) -> None:
    plan = plan_pushes(clone.repository, clone.remote, PUSHES)
    assert commands(plan) == [
        "git config --add remote.origin.push HEAD",
        f"git config --add remote.origin.push '{RUNS}'",
        "git config --add remote.origin.push 'refs/tags/*:refs/tags/*'",
    ]
    assert "not what push.default does" in plan.notes[0]


def test_what_is_set_up_already_is_not_set_up_again(clone: Clone) -> None:
    for _ in range(2):
        plan_pushes(clone.repository, clone.remote, ["branch", "runs"]).apply()
        plan_fetches(clone.repository, clone.remote).apply()
        before = config_of(clone)
    assert config_of(clone) == before
    assert clone.git("config", "--get-all", "remote.origin.push").splitlines() == ["HEAD", RUNS]
    assert plan_pushes(clone.repository, clone.remote, ["branch", "runs"]) == Plan()


@pytest.mark.parametrize(
    ("theirs", "added"),
    [
        ("refs/heads/main", [RUNS]),
        ("+HEAD", [RUNS]),
        ("refs/tags/*", ["HEAD", RUNS]),
        (f"+{RUNS}", ["HEAD"]),
        ("refs/heads/*:refs/heads/*", []),
    ],
)
def test_who_has_refspecs_keeps_them_and_their_choice_of_branches(
    clone: Clone, theirs: str, added: list[str]
) -> None:
    clone.git("config", "remote.origin.push", theirs)
    plan_pushes(clone.repository, clone.remote, ["branch", "runs"]).apply()
    assert clone.git("config", "--get-all", "remote.origin.push").splitlines() == [theirs, *added]


def test_a_plain_fetch_then_brings_what_runs_and_forgets_what_has_ended(clone: Clone, clones: Clones) -> None:
    live = "refs/gittrack/live/" + "ab" * 16
    clones.git("update-ref", live, "refs/heads/main")
    plan_fetches(clone.repository, clone.remote).apply()
    clone.git("fetch", "-q")
    here = clone.git("for-each-ref", "--format=%(refname)", "refs/gittrack").split()
    assert here == ["refs/gittrack/remotes/origin/live/" + "ab" * 16]
    clones.git("update-ref", "-d", live)
    clone.git("fetch", "-q", "--prune")
    assert clone.git("for-each-ref", "refs/gittrack") == ""


def test_a_clone_of_one_branch_comes_to_fetch_the_runs(clone: Clone, clones: Clones) -> None:
    clone.log("one")
    clone.git("push", "-q", "origin", RUNS)
    narrow = clones.make("bob", "--single-branch")
    assert narrow.names() == []
    plan_fetches(narrow.repository, narrow.remote).apply()
    narrow.git("fetch", "-q")
    assert narrow.names() == ["one"]


@pytest.mark.parametrize("theirs", ["", "HEAD", RUNS])
def test_undoing_takes_back_what_was_added_and_nothing_else(clone: Clone, theirs: str) -> None:
    if theirs:
        clone.git("config", "remote.origin.push", theirs)
    before = config_of(clone)
    plan_pushes(clone.repository, clone.remote, PUSHES).apply()
    plan_fetches(clone.repository, clone.remote).apply()
    assert config_of(clone) != before
    plan_undoing(clone.repository).apply()
    assert config_of(clone) == before
    assert plan_undoing(clone.repository) == Plan()


def test_a_remote_that_is_only_a_url_cannot_be_set_up(clone: Clone, tmp_path: Path) -> None:
    nameless = Remote("", str(tmp_path), str(tmp_path))
    with pytest.raises(NotFoundError, match="has no name here"):
        plan_pushes(clone.repository, nameless, ["runs"])


def test_git_lfs_is_told_of_until_it_is_set_up(clone: Clone) -> None:
    assert "git lfs install" in tell_of_git_lfs(clone.repository)[0]
    clone.git("lfs", "install", "--local")
    assert tell_of_git_lfs(clone.repository) == ()
