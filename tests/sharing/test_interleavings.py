"""Whatever three clones do, and whenever they share: in the end all have the same answer, and nothing is lost."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.sharing.clones import Clone, Clones

ACTIONS = ("log", "tag", "tag", "tag", "rename", "delete", "restore", "fetch", "pull", "push", "push")
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # to make a failure small takes very long
STEP = st.tuples(
    st.sampled_from(("ada", "bob", "eve")),
    st.sampled_from(ACTIONS),
    st.integers(0, 3),  # which run, of the oldest
    st.sampled_from(("exp", "exp", "other")),
)


class Team:
    """Three users of one remote, which takes neither force nor deletions; they share three runs to begin with."""

    def __init__(self, folder: Path) -> None:
        self.clones = Clones(folder)
        for key in ("receive.denyNonFastForwards", "receive.denyDeletes", "receive.fsckObjects"):
            self.clones.git("config", key, "true")
        self.users: dict[str, Clone] = {name: self.clones.make(name) for name in ("ada", "bob", "eve")}
        self.names: dict[str, set[str]] = {}  # every name that a run was given
        self.tagged: set[tuple[str, str]] = set()  # run ids and tag keys; no key is set twice, or taken away
        self.conflicts = 0
        self.count = 0
        for experiment in ("exp", "exp", "other"):
            self.log(self.users["ada"], experiment)
        self.share_all()

    def do(self, name: str, action: str, pick: int, experiment: str) -> None:
        clone = self.users[name]
        self.count += 1
        if action == "log":
            self.log(clone, experiment)
        elif action == "fetch":
            clone.git("fetch", "-q")
        elif action == "pull":
            self.conflicts += len(clone.pull().conflicts)
        elif action == "push":
            self.conflicts += len(clone.push().conflicts)
        else:
            self.edit(clone, action, pick)

    def log(self, clone: Clone, experiment: str) -> None:
        name = f"run-{self.count}"
        self.names[clone.log(name, experiment)] = {name}

    def edit(self, clone: Clone, action: str, pick: int) -> None:
        runs = sorted(clone.store.list_runs().runs, key=lambda stored: stored.record.started_at)
        run = runs[pick % len(runs)].record
        if action == "restore" or (action == "delete" and run.lifecycle == "active"):
            (clone.client.restore_run if action == "restore" else clone.client.delete_run)(run.id)
        elif run.lifecycle == "active" and action == "tag":
            clone.client.set_tag(run.id, f"tag-{self.count}", clone.path.name)
            self.tagged.add((run.id, f"tag-{self.count}"))
        elif run.lifecycle == "active" and action == "rename":
            clone.client.update_run(run.id, name=f"renamed-{self.count}")
            self.names[run.id].add(f"renamed-{self.count}")

    def share_all(self) -> None:
        for _ in range(2):
            for clone in self.users.values():
                clone.pull()
                clone.push()
        for name in ("ada", "bob"):
            self.users[name].pull()

    def answers(self) -> list[dict[str, dict[str, Any]]]:
        return [
            {
                stored.record.id: {
                    "name": stored.record.name,
                    "tags": dict(stored.record.tags),
                    "lifecycle": stored.record.lifecycle,
                    "revision": stored.record.revision,
                    "commit": stored.commit.id if stored.commit else None,
                }
                for stored in clone.store.list_runs().runs
            }
            for clone in self.users.values()
        ]


@pytest.mark.slow
def test_any_interleaving_ends_with_the_same_answer_everywhere() -> None:
    conflicts = 0

    @settings(max_examples=20, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
    @given(st.lists(STEP, min_size=30, max_size=40))
    def check(steps: list[tuple[str, str, int, str]]) -> None:
        nonlocal conflicts
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            team = Team(Path(folder))
            for step in steps:
                team.do(*step)
            team.share_all()
            first, *others = team.answers()
            assert others == [first, first]
            assert set(first) == set(team.names)
            assert [run for run, found in first.items() if found["name"] not in team.names[run]] == []
            assert [(run, key) for run, key in team.tagged if key not in first[run]["tags"]] == []
            team.clones.git("fsck", "--strict", "--no-dangling")
            conflicts += team.conflicts

    check()
    assert conflicts > 20  # or it has not tried what it says
