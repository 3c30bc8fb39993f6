"""Getting artifacts back: by URI, by run and path; every file is checked against its hash as it is written."""

from __future__ import annotations

import fnmatch
import os
import tempfile
from typing import Any

from gittrack.errors import InvalidValueError, NotFoundError
from gittrack.git.objects import LINK_MODE
from gittrack.schema.names import check_artifact_path
from gittrack.schema.records import Artifact
from gittrack.store.artifacts import write_out
from gittrack.store.runs import StoredRun
from gittrack.store.store import Store
from gittrack.tracking import entities, settings

_SCHEME = "runs:/"


def list_artifacts(
    artifact_uri: str | None = None,
    run_id: str | None = None,
    artifact_path: str | None = None,
    tracking_uri: str | None = None,
) -> list[entities.FileInfo]:
    """The files and folders right below a run's artifacts, or below a path in them.

    Raises:
        InvalidValueError: not exactly one of ``artifact_uri`` and ``run_id`` is given.
        NotFoundError: there is no such run.
    """
    run, path = _place(artifact_uri, run_id, artifact_path)
    store = settings.open_store(tracking_uri)
    return list_files(store, store.get_run(run), path)


def download_artifacts(
    artifact_uri: str | None = None,
    run_id: str | None = None,
    artifact_path: str | None = None,
    dst_path: str | None = None,
    tracking_uri: str | None = None,
) -> str:
    """Write an artifact, or a folder of them, to a local folder; returns the real path of what was asked for.

    Args:
        artifact_uri: ``runs:/<run id>/<path>``. Or ``run_id`` and ``artifact_path``.
        dst_path: the folder to write to, made where it is not there; a new temporary one by default.

    Raises:
        NotFoundError: there is none. ArtifactMissingError: its bytes are on another machine.
        DamagedError: they are not what was logged.
    """
    run, path = _place(artifact_uri, run_id, artifact_path)
    store = settings.open_store(tracking_uri)
    stored = store.get_run(run)
    wanted = find_artifacts(store, stored, path)
    folder = dst_path or tempfile.mkdtemp(prefix="gittrack-")
    check_out(store, stored, wanted, folder)
    return os.path.realpath(os.path.join(folder, path) if path else folder)


def load_text(artifact_uri: str) -> str:
    """The text of an artifact, by its ``runs:/`` URI."""
    return _load(artifact_uri).decode()


def load_dict(artifact_uri: str) -> Any:
    """The JSON or YAML that an artifact holds, by its ``runs:/`` URI."""
    data = _load(artifact_uri)
    if artifact_uri.endswith((".yaml", ".yml")):
        import yaml

        return yaml.safe_load(data)
    import json

    return json.loads(data)


def load_image(artifact_uri: str) -> Any:
    """The image that an artifact holds, as a PIL image, by its ``runs:/`` URI."""
    import io

    from PIL import Image

    return Image.open(io.BytesIO(_load(artifact_uri)))


def list_files(store: Store, stored: StoredRun, path: str | None) -> list[entities.FileInfo]:
    """The files and folders among a run's artifacts, those right below ``path``; sorted by path."""
    prefix = f"{path.strip('/')}/" if path else ""
    found: dict[str, entities.FileInfo] = {}
    for artifact in store.list_artifacts(stored):
        if not artifact.path.startswith(prefix):
            continue
        first, slash, _ = artifact.path[len(prefix) :].partition("/")
        place = prefix + first
        size = None if slash else artifact.size_bytes
        found.setdefault(place, entities.FileInfo(place, bool(slash), size))
    return [found[place] for place in sorted(found)]


def find_artifacts(store: Store, stored: StoredRun, path: str | None) -> list[Artifact]:
    """The artifact at a path, or all below it; all of the run where no path is given.

    A path that is none's own is a pattern: ``*`` is anything, '/' too.

    Raises:
        NotFoundError: there is none.
    """
    known = store.list_artifacts(stored)
    found = [
        artifact for artifact in known if not path or artifact.path == path or artifact.path.startswith(path + "/")
    ]
    if not found and path:
        found = [artifact for artifact in known if fnmatch.fnmatchcase(artifact.path, path)]
    if not found and path:
        raise NotFoundError(
            f"run {stored.record.id} has no artifact {path!r}",
            f"list them: gittrack artifacts ls {stored.record.id[:8]}",
        )
    return found


def check_out(store: Store, stored: StoredRun, artifacts: list[Artifact], folder: str) -> list[str]:
    """Write artifacts below a folder by their paths; returns where they are.

    Nothing is written outside: paths are checked as when they were logged, and links are not followed.

    Raises:
        InvalidValueError: a path could leave the folder. ArtifactMissingError, DamagedError: as when reading.
    """
    os.makedirs(folder, exist_ok=True)
    written = []
    with store.open_artifacts(stored) as reader:
        reader.bring(artifacts)
        for artifact in artifacts:
            target = os.path.join(folder, check_artifact_path(artifact.path))
            _refuse_links(folder, artifact.path)
            if artifact.mode == LINK_MODE:
                text = os.fsdecode(b"".join(reader.read_link(artifact)))
                _write_link(text, artifact, folder, target)
            else:
                write_out(reader.read(artifact), target, artifact.mode)
            written.append(target)
    return written


def _write_link(text: str, artifact: Artifact, folder: str, target: str) -> None:
    """Write a link whose target stays below the folder; another becomes a file that holds its text."""
    place = os.path.normpath(os.path.join(os.path.dirname(artifact.path), text))
    os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    # '..' behind a name is refused too: the name may be a link that leads somewhere else
    steps_up = [part == ".." for part in text.split("/")]
    is_odd = not text or "\0" in text or os.path.isabs(text)
    if is_odd or place.split("/")[0] == ".." or steps_up != sorted(steps_up, reverse=True):
        write_out([os.fsencode(text)], target, 0o100644)
        return
    if os.path.lexists(target):
        os.unlink(target)
    os.symlink(text, target)


def _refuse_links(folder: str, path: str) -> None:
    """Refuse to write through a link that stands where a folder of the path should be."""
    place = folder
    for part in path.split("/")[:-1]:
        place = os.path.join(place, part)
        if os.path.islink(place):
            raise InvalidValueError(f"{place} is a link; artifacts are not written through it")


def _place(artifact_uri: str | None, run_id: str | None, artifact_path: str | None) -> tuple[str, str | None]:
    if (artifact_uri is None) == (run_id is None):
        raise InvalidValueError("give either artifact_uri or run_id")
    if artifact_uri is None:
        return str(run_id), _clean(artifact_path)
    if not artifact_uri.startswith(_SCHEME):
        raise InvalidValueError(f"{artifact_uri!r} is no artifact URI", "as in runs:/<run id>/<path>")
    run, _, path = artifact_uri[len(_SCHEME) :].strip("/").partition("/")
    return run, _clean(path)


def _clean(path: str | None) -> str | None:
    return check_artifact_path(path.strip("/")) if path and path.strip("/") else None


def _load(artifact_uri: str) -> bytes:
    run, path = _place(artifact_uri, None, None)
    store = settings.open_store()
    stored = store.get_run(run)
    for artifact in find_artifacts(store, stored, path):
        if artifact.path == path:
            return b"".join(store.read_artifact(stored, artifact))
    raise NotFoundError(f"{artifact_uri!r} is no file")
