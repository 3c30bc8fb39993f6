"""Names: what is taken, and that no two of them ever share a branch or a file."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gittrack.errors import InvalidValueError
from gittrack.schema.names import (
    check_artifact_path,
    check_key,
    check_name,
    check_run_id,
    check_text,
    clean_text,
    escape_json,
    experiment_id,
    experiment_of_ref,
    experiment_ref,
    metric_key,
    metric_path,
    one_line,
)

from .making import TRAPS

NAMES = [
    "a", "A", "Default", "default", "a b", "a/b", "a%2Fb", "a%2fb", "a+b", "a.b", ".a", "a.", "a..b", "...",
    "a.lock",
    "a.LOCK", "a.lock.lock", ".lock", "-a", "--upload-pack=x", "@", "@{", "HEAD", "a~1", "a^", "a:b", "a?b",
    "a*b",
    "a[b", "a\\b", "a\x7fb", "a\nb", "é", "e\u0301", "É", "ﬁ", "fi", "\u212b", "\xc5", "日本語", "日" * 60,
    "日" * 61,
    "x" * 120, "x" * 121, "x" * 500, "X" * 500, "x" * 499 + "y", "\u202ea", "a\u200bb", "🙂", "CON", "ß", "ẞ", "İ",
    "%", "%%", "%2E", "+" * 200, "." * 130, "a" * 119 + "é", "a" * 100 + "%" * 30, "\U0001e900", "ⷠ", "Ω",
    "\u2126",
    *(text for text in TRAPS if text.strip()),
]  # fmt: skip
names = st.sampled_from(NAMES) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)

BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # Unicode's Bidi_Control

part = st.text(st.sampled_from("aA.: -_éÉ日git0csv"), min_size=1, max_size=12) | st.sampled_from(
    [".git", ".GIT", ".gitmodules", "git", ".", "a.csv", "a.CSV", "csv", ".csv", " ", ":", "con", "a ", "a.", " a"]
)
key_texts = (
    st.lists(part, min_size=1, max_size=4).map("/".join)
    | st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=250)
    | st.text(st.sampled_from(":日. "), min_size=1, max_size=250)
)


def is_taken(key: str) -> bool:
    try:
        return check_key("metric", key) == key
    except InvalidValueError:
        return False


keys = key_texts.filter(is_taken)


@pytest.mark.parametrize(
    "key",
    ["a", "a/b", "a b", "A.b-c_d:e", "0", "é", "日本", ".a", "a.", "a..b", ".git", "-a", "x" * 250, "a:b/c:d"],
)
def test_a_key_may_be_what_mlflow_takes(key: str) -> None:
    assert check_key("metric", key) == key


@pytest.mark.parametrize(
    "key",
    [
        "", ".", "..", "/", "/a", "a/", "a//b", "./a", "a/.", "a/./b", "../a", "a/..", "a/../b", "a\n", "a\tb",
        "a\\b",
        "a#b", "a%b", "a\0", "a\u200bb", "a\u202eb", "a,b", 'a"b', "a=b", "a@b", "x" * 251, 5, None, b"a", "//a",
    ],
)  # fmt: skip
def test_a_key_may_not_be_another_or_no_path(key: object) -> None:
    with pytest.raises(InvalidValueError):
        check_key("metric", key)


@pytest.mark.parametrize("name", ["", " ", "\n\t", "x" * 501, None, 5])
def test_a_name_is_text_that_shows(name: object) -> None:
    with pytest.raises(InvalidValueError):
        check_name("run", name)


def test_a_name_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"^the run name has a lone surrogate \(U\+DC80\)"):
        check_name("run", "a\udc80")


def test_text_that_is_no_unicode_is_made_visible_or_refused() -> None:
    assert clean_text("a\udc80") == "a\\udc80"
    assert clean_text("é\0") == check_text("note", "é\0") == "é\0"
    for text in ("\ud83d", "a\udc80", None, b"a"):
        with pytest.raises(InvalidValueError):
            check_text("note", text)


@pytest.mark.parametrize(
    "path",
    ["a", "a/b.txt", ".hidden", ".gitkeep", ".gitignore", ".github/workflows/ci.yml", "sp ace", "é", "e\u0301",
    "-a",
     "a%2Fb", "/".join("a" * 100), "日" * 85, "console", "a.con"],
)  # fmt: skip
def test_an_artifact_may_lie_where_every_system_can_hold_it(path: str) -> None:
    assert check_artifact_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/etc/passwd", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", ".git", ".GIT/config",
        "a/.git/hooks", "git~1", "GIT~2/x", ".gitmodules", "a/.gitattributes", ".g\u200cit", "a\\b", "C:", "C:/a",
        "a:b", "a.", "a ", "a./b", "con", "CON", "nul.txt", "com1", "a/lpt9.log", "a\0", "a\nb", "a\x1b",
        "a\u202eb",
        "\udc80", "日" * 86, "a/" * 2047 + "a", "/".join("a" * 101), "x" * 256, 5, None, b"a",
    ],
)  # fmt: skip
def test_an_artifact_may_not_lie_where_it_leaves_the_folder_or_becomes_something_else(path: object) -> None:
    with pytest.raises(InvalidValueError):
        check_artifact_path(path)


@pytest.mark.parametrize("text", ["", "a" * 31, "a" * 33, "A" * 32, "g" * 32, "a" * 32 + "\n", "٣" * 32, None, 5])
def test_a_run_id_has_32_lower_case_hex_digits(text: object) -> None:
    with pytest.raises(InvalidValueError):
        check_run_id(text)


@given(st.lists(names, unique=True, max_size=40))
def test_no_two_experiments_share_a_branch(found: list[str]) -> None:
    assert len({experiment_ref(name) for name in [*NAMES, *found]}) == len({*NAMES, *found})


@given(names)
def test_a_branch_is_one_file_below_ours_that_any_system_can_hold(name: str) -> None:
    ref = experiment_ref(name)
    shown = ref.removeprefix("refs/heads/gittrack/")
    assert "/" not in shown
    assert 0 < len(shown.encode()) <= 120
    assert unicodedata.normalize("NFC", shown) == shown
    assert not set(shown) & set(' "<>|:*?\\')
    assert shown.isprintable()


@given(names.filter(lambda name: len(name.encode()) <= 40))
def test_a_branch_of_a_short_name_tells_the_name(name: str) -> None:
    assert experiment_of_ref(experiment_ref(name)) == name
    remote = experiment_ref(name).replace("refs/heads/", "refs/remotes/origin/")
    assert experiment_of_ref(remote) == name


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("refs/heads/gittrack/a", "a"),
        ("refs/remotes/origin/gittrack/a", "a"),
        ("refs/remotes/gittrack/gittrack/a", "a"),
        ("refs/remotes/my-gittrack/gittrack/a", "a"),
        ("refs/remotes/team/origin/gittrack/a", "a"),
        ("refs/remotes/gittrack/main", None),
        ("refs/remotes/origin/my-gittrack/a", None),
        ("refs/heads/my-gittrack/a", None),
        ("refs/heads/gittrack", None),
        ("refs/heads/gittrack/", None),
        ("refs/heads/gittrack/a/b", None),
        ("refs/heads/x/gittrack/a", None),
        ("refs/tags/gittrack/a", None),
        ("refs/remotes/gittrack/a", None),
        ("gittrack/a", None),
    ],
)
def test_which_refs_are_branches_of_experiments(ref: str, name: str | None) -> None:
    assert experiment_of_ref(ref) == name


def test_a_letter_that_only_newer_unicode_knows_is_encoded_in_every_python() -> None:
    assert experiment_ref("\U0001e900") == "refs/heads/gittrack/%F0%9E%A4%80"  # Adlam, of 2016
    assert experiment_ref("日本") == "refs/heads/gittrack/日本"


def test_an_experiment_has_the_same_id_in_every_clone() -> None:
    assert (experiment_id("Default"), experiment_id("a")) == ("0", "ca978112ca1bbdca")


@given(keys)
def test_a_metric_is_found_by_its_file(key: str) -> None:
    assert metric_key(metric_path(key)) == key


@given(st.lists(keys, unique=True, max_size=30))
def test_no_two_metrics_share_a_file_and_none_needs_anothers_file_as_a_folder(found: list[str]) -> None:
    files = {metric_path(key) for key in found}
    folders = {path[:at] for path in files for at, char in enumerate(path) if char == "/"}
    assert len(files) == len(found)
    assert not files & folders


@given(keys)
def test_a_metrics_file_has_a_name_that_trees_and_file_systems_can_hold(key: str) -> None:
    first, *parts = metric_path(key).split("/")
    assert first == "metrics"
    assert parts
    for part in parts:
        assert 0 < len(part.encode()) <= 255
        assert part[-1] not in ". "
        assert ":" not in part
        assert not part.lower().startswith(".git")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("loss", "metrics/loss.csv"),
        ("a/b", "metrics/a/b.csv"),
        ("a.csv/b", "metrics/a%2Ecsv/b.csv"),
        ("a.csv", "metrics/a.csv.csv"),
        (".git/x", "metrics/%2Egit/x.csv"),
        ("a:b", "metrics/a%3Ab.csv"),
        ("a./b ", "metrics/a%2E/b%20.csv"),
        ("é" * 125, f"metrics/{'é' * 120}%/{'é' * 5}.csv"),
        (":" * 81, f"metrics/{'%3A' * 80}%/%3A.csv"),
    ],
)
def test_where_a_metric_lies(key: str, path: str) -> None:
    assert metric_path(key) == path


@given(st.text(max_size=80))
def test_one_line_shows_no_control_bidi_or_line_break(text: str) -> None:
    shown = one_line(text)
    assert all(unicodedata.category(char) not in ("Cc", "Zl", "Zp", "Cs") for char in shown)
    assert not BIDI & set(shown)
    assert len(shown) <= 200
    assert shown.encode().decode() == shown


def test_one_line_is_cut_visibly() -> None:
    assert one_line("x" * 201) == "x" * 199 + "…"
    assert one_line("a\x1b[31m\nb\u202ec", 50) == "a\\x1b[31m b\\u202ec"


def test_json_that_is_made_harmless_says_the_same() -> None:
    value = {"a\u202e": "\x1b[2J\x9b31m\u2028\u200b\udcff \u00e9\u65e5\n\t"}
    text = escape_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(text) == value
    assert "\u00e9\u65e5" in text
    assert all(char == "\n" or char.isprintable() for char in text)


def test_a_key_that_no_caller_may_use_still_has_a_place() -> None:
    assert metric_path("") == "metrics/.csv"
    assert metric_path("a//b") == "metrics/a//b.csv"


def test_a_branch_that_is_no_unicode_has_an_id() -> None:
    assert len(experiment_id("\udcff\udcfe")) == 16
