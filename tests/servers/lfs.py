"""LFS servers: Giftless, which asks who one is and takes any bytes; dulwich's, which takes only the right ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.starting import HOST, running

KEY = "a key for tests, of more than 32 bytes"
USER = "_jwt"  # by this name Giftless takes a token for a password

_GIFTLESS = Path(__file__).resolve().parents[2] / ".venv/giftless/bin"
_BODY_BYTES_MAX = 16 << 30


@dataclass(frozen=True, slots=True)
class LfsServer:
    """A running server. `url` is of one repository there; its objects are files below `folder`, named by oid."""

    folder: Path
    url: str

    def find(self, oid: str) -> Path | None:
        """Where an object is kept."""
        return next((path for path in self.folder.rglob(oid) if path.is_file()), None)

    def put(self, oid: str, data: bytes) -> None:
        """Replace the bytes of an object that it has."""
        found = self.find(oid)
        assert found is not None
        found.write_bytes(data)


def make_token(scope: str = "obj:team/runs/*", lifetime_s: int = 3600) -> str:
    """A password for `USER`: a JSON web token (RFC 7519) that Giftless would have made."""
    claims = {"sub": "ada", "scopes": scope, "exp": int(time.time()) + lifetime_s}
    parts = [_encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = hmac.new(KEY.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, _encode(signed)])


@contextmanager
def serve_giftless(place: Path, *, anonymous: bool = False) -> Iterator[LfsServer]:
    """Giftless behind waitress; without a login everybody may read, where that is allowed, and nobody write."""
    jwt = {
        "factory": "giftless.auth.jwt:factory",
        "options": {"algorithm": "HS256", "private_key": KEY},
    }
    basic = {
        "factory": "giftless.transfer.basic_streaming:factory",
        "options": {
            "storage_class": "giftless.storage.local_storage:LocalStorage",
            "storage_options": {"path": str(place / "objects")},
            "action_lifetime": 900,
        },
    }
    config = {
        "AUTH_PROVIDERS": [jwt, *(["giftless.auth.allow_anon:read_only"] if anonymous else [])],
        "PRE_AUTHORIZED_ACTION_PROVIDER": jwt,
        "TRANSFER_ADAPTERS": {"basic": basic},
    }
    place.mkdir(parents=True, exist_ok=True)
    (place / "giftless.yaml").write_text(json.dumps(config))
    program = _GIFTLESS / "waitress-serve"
    assert os.access(program, os.X_OK), f"no Giftless at {_GIFTLESS}: tests/run installs it"

    def argv(port: int) -> list[str]:
        listen = (f"--listen={HOST}:{port}", f"--max-request-body-size={_BODY_BYTES_MAX}")
        return [str(program), *listen, "--threads=8", "giftless.wsgi_entrypoint:app"]

    environment = {"GIFTLESS_CONFIG_FILE": str(place / "giftless.yaml")}
    with running(argv, place / "log", environment) as port:
        yield LfsServer(place / "objects", f"http://{HOST}:{port}/team/runs")


@contextmanager
def serve_dulwich_lfs(place: Path) -> Iterator[LfsServer]:
    """dulwich's server, which asks nobody who they are and has each object whole in memory."""
    script = (
        "import sys; from dulwich.lfs_server import run_lfs_server; "
        "run_lfs_server(sys.argv[1], int(sys.argv[2]), sys.argv[3])[0].serve_forever()"
    )
    (place / "objects").mkdir(parents=True)
    with running(
        lambda port: [sys.executable, "-c", script, HOST, str(port), str(place / "objects")], place / "log"
    ) as port:
        yield LfsServer(place / "objects", f"http://{HOST}:{port}")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
