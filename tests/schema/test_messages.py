"""Commit messages: trailers that cannot be forged, subjects that hide nothing."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gittrack.schema.messages import (
    format_experiment_message,
    format_run_message,
    parse_experiment_trailers,
    parse_journal_trailers,
    parse_run_trailers,
    parse_trailers,
)
from gittrack.schema.names import ExperimentId, clean_text
from gittrack.schema.records import ExperimentRecord

from .making import RUN_ID, TRAPS, floats, make_run, make_summary
from .test_names import BIDI

FORGERIES = [
    "\n\nGittrack-Run: " + "f" * 32,
    "a\n\nGittrack-Run: " + "f" * 32 + "\nGittrack-Revision: 9\nGittrack-Schema: 1\n",
    "Gittrack-Status: FINISHED",
    "a\r\rGittrack-Run: x",
    "a\u2028\u2028Gittrack-Run: x",
    "a\x85\x85Gittrack-Run: x",
    "---",
    "# comment",
    "Signed-off-by: Eve <eve@example.org>",
    "a\0b",
    "\ud800",
    " x ",
]
texts = st.sampled_from([*FORGERIES, *TRAPS]) | st.text(max_size=60)
names = texts.filter(str.strip)


def run_of(name: str, **changed: Any) -> Any:
    return make_run(name=clean_text(name[:500]), **changed)


@given(names, texts, st.dictionaries(texts, floats, max_size=5))
def test_what_a_user_wrote_never_becomes_a_trailer(name: str, what: str, values: dict[str, float]) -> None:
    run = run_of(name, revision=7, metrics={key: make_summary(value) for key, value in values.items()})
    message = format_run_message(run, what, {"00ab": 12, "0001": 3})
    assert parse_trailers(message) == {
        "Gittrack-Run": [RUN_ID],
        "Gittrack-Revision": ["7"],
        "Gittrack-Status": ["FINISHED"],
        "Gittrack-Journal": ["0001:3", "00ab:12"],
        "Gittrack-Schema": ["1"],
    }
    assert parse_run_trailers(message) == (RUN_ID, 7)
    assert parse_experiment_trailers(message) is None
    assert parse_journal_trailers(message) == {"0001": 3, "00ab": 12}


@given(names, texts)
def test_an_experiments_message_is_its_own(name: str, what: str) -> None:
    made = clean_text(name[:500])
    record = ExperimentRecord(
        id=ExperimentId("0"), name=made, made_as=made, created_at=0, updated_at=0, revision=2
    )
    message = format_experiment_message(record, what)
    assert parse_experiment_trailers(message) == ("0", 2)
    assert parse_run_trailers(message) is None


@given(names, texts, st.dictionaries(texts, floats, max_size=5))
def test_a_message_has_three_paragraphs_and_hides_nothing(name: str, what: str, values: dict[str, float]) -> None:
    run = run_of(name, metrics={key: make_summary(value) for key, value in values.items()})
    message = format_run_message(run, what, {})
    subject, body, trailers = message.rstrip("\n").split("\n\n")
    assert subject.strip()
    assert "\n" not in subject + body
    assert body.startswith("[skip ci]")
    assert all(line.startswith("Gittrack-") for line in trailers.split("\n"))
    shown = subject + body
    assert all(unicodedata.category(char) not in ("Cc", "Zl", "Zp", "Cs") for char in shown)
    assert not BIDI & set(shown)
    assert message.encode()


@pytest.mark.parametrize(
    ("changed", "subject"),
    [
        ({}, "keen-otter-417"),
        ({"status": "FAILED"}, "keen-otter-417 (FAILED)"),
        ({"lifecycle": "deleted", "status": "FAILED"}, "keen-otter-417 (deleted)"),
        (
            {"metrics": {key: make_summary(1 / 3) for key in ("system/cpu", "a", "b", "c", "d", "e")}},
            "keen-otter-417 a=0.33333 b=0.33333 c=0.33333 d=0.33333",
        ),
        ({"metrics": {"loss": make_summary(float("nan"))}}, "keen-otter-417 loss=nan"),
        ({"name": "x" * 500}, "x" * 59 + "…"),
    ],
)
def test_the_subject_tells_name_leading_metrics_and_state(changed: dict[str, Any], subject: str) -> None:
    assert format_run_message(make_run(**changed), "", {}).split("\n")[0] == subject


@pytest.mark.parametrize(
    "message",
    [
        "", "subject only", "subject\n\nbody", "s\n\nGittrack-Run: abc\nGittrack-Revision: 1\n",
        f"s\n\nGittrack-Run: {RUN_ID}\n", f"s\n\nGittrack-Run: {RUN_ID}\nGittrack-Revision: -1\n",
        f"s\n\nGittrack-Run: {RUN_ID}\nGittrack-Revision: ٣\n",
        f"s\n\nGittrack-Run: {RUN_ID}\nGittrack-Revision: {'9' * 5000}\n",
        f"s\n\nGittrack-Run: {RUN_ID}\nGittrack-Revision: 1\nnot a trailer\n",
        f"s\n\nGittrack-Run: {RUN_ID}\nGittrack-Run: {RUN_ID}\nGittrack-Revision: 1\n",
        f"s\n\nGittrack-Run: {RUN_ID}\nGittrack-Revision: 1\n\nafterword\n",
    ],
)  # fmt: skip
def test_a_message_of_another_kind_is_of_no_run(message: str) -> None:
    assert parse_run_trailers(message) is None
    assert parse_experiment_trailers(message) is None
    assert parse_journal_trailers(message) == {}


def test_what_an_editor_adds_below_leaves_a_run_its_trailers() -> None:
    message = format_run_message(make_run(), "", {}) + "Signed-off-by: Ada <ada@example.org>\n"
    assert parse_run_trailers(message) == (RUN_ID, 1)
