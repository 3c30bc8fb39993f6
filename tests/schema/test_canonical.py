"""Canonical YAML: what is written comes back bit for bit,
by whatever reads it; what tricks readers is refused."""

from __future__ import annotations

import math
import struct
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gittrack.errors import DamagedError
from gittrack.schema.canonical import _parse_limited, _parse_lines, encode_mapping, parse_mapping

from .making import TRAPS, floats, integers, keys, scalars, texts

flat = st.dictionaries(keys, scalars, max_size=6)
nested = st.dictionaries(keys, st.recursive(scalars, lambda inner: st.dictionaries(keys, inner), max_leaves=8))


def exact(value: Any) -> Any:
    """A value so that types, signs of zero and NaN count in comparisons; order of keys too."""
    if isinstance(value, dict):
        return [(key, exact(item)) for key, item in value.items()]
    if isinstance(value, float):
        return "float", "nan" if math.isnan(value) else struct.pack(">d", value)
    return type(value).__name__, value


@given(nested)
def test_what_is_written_comes_back(mapping: dict[str, Any]) -> None:
    assert exact(parse_mapping(encode_mapping(mapping), "f")) == exact(mapping)


@given(nested)
def test_the_line_parser_takes_all_that_is_written(mapping: dict[str, Any]) -> None:
    assert exact(_parse_lines(encode_mapping(mapping).decode())) == exact(mapping)


@given(nested)
def test_the_limited_loader_reads_the_same(mapping: dict[str, Any]) -> None:
    text = encode_mapping(mapping).decode()
    assert exact(_parse_limited(text, "f")) == exact(mapping)


@given(nested)
def test_any_yaml_reader_reads_the_same(mapping: dict[str, Any]) -> None:
    assert exact(yaml.safe_load(encode_mapping(mapping)) or {}) == exact(mapping)


@given(nested)
def test_the_same_mapping_gives_the_same_bytes(mapping: dict[str, Any]) -> None:
    data = encode_mapping(mapping)
    assert encode_mapping(parse_mapping(data, "f")) == data


@given(st.dictionaries(keys, texts, max_size=6))
def test_the_file_has_one_line_a_key_and_no_character_that_hides(mapping: dict[str, str]) -> None:
    text = encode_mapping(mapping).decode()
    assert len(text.splitlines()) == len(mapping)
    assert not any(char in text for char in "\0\x1b\x85\u061c\u200e\u2028\u202e\u2066\ufeff")


@given(st.text(st.characters(categories=["Cs", "L"]), max_size=8))
def test_text_that_is_no_unicode_is_written_visibly(text: str) -> None:
    found = parse_mapping(encode_mapping({"key": text, f"{text}!": 1}), "f")
    assert found["key"] == text.encode("utf-8", "backslashreplace").decode()


def test_lone_surrogates_in_a_file_become_visible_too() -> None:
    found = parse_mapping(b'"\\ud800": "\\udfff"\npair: "\\ud83d\\ude00"\n', "f")
    assert found == {"\\ud800": "\\udfff", "pair": "\U0001f600"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 1e16, 1e-5, 0.1])
def test_a_float_stays_a_float_in_every_reader(value: float) -> None:
    assert exact(yaml.safe_load(encode_mapping({"a": value}))) == exact({"a": value})


@given(floats | integers)
def test_numbers_are_read_from_one_line_alike(value: float) -> None:
    text = encode_mapping({"a": value}).decode()
    assert exact(_parse_lines(text)) == exact(_parse_limited(text, "f")) == exact({"a": value})


@pytest.mark.parametrize("text", TRAPS)
def test_text_that_yaml_takes_for_something_else_stays_text(text: str) -> None:
    assert parse_mapping(encode_mapping({"a": text}), "f") == {"a": text}
    assert yaml.safe_load(encode_mapping({"a": text})) == {"a": text}


pieces = st.text(st.sampled_from("ab01 \"\\:.-~#{}[]&*!?|>%\r\t'u\ufeff\x85\u2028é"), max_size=6)
plain_pieces = pieces | st.sampled_from(
    ["no", "null", ".inf", "0", "-1", "1.5e3", "1e5", "{}", '"', '"a"', "d83d"]
)
line_texts = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["", "  ", "    ", " ", "- "]),
    plain_pieces | plain_pieces.map('"{}"'.format),
    st.sampled_from([":", ": ", ":  ", " : ", ""]),
    plain_pieces | plain_pieces.map('"{}"'.format),
    st.sampled_from(["\n", "", "\n\n", "\r\n", " \n", " # a\n"]),
)


@settings(max_examples=1000)
@given(st.lists(line_texts, max_size=4).map("".join))
def test_where_both_parsers_take_a_text_they_agree(text: str) -> None:
    by_lines = _parse_lines(text)
    if by_lines is not None:
        assert exact(by_lines) == exact(_parse_limited(text, "f"))


def test_what_a_person_wrote_is_read_by_the_core_schema() -> None:
    found = parse_mapping(
        b"# mine\nlr: 1e-3\nn: +5\nyes: no\non: True\noff: FALSE\nnothing:\ntilde: ~\nNull: NULL\n"
        b"when: 2024-01-01\nclock: 12:30\noctal: 017\nx: .NaN\ny: -.INF\nsingle: 'a'\n"
        b"flow: {a: 1, b: [2, x]}\nlist:\n- 1\n- two\ntext: |\n  l1\n  l2\nbig: " + b"9" * 4301 + b"\n",
        "f",
    )
    assert exact(found) == exact(
        {
            "lr": 1e-3, "n": 5, "yes": "no", "on": True, "off": False, "nothing": None, "tilde": None,
            "Null": None,
            "when": "2024-01-01", "clock": "12:30", "octal": 17.0, "x": math.nan, "y": -math.inf, "single": "a",
            "flow": {"a": 1, "b": [2, "x"]}, "list": [1, "two"], "text": "l1\nl2\n", "big": "9" * 4301,
        }
    )  # fmt: skip


def test_a_key_with_nothing_behind_it_is_null_wherever_it_stands() -> None:
    assert parse_mapping(b"a:\nb:\n  c:\n  d: 1\n", "f") == {"a": None, "b": {"c": None, "d": 1}}


@pytest.mark.parametrize("data", [b"", b"\n", b"# only\n", b"---\n", b"---\n...\n"])
def test_an_empty_file_is_an_empty_mapping(data: bytes) -> None:
    assert parse_mapping(data, "f") == {}


@pytest.mark.parametrize(
    "data", [b"a: 1\r\nb: 2\r\n", b"\xef\xbb\xbfa: 1\nb: 2\n", b"a: 1\nb: 2", b"\na: 1\n\nb: 2\n"]
)
def test_line_ends_marks_and_blank_lines_do_no_harm(data: bytes) -> None:
    assert parse_mapping(data, "f") == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a: &x 1\nb: *x\n", "anchors"),
        (b"a: &x [1]\n", "anchors"),
        (b"&x a: 1\n", "anchors"),
        (b"a: !!python/object/apply:os.system [id]\n", "tag"),
        (b"a: !!str 5\n", "tag"),
        (b"!!map {a: 1}\n", "tag"),
        (b"a: ! 5\n", "tag"),
        (b"a: 1\na: 2\n", "twice"),
        (b'a: 1\n"a": 2\n', "twice"),
        (b"b:\n  a: 1\n  a: 2\n", "twice"),
        (b"? [a]\n: 1\n", "no text"),
        (b"{{a: 1}: 2}\n", "no text"),
        (b"- 1\n", "no mapping"),
        (b"text\n", "no mapping"),
        (b"5\n", "no mapping"),
        (b"a: 1\n---\nb: 2\n", "several"),
        (b"a: [" * 70 + b"]" * 70 + b"\n", "deep"),
        (b"{a: " * 70 + b"1" + b"}" * 70 + b"\n", "deep"),
        (b"a: " + b"[" * 100_000 + b"\n", "deep|flow level"),  # PyYAML has a limit of its own since 6.0.4
        (b'a: "\n', "not YAML"),
        (b"a: b: c\n", "not YAML"),
        (b"\ta: 1\n", "not YAML"),
        (b"a: \0\n", "not YAML"),
        (b"a: \xff\n", "UTF-8"),
    ],
)
def test_what_serves_to_trick_a_reader_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(DamagedError, match=said) as caught:
        parse_mapping(data, "run 1 params.yaml")
    assert caught.value.where == "run 1 params.yaml"


def test_canonical_lines_may_nest_no_deeper_than_the_limit() -> None:
    deep = "".join(f"{'  ' * depth}a:\n" for depth in range(70)) + "  " * 70 + "a: 1\n"
    with pytest.raises(DamagedError, match="deep"):
        parse_mapping(deep.encode(), "f")


def test_a_bomb_of_aliases_costs_nothing() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    start = time.monotonic()
    with pytest.raises(DamagedError):
        parse_mapping("\n".join(lines).encode(), "f")
    assert time.monotonic() - start < 1


def test_a_large_file_is_read_only_where_it_is_canonical() -> None:
    canonical = encode_mapping({f"key{number}": float(number) for number in range(300_000)})
    assert len(parse_mapping(canonical, "f")) == 300_000
    with pytest.raises(DamagedError, match="too many"):
        parse_mapping(b"# edited\n" + canonical, "f")


def test_only_scalars_are_written() -> None:
    with pytest.raises(TypeError, match="list is no scalar"):
        encode_mapping({"a": [1]})


@pytest.mark.parametrize(
    "data",
    [
        "".join(f"k{n}: {{}}\n" for n in range(500_001)).encode(),
        b"a: [" + b"[]," * 200_000 + b"]\n",
        b"a: [" + b"[]," * (1 << 20) + b"]\n",
    ],
)
def test_what_is_small_in_a_file_and_large_in_memory_is_refused(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(DamagedError, match="too m"):
        parse_mapping(data, "f")
    assert time.process_time() - started < 5


def test_a_long_file_is_read_line_by_line_as_a_short_one_is() -> None:
    mapping = {f"k{number}": {"a": number, "b": "x" * 50} for number in range(20_000)}
    data = encode_mapping(mapping)
    assert len(data) > 1 << 20
    assert exact(parse_mapping(data, "f")) == exact(mapping)
    with pytest.raises(DamagedError):
        parse_mapping(data + b"no mapping\n", "f")
