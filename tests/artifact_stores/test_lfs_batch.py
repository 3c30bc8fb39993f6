"""What LFS servers answer, read with care; and for how long it holds."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gittrack.artifact_stores.lfs_batch import (
    Action,
    Answer,
    format_request,
    parse_answer,
    parse_grant,
    parse_message,
)
from gittrack.errors import RemoteError

ASKED = [("a" * 64, 1), ("b" * 64, 2)]
WORDS = st.sampled_from(
    ["objects", "oid", "size", "actions", "error", "code", "message", "upload", "href", "header", "authenticated"]
)
ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([ASKED[0][0], "x"])
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(), inner, max_size=5)
)


def action(**told: Any) -> Action:
    entry = {"oid": ASKED[0][0], "actions": {"download": {"href": "https://h/x", **told}}}
    return parse_answer(json.dumps({"objects": [entry]}).encode(), ASKED)[ASKED[0][0]].actions["download"]


@given(VALUES | st.fixed_dictionaries({"objects": st.lists(st.dictionaries(WORDS, VALUES), max_size=3)}))
def test_whatever_comes_is_an_answer_or_refused(told: object) -> None:
    body = json.dumps(told).encode()
    try:
        answers = parse_answer(body, ASKED)
    except RemoteError:
        return
    assert set(answers) == {oid for oid, _ in ASKED}
    assert all(isinstance(answer, Answer) and answer.error.isprintable() for answer in answers.values())


@given(st.binary())
def test_whatever_comes_of_an_ssh_host_or_as_a_refusal(body: bytes) -> None:
    assert parse_message(body).isprintable()
    try:
        parse_grant(body)
    except RemoteError:
        pass


def test_a_request_asks_for_what_we_can() -> None:
    assert json.loads(format_request("upload", ASKED, "refs/heads/gittrack/exp")) == {
        "operation": "upload",
        "transfers": ["basic"],
        "hash_algo": "sha256",
        "ref": {"name": "refs/heads/gittrack/exp"},
        "objects": [{"oid": oid, "size": size} for oid, size in ASKED],
    }
    assert "ref" not in json.loads(format_request("upload", ASKED))


@pytest.mark.parametrize(
    ("told", "holds_s"),
    [
        ({}, 86_400),
        ({"expires_in": 60}, 60),
        ({"expires_in": 60, "expires_at": "2001-01-01T00:00:00Z"}, 60),
        ({"expires_at": "0001-01-01T00:00:00Z"}, 86_400),
        ({"expires_at": "soon"}, 86_400),
        ({"expires_in": 1 << 40}, 86_400),
    ],
)
def test_an_action_holds_as_long_as_it_says(told: dict[str, Any], holds_s: float) -> None:
    found = action(**told)
    assert found.expires_at - time.monotonic() == pytest.approx(holds_s, abs=20)
    assert not found.is_stale()


def test_an_action_holds_until_the_time_it_says() -> None:
    found = action(expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert found.expires_at - time.monotonic() == pytest.approx(3600, abs=20)


def test_an_action_that_came_too_old_is_tried_once_at_once() -> None:
    """Clocks differ; but later it is not."""
    found = action(expires_in=-30)
    assert not found.is_stale()
    assert Action(found.href, found.headers, found.answered_at - 60, found.expires_at - 60).is_stale()


def test_what_says_where_a_message_ends_is_not_taken_from_a_server() -> None:
    found = action(
        header={"Authorization": "x", "Content-Length": "1", "HOST": "h", "Transfer-Encoding": "chunked"}
    )
    assert found.headers == {"Authorization": "x"}
    assert "https://h/x" not in repr(found)
