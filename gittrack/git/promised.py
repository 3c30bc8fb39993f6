"""What a partial clone left with its remote: fetched when it is read, everything that a question needs at once.

A clone by ``git clone --filter=…`` has a remote that promised the rest: git's technical/partial-clone.txt. Git
itself would fetch blob by blob, a connection each; `command.git_environment` keeps it from that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence

from gittrack.errors import RemoteError
from gittrack.git.config import Setting, parse_settings, read_settings
from gittrack.git.objects import ObjectId
from gittrack.git.repository import Repository

# a path, ssh's short form, or a protocol that git itself speaks; no `helper::address`
_PLAIN_URL = re.compile(r"(?:(?:file|git|https?|ssh)://)?(?!-)(?!.*::)[^\s]")
_NOT_THERE = re.compile(r"not our ref ([0-9a-f]{40,64})")
_LOST_MAX = 100  # a connection each
_TRUE = ("true", "yes", "on", "1")
# As git's own promisor-remote.c asks: nothing is negotiated, no tag or ref comes along.
_FETCH = (
    *("-c", "fetch.negotiationAlgorithm=noop", "-c", "core.commitGraph=false", "fetch", "--quiet"),
    *("--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--recurse-submodules=no"),
    *("--filter=blob:none", "--stdin", "--end-of-options"),
)


def is_partial(repository: Repository) -> bool:
    """Whether a remote has promised what this clone lacks."""
    return bool(_find_promisor(repository))


def bring_missing(repository: Repository, wanted: Iterable[ObjectId]) -> int:
    """Fetch those objects that a partial clone lacks, in one connection; returns how many there were.

    Nothing is done where the clone is not partial. What the remote does not have either stays missing.

    Raises:
        RemoteError: the remote cannot be reached, or there is no git to reach it with.
    """
    name = _find_promisor(repository)
    if not name:
        return 0
    missing = _find_missing(repository, set(wanted))
    if missing:
        _fetch(repository, name, missing)
    return len(missing)


def _may_start_programs(item: Setting) -> bool:
    """Whether a setting names a program for fetching, or hides where it is fetched from: git-config(1)."""
    if item.section in ("include", "includeif", "url", "credential"):
        return True
    if item.section == "core" and item.key in ("sshcommand", "gitproxy", "askpass"):
        return True
    if item.section != "remote":
        return False
    return item.key in ("uploadpack", "vcs", "proxy") or (item.key == "url" and not _PLAIN_URL.match(item.value))


def _find_promisor(repository: Repository) -> str:
    """The name of the remote, or empty; empty too where fetching could start what the config names.

    Nobody asked to fetch, but only to read, and the repository's own config may be a stranger's.
    """
    named = ""
    settings = parse_settings(repository.read_config())
    own = read_settings(os.path.join(repository.git_dir, "config.worktree"))
    if any(_may_start_programs(item) for item in (*settings, *own)):
        return ""
    for item in settings:
        if item.section == "remote" and item.key == "promisor" and item.value.lower() in _TRUE:
            return item.subsection
        if (item.section, item.key) == ("extensions", "partialclone"):
            named = item.value
    return named


def _find_missing(repository: Repository, wanted: Collection[ObjectId]) -> list[ObjectId]:
    """Which objects are not here; one that cannot be looked for counts as here: reading it tells what is wrong."""
    from gittrack.git.alternates import open_store

    store = open_store(repository.objects_dir, repository.object_format)
    try:
        return sorted(object_id for object_id in wanted if not _holds(store, object_id))
    finally:
        store.close()


def _holds(store: object, object_id: ObjectId) -> bool:
    try:
        return object_id.encode() in store  # type: ignore[operator]
    except Exception:  # damaged packs raise seven kinds of error
        return True


def _fetch(repository: Repository, name: str, missing: Sequence[ObjectId]) -> None:
    from gittrack.git.network import NetworkError, run_network_git
    from gittrack.git.remotes import find_remote

    remote = find_remote(repository, name)
    assert remote is not None
    wanted = list(missing)
    while wanted:
        try:
            lines = "".join(f"{object_id}\n" for object_id in wanted)
            run_network_git(repository, remote, *_FETCH, remote.asked_as, stdin=lines.encode())
            return
        except NetworkError as error:
            lost = _NOT_THERE.search(error.told)
            if lost is None or lost[1] not in wanted or len(missing) - len(wanted) == _LOST_MAX:
                raise _explain(repository, missing, error) from error
            wanted.remove(ObjectId(lost[1]))  # the others are not lost with it


def _explain(repository: Repository, missing: Sequence[ObjectId], error: RemoteError) -> RemoteError:
    return RemoteError(
        f"{repository.label} is a partial clone, and {len(missing)} objects that it lacks cannot be fetched: "
        f"{error.message}",
        error.hint,
    )
