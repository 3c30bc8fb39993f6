"""Artifacts fetched when they are opened, unless git config ``gittrack.fetchArtifacts`` says no."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gittrack.artifact_stores.transfers import Told
from gittrack.git.repository import Repository
from gittrack.git.user_settings import is_switched_off
from gittrack.sharing.objects import bring_objects
from gittrack.store.artifacts import Content

FETCHES = "gittrack.fetchArtifacts"


def bring_missing(
    repository: Repository, contents: Collection[Content], told: Told | None = None
) -> Mapping[str, str]:
    """Fetch objects from wherever they are; returns why some did not come, by oid.

    Raises:
        InvalidValueError: a setting of the cache is no size.
    """
    if is_switched_off(repository, FETCHES):
        return {content.oid: f"git config {FETCHES} is off" for content in contents}
    return bring_objects(repository, contents, told).failed
