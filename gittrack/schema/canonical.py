"""The YAML of a run: a narrow subset that is written, and a safe, limited reader for what people edited.

Written: block mappings, one ``key: scalar`` a line, two blanks a level, strings double-quoted as in JSON.
The same mapping gives the same bytes. Read first by lines, 1 µs each; what does not fit goes through
PyYAML's parser with aliases, tags, duplicate keys and deep nesting refused, and only JSON's scalars.
Source of the scalar forms: YAML 1.2.2, section 10.3 (core schema), less its octal and hex.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gittrack.errors import DamagedError
from gittrack.schema.names import clean_text

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_YAML_WORDS = frozenset(["y", "n", "yes", "no", "true", "false", "on", "off", "null"])
# what YAML takes for a line break or refuses to read, and what turns text around on a screen
_ESCAPED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
# indent, quoted key with its quotes, plain key, scalar
_LINE = re.compile(r'^( *)(?:("(?:[^"\\\n]|\\.)*")|([A-Za-z_][A-Za-z0-9_./-]*)):(?: (.+))?$', re.MULTILINE)
_FLAT_LINE = re.compile(r'^(?:("(?:[^"\\\n]|\\.)*")|([A-Za-z_][A-Za-z0-9_./-]*)): (.+)$', re.MULTILINE)
_BLOCK = re.compile(r"^([A-Za-z_][A-Za-z0-9_./-]*):\n((?:  [^ \n].*\n)+)", re.MULTILINE)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    "~": None,
    **{form: value for word, value in (("null", None), ("true", True), ("false", False))
       for form in (word, word.capitalize(), word.upper())},
    **{f".{form}": math.nan for form in ("nan", "NaN", "NAN")},
    **{f"{sign}.{form}": float(f"{sign}inf") for sign in ("", "+", "-") for form in ("inf", "Inf", "INF")},
}  # fmt: skip
_DEPTH_MAX = 64
_INT_DIGITS_MAX = 4300  # CPython converts no more; a longer one stays text
_SHORT_MAX = 100
_SHALLOW_MAX = 1 << 14  # a run's own files; longer ones would fill the memory of what is kept
_LIMITED_BYTES_MAX = 4 << 20  # of a file that is not canonical: its parser takes 10 µs a line
_LIMITED_EVENTS_MAX = 200_000  # what it makes of that: a list in two characters is two
_LINES_MAX = 500_000  # each costs 200 bytes of memory
_AT_ONCE_MAX = 1 << 20


def encode_mapping(mapping: Mapping[str, Any]) -> bytes:
    """Canonical bytes of nested mappings of scalars; keys keep their order."""
    lines: list[str] = []
    _write_mapping(mapping, "", lines)
    try:
        return "".join(lines).encode()
    except UnicodeEncodeError:  # lone surrogates, which only a caller that did not clean its text brings
        return encode_mapping(_clean(mapping))


def parse_mapping(data: bytes, where: str) -> dict[str, Any]:
    """The mapping that a file holds; an empty file is an empty mapping.

    Raises:
        DamagedError: it is no YAML mapping of the limited kind; ``where`` says which file.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DamagedError(where, "it is not UTF-8 text") from error
    if text.count("\n") > _LINES_MAX:
        raise DamagedError(where, f"it has more than {_LINES_MAX} lines, too many to be parsed")
    found = _parse_lines(text)
    if found is None:
        if len(data) > _LIMITED_BYTES_MAX:
            raise DamagedError(where, f"it is not canonical and has {len(data)} bytes, too many to be parsed")
        found = _parse_limited(text, where)
    return found


def format_scalar(value: Any) -> str:
    """One scalar as canonical YAML; floats keep every bit (`repr`, with the point that YAML 1.1 wants)."""
    if isinstance(value, str):
        return _quote(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _format_float(value)
    raise TypeError(f"{type(value).__name__} is no scalar")


def _format_float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = float.__repr__(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return text


def _write_mapping(mapping: Mapping[str, Any], indent: str, lines: list[str]) -> None:
    for key, value in mapping.items():
        shown = key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _YAML_WORDS else _quote(key)
        if not isinstance(value, Mapping):
            lines.append(f"{indent}{shown}: {format_scalar(value)}\n")
        elif value:
            lines.append(f"{indent}{shown}:\n")
            _write_mapping(value, indent + "  ", lines)
        else:
            lines.append(f"{indent}{shown}: {{}}\n")


def _clean(mapping: Mapping[str, Any]) -> dict[str, Any]:
    cleaned: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            value = _clean(value)
        cleaned[clean_text(key)] = clean_text(value) if isinstance(value, str) else value
    return cleaned


def _quote(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def _parse_lines(text: str) -> dict[str, Any] | None:
    """What canonical lines say, or None when a line is not canonical."""
    if not text.isascii() and _ESCAPED.search(text):
        return None
    if not (text.endswith("\n") or not text):
        return None
    found = _parse_shallow(text) if len(text) <= _SHALLOW_MAX else None
    if found is not None:
        return found
    lines: Iterable[tuple[str, ...]]
    if len(text) > _AT_ONCE_MAX:
        lines = _each_line(text)
    else:
        lines = _LINE.findall(text)
        if len(lines) != text.count("\n"):
            return None
    top: dict[str, Any] = {}
    levels, inners = [top], []
    try:
        for indent, quoted, plain, value in lines:
            depth = len(indent) >> 1
            if len(indent) & 1 or depth >= len(levels) or depth >= _DEPTH_MAX:
                return None
            if depth + 1 < len(levels):
                del levels[depth + 1 :]
            parent = levels[depth]
            key = plain or _unquote(quoted)
            if key in parent:
                return None
            if value:
                parent[key] = _parse_scalar(value) if value != "{}" else {}
            else:
                inner: dict[str, Any] = {}
                parent[key] = inner
                levels.append(inner)
                inners.append(inner)
    except (ValueError, RecursionError):
        return None
    return top if all(inners) else None  # a key with nothing behind it is null, which is not written so


def _parse_shallow(text: str) -> dict[str, Any] | None:
    """What canonical lines of at most two levels say, which a run's are; None where it takes the longer way.

    Of a list of runs this is most of the work. A block such as ``source`` is the same in most runs of a sweep, and
    is read once.
    """
    top: dict[str, Any] = {}
    at, count = 0, 0
    try:
        for block in _BLOCK.finditer(text):
            count += _parse_flat(text[at : block.start()], top) + 1
            top[block[1]] = dict(_parse_block(block[2]))
            at = block.end()
        count += _parse_flat(text[at:], top)
    except ValueError:
        return None
    return top if len(top) == count else None  # a key that comes twice is told by the longer way


@functools.lru_cache(maxsize=1 << 10)
def _parse_block(text: str) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    if _parse_flat(text.replace("\n  ", "\n")[2:], inner) != len(inner):
        raise ValueError(text)
    return inner


def _parse_flat(text: str, into: dict[str, Any]) -> int:
    """Put what lines without an indent say into a mapping; returns how many they are.

    Raises:
        ValueError: a line is another.
    """
    lines = _FLAT_LINE.findall(text)
    if len(lines) != text.count("\n"):
        raise ValueError(text)
    for quoted, plain, value in lines:
        if value[0] == '"' and "\\" not in value and value.find('"', 1) == len(value) - 1 and value.isprintable():
            into[plain or _unquote(quoted)] = value[1:-1]
        else:
            into[plain or _unquote(quoted)] = _parse_scalar(value) if value != "{}" else {}
    return len(lines)


def _each_line(text: str) -> Iterator[tuple[str, ...]]:
    """The lines of a long text one by one: all at once they take 300 bytes of memory each.

    Raises:
        ValueError: at the end, when a line was not canonical.
    """
    count = 0
    for match in _LINE.finditer(text):
        count += 1
        yield match.groups("")
    if count != text.count("\n"):
        raise ValueError(text[:20])


def _parse_scalar(text: str) -> Any:
    return _parse_short(text) if len(text) <= _SHORT_MAX else _parse_any(text)


@functools.lru_cache(maxsize=1 << 14)  # a long list repeats most of its values; long ones would fill the memory
def _parse_short(text: str) -> Any:
    return _parse_any(text)


def _parse_any(text: str) -> Any:
    if text[0] == '"':
        return _unquote(text)
    if text.isdigit() and text.isascii() and (text[0] != "0" or len(text) == 1):
        return int(text) if len(text) <= _INT_DIGITS_MAX else _refuse(text)
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text) if len(text.lstrip("+-")) <= _INT_DIGITS_MAX else _refuse(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    raise ValueError(text)


def _unquote(text: str) -> str:
    if "\\" not in text and text.find('"', 1) == len(text) - 1 and text.isprintable():
        return text[1:-1]
    found: str = json.loads(text)
    return clean_text(found) if "\\u" in text else found


def _refuse(text: str) -> Any:
    raise ValueError(f"{text[:20]}… has {len(text)} digits")


def _parse_limited(text: str, where: str) -> dict[str, Any]:
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        events = yaml.parse(text, Loader=loader)
        found = _Builder(where).build(events)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedError(where, f"it is not YAML that gittrack reads: {first}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise DamagedError(where, "it holds no mapping")
    return found


class _Builder:
    """Makes plain data of YAML events; refuses what only serves to trick a reader."""

    def __init__(self, where: str) -> None:
        self._where = where

    def build(self, events: Any) -> Any:
        import yaml

        self._events = events = self._counted(events)
        self._yaml = yaml
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                value = self._node(next(events), 0)
                rest = [type(event) for event in events]
                if yaml.DocumentStartEvent in rest:
                    raise DamagedError(self._where, "it holds several YAML documents")
                return value
        return None

    def _counted(self, events: Iterable[Any]) -> Iterator[Any]:
        for number, event in enumerate(events):
            if number > _LIMITED_EVENTS_MAX:
                raise DamagedError(self._where, "it is not canonical and holds too much to be parsed")
            yield event

    def _node(self, event: Any, depth: int) -> Any:
        yaml = self._yaml
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise DamagedError(self._where, "it uses YAML anchors, which are not read")
        if depth > _DEPTH_MAX:
            raise DamagedError(self._where, f"it nests deeper than {_DEPTH_MAX} levels")
        if getattr(event, "tag", None):
            raise DamagedError(self._where, f"it uses the YAML tag {event.tag}, which is not read")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(depth)
        return self._mapping(depth)

    def _scalar(self, event: Any) -> Any:
        if event.style:  # quoted
            return event.value
        try:
            return _parse_scalar(event.value) if event.value else None
        except ValueError:
            return event.value

    def _sequence(self, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), self._yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), self._yaml.MappingEndEvent):
            if not isinstance(event, self._yaml.ScalarEvent):
                raise DamagedError(self._where, "it has a key that is no text")
            self._node(event, depth)
            if event.value in mapping:
                raise DamagedError(self._where, f"it has the key {event.value!r} twice")
            mapping[event.value] = self._node(next(self._events), depth + 1)
        return mapping
