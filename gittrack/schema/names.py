"""Names: which keys and paths are taken, how an experiment's name becomes a branch and an id.

Key rules are MLflow's, so that what was logged there can be logged here: up to 250 characters
of letters, digits, ``_ - . : / `` and blanks, with no empty, ``.`` or ``..`` part.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import unicodedata
from typing import NewType
from urllib.parse import unquote

from gittrack.errors import InvalidValueError

RunId = NewType("RunId", str)
ExperimentId = NewType("ExperimentId", str)

FORMAT_NUMBER = 1
SCHEMA_FILE = ".gittrack-schema"
DEFAULT_EXPERIMENT = "Default"
DEFAULT_EXPERIMENT_ID = ExperimentId("0")
HEADS = "refs/heads/gittrack/"
REMOTES = "refs/remotes/"
LIVE = "refs/gittrack/live/"  # on a remote: a ref for each run in flight whose checkpoints are shown to others
TRACKED_LIVE = "refs/gittrack/remotes/"  # here: <remote>/live/<run id>, those refs as they were last fetched

INLINE_BYTES_MAX = 1 << 20  # a text or a CSV up to this stands in git itself; forges refuse blobs over 100 MB
KEY_CHARS_MAX = 250
NAME_CHARS_MAX = 500
PATH_BYTES_MAX = 4096
PART_BYTES_MAX = 255
PATH_PARTS_MAX = 100  # what reads trees, here and in git, has limits
_FILE_BYTES_MAX = 240  # a file name holds 255 bytes: room for '.csv' and '%'
_REF_BYTES_MAX = 120  # loose refs are files: 255 bytes less '.lock', and room for other systems

_KEY = re.compile(r"[/\w.\- :]+")
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_REF_PLAIN = re.compile(r"[A-Za-z0-9_\-]")
_SPECIAL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]")
_SPECIAL_IN_JSON = re.compile(_SPECIAL.pattern.replace(r"\x00-\x1f", ""))  # the line breaks are JSON's own
# the experiment's part holds no '/': what is behind the last one is its name
_EXPERIMENT_REF = re.compile(r"refs/(?:heads|remotes/.+)/gittrack/([^/]+)")
_LIVE_REF = re.compile(r"refs/gittrack/(?:live|remotes/.+/live)/([0-9a-f]{32})")
_GIT_FILES = (".git", ".gitmodules", ".gitattributes")  # git acts on these wherever they lie
# Unicode's own tables grow: with those of one fixed version the same name gives the same ref in every Python
_UNICODE = unicodedata.ucd_3_2_0
_WINDOWS_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def check_key(kind: str, key: object) -> str:
    """The key itself, when it may name a metric, param or tag; ``kind`` is the word for the message.

    Raises:
        InvalidValueError: it may not.
    """
    if not isinstance(key, str):
        raise InvalidValueError(f"a {kind} key is text, not {type(key).__name__} ({key!r})")
    if len(key) > KEY_CHARS_MAX:
        raise InvalidValueError(
            f"{kind} key {key[:40]!r}… has {len(key)} characters; the limit is {KEY_CHARS_MAX}"
        )
    if not _KEY.fullmatch(key):
        raise InvalidValueError(
            f"{kind} key {key!r} has characters that are not taken",
            "use letters, digits, underscores, dashes, periods, blanks, colons and slashes",
        )
    if posixpath.normpath(key) != key or key.startswith(("/", "../")) or key in (".", ".."):
        raise InvalidValueError(
            f"{kind} key {key!r} is no plain path", "leave out '.', '..', and doubled or outer '/'"
        )
    return key


def check_name(kind: str, name: object) -> str:
    """The name itself, when a run or an experiment may have it: text of 1 to 500 characters.

    Raises:
        InvalidValueError: it may not.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidValueError(f"a {kind} name is text that is not blank, not {name!r}")
    if len(name) > NAME_CHARS_MAX:
        raise InvalidValueError(f"the {kind} name has {len(name)} characters; the limit is {NAME_CHARS_MAX}")
    return check_text(f"{kind} name", name)


def check_text(what: str, text: object) -> str:
    """The text itself, when the files of a run can hold it; ``what`` is the word for the message.

    Lone surrogates are refused: no UTF-8 has them, and escapes in their place would read back as another text.

    Raises:
        InvalidValueError: it is no text, or has one.
    """
    if not isinstance(text, str):
        raise InvalidValueError(f"a {what} is text, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(
            f"the {what} has a lone surrogate (U+{ord(text[error.start]):04X}), which is no Unicode text",
            "most often it is a file name that is not UTF-8: log repr(value) instead",
        ) from None
    return text if type(text) is str else str.__str__(text)  # NumPy's own str() drops NULs at the end


def check_artifact_path(path: object) -> str:
    """A path below a run's ``artifacts/``, '/' between the parts, as it is stored.

    Refused is what could leave the folder, or be something else on another system: absolute paths, ``..``,
    ``.git`` in its spellings, backslashes, control characters, device names, trailing dots and blanks.

    Raises:
        InvalidValueError: it may not be a path.
    """
    if not isinstance(path, str) or not path:
        raise InvalidValueError(f"an artifact path is text that is not empty, not {path!r}")
    parts = path.split("/")
    if len(path.encode("utf-8", "replace")) > PATH_BYTES_MAX or len(parts) > PATH_PARTS_MAX:
        raise InvalidValueError(
            f"artifact path {path[:80]!r}… has {len(path)} characters in {len(parts)} parts",
            f"the limits are {PATH_BYTES_MAX} bytes and {PATH_PARTS_MAX} parts",
        )
    if any(not _is_safe_part(part) for part in parts):
        raise InvalidValueError(
            f"artifact path {path!r} is not taken",
            "use a relative path without '..', '.git', backslashes, control characters or trailing dots",
        )
    return path


def is_run_id(text: str) -> bool:
    """Whether a text has the form of a full run id: 32 lower-case hex digits."""
    return _RUN_ID.fullmatch(text) is not None


def check_run_id(text: object) -> RunId:
    """A full run id.

    Raises:
        InvalidValueError: it has not that form.
    """
    if not isinstance(text, str) or not is_run_id(text):
        raise InvalidValueError(f"{text!r} is no run id", "a run id has 32 lower-case hex digits")
    return RunId(text)


def experiment_id(made_as: str) -> ExperimentId:
    """The id of an experiment by the name that it was made with: the same in every clone."""
    if made_as == DEFAULT_EXPERIMENT:
        return DEFAULT_EXPERIMENT_ID
    return ExperimentId(hashlib.sha256(clean_text(made_as).encode()).hexdigest()[:16])


def experiment_ref(made_as: str) -> str:
    """The full name of an experiment's branch: its name as made, what git refuses percent-encoded.

    '/' is encoded too, since git cannot hold both ``a`` and ``a/b``. A name over 120 bytes is cut and gets
    ``+`` and the first 16 hex digits of its sha256.
    """
    encoded = "".join(_encode_char(name_char) for name_char in made_as)
    if _UNICODE.normalize("NFC", made_as) != made_as:  # some file systems would fold it into another name
        encoded = "".join(char if ord(char) < 128 else _percent(char) for char in encoded)
    encoded = re.sub(r"^\.|(?<=\.)\.|\.$|\.(?=lock$)", "%2E", encoded)
    encoded = re.sub(r"^-", "%2D", encoded)
    if len(encoded.encode()) > _REF_BYTES_MAX:
        head = encoded.encode()[: _REF_BYTES_MAX - 17].decode(errors="ignore")
        encoded = re.sub(r"%.?$", "", head) + "+" + hashlib.sha256(made_as.encode()).hexdigest()[:16]
    return HEADS + encoded


def experiment_of_ref(ref: str) -> str | None:
    """The experiment's name as its branch shows it (the record has the true one), or None for other refs."""
    found = _EXPERIMENT_REF.fullmatch(ref)
    return unquote(found[1]) if found else None


def live_ref(run_id: str) -> str:
    """The ref on a remote that shows a run in flight to others."""
    return LIVE + run_id


def run_of_live_ref(ref: str) -> RunId | None:
    """The run that a ref shows in flight, on a remote or as it was fetched from one; None for other refs."""
    found = _LIVE_REF.fullmatch(ref)
    return RunId(found[1]) if found else None


def metric_path(key: str) -> str:
    """Where a metric's history lies in the run's tree: ``metrics/<key>.csv``.

    Percent-encoded is what trees or file systems cannot hold: ``.git``, trailing dots and blanks, colons, and
    a folder named ``….csv``, which would stand where another metric's file is. A part too long for a file name
    goes on in a folder of its own, behind a ``%``.
    """
    *folders, name = key.split("/")
    parts = [re.sub(r"\.(?=csv$)", "%2E", _file_part(folder)) for folder in folders]
    return "/".join(["metrics", *map(_split_long, parts), _split_long(_file_part(name)) + ".csv"])


def metric_key(path: str) -> str:
    """The metric whose history lies at a path that `metric_path` made."""
    return unquote(path.removeprefix("metrics/").removesuffix(".csv").replace("%/", ""))


def clean_text(text: str) -> str:
    """Text that every file of a run can hold: what is no Unicode (lone surrogates) becomes visible escapes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def one_line(text: str, limit: int = 200) -> str:
    """Text safe to show on one line: control, bidi and line-breaking characters become visible or blank."""
    if text.isprintable():  # most text is, and then has nothing to hide
        return text if len(text) <= limit else text[: limit - 1] + "…"
    shown = _SPECIAL.sub(lambda match: " " if match[0] in "\t\r\n\u2028\u2029" else _visible(match[0]), text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def escape_json(text: str) -> str:
    """JSON text with what `one_line` hides written as JSON's own escapes: the same value, harmless to show."""
    if text.isascii():
        return text  # JSON has escaped the control characters already
    return _SPECIAL_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _is_safe_part(part: str) -> bool:
    if part in ("", ".", "..") or part[-1] in ". " or len(part.encode("utf-8", "replace")) > PART_BYTES_MAX:
        return False
    if _SPECIAL.search(part) or "\\" in part:
        return False
    lowered = part.lower()
    if lowered in _GIT_FILES or lowered.startswith("git~"):
        return False
    return ":" not in part and not _WINDOWS_DEVICES.fullmatch(part)


def _file_part(part: str) -> str:
    if part.lower().startswith(".git"):
        part = "%2E" + part[1:]
    part = part.replace(":", "%3A")
    if part.endswith((".", " ")):
        part = part[:-1] + _percent(part[-1])
    return part


def _split_long(part: str) -> str:
    """A part over 240 bytes as several, with ``%/`` between: keys hold no '%', so that it is told apart."""
    if len(part.encode()) <= _FILE_BYTES_MAX:
        return part
    pieces, size = [""], 0
    for unit in re.findall(r"%..|.", part, re.DOTALL):
        if size + len(unit.encode()) > _FILE_BYTES_MAX:
            pieces.append("")
            size = 0
        pieces[-1] += unit
        size += len(unit.encode())
    return "%/".join(pieces)


def _encode_char(char: str) -> str:
    if _REF_PLAIN.match(char) or char == ".":
        return char
    if ord(char) >= 128 and _UNICODE.category(char)[0] in "LN":
        return char
    return _percent(char)


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def _visible(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"
