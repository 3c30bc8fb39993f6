"""Turns tables (dicts of columns, DataFrames) into the bytes of an artifact, and back.

Pure: bytes out, no file, no git. Anything on the tracking floor may import it; it imports the errors and
`rendering`, and loads pandas inside the calls that need it: a dict becomes `.json` without.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gittrack.errors import InvalidValueError, MissingToolError
from gittrack.tracking.rendering import (
    is_loaded_instance,
    is_numpy_time,
    json_ready,
    plain,
    suffix_of,
    type_name,
    unique_keys,
    unknown_suffix,
)

if TYPE_CHECKING:
    import pandas as pd

_TABLE_SUFFIXES = (".json", ".parquet")
_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}


def render_table(
    data: Mapping[str, Any] | pd.DataFrame, artifact_file: str, existing: bytes | None = None
) -> bytes:
    """The table, after the rows of an existing one, as split-oriented `.json` or as `.parquet`.

    Columns are the union of both in order of appearance; what a row lacks is null. A frame's index is left
    out. In `.json` one row is one line, NaN is null, and infinities are strings that `read_table` turns back.

    Args:
        data: a DataFrame, or columns by name: sequences of one length, or single values for all rows.
        artifact_file: `.json` or `.parquet`.
        existing: bytes of an earlier table of the same suffix.

    Raises:
        InvalidValueError: another suffix, unequal lengths, two columns of one name, a damaged existing table.
        MissingToolError: `.parquet` without pyarrow.
    """
    _refuse_table_suffix(artifact_file)
    if suffix_of(artifact_file) == ".parquet":
        return _parquet_bytes(_to_frame(data), artifact_file, existing)
    columns = _table_columns(data)
    old_names, old_rows = _parse_table(existing, artifact_file) if existing is not None else ([], [])
    names = list(dict.fromkeys([*old_names, *columns]))
    rows = [[*row, *[None] * (len(names) - len(old_names))] for row in old_rows]
    count = len(next(iter(columns.values()), []))
    cells = [[_cell(item, name) for item in columns.get(name, [None] * count)] for name in names]
    return _table_json(names, [*rows, *zip(*cells, strict=True)])


def read_table(data: bytes, artifact_file: str) -> pd.DataFrame:
    """The table that `render_table` wrote, with a fresh index 0, 1, 2, …

    Raises:
        InvalidValueError: not a table, or a suffix other than `.json` and `.parquet`.
        MissingToolError: `.parquet` without pyarrow.
    """
    import pandas as pd

    _refuse_table_suffix(artifact_file)
    if suffix_of(artifact_file) == ".parquet":
        return _read_parquet(data, artifact_file)
    names, rows = _parse_table(data, artifact_file)
    columns = [_revived([row[index] for row in rows]) for index in range(len(names))]
    return pd.DataFrame(dict(zip(names, columns, strict=True)), columns=names)


def _table_columns(data: Any) -> dict[str, list[Any]]:
    if is_loaded_instance(data, "pandas", "DataFrame"):
        return unique_keys((str(label), data.iloc[:, index].tolist()) for index, label in enumerate(data.columns))  # type: ignore[return-value]
    if not isinstance(data, Mapping):
        raise InvalidValueError(
            f"a table must be a dict or a pandas DataFrame, not {type_name(data)}",
            "call its `.to_pandas()` first" if hasattr(data, "to_pandas") else "",
        )
    columns = unique_keys((str(name), _column_list(values)) for name, values in data.items())
    lengths = {name: len(values) for name, values in columns.items() if isinstance(values, list)}
    if len(set(lengths.values())) > 1:
        raise InvalidValueError(f"the columns of a table must have one length; found {lengths}")
    count = next(iter(lengths.values()), 1)
    return {name: item if isinstance(item, list) else [item] * count for name, item in columns.items()}


def _column_list(values: Any) -> Any:
    """A list for a column, and a single value as it is."""
    if hasattr(values, "tolist") and not isinstance(values, type) and not is_numpy_time(values):
        return values.tolist()
    is_single = isinstance(values, str | bytes) or getattr(values, "ndim", 1) == 0
    is_column = isinstance(values, Sequence) or hasattr(values, "tolist")
    return list(values) if is_column and not is_single else values


def _cell(value: object, column: str) -> object:
    # Nearly all cells of a table: 1.0 instead of 1.2 s for a million numbers.
    if type(value) in (str, int) or (type(value) is float and math.isfinite(value)):
        return value
    if is_loaded_instance(value, "PIL.Image", "Image"):
        raise InvalidValueError(
            f"column {column!r} of the table holds images",
            "log them with log_image, and their paths in the table",
        )
    value = plain(value)
    return None if isinstance(value, float) and math.isnan(value) else json_ready(value)


def _table_json(names: list[str], rows: list[Any]) -> bytes:
    encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
    body = ",\n".join(map(encode, rows))
    return f'{{"columns":{encode(names)},"data":[\n{body}\n]}}\n'.encode()


def _parse_table(data: bytes, artifact_file: str) -> tuple[list[str], list[list[Any]]]:
    try:
        table = json.loads(data)
        names, rows = [str(name) for name in table["columns"]], [list(row) for row in table["data"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidValueError(
            f"{artifact_file} is not a table: its JSON needs the keys 'columns' and 'data'",
            "log the table under another name",
        ) from error
    if any(len(row) != len(names) for row in rows) or len(set(names)) != len(names):
        raise InvalidValueError(f"{artifact_file} is not a table: its rows do not fit its columns {names}")
    return names, rows


def _revived(cells: list[Any]) -> list[Any]:
    """Infinities again, where nothing but numbers stands beside them."""
    others = [cell for cell in cells if not (isinstance(cell, str) and cell in _INFINITIES)]
    if len(others) == len(cells) or any(isinstance(cell, str | list | dict) for cell in others):
        return cells
    return [_INFINITIES.get(cell, cell) if isinstance(cell, str) else cell for cell in cells]


def _to_frame(data: Any) -> pd.DataFrame:
    """The table with text for column names, as Parquet wants them, and a frame's dtypes kept."""
    import pandas as pd

    columns = _table_columns(data)
    return data.set_axis(list(columns), axis=1) if isinstance(data, pd.DataFrame) else pd.DataFrame(columns)


def _parquet_bytes(frame: pd.DataFrame, artifact_file: str, existing: bytes | None) -> bytes:
    import pandas as pd

    if existing is not None:
        frame = pd.concat([_read_parquet(existing, artifact_file), frame], ignore_index=True)
    buffer = io.BytesIO()
    try:
        frame.to_parquet(buffer, index=False)
    except ImportError as error:
        raise _no_parquet(artifact_file) from error
    return buffer.getvalue()


def _read_parquet(data: bytes, artifact_file: str) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(io.BytesIO(data))
    except ImportError as error:
        raise _no_parquet(artifact_file) from error
    except (ValueError, OSError) as error:
        raise InvalidValueError(f"{artifact_file} is not a Parquet table: {error}") from error


def _no_parquet(artifact_file: str) -> MissingToolError:
    return MissingToolError(
        f"{artifact_file}: pandas needs pyarrow for Parquet", "pip install pyarrow, or log the table as .json"
    )


def _refuse_table_suffix(artifact_file: str) -> None:
    if suffix_of(artifact_file) not in _TABLE_SUFFIXES:
        raise unknown_suffix(artifact_file, "log_table", _TABLE_SUFFIXES)
