"""Whatever three clones do, and whenever they share: in the end all have the same answer, and nothing is lost."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.sharing.clones import Clone, Clones

CLONES = st.sampled_from(("ada", "bob", "eve"))
EXPERIMENTS = st.sampled_from(("exp", "other"))
PICK = st.integers(0, 1000)


class Sharing(RuleBasedStateMachine):
    """Three users of one remote, which takes neither force nor deletions."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=Path.cwd())
        self.clones = Clones(Path(self.folder.name))
        for key in ("receive.denyNonFastForwards", "receive.denyDeletes", "receive.fsckObjects"):
            self.clones.git("config", key, "true")
        self.users: dict[str, Clone] = {name: self.clones.make(name) for name in ("ada", "bob", "eve")}
        self.logged: dict[str, str] = {}  # run names by id
        self.tagged: set[tuple[str, str]] = set()  # run ids and tag keys, each set once
        self.renamed: dict[str, set[str]] = {}
        self.count = 0

    @rule(name=CLONES, experiment=EXPERIMENTS)
    def log(self, name: str, experiment: str) -> None:
        self.count += 1
        shown = f"{name}-{self.count}"
        self.logged[self.users[name].log(shown, experiment)] = shown

    @rule(name=CLONES, pick=PICK)
    def tag(self, name: str, pick: int) -> None:
        run = self._pick(name, pick)
        if run is not None:
            self.count += 1
            self.users[name].client.set_tag(run, f"tag-{self.count}", name)
            self.tagged.add((run, f"tag-{self.count}"))

    @rule(name=CLONES, pick=PICK)
    def rename(self, name: str, pick: int) -> None:
        run = self._pick(name, pick)
        if run is not None:
            self.count += 1
            self.users[name].client.update_run(run, name=f"renamed-{self.count}")
            self.renamed.setdefault(run, set()).add(f"renamed-{self.count}")

    @rule(name=CLONES, pick=PICK, wanted=st.booleans())
    def delete_or_restore(self, name: str, pick: int, wanted: bool) -> None:
        run = self._pick(name, pick, deleted_too=True)
        if run is not None:
            client = self.users[name].client
            (client.delete_run if wanted else client.restore_run)(run)

    @rule(name=CLONES)
    def plain_fetch(self, name: str) -> None:
        self.users[name].git("fetch", "-q")

    @rule(name=CLONES)
    def pull(self, name: str) -> None:
        self.users[name].pull()

    @rule(name=CLONES)
    def push(self, name: str) -> None:
        self.users[name].push()

    def teardown(self) -> None:
        if not hasattr(self, "users"):
            return
        for _ in range(2):
            for clone in self.users.values():
                clone.pull()
                clone.push()
        self.users["ada"].pull()
        self.users["bob"].pull()
        answers = [self._answer(clone) for clone in self.users.values()]
        assert answers[0] == answers[1] == answers[2]
        assert set(answers[0]) == set(self.logged)
        for run, name in self.logged.items():
            assert answers[0][run]["name"] in {name, *self.renamed.get(run, ())}
        for run, key in self.tagged:
            assert key in answers[0][run]["tags"]
        self.clones.git("fsck", "--strict", "--no-dangling")
        self.folder.cleanup()

    def _pick(self, name: str, pick: int, *, deleted_too: bool = False) -> str | None:
        runs = [
            stored.record.id
            for stored in self.users[name].store.list_runs().runs
            if deleted_too or stored.record.lifecycle == "active"
        ]
        return sorted(runs)[pick % len(runs)] if runs else None

    def _answer(self, clone: Clone) -> dict[str, dict[str, Any]]:
        return {
            stored.record.id: {
                "name": stored.record.name,
                "tags": dict(stored.record.tags),
                "lifecycle": stored.record.lifecycle,
                "revision": stored.record.revision,
                "commit": stored.commit.id if stored.commit else None,
            }
            for stored in clone.store.list_runs().runs
        }


@pytest.mark.slow
def test_any_interleaving_ends_with_the_same_answer_everywhere() -> None:
    run_state_machine_as_test(
        Sharing,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
