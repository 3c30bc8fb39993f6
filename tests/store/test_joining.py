"""Joining: what was made apart comes together, the same on every side, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.git.objects import ObjectId
from gittrack.sharing.pulling import pull
from gittrack.store.joining import join_branch
from tests.sharing.clones import Clone, Clones

REF = "refs/heads/gittrack/exp"


def share(clone: Clone) -> None:
    clone.git("push", "-q", "origin", f"{REF}:{REF}")


def take(clone: Clone) -> object:
    return pull(clone.repository, clone.remote)


@pytest.fixture
def pair(clones: Clones) -> tuple[Clone, Clone]:
    """Two clones that share one run."""
    ada = clones.make("ada")
    ada.log("shared")
    share(ada)
    return ada, clones.make("bob")


def test_a_branch_that_is_behind_just_moves(pair: tuple[Clone, Clone]) -> None:
    ada, bob = pair
    pulled = pull(bob.repository, bob.remote)
    assert [(branch.ref, branch.before, branch.is_join) for branch in pulled.branches] == [(REF, None, False)]
    assert bob.tip() == ada.tip()


def test_what_is_there_already_changes_nothing(pair: tuple[Clone, Clone]) -> None:
    _, bob = pair
    take(bob)
    before = bob.tip()
    pulled = pull(bob.repository, bob.remote)
    assert (pulled.branches, bob.tip()) == ((), before)


def test_runs_logged_apart_are_all_there_after_a_join(pair: tuple[Clone, Clone]) -> None:
    ada, bob = pair
    take(bob)
    bob.log("bob-1")
    ada.log("ada-1")
    share(ada)
    pulled = pull(bob.repository, bob.remote)
    assert [branch.is_join for branch in pulled.branches] == [True]
    assert bob.names() == ["ada-1", "bob-1", "shared"]
    share(bob)  # a fast-forward of what ada has
    take(ada)
    assert (ada.names(), ada.tip()) == (bob.names(), bob.tip())


def test_a_join_is_the_same_commit_wherever_it_is_made(pair: tuple[Clone, Clone], tmp_path: Path) -> None:
    ada, bob = pair
    take(bob)
    ada.log("ada-1")
    bob.log("bob-1")
    for clone, other in ((ada, bob), (bob, ada)):
        clone.git("fetch", "-q", str(other.path), f"{REF}:refs/other")
    for clone in (ada, bob):
        join_branch(clone.repository, REF, [ObjectId(clone.tip("refs/other"))])
    assert ada.tip() == bob.tip()


def test_a_join_has_two_parents_and_the_newer_ones_tree(pair: tuple[Clone, Clone]) -> None:
    ada, bob = pair
    take(bob)
    bob.log("bob-1")
    ada.log("ada-1")
    share(ada)
    take(bob)
    parents = bob.git("log", "-1", "--format=%P", REF).split()
    assert len(parents) == 2
    assert bob.git("rev-parse", f"{REF}^{{tree}}") == bob.git("rev-parse", f"{REF}^1^{{tree}}")
    bob.assert_sound()


def test_an_experiment_made_apart_is_one(clones: Clones) -> None:
    ada, bob = clones.make("ada"), clones.make("bob")
    ada.log("ada-1")
    bob.log("bob-1")
    share(ada)
    take(bob)
    share(bob)
    take(ada)
    assert ada.names() == bob.names() == ["ada-1", "bob-1"]
    assert [found.name for found in ada.client.search_experiments()] == ["exp", "Default"]


def test_tags_of_both_sides_are_united(pair: tuple[Clone, Clone]) -> None:
    ada, bob = pair
    take(bob)
    (run,) = (stored.record.id for stored in ada.store.list_runs().runs)
    ada.client.set_tag(run, "by", "ada")
    ada.client.set_tag(run, "reviewed", "yes")
    bob.client.set_tag(run, "gpu", "a100")
    share(ada)
    pulled = pull(bob.repository, bob.remote)
    assert [(found.id, found.lost) for found in pulled.conflicts] == [(run, ())]
    share(bob)
    take(ada)
    assert ada.tags(run) == bob.tags(run) == {"by": "ada", "gpu": "a100", "reviewed": "yes"}


def test_a_tag_taken_away_on_one_side_stays_away(pair: tuple[Clone, Clone]) -> None:
    ada, bob = pair
    (run,) = (stored.record.id for stored in ada.store.list_runs().runs)
    ada.client.set_tag(run, "draft", "1")
    share(ada)
    take(bob)
    ada.client.delete_tag(run, "draft")
    ada.client.set_tag(run, "seen", "1")
    bob.client.set_tag(run, "gpu", "a100")
    share(ada)
    take(bob)
    assert bob.tags(run) == {"gpu": "a100", "seen": "1"}


def test_deleted_here_and_edited_there_both_stay_in_the_history_and_are_told(pair: tuple[Clone, Clone]) -> None:
    ada, bob = pair
    take(bob)
    (run,) = (stored.record.id for stored in ada.store.list_runs().runs)
    ada.client.delete_run(run)
    bob.client.set_tag(run, "keep", "1")
    bob.client.set_tag(run, "keep", "2")  # the greater revision
    share(ada)
    pulled = pull(bob.repository, bob.remote)
    assert [(found.id, found.lost) for found in pulled.conflicts] == [(run, ("lifecycle",))]
    share(bob)
    take(ada)
    assert ada.names() == bob.names() == ["shared"]
    deleted = pulled.conflicts[0].other
    assert ada.git("branch", "--contains", deleted, "--format=%(refname)").split() == [REF]


def test_pulling_from_each_other_comes_to_rest(clones: Clones) -> None:
    ada, bob = clones.make("ada"), clones.make("bob")
    for clone, other in ((ada, bob), (bob, ada)):
        clone.git("remote", "add", "other", str(other.path))
    ada.log("ada-1")
    bob.log("bob-1")
    tips = []
    for _ in range(3):
        for clone in (ada, bob):
            pull(clone.repository, clone.remote_called("other"))
        tips.append((ada.tip(), bob.tip()))
    assert tips[1] == tips[2]
    assert tips[2][0] == tips[2][1]
