"""Which artifact store belongs to a remote: its LFS server, or the objects of a repository on a disk."""

from __future__ import annotations

from functools import partial

from gittrack.artifact_stores.endpoints import (
    Endpoint,
    FolderEndpoint,
    Operation,
    SshEndpoint,
    WebEndpoint,
    find_endpoint,
)
from gittrack.artifact_stores.transfers import ArtifactStore
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.git.settings import Settings, find_number, read_settings_of

_AT_ONCE, _AT_ONCE_MAX = 8, 64  # git-lfs's default: git-lfs-config(5), lfs.concurrenttransfers
_CONNECT_S, _WAIT_S, _LONGEST_S = 30, 60, 3600


def open_lfs_store(
    repository: Repository, remote: Remote, operation: Operation, *, ref: str = ""
) -> ArtifactStore:
    """The LFS store of a remote, to send artifacts to it or fetch them; nothing but ssh is asked yet.

    Args:
        ref: full name of the branch that is pushed, for servers that grant by it.

    Raises:
        RemoteError: no artifacts can be kept there; or an ssh host does not tell of its LFS server.
    """
    settings = read_settings_of(repository)
    endpoint = find_endpoint(repository, remote, operation, settings)
    if isinstance(endpoint, FolderEndpoint):
        from gittrack.artifact_stores.folders import open_remote_folder

        return open_remote_folder(endpoint.path, remote.label)
    return _open_web_store(repository, endpoint, operation, settings, ref)


def _open_web_store(
    repository: Repository, endpoint: Endpoint, operation: Operation, settings: Settings, ref: str
) -> ArtifactStore:
    from gittrack.artifact_stores.lfs_access import Access
    from gittrack.artifact_stores.lfs_addresses import LINK, OWN
    from gittrack.artifact_stores.lfs_http import Web
    from gittrack.artifact_stores.lfs_ssh import ask_ssh_host
    from gittrack.artifact_stores.lfs_store import LfsStore

    web = Web(
        repository,
        connect_s=find_number(settings, "lfs.dialtimeout", _CONNECT_S, _LONGEST_S) or _LONGEST_S,
        wait_s=find_number(settings, "lfs.activitytimeout", _WAIT_S, _LONGEST_S) or _LONGEST_S,
    )
    if isinstance(endpoint, SshEndpoint):
        grant = partial(ask_ssh_host, endpoint, operation, settings)
        granted = grant()
        url = granted.href or endpoint.url
        access = Access(repository, web, url, depth_max=OWN, granted=granted, grant=grant)
    else:
        assert isinstance(endpoint, WebEndpoint)
        access = Access(repository, web, endpoint.url, depth_max=OWN if endpoint.is_brought else LINK)
    at_once = find_number(settings, "lfs.concurrenttransfers", _AT_ONCE, _AT_ONCE_MAX)
    return LfsStore(access, web, operation, at_once=at_once, ref=ref)
