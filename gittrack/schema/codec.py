"""Records to the files of a run's tree, and back: same record, same bytes; unknown fields come through.

The fields and their order stand in one place, `RUN_FIELDS` and its like; the written statement of the
format is made of the same tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from gittrack.errors import DamagedError, GittrackError
from gittrack.schema.canonical import encode_mapping, parse_mapping
from gittrack.schema.names import check_run_id
from gittrack.schema.records import (
    DatasetInput,
    ExperimentRecord,
    MetricSummary,
    RunRecord,
    Scalar,
    Source,
)

RUN_FILE, PARAMS_FILE, METRICS_FILE = "run.yaml", "params.yaml", "metrics.yaml"
EXPERIMENT_FILE = "experiment.yaml"

_Table: TypeAlias = tuple[tuple[str, str, str], ...]

# field, type, what it says; a '?' marks one that is left out where it is empty
RUN_FIELDS = (
    ("id", "string", "32 lower-case hex digits (uuid4)"),
    ("name", "string", "shown name"),
    ("experiment", "string", "name the experiment was made with; it names the branch"),
    ("experiment_id", "string", "'0' for Default, else the first 16 hex digits of the sha256 of that name"),
    ("status", "string", "RUNNING, SCHEDULED, FINISHED, FAILED or KILLED"),
    ("lifecycle", "string", "active or deleted"),
    ("revision", "integer", "1 for the first commit of the run, one more for each edit"),
    ("started_at", "time", "when the run began"),
    ("ended_at?", "time", "when it ended"),
    ("user?", "string", "login name of who ran it"),
    ("host?", "string", "name of the machine"),
    ("parent?", "string", "id of the run that this one is nested in"),
    ("note?", "string", "description, Markdown"),
    ("error?", "string", "traceback or reason of a failed run"),
    ("tags?", "mapping", "text by key"),
    ("source?", "mapping", "what was run, see source"),
    ("inputs?", "mapping", "datasets by number from 1, see input"),
)
SOURCE_FIELDS = (
    ("kind", "string", "LOCAL, NOTEBOOK or JOB"),
    ("name?", "string", "entry script or notebook, relative to the work tree"),
    ("command?", "string", "command line, secrets masked"),
    ("commit?", "string", "HEAD's commit id"),
    ("branch?", "string", "branch that was checked out"),
    ("dirty?", "boolean", "whether the work tree differed from HEAD"),
    ("remote?", "string", "URL of the remote, without credentials"),
    ("left_out?", "integer", "untracked source files that were too large or too many to keep"),
    ("python?", "string", "version of Python"),
    ("platform?", "string", "operating system and processor"),
)
INPUT_FIELDS = (
    ("name", "string", "dataset's name"),
    ("digest", "string", "fingerprint of its content"),
    ("source?", "string", "where it came from, without credentials"),
    ("source_type?", "string", "kind of source"),
    ("schema?", "string", "columns and types, JSON"),
    ("profile?", "string", "statistics, JSON"),
    ("rows?", "integer", "number of rows"),
    ("context?", "string", "what it was used for: training, validation, test"),
    ("tags?", "mapping", "text by key"),
)
METRIC_FIELDS = (
    ("first", "float", "first value logged"),
    ("last", "float", "value at the greatest step, the later in time where a step comes twice"),
    ("last_step", "integer", "that step"),
    ("min", "float", "least value; NaN never counts unless all are"),
    ("max", "float", "greatest value; likewise"),
    ("count", "integer", "number of points"),
)
EXPERIMENT_FIELDS = (
    ("id", "string", "as experiment_id of a run"),
    ("name", "string", "shown name; a rename changes it alone"),
    ("made_as", "string", "name it was made with; it names the branch"),
    ("lifecycle", "string", "active or deleted"),
    ("revision", "integer", "1 for the first, one more for each edit"),
    ("created_at", "time", "when it was made"),
    ("updated_at", "time", "when this revision was made"),
    ("description?", "string", "Markdown"),
    ("tags?", "mapping", "text by key"),
    (
        "artifact_stores?",
        "mapping",
        "URLs by number from 1, without credentials: new artifacts go to the first, and are looked for in all",
    ),
)
_FINITE, _WHOLE = (
    r"(-?[0-9]+\.[0-9]+(?:e[+-][0-9]+)?)",
    r"(-?[0-9]{1,18})",
)  # what is longer is looked at one by one: it may not fit 64 bits
_SUMMARY = re.compile(  # a metric with finite values, just as it is written
    r"^([A-Za-z_][A-Za-z0-9_./-]*):\n"
    + "".join(rf"  {name}: {_WHOLE if kind == 'integer' else _FINITE}\n" for name, kind, _ in METRIC_FIELDS),
    re.MULTILINE,
)
_TIMES = frozenset({"started_at", "ended_at", "created_at", "updated_at"})
_INT_END = 1 << 63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_MIN, _TIME_MAX = -62_135_596_800_000, 253_402_300_799_999  # years 1 to 9999


def encode_run(run: RunRecord) -> dict[str, bytes]:
    """The three files of a run's record, by name."""
    metrics = {key: _mapping(summary, METRIC_FIELDS) for key, summary in run.metrics.items()}
    return {
        RUN_FILE: encode_mapping(_run_mapping(run)),
        PARAMS_FILE: encode_mapping(run.params),
        METRICS_FILE: encode_mapping(metrics),
    }


def parse_run(run_yaml: bytes, params_yaml: bytes, metrics_yaml: bytes, where: str) -> RunRecord:
    """The record that three files hold.

    Raises:
        DamagedError: a file cannot be read, or a field is missing or of another type; ``where`` says whose.
    """
    top = parse_mapping(run_yaml, f"{where} {RUN_FILE}")
    params = parse_mapping(params_yaml, f"{where} {PARAMS_FILE}")
    try:
        known = _known(top, _RUN)
        check_run_id(known["id"])
        source, inputs = known.pop("source", None), known.pop("inputs", {})
        return RunRecord(
            **known,
            source=_parse_source(source) if source else None,
            inputs=tuple(_parse_input(inputs[number]) for number in inputs),
            params={key: _param(value) for key, value in params.items()},
            metrics=_parse_metrics(metrics_yaml, where),
            extra=_unknown(top, _RUN),
        )
    except DamagedError:
        raise
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError, GittrackError) as error:
        raise DamagedError(where, f"its record does not fit the schema: {error}") from error


def encode_experiment(experiment: ExperimentRecord) -> bytes:
    """The file ``experiment.yaml``."""
    mapping = _mapping(experiment, EXPERIMENT_FIELDS)
    if experiment.artifact_stores:
        mapping["artifact_stores"] = {str(number): url for number, url in enumerate(experiment.artifact_stores, 1)}
    return encode_mapping(mapping)


def parse_experiment(data: bytes, where: str) -> ExperimentRecord:
    """The record that ``experiment.yaml`` holds.

    Raises:
        DamagedError: as `parse_run`.
    """
    top = parse_mapping(data, f"{where} {EXPERIMENT_FILE}")
    try:
        known = _known(top, _EXPERIMENT)
        stores = known.pop("artifact_stores", {})
        return ExperimentRecord(
            **known,
            artifact_stores=tuple(_text(stores[number]) for number in stores),
            extra=_unknown(top, _EXPERIMENT),
        )
    except (TypeError, KeyError, ValueError, OverflowError, GittrackError) as error:
        raise DamagedError(where, f"its record does not fit the schema: {error}") from error


def format_time(time_ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601 in UTC, milliseconds kept.

    What is before year 1 or after 9999 (nanoseconds by mistake) becomes the nearest time that can be written: no
    run may be lost for it.
    """
    moment = _EPOCH + timedelta(milliseconds=min(max(time_ms, _TIME_MIN), _TIME_MAX))
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_time(text: str) -> int:
    """What `format_time` was given; takes any ISO 8601 time with an offset.

    Raises:
        ValueError: it is none.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _run_mapping(run: RunRecord) -> dict[str, Any]:
    mapping = _mapping(run, RUN_FIELDS)
    if run.source is not None:
        mapping["source"] = _mapping(run.source, SOURCE_FIELDS)
    if run.inputs:
        mapping["inputs"] = {
            str(number): _mapping(dataset, INPUT_FIELDS) for number, dataset in enumerate(run.inputs, 1)
        }
    return mapping


def _mapping(record: Any, table: _Table) -> dict[str, Any]:
    """The fields of a record by the table's order, then what a later version wrote.

    Of those that may be left out, the ones that stand at their default are.
    """
    mapping: dict[str, Any] = {}
    for entry, _, _ in table:
        name = entry.rstrip("?")
        value = getattr(record, name)
        if entry.endswith("?") and _is_default(record, name, value):
            continue
        mapping[name] = format_time(value) if name in _TIMES else value
    return mapping | dict(record.extra)


def _is_default(record: Any, name: str, value: object) -> bool:
    if isinstance(value, Mapping | tuple):
        return not value
    default: object = record.__dataclass_fields__[name].default
    return value == default


class _Fields:
    """A table made ready for reading: a long list of runs has thousands of each."""

    def __init__(self, table: _Table) -> None:
        self.kinds = {entry.rstrip("?"): kind for entry, kind, _ in table}
        self.exact = {name: _EXACT.get(kind) for name, kind in self.kinds.items()}
        self.required = frozenset(entry for entry, _, _ in table if not entry.endswith("?"))


_EXACT: dict[str, type] = {"string": str, "integer": int, "float": float, "boolean": bool}
_RUN, _SOURCE, _INPUT = _Fields(RUN_FIELDS), _Fields(SOURCE_FIELDS), _Fields(INPUT_FIELDS)
_METRIC, _EXPERIMENT = _Fields(METRIC_FIELDS), _Fields(EXPERIMENT_FIELDS)


def _unknown(mapping: Mapping[str, Any], fields: _Fields) -> dict[str, Any]:
    """What a mapping holds beside the table's fields."""
    return {key: value for key, value in mapping.items() if key not in fields.kinds}


def _known(mapping: Mapping[str, Any], fields: _Fields) -> dict[str, Any]:
    """The table's fields of a mapping, each of the table's type.

    Raises:
        ValueError: a field is of another type. KeyError: one is missing.
    """
    known: dict[str, Any] = {}
    for name, value in mapping.items():
        kind = fields.kinds.get(name)
        if kind is None or (value is None and name not in fields.required):
            continue
        known[name] = value if type(value) is fields.exact[name] else _checked(name, kind, value)
    for name in fields.required - known.keys():
        raise KeyError(f"field {name!r} is missing")
    return known


def _checked(name: str, kind: str, value: Any) -> Any:
    if kind == "time" and isinstance(value, str):
        return parse_time(value)
    if kind == "mapping" and isinstance(value, Mapping):
        if name == "tags":
            return {key: item if isinstance(item, str) else str(item) for key, item in value.items()}
        return value
    if kind == "float" and isinstance(value, float | int) and not isinstance(value, bool):
        return float(value)
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "integer" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == "string" and isinstance(value, str):
        return value
    raise ValueError(f"field {name!r} is no {kind}: {value!r:.80}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is no string")
    return value


def _parse_input(mapping: Mapping[str, Any]) -> DatasetInput:
    return DatasetInput(**_known(mapping, _INPUT), extra=_unknown(mapping, _INPUT))


def _parse_source(mapping: Mapping[str, Any]) -> Source:
    return Source(**_known(mapping, _SOURCE), extra=_unknown(mapping, _SOURCE))


def _parse_metrics(data: bytes, where: str) -> dict[str, MetricSummary]:
    """The summaries by key. A long list of runs has thousands: canonical ones are taken by one pattern each."""
    text = data.decode("utf-8", "replace")
    blocks = _SUMMARY.findall(text)
    if len(blocks) * (len(METRIC_FIELDS) + 1) == text.count("\n") and text.endswith("\n"):
        found = {
            key: MetricSummary(
                first=float(first),
                last=float(last),
                last_step=int(step),
                min=float(low),
                max=float(high),
                count=int(count),
            )
            for key, first, last, step, low, high, count in blocks
        }
        if len(found) == len(blocks):
            return found
    metrics = parse_mapping(data, f"{where} {METRICS_FILE}")
    return {key: _parse_summary(value) for key, value in metrics.items()}


def _parse_summary(mapping: Mapping[str, Any]) -> MetricSummary:
    known = _known(mapping, _METRIC)
    for name in ("last_step", "count"):  # the index keeps them in 64 bits
        if not -_INT_END <= known[name] < _INT_END:
            raise ValueError(f"field {name!r} does not fit 64 bits")
    return MetricSummary(**known, extra=_unknown(mapping, _METRIC))


def _param(value: Any) -> Scalar:
    if isinstance(value, list | dict):
        return str(value) if value else None
    return value  # type: ignore[no-any-return]
