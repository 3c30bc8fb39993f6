"""Where a repository's artifact objects may be: the stores that its records name, then the remotes' LFS.

The URLs stand in the experiments' records and so travel with every clone: `Default`'s counts for the whole
repository, an experiment's own before it. Credentials never stand there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from gittrack.artifact_stores.folders import find_remote_path, open_remote_folder
from gittrack.artifact_stores.transfers import ArtifactStore
from gittrack.git.remotes import Remote, list_remotes
from gittrack.git.repository import Repository
from gittrack.sharing.trust import Operation, require_trusted_store


@dataclass(frozen=True, slots=True)
class Place:
    """One place to look: a store by its URL, or a remote whose LFS store it is."""

    url: str = ""
    remote: Remote | None = None

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.remote.label if self.remote is not None else self.url

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine or a disk that is mounted: nothing is asked of a network."""
        url = self.remote.url if self.remote is not None else self.url
        return find_remote_path(url) is not None

    def open(self, repository: Repository, operation: Operation) -> ArtifactStore:
        """The store there.

        Raises:
            RemoteError: it is not reached, or the user has not allowed it. MissingToolError: a package is missing.
        """
        if self.remote is not None:
            return open_lfs(repository, self.remote, operation)
        from gittrack.artifact_stores.url_store import open_url_store

        require_trusted_store(repository, self.url, operation)
        return open_url_store(self.url)


def list_places(repository: Repository, remotes: Sequence[Remote] | None = None) -> list[Place]:
    """Every place that may have an object: the local ones first; else the records' before the remotes'."""
    found = [Place(url=url) for url in list_store_urls(repository)]
    found += [Place(remote=remote) for remote in (list_remotes(repository) if remotes is None else remotes)]
    return sorted(found, key=lambda place: not place.is_local)


def list_store_urls(repository: Repository, made_as: str | None = None) -> list[str]:
    """The URLs of stores, without doubles: those of one experiment by the name it was made with, or all.

    Of one experiment the first is where its artifacts go; none where they go to the remote's LFS.
    """
    from gittrack.schema.names import DEFAULT_EXPERIMENT_ID
    from gittrack.store.experiments import list_experiments

    records = list_experiments(repository)
    chosen = [record for record in records if made_as in (None, record.made_as)]
    chosen += [record for record in records if record.id == DEFAULT_EXPERIMENT_ID]
    return list(dict.fromkeys(url for record in chosen for url in record.artifact_stores))


def find_upload_stores(repository: Repository) -> dict[str, str]:
    """The store that takes an experiment's new artifacts, by the full name of its branch; '' for all others.

    Empty where no record names a store: everything goes to the remote's LFS. A store may be '' too, for that.
    """
    from gittrack.schema.names import DEFAULT_EXPERIMENT_ID, experiment_ref
    from gittrack.store.experiments import list_experiments

    records = list_experiments(repository)
    if not any(record.artifact_stores for record in records):
        return {}
    usual = next((record.artifact_stores for record in records if record.id == DEFAULT_EXPERIMENT_ID), ())
    found = {experiment_ref(record.made_as): next(iter(record.artifact_stores or usual), "") for record in records}
    return {**found, "": next(iter(usual), "")}


def open_lfs(repository: Repository, remote: Remote, operation: Operation) -> ArtifactStore:
    """The LFS store of a remote.

    Raises:
        RemoteError: it has none, or is not reached.
    """
    path = find_remote_path(remote.push_url if operation == "upload" else remote.url)
    if path is not None:  # a relative one is seen from where git starts
        return open_remote_folder(os.path.join(repository.work_tree or "/", path), remote.label)
    from gittrack.artifact_stores.choosing import open_lfs_store

    return open_lfs_store(repository, remote, operation)
