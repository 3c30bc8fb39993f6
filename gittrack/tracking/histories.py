"""Full metric histories in bulk: columns of a run's metrics, and one long DataFrame of many runs.

NumPy reads the CSVs as they are stored, a block of whole lines at a time: a million points in half a second, with
memory for the columns alone. Not pandas' own reader: loading it takes longer than that, and how it reads numbers
differs between its versions (``float_precision`` is on its way out, ``nan`` a matter of options).
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from gittrack.errors import DamagedError, InvalidValueError
from gittrack.schema.events import PointBlock
from gittrack.schema.names import is_run_id
from gittrack.schema.records import RunRecord
from gittrack.store.runs import StoredRun
from gittrack.store.search import find_by_ids
from gittrack.store.store import Store
from gittrack.tracking import settings

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_ROW = [("step", "i8"), ("timestamp", "i8"), ("value", "f8")]
_WILDCARDS = frozenset("*?[")  # no key holds any of them
_FEW = 4  # ids that are looked up one by one


class Columns(NamedTuple):
    """A metric's points as arrays of one length, in the order they were logged.

    Steps are int64, timestamps int64 in milliseconds since the epoch, values float64.
    """

    steps: np.ndarray[Any, Any]
    timestamps: np.ndarray[Any, Any]
    values: np.ndarray[Any, Any]


def metrics(runs: Any, keys: str | Iterable[str] | None = None) -> pd.DataFrame:
    """All points of metrics of runs, a row each: ``run_id, key, step, timestamp, value``.

    ``step`` is int64, ``timestamp`` datetime64[ms, UTC], ``value`` float64, bit for bit as it was logged. Rows
    stand in the order of the runs, then of the keys, then as they were logged; runs in flight as they are.

    Args:
        runs: one or several of: an id or what else names a run (as on the command line), a `Run` or its record,
            an open run, a DataFrame with a column ``run_id``.
        keys: one key or several; ``*``, ``?`` and ``[…]`` stand for any characters, ``/`` among them
            (``train/*``). None for all. What a run lacks is absent.

    Raises:
        NotFoundError, AmbiguousError: a run is not found, or not one alone. InvalidValueError: ``runs`` are of
        another kind. DamagedError, ArtifactMissingError: a history cannot be read, or is not on this machine.
    """
    store = settings.open_store()
    found: list[tuple[str, str, Columns]] = []
    for stored in find_runs(store, runs):
        columns = read_columns(store, stored, choose_keys(stored.record.metrics, keys))
        found += [(stored.record.id, key, part) for key, part in columns.items()]
    return _to_frame(found)


def find_runs(store: Store, runs: Any) -> list[StoredRun]:
    """The runs that are meant, each once; see `metrics` for what is taken."""
    asked = list(dict.fromkeys(_spell(runs)))
    known = {}
    if sum(map(is_run_id, asked)) > _FEW:
        at_once = find_by_ids(store.repository, list(filter(is_run_id, asked)))
        known = {str(stored.record.id): stored for stored in at_once}
    found = [known.get(spec) or store.resolve(spec) for spec in asked]
    return list({stored.record.id: stored for stored in found}.values())


def choose_keys(known: Iterable[str], asked: str | Iterable[str] | None) -> list[str]:
    """Which of a run's keys are asked for, in the order asked; of a pattern in the order they stand."""
    known = dict.fromkeys(known)
    if asked is None:
        return list(known)
    patterns = [asked] if isinstance(asked, str) else list(asked)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if _WILDCARDS.isdisjoint(pattern):
            chosen |= dict.fromkeys([pattern] if pattern in known else [])
        else:
            chosen |= dict.fromkeys(key for key in known if fnmatchcase(key, pattern))
    return list(chosen)


def read_columns(store: Store, stored: StoredRun, keys: Sequence[str]) -> dict[str, Columns]:
    """The points of a run's metrics, by key in the order asked; a key without points is left out.

    Raises:
        DamagedError: a history is no CSV of points. ArtifactMissingError: it is not on this machine.
    """
    if not keys:
        return {}
    try:
        found = _read_blocks(store, stored, keys)
    except (
        ValueError
    ):  # what a person has edited, or what is damaged: the slow way reads it, or says what is wrong
        found = {key: [_read_slowly(store, stored, key)] for key in keys}
    joined = {key: _join(parts) for key, parts in found.items() if parts}
    return {key: columns for key, columns in joined.items() if len(columns.steps)}


def _spell(runs: Any) -> Iterator[str]:
    """Ids, and what else a run may be called by, of whatever names runs."""
    if isinstance(runs, str):
        yield runs
    elif isinstance(runs, RunRecord):
        yield runs.id
    elif hasattr(runs, "info") and hasattr(runs.info, "run_id"):
        yield runs.info.run_id
    elif hasattr(runs, "columns") and hasattr(runs, "loc"):
        if "run_id" not in runs.columns:
            raise InvalidValueError("the DataFrame has no column 'run_id'", "give the one of search_runs()")
        yield from (str(run_id) for run_id in runs["run_id"])
    elif isinstance(runs, Iterable) and not isinstance(runs, bytes | dict):
        for run in runs:
            yield from _spell(run)
    else:
        raise InvalidValueError(
            f"runs are named by ids, Run objects or a DataFrame, not by {type(runs).__name__}",
            "as in metrics(['<run id>', …], 'loss')",
        )


def _read_blocks(store: Store, stored: StoredRun, keys: Sequence[str]) -> dict[str, list[Columns]]:
    found: dict[str, list[Columns]] = {key: [] for key in keys}
    flying: dict[str, _Flying] = {}
    for key, part in store.read_histories(stored, keys):
        if isinstance(part, PointBlock):
            flying.setdefault(key, _Flying()).add(part)
        else:
            found[key] += [_parse_lines(lines) for lines in _whole_lines(part)]
    for key, points in flying.items():
        found[key].append(points.to_columns())
    return found


class _Flying:
    """Points of a run in flight, gathered in plain arrays: they may come one by one."""

    def __init__(self) -> None:
        self._steps, self._times_s, self._values = array("q"), array("d"), array("d")

    def add(self, block: PointBlock) -> None:
        self._steps.extend(block.steps)
        self._times_s.extend(block.times_s)
        self._values.extend(block.values)

    def to_columns(self) -> Columns:
        import numpy as np

        timestamps = np.rint(np.array(self._times_s) * 1000).astype("i8")  # half to even, as Python's round
        return Columns(np.array(self._steps), timestamps, np.array(self._values))


def _whole_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A CSV's chunks cut at ends of lines, without the header."""
    rest, is_first = b"", True
    for chunk in chunks:
        lines, newline, rest = (rest + chunk).rpartition(b"\n")
        lines += newline
        if is_first and lines:
            is_first = False
            if lines.startswith(b"step,"):
                lines = lines.partition(b"\n")[2]
        if lines:
            yield lines
    if rest and not (is_first and rest.startswith(b"step,")):
        yield rest


def _parse_lines(lines: bytes) -> Columns:
    """The points of whole lines; ValueError where they are not as gittrack writes them."""
    import numpy as np

    if lines.isspace():  # of nothing but blank lines NumPy would warn
        raise ValueError("blank lines")
    rows = np.loadtxt(io.BytesIO(lines), dtype=_ROW, delimiter=",", comments=None, encoding="latin-1", ndmin=1)
    if len(rows) != lines.count(b"\n") + (not lines.endswith(b"\n")):
        raise ValueError("a blank line")
    return Columns(rows["step"], rows["timestamp"], rows["value"])


def _read_slowly(store: Store, stored: StoredRun, key: str) -> Columns:
    import numpy as np

    points = list(store.read_history(stored, key))
    try:
        whole = np.array([(point.step, point.timestamp) for point in points], "i8").reshape(-1, 2)
    except OverflowError as error:
        raise DamagedError(
            f"run {stored.record.id} metric {key}", "a step or a time does not fit 64 bits"
        ) from error
    return Columns(whole[:, 0], whole[:, 1], np.array([point.value for point in points], "f8"))


def _join(parts: list[Columns]) -> Columns:
    import numpy as np

    if len(parts) == 1:
        return parts[0]
    return Columns(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _to_frame(found: list[tuple[str, str, Columns]]) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    empty = Columns(np.empty(0, "i8"), np.empty(0, "i8"), np.empty(0, "f8"))
    joined = _join([part for _, _, part in found]) if found else empty
    rows = np.repeat(np.arange(len(found)), [len(part.steps) for _, _, part in found])
    return pd.DataFrame(
        {
            "run_id": pd.Series([run_id for run_id, _, _ in found], dtype=str).take(rows).array,
            "key": pd.Series([key for _, key, _ in found], dtype=str).take(rows).array,
            "step": joined.steps,
            "timestamp": pd.Series(joined.timestamps.astype("M8[ms]")).dt.tz_localize("UTC"),
            "value": joined.values,
        }
    )
