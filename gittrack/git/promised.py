"""What a partial clone left with its remote: fetched when it is read, everything that a question needs at once.

A clone by ``git clone --filter=…`` has a remote that promised the rest: git's technical/partial-clone.txt. Git
itself would fetch blob by blob, a connection each; `command.git_environment` keeps it from that.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterable, Sequence

from gittrack.errors import RemoteError
from gittrack.git.config import Setting, parse_settings, read_settings
from gittrack.git.objects import ObjectId
from gittrack.git.repository import Repository

# a path, ssh's short form, or a protocol that git itself speaks; no `helper::address`, no option
_PLAIN_URL = re.compile(r"(?![A-Za-z0-9+.-]*::)(?:(?:file|git|https?|ssh)://|(?![A-Za-z0-9+.-]+://))(?!-)\S")
_CORE_KEYS = frozenset(
    (
        *("repositoryformatversion", "filemode", "bare", "logallrefupdates", "ignorecase", "precomposeunicode"),
        *("symlinks", "worktree", "sharedrepository", "autocrlf", "eol", "safecrlf", "quotepath", "abbrev"),
        *("compression", "loosecompression", "fsync", "fsyncmethod", "fsyncobjectfiles", "commitgraph"),
        *(
            "multipackindex",
            "untrackedcache",
            "splitindex",
            "preloadindex",
            "sparsecheckout",
            "sparsecheckoutcone",
        ),
        *("editor", "pager", "excludesfile", "attributesfile", "hookspath", "fsmonitor", "bigfilethreshold"),
    )
)  # of those that name programs the last ones are not started by a fetch, or switched off in every git of ours
_REMOTE_KEYS = frozenset(
    ("url", "pushurl", "fetch", "push", "promisor", "partialclonefilter", "prune", "prunetags", "tagopt", "mirror")
)
_SECTIONS = frozenset(
    (
        *("extensions", "branch", "user", "author", "committer", "init", "gc", "repack", "pack", "pull", "push"),
        *("merge", "rebase", "status", "color", "column", "log", "format", "advice", "commit", "tag", "alias"),
        *("gittrack", "lfs", "http", "filter", "diff", "receive", "index", "feature", "safe"),
    )
)
_told: set[str] = set()
_log = logging.getLogger("gittrack")
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


def _is_harmless(item: Setting) -> bool:
    """Whether a setting of a repository's own is known to start no program when something is fetched.

    What git's own clone writes, and what people set beside it: git-config(1). ``core`` and ``remote`` have
    programs among their settings, ``url`` and ``include`` hide what is fetched from where, ``credential`` starts
    helpers.
    """
    if item.section == "core":
        return item.key in _CORE_KEYS
    if item.section == "remote":
        is_plain = item.key not in ("url", "pushurl") or _PLAIN_URL.match(item.value) is not None
        return item.key in _REMOTE_KEYS and is_plain
    return item.section in _SECTIONS


def _find_promisor(repository: Repository) -> str:
    """The name of the remote, or empty; empty too where fetching could start what the config names.

    Nobody asked to fetch, but only to read, and the repository's own config may be a stranger's.
    """
    named, settings = "", parse_settings(repository.read_config())
    for item in settings:
        if item.section == "remote" and item.key == "promisor" and item.value.lower() in _TRUE:
            named = item.subsection
            break
        if (item.section, item.key) == ("extensions", "partialclone"):
            named = item.value
    if not named:
        return ""
    of_work_tree = read_settings(os.path.join(repository.git_dir, "config.worktree"))
    odd = next((item for item in (*settings, *of_work_tree) if not _is_harmless(item)), None)
    if odd is None:
        return named
    if repository.label not in _told:
        _told.add(repository.label)
        _log.warning(
            "gittrack fetches nothing that the partial clone %s lacks: its own config sets %s.%s,"
            " which could start a program; where it is yours, set that in your own: git config --global",
            repository.label,
            odd.section,
            odd.key,
        )
    return ""


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
