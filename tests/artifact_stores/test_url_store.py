"""What a store's URL may say: a place, and nothing else."""

from __future__ import annotations

import pytest

from gittrack.artifact_stores.url_store import StoreUrl, parse_store_url
from gittrack.errors import InvalidValueError


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("s3://bucket", StoreUrl("s3", "bucket", "", "s3://bucket")),
        ("S3://bucket/a/b/", StoreUrl("s3", "bucket", "a/b", "s3://bucket/a/b")),
        ("gcs://bucket/a", StoreUrl("gs", "bucket", "a", "gs://bucket/a")),
        ("gs://bucket/ä b", StoreUrl("gs", "bucket", "ä b", "gs://bucket/ä b")),
        ("abfss://container/a", StoreUrl("az", "container", "a", "az://container/a")),
        ("/mnt/nas/runs/", StoreUrl("folder", "", "/mnt/nas/runs", "/mnt/nas/runs")),
        ("file:///mnt/my%20nas", StoreUrl("folder", "", "/mnt/my nas", "/mnt/my nas")),
        ("sftp://ada@nas:2222/runs", StoreUrl("sftp", "ada@nas:2222", "/runs", "sftp://ada@nas:2222/runs")),
        ("ssh://nas/runs/a", StoreUrl("sftp", "nas", "/runs/a", "sftp://nas/runs/a")),
    ],
)
def test_a_place_is_understood(url: str, found: StoreUrl) -> None:
    assert parse_store_url(url) == found
    assert parse_store_url(found.text) == found


@pytest.mark.parametrize(
    "url",
    [
        *("", "bucket", "relative/folder", "/", "//", "/mnt/../etc", "file://host/folder", "file:///", "s3://"),
        *("s3://bucket/a?versionId=1", "s3://bucket/a#b", "s3://bucket/../other", "s3://bucket/./a"),
        *("s3://ada@bucket/a", "s3://bucket:9000/a", "s3://arn:aws:s3:x/a", "s3://b/*"),
        *("simplecache::s3://bucket/a", "s3://bucket/a::file:///etc", "memory://a", "http://host/a"),
        *(
            "https://host/a",
            "ftp://host/a",
            "smb://host/a",
            "local:///a",
            "github://a/b",
            "zip://a",
            "reference://a",
        ),
        *("abfs://container@stranger.dfs.core.windows.net/a", "sftp://host", "sftp://-oProxyCommand=x/a"),
        *("sftp://host/a/../b", "sftp://host/a\n", "/mnt/a\x1b[2J", "s3://bucket/" + "a" * 1000),
    ],
)
def test_what_is_no_place_or_more_than_one_is_refused(url: str) -> None:
    with pytest.raises(InvalidValueError, match="is no store for artifacts"):
        parse_store_url(url)


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/a", "sftp://ada:secret@nas/a"])
def test_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidValueError, match="holds no password") as caught:
        parse_store_url(url)
    assert "secret" not in str(caught.value)
