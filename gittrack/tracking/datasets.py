"""Which data a run used: its name, digest, source, schema and size, never the data itself.

`from_pandas` and `from_numpy` have MLflow's arguments; `describe` makes a `Dataset` of whatever `log_input`
was given. Anything on this floor may import it; it imports the errors, `rendering` and `git.config`, and loads
pandas and NumPy inside the calls. The record that goes into `run.yaml` is `Dataset.to_dict()`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from gittrack.errors import InvalidValueError
from gittrack.git.config import strip_userinfo
from gittrack.tracking.rendering import is_loaded_instance, plain, type_name

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_DIGEST_HEX_DIGITS = 16
_URL = re.compile(r"[a-zA-Z][\w+.-]*://(?:(?![a-zA-Z][\w+.-]*://)[^\s\"])+")  # one of several, side by side too
# Both a URL's query (pre-signed S3, GCS and Azure links among them) and an ODBC string: `…;Password=…;…`.
_SECRET_FIELD = re.compile(
    r"(?P<name>(?:^|(?<=[?&;#\s]))"
    r"(?:sig|key|auth|[\w.\-]*(?:token|secret|passw|pwd|signature|credential|authorization"
    r"|api[_\-]?key|access[_\-]?key|account[_\-]?key|private[_\-]?key)[\w.\-]*)=)"
    r"[^&;#\s\"]*",
    re.IGNORECASE,
)
_SOURCE_KEYS = ("uri", "url", "path", "table_name")
_SOURCE_TYPES = {
    "": "local",
    "file": "local",
    "https": "http",
    "s3a": "s3",
    "s3n": "s3",
    "hf": "hugging_face",
}
# MLflow's names for column types: https://mlflow.org/docs/latest/ml/model/signatures/
_COLUMN_TYPES = {"b": "boolean", "M": "datetime"}
_OBJECT_TYPES = {"string": "string", "empty": "string", "bytes": "binary", "boolean": "boolean"}
_TEXT_DTYPES = ("object", "str", "string")


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is on record of one dataset.

    Attributes:
        digest: tells two contents apart; 16 hex digits of a frame or array, the whole sha256 of a file.
        source: path, URL or JSON text, without credentials; empty when it was not told.
        source_type: `local`, `http`, `s3`, …, or `code` when it was not told.
        schema: columns and types as JSON text in MLflow's form, or empty.
        profile: sizes as JSON text, with `num_rows` where that is known.
        rows: the number of rows where that is known.
    """

    name: str
    digest: str
    source: str = ""
    source_type: str = "code"
    schema: str = ""
    profile: str = ""
    rows: int | None = None

    def __post_init__(self) -> None:
        for label, value in (("name", self.name), ("digest", self.digest)):
            if not isinstance(value, str) or not value:
                raise InvalidValueError(f"a dataset's {label} must be a text that is not empty, not {value!r}")

    def to_dict(self) -> dict[str, str]:
        """MLflow's six fields, all text."""
        return {
            "name": self.name,
            "digest": self.digest,
            "source": self.source,
            "source_type": self.source_type,
            "schema": self.schema,
            "profile": self.profile,
        }


def from_pandas(
    df: pd.DataFrame,
    source: object = None,
    targets: str | None = None,
    name: str | None = None,
    digest: str | None = None,
    predictions: str | None = None,
) -> Dataset:
    """The record of a DataFrame.

    Args:
        df: the rows as they are used.
        source: path, URL, or an MLflow dataset source.
        targets: the column of true values; predictions: the column of predicted ones.
        name: default `dataset`.
        digest: default: computed over all rows, in order, with the columns' names and types.

    Raises:
        InvalidValueError: the frame has no such column.
    """
    if not is_loaded_instance(df, "pandas", "DataFrame"):
        raise InvalidValueError(f"from_pandas takes a pandas DataFrame, not {type_name(df)}")
    roles = {"targets": targets, "predictions": predictions}
    for role, column in roles.items():
        if column is not None and column not in df.columns:
            names = ", ".join(map(str, df.columns))
            raise InvalidValueError(f"{role}={column!r} is not a column of the frame; it has {names}")
    profile = {"num_rows": len(df), "num_elements": int(df.size)}
    return Dataset(
        name=name or "dataset",
        digest=digest or _frame_digest(df),
        source=_source_text(source),
        source_type=_source_type(source),
        schema=json.dumps({"mlflow_colspec": _column_specs(df)}),
        profile=json.dumps(profile | {role: column for role, column in roles.items() if column is not None}),
        rows=len(df),
    )


def from_numpy(
    features: np.ndarray[Any, Any] | Mapping[str, np.ndarray[Any, Any]],
    source: object = None,
    targets: np.ndarray[Any, Any] | Mapping[str, np.ndarray[Any, Any]] | None = None,
    name: str | None = None,
    digest: str | None = None,
) -> Dataset:
    """The record of an array, or of several by name, each of shape (n_samples, …); see `from_pandas`."""
    groups = {"features": features} if targets is None else {"features": features, "targets": targets}
    arrays = {label: _named_arrays(group) for label, group in groups.items()}
    rows = next((len(array) if array.ndim else 1 for array in arrays["features"].values()), 0)
    profile: dict[str, object] = {"num_rows": rows}
    for label, group in arrays.items():
        for fact in ("shape", "size", "nbytes"):
            profile[f"{label}_{fact}"] = _one_or_all({key: getattr(array, fact) for key, array in group.items()})
    return Dataset(
        name=name or "dataset",
        digest=digest or _arrays_digest(arrays),
        source=_source_text(source),
        source_type=_source_type(source),
        schema=json.dumps({"mlflow_tensorspec": {key: _tensor_specs(group) for key, group in arrays.items()}}),
        profile=json.dumps(profile),
        rows=rows,
    )


def describe(dataset: object) -> Dataset:
    """The record of whatever `log_input` takes.

    Args:
        dataset: a `Dataset`, a DataFrame, an array, the path of a file (read once, for its sha256), or an
            object with MLflow's `name`, `digest`, `source`, `schema` and `profile`.

    Raises:
        InvalidValueError: anything else, or no file at that path.
    """
    if isinstance(dataset, Dataset):
        return dataset
    if isinstance(dataset, str | os.PathLike):
        return _from_file(dataset)
    if is_loaded_instance(dataset, "pandas", "DataFrame"):
        return from_pandas(dataset)  # type: ignore[arg-type]
    if is_loaded_instance(dataset, "numpy", "ndarray"):
        return from_numpy(dataset)  # type: ignore[arg-type]
    if hasattr(dataset, "digest") and hasattr(dataset, "name") and not isinstance(dataset, type):
        return _from_mlflow(dataset)
    raise InvalidValueError(
        f"a dataset must be a DataFrame, an array, a file's path or a Dataset, not {type_name(dataset)}",
        "call its `.to_pandas()` first" if hasattr(dataset, "to_pandas") else "",
    )


# ---------------------------------------------------------------------------------------- files and MLflow's


def _from_file(path: str | os.PathLike[str]) -> Dataset:
    file = Path(path)
    if not file.is_file():
        what = "a folder" if file.is_dir() else "not a file"
        raise InvalidValueError(
            f"dataset {mask_credentials(str(path))!r} is {what}",
            "give the path of a file, or describe loaded data: from_pandas(df, source=…)",
        )
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        size = os.fstat(stream.fileno()).st_size
    profile = json.dumps({"size_bytes": size})
    return Dataset(file.name, digest, mask_credentials(str(path)), "local", profile=profile)


def _from_mlflow(dataset: Any) -> Dataset:
    made = dataset.to_dict() if callable(getattr(dataset, "to_dict", None)) else None
    fields = made if isinstance(made, Mapping) else {}
    found = {
        key: fields.get(key, getattr(dataset, key, None))
        for key in ("name", "digest", "source", "source_type", "schema", "profile")
    }
    profile = _json_text(found["profile"])
    return Dataset(
        name=found["name"],
        digest=found["digest"],
        source=_source_text(found["source"]),
        source_type=found["source_type"] or _source_type(found["source"]),
        schema=_json_text(found["schema"]),
        profile=profile,
        rows=_rows_of(profile),
    )


def _json_text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if callable(getattr(value, "to_json", None)):
        return str(value.to_json())
    return json.dumps(plain(value.to_dict() if callable(getattr(value, "to_dict", None)) else value))


def _rows_of(profile: str) -> int | None:
    try:
        facts = json.loads(profile)
    except ValueError:
        return None
    if not isinstance(facts, dict):
        return None
    shape = facts.get("features_shape")
    shape = next(iter(shape.values()), None) if isinstance(shape, dict) else shape
    rows = facts.get("num_rows", shape[0] if isinstance(shape, list) and shape else None)
    return rows if isinstance(rows, int) else None


# -------------------------------------------------------------------------------------------------- sources


def mask_credentials(text: str) -> str:
    """The text without `user:password@` in URLs, and with secret fields of a query or DSN as `***`.

    A remote's URL loses its whole query (`git.config.strip_credentials`); here that says which data it was.
    """
    return _SECRET_FIELD.sub(r"\g<name>***", _URL.sub(lambda url: strip_userinfo(url[0]), text))


def _source_text(source: Any) -> str:
    if source is None:
        return ""
    return mask_credentials(_location(source))


def _location(source: Any) -> str:
    """The location alone where MLflow wraps it: `{"uri": "/data/x.csv"}`; else the source as text."""
    text = str(os.fspath(source)) if isinstance(source, str | os.PathLike) else _json_text(source)
    try:
        facts = json.loads(text) if text.startswith("{") else None
    except ValueError:
        return text
    if not isinstance(facts, dict) or len(facts) != 1:
        return text
    key, value = next(iter(facts.items()))
    return value if key in _SOURCE_KEYS and isinstance(value, str) else text


def _source_type(source: Any) -> str:
    if source is None:
        return "code"
    told = getattr(source, "_get_source_type", None)
    if callable(told):
        return str(told())
    text = _location(source)
    scheme = urlsplit(text).scheme.lower() if "://" in text else ""
    return _SOURCE_TYPES.get(scheme, scheme)


# -------------------------------------------------------------------------------------------------- frames


def _frame_digest(df: pd.DataFrame) -> str:
    """Over every row, in order: MLflow hashes a sample of 10,000 rows, and misses what changes below it.

    Measured at 1,000,000 x 10 floats: 0.13 s.
    """
    import pandas as pd

    columns = [df.iloc[:, index] for index in range(df.shape[1])]
    # Unnamed integers only number the rows (what a filter or a split leaves), so they are not data.
    if df.index.name is not None or not pd.api.types.is_integer_dtype(df.index.dtype):
        columns.append(df.index.to_series())
    header = [[str(column.name), _dtype_name(column)] for column in columns]
    digest = hashlib.sha256(json.dumps([len(df), header]).encode())
    for column in columns:
        digest.update(_row_hashes(column))
    return digest.hexdigest()[:_DIGEST_HEX_DIGITS]


def _row_hashes(column: pd.Series[Any]) -> Any:
    from pandas.util import hash_pandas_object

    try:
        return hash_pandas_object(column, index=False).to_numpy()
    except TypeError:
        # Cells that hold lists, dicts or arrays cannot be hashed; their JSON can.
        text = column.map(lambda cell: json.dumps(plain(cell), sort_keys=True))
        return hash_pandas_object(text, index=False).to_numpy()


def _dtype_name(column: pd.Series[Any]) -> str:
    """Text is `object` in pandas 2 and `str` in pandas 3: one name, so that both give one digest."""
    name = str(column.dtype)
    return "text" if name in _TEXT_DTYPES else name


def _column_specs(df: pd.DataFrame) -> list[dict[str, object]]:
    columns = [df.iloc[:, index] for index in range(df.shape[1])]
    return [
        {"type": _column_type(column), "name": str(column.name), "required": not column.hasnans}
        for column in columns
    ]


def _column_type(column: pd.Series[Any] | pd.Index[Any]) -> str:
    from pandas.api.types import infer_dtype

    kind, size = getattr(column.dtype, "kind", "O"), getattr(column.dtype, "itemsize", 8)
    if kind in "iu":
        return "integer" if size < 4 or (size == 4 and kind == "i") else "long"
    if kind == "f":
        return "float" if size <= 4 else "double"
    if str(column.dtype) == "category":
        return _column_type(cast("Any", column.dtype).categories)
    if kind == "O":
        return _OBJECT_TYPES.get(infer_dtype(column, skipna=True), "any")
    return _COLUMN_TYPES.get(kind, str(column.dtype))


# -------------------------------------------------------------------------------------------------- arrays


def _named_arrays(group: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays by name; one alone has the name ""."""
    import numpy as np

    named = group if isinstance(group, Mapping) else {"": group}
    return {str(key): np.asarray(array) for key, array in named.items()}


def _one_or_all(facts: dict[str, Any]) -> Any:
    return facts[""] if list(facts) == [""] else facts


def _arrays_digest(groups: dict[str, dict[str, np.ndarray[Any, Any]]]) -> str:
    digest = hashlib.sha256()
    for label, arrays in groups.items():
        for key, array in arrays.items():
            digest.update(json.dumps([label, key, str(array.dtype), array.shape]).encode())
            digest.update(_array_bytes(array))
    return digest.hexdigest()[:_DIGEST_HEX_DIGITS]


def _array_bytes(array: np.ndarray[Any, Any]) -> Any:
    import numpy as np

    if array.dtype.hasobject:
        # The bytes would be addresses.
        return json.dumps(plain(array.tolist()), sort_keys=True).encode()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8) if array.size else b""


def _tensor_specs(arrays: dict[str, np.ndarray[Any, Any]]) -> str:
    return json.dumps([_tensor_spec(key, array) for key, array in arrays.items()])


def _tensor_spec(key: str, array: np.ndarray[Any, Any]) -> dict[str, object]:
    shape = [-1, *array.shape[1:]]
    spec: dict[str, object] = {"type": "tensor", "tensor-spec": {"dtype": array.dtype.name, "shape": shape}}
    return {"name": key, **spec} if key else spec
