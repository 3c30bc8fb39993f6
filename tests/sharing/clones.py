"""Clones of one remote, and what their users do in them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gittrack import Client
from gittrack.git.remotes import Remote, find_remote
from gittrack.git.repository import Repository
from gittrack.sharing.pulling import Pulled, pull
from tests.harness import Repo

if TYPE_CHECKING:
    from gittrack.sharing.pushing import Pushed


class Clone(Repo):
    """One user's clone, with a client of its own."""

    @property
    def client(self) -> Client:
        return Client(str(self.path))

    @property
    def remote(self) -> Remote:
        return self.remote_called("origin")

    def remote_called(self, name: str) -> Remote:
        found = find_remote(self.repository, name)
        assert found is not None
        return found

    def log(self, name: str, experiment: str = "exp", **params: Any) -> str:
        """A finished run with these params and a metric; returns its id."""
        client = self.client
        found = client.get_experiment_by_name(experiment)
        experiment_id = found.experiment_id if found else client.create_experiment(experiment)
        run = client.create_run(experiment_id, run_name=name)
        for key, value in params.items():
            client.log_param(run.info.run_id, key, value)
        client.log_metric(run.info.run_id, "loss", 0.5, step=1)
        client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def pull(self) -> Pulled:
        return pull(self.repository, self.remote)

    def push(self) -> Pushed:
        from gittrack.sharing.pushing import push

        return push(self.repository, self.remote)

    def names(self) -> list[str]:
        """The names of all runs, deleted ones marked, sorted."""
        runs = self.store.list_runs().runs
        return sorted(
            ("-" if stored.record.lifecycle == "deleted" else "") + stored.record.name for stored in runs
        )

    def tags(self, run_id: str) -> Mapping[str, str]:
        return dict(self.store.get_run(run_id).record.tags)

    def tip(self, ref: str = "refs/heads/gittrack/exp") -> str:
        return self.git("rev-parse", "--verify", "--quiet", ref, code=None).strip()


class Clones:
    """One bare remote, and clones of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remote = folder / "remote.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self.remote)], check=True)

    def make(self, name: str, *options: str) -> Clone:
        """A clone by plain git."""
        path = self.folder / name
        subprocess.run(
            ["git", "clone", "-q", *options, str(self.remote), str(path)], check=True, capture_output=True
        )
        clone = Clone(path)
        for key, value in (("user.name", name.title()), ("user.email", f"{name}@example.org"), ("gc.auto", "0")):
            clone.git("config", key, value)
        return clone

    def git(self, *words: str) -> str:
        """What a git command in the remote prints."""
        return Repo(self.remote).git(*words)

    @property
    def refs(self) -> dict[str, str]:
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split() for line in lines)

    def repository_of(self, clone: Clone) -> Repository:
        return clone.repository
