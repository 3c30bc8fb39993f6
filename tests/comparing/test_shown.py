"""What is shown of a comparison: complete as data, harmless as text, as Markdown and as HTML."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gittrack.comparing.diffing import Comparison
from gittrack.comparing.markdown import code_span
from gittrack.schema.diff import compare_runs
from gittrack.schema.differences import FileFact, FilePart, RunFacts
from gittrack.schema.names import one_line
from gittrack.schema.records import DatasetInput, Source
from gittrack.schema.text_diff import FileSide, patch_file
from tests.schema.making import make_run, make_summary

EVIL = (
    "x\n\x1b[31m|`` ``` <script>alert(1)</script> @ada #1 [a](http://b.c) **b** "
    "https://e.org\u202e\\| \r --> </pre>"
)


def hostile(extra: str) -> RunFacts:
    """A side in every field of which a stranger wrote what they could."""
    evil = EVIL + extra
    run = make_run(
        name=evil,
        experiment=evil,
        user=evil,
        host=evil,
        note=evil,
        error=evil,
        parent=evil,
        tags={evil: evil, "t": evil},
        params={evil: evil, "p": evil},
        metrics={evil: make_summary(float(len(extra)))},
        inputs=(DatasetInput(name=EVIL, digest=evil, context=EVIL, source=evil),),
        source=Source(command=evil, name=evil, remote=evil, commit=evil, python=evil, platform=evil, kind=evil),
    )
    fact = FileFact(0o100644, f"{len(extra)}" * 40, 3)
    return RunFacts(
        title=evil,
        record=run,
        source=run.source,
        artifacts={EVIL: fact},
        packages={EVIL: evil},
        code={EVIL: fact, evil: fact},
    )


def hostile_comparison() -> Comparison:
    found = compare_runs([hostile(""), hostile("!")])
    rows = []
    for row in found.code.rows:
        sides = [
            FileSide(row.name, fact.mode, fact.id, (EVIL + fact.id + "\n").encode())
            if isinstance(fact, FileFact)
            else None
            for fact in row.values
        ]
        rows.append(replace(row, patch=patch_file(*sides)))
    return Comparison(replace(found, code=FilePart(tuple(rows))), (EVIL,))


def test_no_control_character_of_a_stranger_is_shown() -> None:
    found = hostile_comparison()
    for shown in (str(found), found.to_markdown(), found._repr_html_(), found.to_markdown(everything=True)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "\r" not in shown
        assert "alert(1)" in shown


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += attrs


def test_html_has_no_script_and_no_tag_of_a_strangers() -> None:
    page = Tags()
    page.feed(hostile_comparison()._repr_html_())
    tags = {"div", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre", "b", "span"}
    assert page.seen == tags
    assert {name for name, _ in page.attributes} == {"style"}


def test_markdown_has_every_text_in_code_and_every_row_as_many_cells() -> None:
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(hostile_comparison().to_markdown(everything=True))
    inner = [child for token in tokens for child in token.children or []]
    assert {token.type for token in inner} <= {"text", "code_inline", "html_inline"}
    html = [token.content.strip() for token in (*tokens, *inner) if token.type in ("html_block", "html_inline")]
    assert set(html) == {"<details><summary>Text of code</summary>", "</details>"}
    plain = " ".join(token.content for token in inner if token.type == "text")
    assert "@" not in plain
    assert "alert" not in plain
    for row in (token for token in tokens if token.type == "fence"):
        assert row.info == "diff"
    cells = 0
    counts, width = set[tuple[int, int]](), 0
    for token in tokens:
        width = 0 if token.type == "thead_open" else width
        if token.type == "tr_open":
            cells = 0
        elif token.type in ("td_open", "th_open"):
            cells += 1
        elif token.type == "tr_close":
            width = width or cells
            counts.add((width, cells))
    assert all(one == other for one, other in counts)


@given(st.text(min_size=1, max_size=30) | st.text("`|\\ <a", min_size=1, max_size=12))
def test_a_code_span_in_a_table_is_one_cell_with_the_very_text(text: str) -> None:
    shown = one_line(text, 300)
    if not shown.strip():
        assert code_span(text) == ""
        return
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(f"| a | b |\n| --- | --- |\n| {code_span(text)} | end |\n")
    inline = [token for token in tokens if token.type == "inline"][2:]
    assert [[(child.type, child.content) for child in token.children or []] for token in inline] == [
        [("code_inline", shown)],
        [("text", "end")],
    ]


def test_data_is_complete_and_json() -> None:
    found = hostile_comparison()
    told = json.loads(json.dumps(found.to_dict(everything=True)))
    assert told["differs"] is True
    assert told["params"][1]["values"] == [EVIL, EVIL + "!"]
    assert told["params"][0]["missing"] == [None, "absent"]
    assert told["runs"][0]["title"] == EVIL
    assert told["code"][0]["patch"]["added"] > 0
    assert [row["differs"] for row in found.to_dict()["params"]] == [True] * 3


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((1, "1"), ("1", '"1"')),
        ((1.0, True), ("1.0", "true")),
        (("", None), ('""', "none")),
        (("adam", "1e-3"), ("adam", '"1e-3"')),
    ],
)
def test_types_can_be_told_apart(values: tuple[object, object], shown: tuple[str, str]) -> None:
    sides = [RunFacts(title="", record=make_run(params={"p": value})) for value in values]
    line = next(line for line in str(Comparison(compare_runs(sides))).splitlines() if line.startswith("  p "))
    assert line.split()[1:] == list(shown)
