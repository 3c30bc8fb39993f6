"""What a search can ask of a run: fields, by MLflow's names and aliases, and what each compares with.

A field is written ``metrics.loss``, ``params.lr``, ``tags.team``, ``datasets.name``, ``env.torch`` or
``attributes.status``, where ``attributes.`` may be left out. A key with other characters than letters, digits,
``_`` and ``.`` stands whole in backticks or double quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, TypeAlias

from gittrack.errors import InvalidQueryError
from gittrack.schema.packages import normalize_package


class Kind(Enum):
    """What a field compares with; the value is the word for it in a message."""

    NUMBER = "a number"
    TEXT = "text"
    PARAM = "a param"  # text, numbers and booleans
    TIME = "a time"
    DURATION = "a duration"
    BOOL = "true or false"
    COMMIT = "a commit"
    VERSION = "a version"


@dataclass(frozen=True, slots=True)
class Metric:
    """The last value of a metric, or another ``part`` of its summary.

    ``plain`` is the key that ``metrics.loss.min`` names in MLflow; where a metric has it, it is meant.
    """

    key: str
    part: str = "last"
    plain: str | None = None
    kind: ClassVar[Kind] = Kind.NUMBER


@dataclass(frozen=True, slots=True)
class Param:
    """A param by its key."""

    key: str
    kind: ClassVar[Kind] = Kind.PARAM


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag by its key, MLflow's own that tell what the record says among them."""

    key: str
    kind: ClassVar[Kind] = Kind.TEXT


@dataclass(frozen=True, slots=True)
class Dataset:
    """One part of each dataset of a run: its name, digest or context."""

    part: str
    kind: ClassVar[Kind] = Kind.TEXT


@dataclass(frozen=True, slots=True)
class Package:
    """The version of a package in the run's environment, by its name as PEP 503 normalises it."""

    name: str
    kind: ClassVar[Kind] = Kind.VERSION


@dataclass(frozen=True, slots=True)
class Attribute:
    """What the record itself says, by its name in `ATTRIBUTES`."""

    name: str

    @property
    def kind(self) -> Kind:
        return ATTRIBUTES[self.name]


Field: TypeAlias = Metric | Param | Tag | Dataset | Package | Attribute

METRIC_PARTS = ("last", "first", "min", "max", "count", "last_step")
DATASET_PARTS = ("name", "digest", "context")
ATTRIBUTES = {
    "run_id": Kind.TEXT,
    "run_name": Kind.TEXT,
    "status": Kind.TEXT,
    "artifact_uri": Kind.TEXT,
    "user_id": Kind.TEXT,
    "start_time": Kind.TIME,
    "end_time": Kind.TIME,
    # beyond MLflow's
    "duration": Kind.DURATION,
    "experiment": Kind.TEXT,
    "experiment_id": Kind.TEXT,
    "host": Kind.TEXT,
    "parent": Kind.TEXT,
    "note": Kind.TEXT,
    "error": Kind.TEXT,
    "revision": Kind.NUMBER,
    "commit": Kind.COMMIT,
    "lifecycle": Kind.TEXT,
    "live": Kind.BOOL,
    "code.commit": Kind.COMMIT,
    "code.branch": Kind.TEXT,
    "code.dirty": Kind.BOOL,
    "source.name": Kind.TEXT,
    "source.kind": Kind.TEXT,
    "command": Kind.TEXT,
    "python": Kind.VERSION,
    "platform": Kind.TEXT,
}
ATTRIBUTE_ALIASES = {
    "created": "start_time",
    "Created": "start_time",
    "run name": "run_name",
    "Run name": "run_name",
    "Run Name": "run_name",
    "started": "start_time",
    "ended": "end_time",
    "name": "run_name",
    "id": "run_id",
    "user": "user_id",
    "lifecycle_stage": "lifecycle",
}
METRICS = ("metrics", "metric")
PARAMS = ("params", "param", "parameters", "parameter")
TAGS = ("tags", "tag")
DATASETS = ("datasets", "dataset")
ENVIRONMENT = ("env",)
RUN = ("attributes", "attribute", "attr", "run")

PART = r"""(?:`[^`]+`|"[^"]+"|[\w/-]+)"""
FIELD_PATTERN = rf"""(?:`[^`]+`|"[^"]+"|(?!(?i:and|or|not|in|is|null)\b)[^\W\d]\w*)(?:\.{PART})*"""
_PARTS = re.compile(PART)
_QUOTES = ("`", '"')


def parse_field(written: str, text: str, position: int) -> Field:
    """The field that is written, which `FIELD_PATTERN` matches, at a position of a text.

    Raises:
        InvalidQueryError: nothing of a run has that name.
    """
    parts = _PARTS.findall(written)
    entity, rest = parts[0].strip("`"), parts[1:]
    if not rest or _attribute_name(parts):
        return _parse_attribute(parts, written, text, position)
    if entity in METRICS:
        return _parse_metric(rest, written, text, position)
    if entity in RUN:
        return _parse_attribute(rest, written, text, position)
    if entity not in (*PARAMS, *TAGS, *DATASETS, *ENVIRONMENT):
        raise _unknown(written, entity, text, position)
    key = _parse_key(rest, written, text, position)
    if entity in PARAMS:
        return Param(key)
    if entity in TAGS:
        return Tag(key)
    if entity in DATASETS:
        if key not in DATASET_PARTS:
            advice = f"a dataset is searched by {', '.join(f'datasets.{part}' for part in DATASET_PARTS)}"
            raise InvalidQueryError(f"a dataset has no {key!r} to search by", text, position, advice)
        return Dataset(key)
    return Attribute("python") if key == "python" else Package(normalize_package(key))


def _parse_metric(parts: list[str], written: str, text: str, position: int) -> Metric:
    *key, part = parts
    if not key or part not in METRIC_PARTS:
        return Metric(_parse_key(parts, written, text, position))
    if len(key) == 1 and key[0].startswith(_QUOTES):
        return Metric(key[0][1:-1], part)
    return Metric(_parse_key(key, written, text, position), part, plain=".".join(parts))


def _parse_key(parts: list[str], written: str, text: str, position: int) -> str:
    quoted = [part for part in parts if part.startswith(_QUOTES)]
    if not quoted:
        return ".".join(parts)
    if len(parts) == 1:
        return parts[0][1:-1]
    place = position + written.index(quoted[0])
    raise InvalidQueryError(
        f"a key is quoted whole or not at all: {written}", text, place, "put backticks around all of the key"
    )


def _parse_attribute(parts: list[str], written: str, text: str, position: int) -> Attribute:
    name = _attribute_name(parts)
    if name is None:
        raise _unknown(written, ".".join(parts), text, position)
    return Attribute(name)


def _attribute_name(parts: list[str]) -> str | None:
    name = parts[0].strip('`"') if len(parts) == 1 else ".".join(parts)
    name = ATTRIBUTE_ALIASES.get(name, name)
    return name if name in ATTRIBUTES else None


def _unknown(written: str, name: str, text: str, position: int) -> InvalidQueryError:
    import difflib

    entities = [f"{entity}." for entity in ("metrics", "params", "tags", "datasets", "env")]
    wanted = f"{name}." if "." in written and not written.startswith(RUN) else name
    close = difflib.get_close_matches(wanted, [*ATTRIBUTES, *ATTRIBUTE_ALIASES, *entities], n=1, cutoff=0.6)
    if close and close[0] in entities:
        close = [close[0] + written.partition(".")[2]]
    known = f"a field is metrics.…, params.…, tags.…, datasets.…, env.…, or one of {', '.join(ATTRIBUTES)}"
    advice = f"did you mean {close[0]}?" if close else known
    return InvalidQueryError(f"a run has no field {written!r}", text, position, advice)
