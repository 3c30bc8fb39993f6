"""Which repository is tracked into, and which experiment: what was set, then the environment, then where we are.

Read from the environment: ``GITTRACK_URI``, ``GITTRACK_EXPERIMENT_NAME``, ``GITTRACK_EXPERIMENT_ID``,
``GITTRACK_RUN_ID``, ``GITTRACK_SYNC``. None of them is recorded.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gittrack.errors import InvalidValueError, RunStateError
from gittrack.git.repository import Repository, create_bare_repository, discover_repository, open_repository
from gittrack.schema.names import DEFAULT_EXPERIMENT_ID, check_name
from gittrack.schema.records import ExperimentRecord
from gittrack.sharing.elsewhere import open_clone, parse_git_url
from gittrack.store import experiments
from gittrack.store.artifacts import Content
from gittrack.store.store import Store

BARE_NAME = "gittrack.git"
_SCHEME = "gittrack:"
_MADE_FIRST = re.compile(r"objects|refs|config|(config|HEAD)\.[0-9]+")

_log = logging.getLogger("gittrack")


class _Chosen:
    """What this process has set."""

    uri: str | None = None
    experiment: ExperimentRecord | None = None
    default: tuple[str, ExperimentRecord] | None = None


def set_tracking_uri(uri: str | Path) -> None:
    """Track into another repository: a path, a ``gittrack:`` URL of it (``gittrack:///srv/runs.git``), a git URL.

    Runs for a git URL (``git@host:team/runs.git``, ``https://host/team/runs.git``) go into a clone in your data
    folder at once, and are pushed in the background when they end, or later when there is a network.

    Raises:
        InvalidValueError: the URI is of another kind.
    """
    text = os.fspath(uri)
    if text:
        if parse_git_url(text) is None:
            path_of_uri(text)
        elif _without_password(text) != text:
            text = _without_password(text)
            _log.warning("gittrack leaves the password out of %s: give it to git, gitcredentials(7)", text)
    _Chosen.uri = text or None
    _Chosen.experiment = None


def get_tracking_uri() -> str:
    """The URI that was set, a password left out, or that of the repository that would be used."""
    chosen = _Chosen.uri or os.environ.get("GITTRACK_URI")
    if chosen:
        return _without_password(chosen)
    found = discover_repository(os.getcwd())
    return format_uri(found.label if found else os.path.join(os.getcwd(), BARE_NAME))


def format_uri(path: str) -> str:
    """The tracking URI of a path; `path_of_uri` gives the path back."""
    return _SCHEME + re.sub("[%#?]", lambda match: f"%{ord(match[0]):02X}", path)


def is_tracking_uri_set() -> bool:
    """Whether a URI was set here or in the environment."""
    return bool(_Chosen.uri or os.environ.get("GITTRACK_URI"))


def is_elsewhere() -> bool:
    """Whether the URI that was set, here or in the environment, is a git URL: then a clone stands for it."""
    return parse_git_url(_Chosen.uri or os.environ.get("GITTRACK_URI") or "") is not None


def _without_password(uri: str) -> str:
    url = parse_git_url(uri)
    if url is None:
        return uri
    return f"{_SCHEME}{url}" if uri.startswith(_SCHEME) else url


def path_of_uri(uri: str) -> str:
    """The path that a tracking URI names.

    Raises:
        InvalidValueError: it is no path, ``gittrack:`` or ``file:`` URL.
    """
    if uri.startswith((_SCHEME, "file:")):
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise InvalidValueError(f"tracking URI {uri!r} names another machine", "give a path of this one")
        return os.path.expanduser(unquote(parts.path))
    if "://" in uri:
        raise InvalidValueError(
            f"tracking URI {uri!r} is of a kind that gittrack does not take",
            "give the path of a git repository, or the URL of one: git@host:team/runs.git, https://host/team/runs.git",
        )
    return os.path.expanduser(uri)


def find_repository(uri: str | None = None) -> Repository | None:
    """The repository that a URI, the settings or the current folder lead to, or None where there is none yet.

    For a git URL that is a clone, made where there is none.

    Raises:
        RepositoryError: a URI was given, and there is no repository, or no clone can be made.
    """
    chosen = uri or _Chosen.uri or os.environ.get("GITTRACK_URI")
    if chosen:
        url = parse_git_url(chosen)
        if url is not None:
            return open_clone(url)
        path = path_of_uri(chosen)
        return None if _may_be_made(path) else open_repository(path)
    found = discover_repository(os.getcwd())
    bare = os.path.join(os.getcwd(), BARE_NAME)
    return found or (open_repository(bare) if os.path.isdir(bare) and not _is_half_made(bare) else None)


def open_store(uri: str | None = None) -> Store:
    """The store to track into; where there is no repository, a bare one is made, and one line says so.

    Raises:
        RepositoryError: there is none where the URI says, or it cannot be made.
    """
    found = find_repository(uri)
    if found is None:
        chosen = uri or _Chosen.uri or os.environ.get("GITTRACK_URI")
        path = os.path.abspath(path_of_uri(chosen) if chosen else BARE_NAME)
        found = create_bare_repository(path)
        _log.warning("gittrack: no git repository around; runs go to a new one, %s", path)
    return Store(found, fetch_artifacts)


def fetch_artifacts(repository: Repository, contents: Collection[Content]) -> Mapping[str, str]:
    """Fetch what a script opens and is not here; returns why some did not come, by oid."""
    from gittrack.sharing.lazy import bring_missing  # of no use to a script that logs

    return bring_missing(repository, contents)


def set_experiment(experiment_name: str | None = None, experiment_id: str | None = None) -> ExperimentRecord:
    """Make an experiment the one that runs go to; a name that is new is created.

    Raises:
        InvalidValueError: not exactly one of name and id. NotFoundError: no such id. RunStateError: deleted.
    """
    if (experiment_name is None) == (experiment_id is None):
        raise InvalidValueError("give either experiment_name or experiment_id")
    store = open_store()
    store.repository.require_known_format()
    if experiment_id is not None:
        found = experiments.get_experiment(store.repository, experiment_id)
    else:
        found = _get_or_create(store, check_name("experiment", experiment_name))
    _refuse_deleted(found)
    _Chosen.experiment = found
    return found


def current_experiment(store: Store, experiment_id: str | None = None) -> ExperimentRecord:
    """The experiment that a run goes to: by id, as set, by the environment, else Default.

    Raises:
        NotFoundError: no such id. RunStateError: it is deleted.
    """
    wanted_id = experiment_id
    if wanted_id is None and _Chosen.experiment is not None:
        return _Chosen.experiment
    wanted_id = wanted_id or os.environ.get("GITTRACK_EXPERIMENT_ID")
    name = os.environ.get("GITTRACK_EXPERIMENT_NAME")
    if wanted_id:
        found = experiments.get_experiment(store.repository, wanted_id)
    elif name:
        found = _get_or_create(store, name)
    else:
        found = default_experiment(store)
    _refuse_deleted(found)
    return found


def find_current_experiment_id(store: Store) -> str | None:
    """The id of the experiment that a run would go to; None where that is not made yet."""
    if _Chosen.experiment is not None:
        return _Chosen.experiment.id
    if wanted_id := os.environ.get("GITTRACK_EXPERIMENT_ID"):
        return wanted_id
    if name := os.environ.get("GITTRACK_EXPERIMENT_NAME"):
        found = experiments.find_experiment(store.repository, name=name)
        return found.id if found is not None else None
    return DEFAULT_EXPERIMENT_ID


def default_experiment(store: Store) -> ExperimentRecord:
    """The experiment of runs that name none; looked up once a process, since every run asks for it."""
    place = store.repository.common_dir
    if _Chosen.default is not None and _Chosen.default[0] == place:
        return _Chosen.default[1]
    found = experiments.get_experiment(store.repository, DEFAULT_EXPERIMENT_ID)  # whatever it is called now
    _Chosen.default = (place, found)
    return found


def adopted_run_id() -> str | None:
    """The run that the environment tells this process to join."""
    return os.environ.get("GITTRACK_RUN_ID") or None


def wants_sync() -> bool:
    """Whether every record is to be synced to disk before its call returns."""
    return os.environ.get("GITTRACK_SYNC", "").lower() in ("1", "true", "yes", "always")


def _get_or_create(store: Store, name: str) -> ExperimentRecord:
    found = experiments.find_experiment(store.repository, name=name)
    if found is not None and (
        found.created_at or found.lifecycle == "deleted" or found.id == DEFAULT_EXPERIMENT_ID
    ):
        return found
    try:
        return experiments.create_experiment(store.repository, name, {})
    except OSError as error:
        _log.warning("gittrack cannot note experiment %r now (%s); its runs will tell of it", name, error.strerror)
        return found or experiments.untold(name)
    except InvalidValueError:
        found = experiments.find_experiment(store.repository, name=name)  # another process was quicker
        if found is None:
            raise
        return found


def _refuse_deleted(record: ExperimentRecord) -> None:
    if record.lifecycle == "deleted":
        raise RunStateError(
            f"experiment {record.name!r} is deleted", f"restore it: restore_experiment({record.id!r})"
        )


def _may_be_made(path: str) -> bool:
    """Whether a path named for tracking says by its name that it is a repository, and does not exist yet."""
    return path.rstrip("/").endswith(".git") and (not os.path.exists(path) or _is_half_made(path))


def _is_half_made(path: str) -> bool:
    """Whether a process died while it made a bare repository there: ``HEAD`` comes last."""
    try:
        names = os.listdir(path)
    except OSError:
        return False
    return "HEAD" not in names and all(_MADE_FIRST.fullmatch(name) for name in names)
