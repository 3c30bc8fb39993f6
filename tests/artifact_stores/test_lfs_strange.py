"""LFS servers that fail, lie or lead elsewhere: what passes is tried again, the rest is refused and told."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gittrack.artifact_stores import lfs_store
from gittrack.artifact_stores.lfs_addresses import LINK, OWN, PRIVATE, PUBLIC, depth_of
from gittrack.artifact_stores.transfers import Outcome
from gittrack.errors import RemoteError
from tests.artifact_stores.making import Told, make_object, to_fetch
from tests.artifact_stores.test_lfs_servers import add_remote, open_store
from tests.harness import Repo, wait_for
from tests.servers.strange_lfs import Exchange, Rule, StrangeLfs, on, serve_strange_lfs, times

DATA = b"the bytes of an object " * 40_000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between attempts are short."""
    monkeypatch.setattr(lfs_store, "_FIRST_WAIT_S", 0.001)


@pytest.fixture
def server(repo: Repo) -> Iterator[StrangeLfs]:
    with serve_strange_lfs() as state:
        add_remote(repo, state.url)
        yield state


def send(repo: Repo, folder: Path, data: bytes = DATA) -> Outcome:
    return open_store(repo).upload([make_object(folder / "sent", data)], Told())


def fetch(repo: Repo, folder: Path, server: StrangeLfs, told: Told | None = None) -> tuple[Outcome, Path]:
    """Fetch the object, which the server has unless a rule says otherwise."""
    sent = make_object(folder / "sent", DATA)
    server.objects[sent.oid] = DATA
    wanted = to_fetch(sent, folder / "came")
    return open_store(repo, "download").download([wanted], told or Told()), Path(wanted.path)


def actions(**told: Any) -> Rule:
    """Answers to a batch request in which every object has the one action."""

    def answer(exchange: Exchange) -> None:
        asked = json.loads(exchange.body)
        name = asked["operation"]
        exchange.reply_json({"objects": [{**one, "actions": {name: told}} for one in asked["objects"]]})

    return on("POST", "/objects/batch", answer)


@pytest.mark.parametrize("status", [500, 502, 503, 429])
@pytest.mark.parametrize(("method", "part"), [("POST", "batch"), ("PUT", "data"), ("POST", "verify")])
def test_what_passes_is_tried_again(
    repo: Repo, server: StrangeLfs, tmp_path: Path, method: str, part: str, status: int
) -> None:
    server.rules.append(times(2, on(method, part, lambda exchange: exchange.reply(status, Retry_After="0"))))
    outcome = send(repo, tmp_path)
    assert (len(outcome.moved), outcome.failed) == (1, {})
    assert list(server.objects.values()) == [DATA]


def test_what_does_not_pass_is_told_with_the_servers_words(repo: Repo, server: StrangeLfs, tmp_path: Path) -> None:
    told = {"message": "no more room\x1b[31m"}
    server.rules.append(on("PUT", "data", lambda exchange: exchange.reply_json(told, 507)))
    outcome = send(repo, tmp_path)
    assert len(server.asked("PUT")) == 1
    (reason,) = outcome.failed.values()
    assert reason.endswith("it has no room left: no more room\\x1b[31m")


def test_it_is_waited_as_long_as_a_server_asks(
    repo: Repo, server: StrangeLfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = list[float]()
    monkeypatch.setattr(threading.Event, "wait", lambda _, seconds=None: waited.append(seconds or 0.0))
    server.rules.append(times(1, on("POST", "batch", lambda exchange: exchange.reply(429, Retry_After="7"))))
    store = open_store(repo)
    assert store.find_absent([make_object(tmp_path / "sent", DATA)])
    assert [round(seconds) for seconds in waited if seconds > 1] == [7]


def test_attempts_come_to_an_end(repo: Repo, server: StrangeLfs, tmp_path: Path) -> None:
    server.rules.append(on("PUT", "data", lambda exchange: exchange.reply(503)))
    outcome = send(repo, tmp_path)
    assert len(server.asked("PUT")) == lfs_store.ATTEMPTS
    assert list(outcome.failed.values()) == [f"{server.asked_url('PUT')}: it answers with HTTP 503"]


def test_a_request_that_is_too_large_is_halved(repo: Repo, server: StrangeLfs, tmp_path: Path) -> None:
    def refuse(exchange: Exchange) -> bool:
        is_large = exchange.path.endswith("batch") and len(json.loads(exchange.body)["objects"]) > 3
        return is_large and exchange.reply(413)

    server.rules.append(refuse)
    sent = [make_object(tmp_path / "sent", bytes([one])) for one in range(10)]
    assert open_store(repo).upload(sent, Told()).moved == {one.oid for one in sent}


def test_more_objects_than_fit_a_request(repo: Repo, server: StrangeLfs, tmp_path: Path) -> None:
    sent = [make_object(tmp_path / "sent", str(one).encode()) for one in range(250)]
    assert open_store(repo).upload(sent, Told()).moved == {one.oid for one in sent}
    assert [len(asked["objects"]) for asked in server.batches] == [100, 100, 50]
    assert {key: server.batches[0][key] for key in ("operation", "transfers", "hash_algo")} == {
        "operation": "upload",
        "transfers": ["basic"],
        "hash_algo": "sha256",
    }


def test_a_download_goes_on_where_it_was_cut(repo: Repo, server: StrangeLfs, tmp_path: Path) -> None:
    half = len(DATA) // 2

    def cut(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Length", str(len(DATA)))
        exchange.end_headers()
        exchange.wfile.write(DATA[:half])
        exchange.close_connection = True

    server.rules.append(times(1, on("GET", "data", cut)))
    told = Told()
    outcome, path = fetch(repo, tmp_path, server, told)
    assert (len(outcome.moved), path.read_bytes(), told.size_bytes) == (1, DATA, len(DATA))
    ranges = [headers.get("Range") for method, _, headers in server.requests if method == "GET"]
    assert ranges == [None, f"bytes={half}-"]


def test_a_server_that_takes_no_ranges_sends_all_again(repo: Repo, server: StrangeLfs, tmp_path: Path) -> None:
    (tmp_path / "came").mkdir()
    (tmp_path / "came" / f"{make_object(tmp_path / 'sent', DATA).oid}.part").write_bytes(DATA[:1000])
    server.rules.append(on("GET", "data", lambda exchange: exchange.reply(200, DATA)))
    told = Told()
    outcome, path = fetch(repo, tmp_path, server, told)
    assert (len(outcome.moved), path.read_bytes(), told.size_bytes) == (1, DATA, len(DATA))


def test_a_part_of_other_bytes_is_dropped_and_all_fetched(repo: Repo, server: StrangeLfs, tmp_path: Path) -> None:
    (tmp_path / "came").mkdir()
    part = tmp_path / "came" / f"{make_object(tmp_path / 'sent', DATA).oid}.part"
    part.write_bytes(b"x" * 1000)
    outcome, path = fetch(repo, tmp_path, server)
    assert (len(outcome.moved), path.read_bytes(), part.exists()) == (1, DATA, False)


def test_a_part_that_is_a_link_is_left_alone(repo: Repo, server: StrangeLfs, tmp_path: Path) -> None:
    (tmp_path / "came").mkdir()
    (tmp_path / "other").write_bytes(b"mine")
    (tmp_path / "came" / f"{make_object(tmp_path / 'sent', DATA).oid}.part").symlink_to(tmp_path / "other")
    outcome, path = fetch(repo, tmp_path, server)
    assert (len(outcome.moved), path.read_bytes(), (tmp_path / "other").read_bytes()) == (1, DATA, b"mine")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"y" * len(DATA), "sent other bytes than those asked for"),
        (DATA + b"more", f"sent more than the {len(DATA):,} bytes of the object"),
        (DATA[:-1], f"broke off after {len(DATA) - 1:,} bytes"),
    ],
)
def test_wrong_bytes_never_get_a_name(
    repo: Repo, server: StrangeLfs, tmp_path: Path, body: bytes, reason: str
) -> None:
    """However the server announces them."""

    def lie(exchange: Exchange) -> None:
        if exchange.headers.get("Range"):
            exchange.reply(416)
            return
        exchange.reply(200, body)

    server.rules.append(on("GET", "data", lie))
    outcome, path = fetch(repo, tmp_path, server)
    assert (outcome.moved, path.exists()) == (set(), False)
    assert reason in next(iter(outcome.failed.values())) or "416" in next(iter(outcome.failed.values()))


def test_who_says_nothing_is_not_waited_for(repo: Repo, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        add_remote(repo, f"http://127.0.0.1:{mute.getsockname()[1]}")
        repo.git("config", "lfs.activitytimeout", "1")
        with pytest.raises(RemoteError, match="it says nothing"):
            send(repo, tmp_path)


def test_nobody_there_is_told(repo: Repo, tmp_path: Path) -> None:
    add_remote(repo, "http://127.0.0.1:1/team/runs")
    with pytest.raises(RemoteError, match="batch cannot be reached: Connection refused"):
        send(repo, tmp_path)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"objects": 7}', "lists no objects"),
        (b"[]", "no JSON object"),
        (b"0" * (5 << 20), "more than 4,194,304 bytes"),
        (b'{"transfer": "tus", "objects": []}', "wants the transfer 'tus'"),
        (b'{"hash_algo": "md5", "objects": []}', "hashes by 'md5'"),
    ],
)
def test_an_answer_that_is_none_is_refused(
    repo: Repo, server: StrangeLfs, tmp_path: Path, body: bytes, reason: str
) -> None:
    server.rules.append(on("POST", "batch", lambda exchange: exchange.reply(200, body)))
    with pytest.raises(RemoteError, match=reason):
        send(repo, tmp_path)


@pytest.mark.parametrize(
    "href",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "/relative", "http://", "http://a b/", "http://h\n/", "", "//h/x"],
)
def test_an_action_that_is_no_web_address_is_refused(
    repo: Repo, server: StrangeLfs, tmp_path: Path, href: str
) -> None:
    server.rules.append(actions(href=href))
    outcome, path = fetch(repo, tmp_path, server)
    assert "which is no URL of a web server" in next(iter(outcome.failed.values()))
    assert not path.exists()


@pytest.mark.parametrize("way", ["action", "redirect"])
def test_no_way_leads_further_in_than_the_server(
    repo: Repo, server: StrangeLfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """As if the server were a public one: then it may not even lead to this machine, where another listens."""
    from gittrack.artifact_stores import lfs_http

    with serve_strange_lfs() as inner:
        home = ("127.0.0.1", int(server.url.rpartition(":")[2]))

        def depth(address: str) -> int:
            return OWN if asked[-1] != home else PUBLIC

        asked = list[tuple[str, int]]()
        connect = socket.create_connection

        def watched(address: tuple[str, int], timeout: float) -> socket.socket:
            asked.append(address)
            return connect(address, timeout)

        monkeypatch.setattr(socket, "create_connection", watched)
        monkeypatch.setattr(lfs_http, "depth_of", depth)
        target = f"{inner.url}/data/x"
        server.rules.append(
            actions(href=target)
            if way == "action"
            else on("GET", "data", lambda exchange: exchange.reply(307, Location=target))
        )
        outcome, _ = fetch(repo, tmp_path, server)
    assert next(iter(outcome.failed.values())) == (
        "a server leads to 127.0.0.1, an address that it has no business with: refused"
    )
    assert inner.requests == []


def test_addresses_by_how_far_in_they_are() -> None:
    assert {address: depth_of(address) for address in _DEPTHS} == _DEPTHS


_DEPTHS = {
    "93.184.215.14": PUBLIC,
    "2606:4700::1111": PUBLIC,
    "lfs.example.org": PUBLIC,
    "10.1.2.3": PRIVATE,
    "192.168.0.1": PRIVATE,
    "fd12::1": PRIVATE,
    "127.0.0.1": OWN,
    "::1": OWN,
    "0.0.0.0": OWN,
    "::ffff:127.0.0.1": OWN,
    "169.254.169.254": LINK,
    "::ffff:169.254.169.254": LINK,
    "fe80::1%eth0": LINK,
    "fd00:ec2::254": LINK,
    "100.100.100.200": LINK,
}


def test_credentials_stay_with_their_host(repo: Repo, tmp_path: Path) -> None:
    """The other host, another port here, gets what the server gave for it and nothing of the user's."""
    with serve_strange_lfs() as server, serve_strange_lfs() as other:
        add_remote(repo, server.url.replace("://", "://ada:secret@"))
        repo.git("config", "http.extraHeader", "X-Token: secret")
        sent = make_object(tmp_path / "sent", DATA)
        href = {"href": f"{other.url}/data/{sent.oid}", "header": {"X-Given": "for it"}}
        server.rules.append(actions(**href))
        assert open_store(repo).upload([sent], Told()).moved == {sent.oid}
    ((_, _, asked),) = server.requests
    assert (asked["Authorization"], asked["X-Token"]) == ("Basic YWRhOnNlY3JldA==", "secret")
    ((_, _, told),) = other.requests
    assert told["X-Given"] == "for it"
    assert not {"Authorization", "X-Token"} & set(told)
    assert "secret" not in str(told)


@pytest.mark.parametrize("part", ["batch", "data"])
def test_a_redirect_to_another_host_takes_no_secrets_along(repo: Repo, tmp_path: Path, part: str) -> None:
    with serve_strange_lfs() as server, serve_strange_lfs() as other:
        add_remote(repo, server.url.replace("://", "://ada:secret@"))
        server.rules.append(
            lambda exchange: part in exchange.path and exchange.reply(307, Location=other.url + exchange.path)
        )
        server.rules.append(on("POST", "verify", lambda exchange: exchange.reply(200)))
        sent = make_object(tmp_path / "sent", DATA)
        outcome = open_store(repo).upload([sent], Told())
        assert outcome.moved == {sent.oid}
    assert other.requests
    assert all("Authorization" not in headers for _, _, headers in other.requests)


def test_a_host_that_was_led_to_is_not_given_a_login(repo: Repo, tmp_path: Path) -> None:
    """Though git would have credentials for it."""
    with serve_strange_lfs() as server, serve_strange_lfs() as other:
        add_remote(repo, server.url)
        repo.git("config", "credential.helper", "!f() { echo username=ada; echo password=secret; }; f")
        other.rules.append(lambda exchange: exchange.reply(401, WWW_Authenticate='Basic realm="x"'))
        server.rules.append(
            on("POST", "batch", lambda exchange: exchange.reply(307, Location=other.url + exchange.path))
        )
        with pytest.raises(RemoteError, match="it asks who you are"):
            send(repo, tmp_path)
    assert [headers.get("Authorization") for _, _, headers in other.requests] == [None]


def test_redirects_come_to_an_end(repo: Repo, server: StrangeLfs, tmp_path: Path) -> None:
    server.rules.append(on("POST", "batch", lambda exchange: exchange.reply(307, Location=exchange.path)))
    with pytest.raises(RemoteError, match="redirects without end"):
        send(repo, tmp_path)


def test_an_expired_action_is_asked_for_again(
    repo: Repo, server: StrangeLfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gittrack.artifact_stores import lfs_batch

    stale = iter([True])
    monkeypatch.setattr(lfs_batch.Action, "is_stale", lambda _: next(stale, False))
    assert len(send(repo, tmp_path).moved) == 1
    assert len(server.batches) == 2


@pytest.mark.parametrize(
    "header", [{"X\r\nY": "1"}, {"X": "1\r\nY: 2"}, {"X": ["1"]}, ["X"], {"": "1"}, {"X": "x" * 20_000}]
)
def test_headers_that_are_none_are_refused(repo: Repo, server: StrangeLfs, tmp_path: Path, header: object) -> None:
    server.rules.append(actions(href=f"{server.url}/data/x", header=header))
    outcome = send(repo, tmp_path)
    assert "headers that cannot be sent" in str(outcome.failed) or "a header that cannot be sent" in str(
        outcome.failed
    )
    assert server.asked("PUT") == []


def test_what_a_server_has_not_kept_is_not_taken_for_sent(repo: Repo, server: StrangeLfs, tmp_path: Path) -> None:
    server.rules.append(on("PUT", "data", lambda exchange: exchange.reply(200)))  # and drops it
    outcome = send(repo, tmp_path)
    assert outcome.moved == set()
    assert list(outcome.failed.values()) == [f"{server.url} has not kept what was sent to it"]


def test_a_damaged_file_is_announced_and_never_finished(repo: Repo, server: StrangeLfs, tmp_path: Path) -> None:
    sent = make_object(tmp_path / "sent", DATA)
    Path(sent.path).write_bytes(b"z" + DATA[1:])
    told = Told()
    outcome = open_store(repo).upload([sent], told)
    assert "is damaged" in outcome.failed[sent.oid]
    assert (server.objects, told.size_bytes) == ({}, 0)
    wait_for(lambda: server.broken == 1, "the server to see that it breaks off")
