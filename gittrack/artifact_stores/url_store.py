"""A store by its URL: a bucket of S3, GCS or Azure, a folder over SFTP, or one here; as ``<prefix>/aa/bb/<oid>``.

A URL may come from a stranger's repository. So it says a place and nothing else: no options, no credentials, no
chain of file systems, no host of a bucket; that and who asks is in the user's own settings.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote

from gittrack.artifact_stores.folders import FolderStore
from gittrack.artifact_stores.transfers import ArtifactStore
from gittrack.errors import InvalidValueError

_URL_CHARS_MAX = 1000
_BUCKETS = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
_SSH = ("sftp", "ssh")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_HOST = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?")
_PART = re.compile(r"[\w.+=@~,% -]{1,255}")
_KINDS = "s3://BUCKET/PREFIX, gs://, az://, sftp://[USER@]HOST/FOLDER, or a folder's absolute path"


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """Where a store is: ``kind`` is s3, gs, az, sftp or folder; a host with its user and port only of sftp.

    Attributes:
        place: the bucket, or the host; empty for a folder here. path: without a '/' at its end; absolute but for
            a bucket.
        text: the URL as it is recorded and shown, the same for the same place.
    """

    kind: str
    place: str
    path: str
    text: str


def parse_store_url(url: str) -> StoreUrl:
    """What a store's URL says.

    Raises:
        InvalidValueError: it is of no kind that is known, or holds more than a place.
    """
    if url.startswith("/"):
        return _parse_folder(url, url)
    scheme, mark, rest = url.partition("://")
    if not mark or len(url) > _URL_CHARS_MAX or "::" in url:
        raise _refuse(url)
    place, _, path = rest.partition("/")
    scheme = scheme.lower()
    if scheme == "file" and place in ("", "localhost"):
        return _parse_folder(unquote(f"/{path}"), url)
    if re.match(r"[^/]*:[^/]*@", rest) and scheme in (*_BUCKETS, *_SSH):
        raise InvalidValueError(
            "a store's URL holds no password: it is recorded for everybody",
            "give it without; the store's own settings or the ssh agent say who you are",
        )
    path = path.strip("/")
    if scheme in _BUCKETS and _BUCKET.fullmatch(place) and _is_plain(path):
        kind = _BUCKETS[scheme]
        return StoreUrl(kind, place, path, f"{kind}://{place}/{path}".rstrip("/"))
    if scheme in _SSH and _HOST.fullmatch(place) and path and _is_plain(path):
        return StoreUrl("sftp", place, f"/{path}", f"sftp://{place}/{path}")
    raise _refuse(url)


def open_url_store(url: str) -> ArtifactStore:
    """The store at a URL; whether the user allows it has been asked before.

    Raises:
        InvalidValueError: as `parse_store_url`. MissingToolError: its package is not installed.
        RemoteError: it cannot be reached.
    """
    found = parse_store_url(url)
    if found.kind == "folder":
        return FolderStore(found.path, found.text)
    if found.kind == "sftp":
        from gittrack.artifact_stores.sftp import SftpStore

        return SftpStore(found)
    from gittrack.artifact_stores.cloud import CloudStore, open_file_system

    return CloudStore(open_file_system(found), found)


def _parse_folder(path: str, url: str) -> StoreUrl:
    clean = os.path.normpath(path)
    if len(path) > _URL_CHARS_MAX or clean == "/" or clean.startswith("//") or ".." in path.split("/"):
        raise _refuse(url)
    if not path.isprintable():
        raise _refuse(url)
    return StoreUrl("folder", "", clean, clean)


def _is_plain(path: str) -> bool:
    parts = path.split("/") if path else []
    return all(_PART.fullmatch(part) and part not in (".", "..") for part in parts)


def _refuse(url: str) -> InvalidValueError:
    return InvalidValueError(f"{url[:200]!r} is no store for artifacts", f"give {_KINDS}")
