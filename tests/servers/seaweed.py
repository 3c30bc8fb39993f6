"""An S3 server that checks credentials: SeaweedFS, all of it in one process on the loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import wait_for
from tests.servers.starting import HOST, find_free_port

KEY, SECRET, BUCKET = "gittrack-key", "gittrack-secret", "runs"


@dataclass(frozen=True, slots=True)
class Seaweed:
    """A running server with one bucket. ``environment`` is what a client needs, as of any S3."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def serve_s3(place: Path) -> Iterator[Seaweed]:
    """A server of ``place``; it answers within a few seconds. It heeds no SIGTERM for 20 s, so it is killed."""
    (place / "data").mkdir(parents=True)
    identity = {"name": "ada", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (place / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = [find_free_port() for _ in range(8)]
    words = [os.path.join(os.path.dirname(sys.executable), "weed"), f"-logdir={place}", "server"]
    words += [
        f"-dir={place}/data",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        "-volume.max=60",
        "-s3",
        "-s3.autoCreateBucket=false",
    ]
    words += [f"-s3.config={place}/s3.json", "-master.telemetry=false", "-volume.minFreeSpace=0"]
    words += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # else on ports that are always the same
    names = ("master", "volume", "filer", "s3")
    for name, port, grpc in zip(names, ports[::2], ports[1::2], strict=True):
        words += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc}"]
    with ExitStack() as held:
        log = held.enter_context(open(place / "log", "wb"))
        process = held.enter_context(
            subprocess.Popen(words, cwd=place, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        )
        held.callback(process.kill)
        server = Seaweed(ports[6])
        wait_for(lambda: _answers(server) or process.poll() is not None, "SeaweedFS")
        assert process.poll() is None, (place / "log").read_text(errors="replace")
        yield server


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """One server for all tests: each takes a prefix of its own."""
    with serve_s3(tmp_path_factory.mktemp("seaweed")) as server:
        _make_bucket(server)
        yield server


@pytest.fixture
def seaweed(seaweed_server: Seaweed, clean_world: None, monkeypatch: pytest.MonkeyPatch) -> Seaweed:
    """The server, with credentials for it in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in seaweed_server.environment.items():
        monkeypatch.setenv(name, value)
    return seaweed_server


def _answers(server: Seaweed) -> bool:
    try:
        urllib.request.urlopen(f"{server.endpoint}/", timeout=1).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 403  # it is there, and asks who we are
    except OSError:
        return False
    return True


def _make_bucket(server: Seaweed) -> None:
    import fsspec

    files = fsspec.filesystem(
        "s3",
        key=KEY,
        secret=SECRET,
        endpoint_url=server.endpoint,
        skip_instance_cache=True,
    )

    def is_made() -> bool:
        try:
            files.mkdir(BUCKET)
            files.pipe_file(f"{BUCKET}/ready", b"ready")  # its volumes take a moment more
        except OSError:
            return files.exists(f"{BUCKET}/ready")
        return True

    wait_for(is_made, "a bucket")
