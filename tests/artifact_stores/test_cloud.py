"""A bucket of a real S3 server that checks who asks: what goes in comes out, and nothing wrong does either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from gittrack.artifact_stores import cloud
from gittrack.artifact_stores.transfers import ArtifactStore, Outcome, Transfer
from gittrack.artifact_stores.url_store import open_url_store
from gittrack.errors import RemoteError
from tests.artifact_stores.making import Told, make_object, to_fetch
from tests.harness import fill_up, mounted, run_child
from tests.servers.cutting import cutting
from tests.servers.seaweed import BUCKET, Seaweed


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return tmp_path.name


@pytest.fixture
def store(seaweed: Seaweed, prefix: str) -> ArtifactStore:
    return open_url_store(f"s3://{BUCKET}/{prefix}")


def names_in(prefix: str) -> list[str]:
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    return sorted(str(name).rpartition("/")[2] for name in files.find(f"{BUCKET}/{prefix}"))


def overwrite(prefix: str, one: Transfer, data: bytes) -> None:
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    files.pipe_file(f"{BUCKET}/{prefix}/{one.oid[:2]}/{one.oid[2:4]}/{one.oid}", data)


def test_what_is_sent_is_what_is_fetched_and_sent_only_once(
    tmp_path: Path, store: ArtifactStore, prefix: str
) -> None:
    parts = bytes(range(256)) * (20 << 12)  # 20 MiB: several parts
    objects = [make_object(tmp_path / "here", data) for data in (b"", b"weights", parts)]
    oids = {one.oid for one in objects}
    told = Told()
    assert store.find_absent(objects) == oids
    assert store.upload(objects, told) == Outcome(moved=oids)
    assert told.size_bytes == len(parts) + 7
    assert store.upload(objects, told) == Outcome(present=oids)
    assert names_in(prefix) == sorted(oids)
    wanted = [to_fetch(one, tmp_path / "there") for one in objects]
    assert store.download(wanted, told) == Outcome(moved=oids)
    for one, other in zip(objects, wanted, strict=True):
        assert Path(other.path).read_bytes() == Path(one.path).read_bytes()


def test_bytes_that_are_not_what_the_hash_says_go_nowhere(
    tmp_path: Path, store: ArtifactStore, prefix: str
) -> None:
    small, large = (make_object(tmp_path / "here", data) for data in (b"small", bytes(18 << 20)))
    Path(small.path).write_bytes(b"SMALL")
    with open(large.path, "r+b") as file:
        file.write(b"evil")
    told = Told()
    why = "it holds other bytes than its hash says"
    assert store.upload([small, large], told) == Outcome(failed={small.oid: why, large.oid: why})
    assert names_in(prefix) == []


def test_wrong_bytes_of_a_server_get_no_name_here(tmp_path: Path, store: ArtifactStore, prefix: str) -> None:
    good, other, cut, lost = (
        make_object(tmp_path / "here", data) for data in (b"good", b"other", b"cut", b"lost")
    )
    store.upload([good, other, cut], Told())
    overwrite(prefix, other, b"OTHER")
    overwrite(prefix, cut, b"cu")
    assert store.find_absent([good, other, cut, lost]) == {cut.oid, lost.oid}
    outcome = store.download([to_fetch(one, tmp_path / "there") for one in (good, other, cut, lost)], Told())
    assert outcome == Outcome(
        moved={good.oid},
        failed={
            other.oid: "it holds other bytes than its hash says",
            cut.oid: "it has 2 bytes instead of 3",
            lost.oid: "it is not there",
        },
    )
    assert [path.name for path in (tmp_path / "there").iterdir()] == [good.oid]
    assert store.upload([cut], Told()).moved == {cut.oid}


def test_wrong_credentials_are_refused_with_what_to_do(
    tmp_path: Path, store: ArtifactStore, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_object(tmp_path / "here", b"weights")
    store.upload([one], Told())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    stranger = open_url_store(f"s3://{BUCKET}/{prefix}")
    for ask in (
        lambda: stranger.find_absent([one]),
        lambda: stranger.upload([one], Told()),
        lambda: stranger.download([to_fetch(one, tmp_path / "there")], Told()),
    ):
        with pytest.raises(RemoteError, match="access is denied") as caught:
            ask()
        assert "AWS_ACCESS_KEY_ID" in caught.value.hint
        assert "not-the-secret" not in str(caught.value)


def test_no_credentials_at_all_say_so(
    tmp_path: Path, seaweed: Seaweed, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(RemoteError, match="credentials") as caught:
        open_url_store(f"s3://{BUCKET}/{prefix}").find_absent([make_object(tmp_path, b"weights")])
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_a_bucket_that_is_not_there_says_so(tmp_path: Path, seaweed: Seaweed) -> None:
    one = make_object(tmp_path / "here", b"weights")
    with pytest.raises(RemoteError, match=r"s3://nobodys: (there is no such bucket|access is denied)"):
        open_url_store("s3://nobodys").upload([one], Told())


def test_a_server_that_is_away_says_so(
    tmp_path: Path, seaweed: Seaweed, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(cloud, "_PAUSES_S", ())
    with pytest.raises(RemoteError, match=f"s3://{BUCKET}/{prefix}: .*127.0.0.1:9"):
        open_url_store(f"s3://{BUCKET}/{prefix}").find_absent([make_object(tmp_path, b"weights")])


def test_a_full_disk_here_leaves_nothing_half_written(tmp_path: Path, store: ArtifactStore) -> None:
    one = make_object(tmp_path / "here", bytes(1_000_000))
    store.upload([one], Told())
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=256k", "tmpfs") as small:
        fill_up(small / "ballast")
        assert "No space left on device" in store.download([to_fetch(one, small)], Told()).failed[one.oid]
        assert [path.name for path in small.iterdir()] == ["ballast"]


def test_a_download_that_breaks_off_goes_on_or_leaves_nothing(
    tmp_path: Path, seaweed: Seaweed, store: ArtifactStore, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_object(tmp_path / "here", bytes(range(256)) * (12 << 12))
    store.upload([one], Told())
    monkeypatch.setattr(cloud, "_PAUSES_S", (0.01, 0.01))
    with cutting(seaweed.port, 3 << 20) as cutter:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{cutter.port}")
        cutter.cuts = 3
        told, wanted = Told(), to_fetch(one, tmp_path / "there")
        assert open_url_store(f"s3://{BUCKET}/{prefix}").download([wanted], told).moved == {one.oid}
        assert Path(wanted.path).read_bytes() == Path(one.path).read_bytes()
        assert told.size_bytes == one.size_bytes
        assert cutter.done == 3
        cutter.cuts = 1000
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(RemoteError, match=f"s3://{BUCKET}/{prefix}: "):
            open_url_store(f"s3://{BUCKET}/{prefix}").download([to_fetch(one, tmp_path / "no")], Told())
        assert list((tmp_path / "no").iterdir()) == []


def test_a_large_object_is_never_whole_in_memory(tmp_path: Path, seaweed: Seaweed, prefix: str) -> None:
    code = f"""
        import hashlib, os, resource
        from gittrack.artifact_stores.transfers import Transfer
        from gittrack.artifact_stores.url_store import open_url_store
        small = b"first"
        size, digest = 512 << 20, hashlib.sha256()
        with open("large", "wb") as file:
            for number in range(512):
                chunk = number.to_bytes(4, "big") * (1 << 18)
                digest.update(chunk)
                file.write(chunk)
        with open("small", "wb") as file:
            file.write(small)
        store = open_url_store("s3://{BUCKET}/{prefix}")
        warm = Transfer(hashlib.sha256(small).hexdigest(), len(small), "small")
        store.upload([warm], lambda moved: None)  # its package is loaded
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        one = Transfer(digest.hexdigest(), size, "large")
        assert store.upload([one], lambda moved: None).moved
        os.unlink("large")
        assert store.download([one], lambda moved: None).moved
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    out, _ = run_child(code, tmp_path / "work")
    assert int(out) < 100


def test_without_its_package_a_store_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from gittrack.artifact_stores.url_store import open_url_store\n"
        "from gittrack.errors import MissingToolError\n"
        "try:\n    open_url_store('s3://runs')\nexcept MissingToolError as error:\n    print(error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "install it: pip install 'gittrack[s3]'\n"
