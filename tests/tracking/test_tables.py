"""A table becomes JSON or Parquet that pandas reads, and comes back as it was."""

from __future__ import annotations

import builtins
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gittrack.errors import InvalidValueError, MissingToolError
from gittrack.tracking.tables import read_table, render_table


def test_a_table_is_one_line_a_row() -> None:
    assert render_table({"a": [1, 2], "b": ["x", "y"]}, "t.json") == (
        b'{"columns":["a","b"],"data":[\n[1,"x"],\n[2,"y"]\n]}\n'
    )


def test_a_table_is_what_pandas_calls_split() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.1, 0.25]})
    text = render_table(frame, "t.json").decode()
    pd.testing.assert_frame_equal(pd.read_json(io.StringIO(text), orient="split"), frame)


def test_single_values_hold_for_each_row() -> None:
    assert json.loads(render_table({"a": [1, 2], "b": "x"}, "t.json"))["data"] == [[1, "x"], [2, "x"]]


def test_single_values_alone_are_one_row() -> None:
    assert json.loads(render_table({"a": 1, "b": "x"}, "t.json"))["data"] == [[1, "x"]]


def test_a_frames_index_is_left_out() -> None:
    frame = pd.DataFrame({"a": [1]}, index=["row"])
    assert json.loads(render_table(frame, "t.json")) == {"columns": ["a"], "data": [[1]]}


def test_cells_beyond_json_become_plain_and_missing_ones_null() -> None:
    frame = pd.DataFrame(
        {
            "when": [pd.Timestamp("2024-01-02"), pd.NaT],
            "number": [0.1 + 0.2, np.nan],
            "count": pd.array([1, None], dtype="Int64"),
            "nested": [np.array([1, 2]), {"k": Path("p")}],
        }
    )
    assert json.loads(render_table(frame, "t.json"))["data"] == [
        ["2024-01-02T00:00:00", 0.30000000000000004, 1, [1, 2]],
        [None, None, None, {"k": "p"}],
    ]


def test_a_column_of_numpy_times_is_text() -> None:
    table = render_table({"t": np.array(["2024-01-02"], dtype="datetime64[ns]")}, "t.json")
    assert json.loads(table)["data"] == [["2024-01-02T00:00:00.000000000"]]


def test_appending_puts_existing_rows_first_and_unites_columns() -> None:
    first = render_table({"a": [1, 2], "b": ["x", "y"]}, "t.json")
    assert json.loads(render_table({"c": [True], "a": [3]}, "t.json", first)) == {
        "columns": ["a", "b", "c"],
        "data": [[1, "x", None], [2, "y", None], [3, None, True]],
    }


def test_a_table_reads_back_with_its_infinities() -> None:
    frame = pd.DataFrame({"loss": [np.inf, -np.inf, 0.5, np.nan], "name": ["a", "b", "c", "Infinity"]})
    pd.testing.assert_frame_equal(read_table(render_table(frame, "t.json"), "t.json"), frame)


def test_an_empty_table_keeps_its_columns() -> None:
    table = read_table(render_table({"a": []}, "t.json"), "t.json")
    assert (list(table.columns), len(table)) == (["a"], 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": [1], "b": [1, 2]}, r"one length; found \{'a': 1, 'b': 2\}"),
        ({1: [1], "1": [2]}, "written '1'"),
        ([1], "a dict or a pandas DataFrame, not list"),
        ({"a": [Image.new("L", (1, 1))]}, "column 'a' of the table holds images"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(data: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        render_table(data, "t.json")


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"columns":["a"],"data":[[1,2]]}', b'{"columns":1,"data":2}'])
def test_appending_to_what_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidValueError, match=r"t\.json is not a table"):
        render_table({"a": [1]}, "t.json", data)


@pytest.mark.parametrize("call", [lambda: render_table({"a": 1}, "t.csv"), lambda: read_table(b"", "t.csv")])
def test_a_table_is_json_or_parquet(call: Callable[[], object]) -> None:
    with pytest.raises(InvalidValueError, match=r"cannot write \.csv\n  it writes \.json, \.parquet"):
        call()


def test_parquet_without_pyarrow_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyarrow", "pyarrow.parquet", "fastparquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingToolError, match="pip install pyarrow"):
        render_table({"a": [1]}, "t.parquet")


def test_a_parquet_table_appends_and_reads_back() -> None:
    pytest.importorskip("pyarrow")
    first = render_table(pd.DataFrame({"a": [1], 2: ["x"]}), "t.parquet")
    table = read_table(render_table({"a": [3]}, "t.parquet", first), "t.parquet")
    pd.testing.assert_frame_equal(table, pd.DataFrame({"a": [1, 3], "2": ["x", None]}))


def test_a_dict_of_plain_values_becomes_a_table_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def refuse_pandas(name: str, *rest: Any) -> Any:
        assert not name.startswith("pandas")
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse_pandas)
    assert render_table({"a": [1]}, "t.json") == b'{"columns":["a"],"data":[\n[1]\n]}\n'
