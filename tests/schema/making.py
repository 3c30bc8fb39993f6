"""Records and values of every kind, for properties that must hold of all of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from gittrack.schema.names import ExperimentId, RunId
from gittrack.schema.records import (
    LIFECYCLES,
    STATUSES,
    DatasetInput,
    ExperimentRecord,
    MetricSummary,
    RunRecord,
    Source,
)

RUN_ID = RunId("0123456789abcdef" * 2)
TRAPS = [
    "", " ", "no", "No", "y", "null", "~", "true", "1", "1.0", "1e5", "0x1f", "017", "12:30", "12:30:45",
    "2024-01-01",
    ".nan", "-.inf", "=", "<<", "- a", "a: b", "# a", "&a", "*a", "!t", "|", ">", "%", "@", "`", "{}", "[]",
    '"', "'",
    "\\", "a\nb", "a\r\nb", "\t", "\0", "\x07\x1b[31m", "\x7f", "\x85", "\xa0", "\xad", "\u061c", "\u200b",
    "\u2028",
    "\u202e", "\ufeff", "\ufffd", "\ufffe", "\uffff", "\U0001f600", "\U0010ffff", "e\u0301", "é", "日本語", "---",
    "...",
    "x" * 5000,
]  # fmt: skip

texts = st.sampled_from(TRAPS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
keys = st.sampled_from([text for text in TRAPS if len(text) < 250]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=40
)
floats = st.sampled_from([0.0, -0.0, 5e-324, -1e-310, 1.7976931348623157e308, 1e16, 1e22, 0.1, 1e-7]) | st.floats()
integers = st.sampled_from([0, 2**63, -(2**63), 10**400, -(10**4299)]) | st.integers()
scalars = texts | integers | floats | st.booleans() | st.none()
times = st.integers(-62_135_596_800_000, 253_402_300_799_999)
text_mappings = st.dictionaries(keys, texts, max_size=4)
# what a later version may write: names that this one does not know
unknown = st.dictionaries(
    keys.map("later ".__add__),
    st.recursive(scalars, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8),
    max_size=3,
)
maybe_texts = st.none() | texts

summaries = st.builds(
    MetricSummary,
    first=floats,
    last=floats,
    last_step=st.integers(-(2**63), 2**63 - 1),
    min=floats,
    max=floats,
    count=st.integers(1, 2**63 - 1),
    extra=unknown,
)
inputs = st.builds(
    DatasetInput,
    name=texts,
    digest=texts,
    source=texts,
    source_type=texts,
    schema=texts,
    profile=texts,
    rows=st.none() | st.integers(0),
    context=texts,
    tags=text_mappings,
    extra=unknown,
)
sources = st.builds(
    Source,
    kind=texts,
    name=texts,
    command=texts,
    commit=maybe_texts,
    branch=maybe_texts,
    dirty=st.none() | st.booleans(),
    remote=maybe_texts,
    left_out=st.integers(0),
    python=texts,
    platform=texts,
    extra=unknown,
)
runs = st.builds(
    RunRecord,
    id=st.just(RUN_ID),
    name=texts,
    experiment=texts,
    experiment_id=texts.map(ExperimentId),
    status=st.sampled_from(STATUSES),
    started_at=times,
    ended_at=st.none() | st.just(0) | times,
    revision=st.integers(1),
    lifecycle=st.sampled_from(LIFECYCLES),
    user=texts,
    host=texts,
    parent=maybe_texts,
    note=texts,
    error=texts,
    tags=text_mappings,
    source=st.none() | sources,
    inputs=st.lists(inputs, max_size=3).map(tuple),
    params=st.dictionaries(keys, scalars, max_size=6),
    metrics=st.dictionaries(keys, summaries, max_size=4),
    extra=unknown,
)
experiments = st.builds(
    ExperimentRecord,
    id=texts.map(ExperimentId),
    name=texts,
    made_as=texts,
    created_at=times,
    updated_at=times,
    revision=st.integers(1),
    lifecycle=st.sampled_from(LIFECYCLES),
    description=texts,
    tags=text_mappings,
    artifact_stores=st.lists(texts, max_size=12).map(tuple),
    extra=unknown,
)


def make_run(**changed: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "id": RUN_ID,
        "name": "keen-otter-417",
        "experiment": "Default",
        "experiment_id": ExperimentId("0"),
        "status": "FINISHED",
        "started_at": 1_700_000_000_000,
    }
    return RunRecord(**{**fields, **changed})


def make_summary(value: float) -> MetricSummary:
    return MetricSummary(first=value, last=value, last_step=0, min=value, max=value, count=1)
