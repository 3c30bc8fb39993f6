"""A dataset's record: the same for the same data, another for other data, and free of credentials."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gittrack.errors import InvalidValueError
from gittrack.tracking.datasets import Dataset, describe, from_numpy, from_pandas, mask_credentials


def frame(**changes: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan], "c": ["x", "y"]} | changes)


# --------------------------------------------------------------------------------------------------- frames


def test_a_frames_record_has_mlflows_fields() -> None:
    record = from_pandas(frame(), source="/data/x.csv", name="train", digest="d1", targets="c")
    assert record == Dataset(
        name="train",
        digest="d1",
        source="/data/x.csv",
        source_type="local",
        schema=json.dumps(
            {
                "mlflow_colspec": [
                    {"type": "long", "name": "a", "required": True},
                    {"type": "double", "name": "b", "required": False},
                    {"type": "string", "name": "c", "required": True},
                ]
            }
        ),
        profile='{"num_rows": 2, "num_elements": 6, "targets": "c"}',
        rows=2,
    )


def test_to_dict_is_six_texts() -> None:
    record = Dataset("n", "d", "s", "local", "{}", '{"num_rows": 1}', 1)
    assert record.to_dict() == {
        "name": "n",
        "digest": "d",
        "source": "s",
        "source_type": "local",
        "schema": "{}",
        "profile": '{"num_rows": 1}',
    }


def test_without_a_source_the_source_is_the_code() -> None:
    record = from_pandas(frame())
    assert (record.name, record.source, record.source_type) == ("dataset", "", "code")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([1], dtype=np.int32), "integer"),
        (np.array([1], dtype=np.uint32), "long"),
        (np.array([1], dtype=np.float32), "float"),
        ([True], "boolean"),
        ([b"x"], "binary"),
        ([pd.Timestamp("2024-01-01", tz="UTC")], "datetime"),
        (pd.Categorical(["x"]), "string"),
        ([[1]], "any"),
        (pd.array([1], dtype="Int64"), "long"),
        ([pd.Timedelta("1s")], "timedelta64"),
    ],
)
def test_a_columns_type_has_mlflows_name(values: Any, expected: str) -> None:
    schema = json.loads(from_pandas(pd.DataFrame({"v": values})).schema)
    assert schema["mlflow_colspec"][0]["type"].partition("[")[0] == expected


@pytest.mark.parametrize("role", ["targets", "predictions"])
def test_a_role_must_name_a_column(role: str) -> None:
    with pytest.raises(InvalidValueError, match=f"{role}='z' is not a column of the frame; it has a, b, c"):
        from_pandas(frame(), **{role: "z"})  # type: ignore[arg-type]


def test_from_pandas_refuses_what_is_no_frame() -> None:
    with pytest.raises(InvalidValueError, match="not list"):
        from_pandas([1])  # type: ignore[arg-type]


def test_a_digest_is_16_hex_digits_and_the_same_in_another_process() -> None:
    script = (
        "import numpy as np, pandas as pd\n"
        "from gittrack.tracking.datasets import from_pandas\n"
        "print(from_pandas(pd.DataFrame({'a': [1, 2], 'b': [0.5, np.nan], 'c': ['x', 'y']})).digest, end='')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == from_pandas(frame()).digest == "70bc8f32fed58924"


@pytest.mark.parametrize(
    "other",
    [
        frame().iloc[::-1],
        frame().rename(columns={"a": "A"}),
        frame()[["b", "a", "c"]],
        frame(a=[1.0, 2.0]),
        frame(a=[1, 3]),
        frame(c=["x", None]),
        frame().head(1),
        frame().set_index("c", drop=False),
    ],
    ids=[
        "row order",
        "name",
        "column order",
        "dtype",
        "a value",
        "a gap",
        "fewer rows",
        "an index of values",
    ],
)
def test_another_frame_has_another_digest(other: pd.DataFrame) -> None:
    assert from_pandas(other).digest != from_pandas(frame()).digest


def test_a_change_in_any_row_of_a_long_frame_changes_the_digest() -> None:
    long = pd.DataFrame({"a": np.zeros(50_000)})
    before = from_pandas(long).digest
    long.loc[33_333, "a"] = 1.0
    assert from_pandas(long).digest != before


@pytest.mark.parametrize(
    "same",
    [frame(c=pd.Series(["x", "y"], dtype=object)), frame().set_index(pd.Index([7, 3]))],
    ids=["text as objects", "other row numbers"],
)
def test_the_same_data_has_the_same_digest(same: pd.DataFrame) -> None:
    assert from_pandas(same).digest == from_pandas(frame()).digest


def test_cells_that_cannot_be_hashed_still_count_in_full() -> None:
    one, other = np.zeros(2_000), np.zeros(2_000)
    other[1_000] = 1
    digests = {from_pandas(pd.DataFrame({"v": [cell]})).digest for cell in (one, other, {"k": [1]})}
    assert len(digests) == 3


def test_columns_of_one_name_are_all_counted() -> None:
    digests = {from_pandas(pd.DataFrame([[1, second]], columns=["a", "a"])).digest for second in (1, 2)}
    assert len(digests) == 2


# --------------------------------------------------------------------------------------------------- arrays


def test_an_arrays_record_has_mlflows_fields() -> None:
    record = from_numpy(np.zeros((3, 2)), source="s3://b/x.npy", targets=np.zeros(3, dtype=np.int8), digest="d")
    assert record == Dataset(
        name="dataset",
        digest="d",
        source="s3://b/x.npy",
        source_type="s3",
        schema=json.dumps(
            {
                "mlflow_tensorspec": {
                    "features": json.dumps(
                        [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]
                    ),
                    "targets": json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "int8", "shape": [-1]}}]),
                }
            }
        ),
        profile=(
            '{"num_rows": 3, "features_shape": [3, 2], "features_size": 6, "features_nbytes": 48, '
            '"targets_shape": [3], "targets_size": 3, "targets_nbytes": 3}'
        ),
        rows=3,
    )


def test_named_arrays_keep_their_names() -> None:
    record = from_numpy({"x": np.zeros((3, 2)), "y": np.zeros(3)})
    assert json.loads(record.profile)["features_shape"] == {"x": [3, 2], "y": [3]}


def test_other_arrays_have_other_digests() -> None:
    zeros = np.zeros((2, 3))
    digests = [
        from_numpy(zeros).digest,
        from_numpy(zeros.T).digest,
        from_numpy(zeros.astype(np.float32)).digest,
        from_numpy({"x": zeros}).digest,
        from_numpy(zeros, targets=zeros).digest,
        from_numpy(np.array(["a", None], dtype=object)).digest,
        from_numpy(np.array(["b", None], dtype=object)).digest,
    ]
    assert len(set(digests)) == len(digests)


def test_an_arrays_layout_in_memory_does_not_count() -> None:
    array = np.arange(6.0).reshape(2, 3)
    assert from_numpy(np.asfortranarray(array)).digest == from_numpy(array).digest


@pytest.mark.parametrize("array", [np.array(1.0), np.zeros((0, 3)), np.array(["a"]), np.array(["2024"], "M8[D]")])
def test_arrays_of_any_kind_have_a_digest(array: np.ndarray[Any, Any]) -> None:
    assert len(from_numpy(array).digest) == 16


# ------------------------------------------------------------------------------------------------- describe


def test_describe_keeps_a_dataset() -> None:
    record = Dataset("n", "d")
    assert describe(record) is record


def test_describe_takes_frames_and_arrays() -> None:
    array = np.zeros((3, 2))
    assert (describe(frame()), describe(array)) == (from_pandas(frame()), from_numpy(array))


@pytest.mark.parametrize("kind", [str, Path])
def test_describe_takes_a_files_path(tmp_path: Path, kind: type[str] | type[Path]) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(b"a,b\n")
    assert describe(kind(file)) == Dataset(
        name="x.csv",
        digest=hashlib.sha256(b"a,b\n").hexdigest(),
        source=str(file),
        source_type="local",
        profile='{"size_bytes": 4}',
    )


def test_describe_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="is a folder"):
        describe(tmp_path)


def test_describe_refuses_a_path_without_a_file_and_hides_its_password() -> None:
    with pytest.raises(InvalidValueError, match="dataset 'https://host/x' is not a file"):
        describe("https://me:pw@host/x")


class MlflowSource:
    def to_json(self) -> str:
        return '{"uri": "https://me:pw@host/x.csv"}'

    def _get_source_type(self) -> str:
        return "http"


class MlflowSchema:
    def to_json(self) -> str:
        return '[{"type": "long"}]'


def test_describe_takes_an_object_with_mlflows_attributes() -> None:
    dataset = SimpleNamespace(
        name="n", digest="d", source=MlflowSource(), schema=MlflowSchema(), profile={"num_rows": 7}
    )
    assert describe(dataset) == Dataset(
        "n", "d", "https://host/x.csv", "http", '[{"type": "long"}]', '{"num_rows": 7}', 7
    )


def test_describe_prefers_an_mlflow_datasets_own_texts() -> None:
    texts = {
        "name": "n",
        "digest": "d",
        "source": '{"path": "squad", "config_name": "plain"}',
        "source_type": "hugging_face",
        "schema": "{}",
        "profile": '{"features_shape": [5, 2]}',
    }
    dataset = SimpleNamespace(name="n", digest="d", to_dict=lambda: texts)
    assert describe(dataset) == Dataset(**texts, rows=5)


@pytest.mark.parametrize("profile", [None, "not json", "[1]", '{"num_rows": "many"}'])
def test_rows_are_unknown_where_the_profile_does_not_tell(profile: str | None) -> None:
    assert describe(SimpleNamespace(name="n", digest="d", profile=profile)).rows is None


def test_describe_names_what_it_does_not_take() -> None:
    with pytest.raises(InvalidValueError, match="a file's path or a Dataset, not list"):
        describe([1])


def test_a_dataset_needs_a_name_and_a_digest() -> None:
    with pytest.raises(InvalidValueError, match="a dataset's digest must be a text that is not empty, not ''"):
        Dataset("n", "")


# -------------------------------------------------------------------------------------------------- sources


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://me:p@ss@host:80/a@b?v=3", "https://host:80/a@b?v=3"),
        ("https://me:p/w@host/a", "https://host/a"),
        ("https://h/a,https://me:pw@h/b", "https://h/a,https://h/b"),
        ('{"a": "s3://me:pw@b/x", "b": "https://me:pw@h/y"}', '{"a": "s3://b/x", "b": "https://h/y"}'),
        ("postgresql+psycopg://me:pw@host/db", "postgresql+psycopg://host/db"),
        ("https://b.s3/x?X-Amz-Date=1&X-Amz-Signature=ab", "https://b.s3/x?X-Amz-Date=1&X-Amz-Signature=***"),
        ("https://a.blob/x?sv=1&sig=a%2Fb", "https://a.blob/x?sv=1&sig=***"),
        ("https://host/x?access_token=ab#token=cd", "https://host/x?access_token=***#token=***"),
        ("Server=s;PWD=x;Database=d", "Server=s;PWD=***;Database=d"),
        ("s3://b/key=1/design=2/part.parquet?author=me", "s3://b/key=1/design=2/part.parquet?author=me"),
        ("/data/x@v1.csv", "/data/x@v1.csv"),
    ],
)
def test_a_source_is_stripped_of_credentials_and_nothing_else(source: str, expected: str) -> None:
    assert mask_credentials(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Path("/data/x.csv"), "local"),
        (r"C:\x.csv", "local"),
        ("file:///x", "local"),
        ("https://host/x", "http"),
        ("s3a://b/x", "s3"),
        ("gs://b/x", "gs"),
        ("hf://datasets/squad", "hugging_face"),
        ('{"uri": "s3://b/x"}', "s3"),
    ],
)
def test_a_sources_type_is_read_from_its_scheme(source: object, expected: str) -> None:
    assert from_pandas(frame(), source=source, digest="d").source_type == expected
