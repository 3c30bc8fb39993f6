"""The stores that records name for artifacts: adding one, forgetting, listing them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gittrack.artifact_stores.url_store import parse_store_url
from gittrack.errors import GittrackError
from gittrack.git.repository import Repository
from gittrack.schema.names import DEFAULT_EXPERIMENT_ID
from gittrack.schema.records import ExperimentRecord
from gittrack.sharing.trust import plain_url, require_trusted_store
from gittrack.store.experiments import edit_experiment, get_experiment, list_experiments, resolve_experiment


@dataclass(frozen=True, slots=True)
class NamedStore:
    """A store in a record: of one experiment by its shown name, or of all where that is empty.

    Attributes:
        takes_new: whether artifacts are sent there. is_allowed: whether the user lets that be done here.
    """

    experiment: str
    url: str
    takes_new: bool
    is_allowed: bool


def name_store(repository: Repository, url: str, experiment: str | None = None) -> bool:
    """Let new artifacts go to a store: of one experiment, or of all; False where they do already.

    The stores named before stay behind it, since older artifacts are there. Durable on return.

    Raises:
        InvalidValueError: the URL is no store's. NotFoundError: there is no such experiment.
    """
    place = parse_store_url(url).text
    record = _record(repository, experiment)
    if record.artifact_stores[:1] == (place,):
        return False
    stores = (place, *(known for known in record.artifact_stores if known != place))
    _write(repository, record, stores, f"artifacts go to {place}")
    return True


def forget_stores(repository: Repository, experiment: str | None = None, url: str | None = None) -> list[str]:
    """Take a store out of a record, or all; returns those that were there. Durable on return.

    Raises:
        NotFoundError: there is no such experiment.
    """
    record = _record(repository, experiment)
    gone = [known for known in record.artifact_stores if url is None or plain_url(known) == plain_url(url)]
    if gone:
        kept = tuple(known for known in record.artifact_stores if known not in gone)
        _write(repository, record, kept, "artifact stores forgotten")
    return gone


def list_named(repository: Repository) -> list[NamedStore]:
    """Every store that a record names: the whole repository's first, then by experiment."""
    records = sorted(list_experiments(repository), key=lambda record: record.id != DEFAULT_EXPERIMENT_ID)
    return [
        NamedStore(
            "" if record.id == DEFAULT_EXPERIMENT_ID else record.name,
            url,
            number == 0,
            _is_allowed(repository, url, takes_new=number == 0),
        )
        for record in records
        for number, url in enumerate(record.artifact_stores)
    ]


def _record(repository: Repository, experiment: str | None) -> ExperimentRecord:
    if experiment is None:
        return get_experiment(repository, DEFAULT_EXPERIMENT_ID)
    return resolve_experiment(repository, experiment)


def _write(repository: Repository, record: ExperimentRecord, stores: tuple[str, ...], what: str) -> None:
    edit_experiment(repository, record.id, lambda before: replace(before, artifact_stores=stores), what)


def _is_allowed(repository: Repository, url: str, *, takes_new: bool) -> bool:
    try:
        require_trusted_store(repository, url, "upload" if takes_new else "download")
    except GittrackError:
        return False
    return True
