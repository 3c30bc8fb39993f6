"""What a script logs becomes the bytes that another reader expects."""

from __future__ import annotations

import datetime
import io
import json
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml
from matplotlib.figure import Figure
from PIL import Image

from gittrack.errors import InvalidValueError, MissingToolError
from gittrack.tracking.rendering import (
    image_path,
    render_dict,
    render_figure,
    render_image,
    render_text,
)

mpl.use("Agg")


class Colour(Enum):
    RED = "red"


@dataclass
class Options:
    rate: float
    sizes: tuple[int, ...]


def decoded(png: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(png)))


def without_module(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


# ---------------------------------------------------------------------------------------------- text, dicts


def test_text_is_utf8_with_line_ends_untouched() -> None:
    assert render_text("né\r\n") == b"n\xc3\xa9\r\n"


def test_text_with_a_lone_surrogate_is_escaped() -> None:
    assert render_text("a\udc80") == b"a\\udc80"


def test_text_that_is_no_str_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="text must be a str, not list"):
        render_text(["a"])  # type: ignore[arg-type]


def test_json_is_indented_in_the_dictionarys_order() -> None:
    assert render_dict({"b": 1, "a": [True, None]}, "x/y.json") == (
        b'{\n  "b": 1,\n  "a": [\n    true,\n    null\n  ]\n}\n'
    )


def test_any_suffix_but_yaml_is_json() -> None:
    assert json.loads(render_dict({"a": 1}, "notes")) == {"a": 1}


@pytest.mark.parametrize("name", ["a.yaml", "a.YML"])
def test_yaml_keeps_order_and_nan(name: str) -> None:
    assert render_dict({"b": [1, 2], "a": float("nan")}, name) == b"b:\n- 1\n- 2\na: .nan\n"


def test_yaml_has_no_anchors_for_shared_values() -> None:
    shared = [1]
    assert render_dict({"a": shared, "b": shared}, "a.yaml") == b"a:\n- 1\nb:\n- 1\n"


def test_json_writes_non_finite_numbers_as_strings() -> None:
    value = {"a": float("nan"), "b": [float("inf"), np.float32("-inf")]}
    assert json.loads(render_dict(value, "a.json")) == {"a": "NaN", "b": ["Infinity", "-Infinity"]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (signal.SIGINT, 2),
        (np.bool_(True), True),
        (np.str_("s"), "s"),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array(["2024-01-02", "NaT"], dtype="datetime64[ns]"), ["2024-01-02T00:00:00.000000000", None]),
        (np.float32, "<class 'numpy.float32'>"),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Timestamp("2024-01-02T03:04:05"), "2024-01-02T03:04:05"),
        (pd.NaT, None),
        (pd.NA, None),
        (datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), "2024-01-02T00:00:00+00:00"),
        (datetime.date(2024, 1, 2), "2024-01-02"),
        (datetime.timedelta(seconds=90), "0:01:30"),
        (Path("a/b"), "a/b"),
        (Colour.RED, "red"),
        ({3, 1, 2}, [1, 2, 3]),
        (Options(0.1, (1, 2)), {"rate": 0.1, "sizes": [1, 2]}),
        (b"raw", "b'raw'"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_values_beyond_json_become_plain(value: object, expected: object, suffix: str) -> None:
    assert yaml.safe_load(render_dict({"v": value}, f"a{suffix}")) == {"v": expected}


def test_keys_beyond_json_become_text() -> None:
    value = {True: "a", None: "b", np.int64(2): "c", ("x", 1): "d", Path("p"): "e", 0.5: "f"}
    assert json.loads(render_dict(value, "a.json")) == {
        "true": "a",
        "null": "b",
        "2": "c",
        "('x', 1)": "d",
        "p": "e",
        "0.5": "f",
    }


def test_two_keys_that_are_written_alike_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="two keys of the dictionary are written '1'"):
        render_dict({1: "a", "1": "b"}, "a.json")


def test_a_dictionary_that_contains_itself_is_refused() -> None:
    loop: dict[str, object] = {}
    loop["loop"] = loop
    with pytest.raises(InvalidValueError, match=r"a\.json: the dict contains itself"):
        render_dict(loop, "a.json")


def test_json_escapes_what_utf8_cannot_hold() -> None:
    assert render_dict({"a": "\udc80"}, "a.json") == b'{\n  "a": "\\udc80"\n}\n'


# -------------------------------------------------------------------------------------------------- figures


def line_figure() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([1, 2])
    return figure


@pytest.mark.parametrize(
    ("name", "start"),
    [("f.png", b"\x89PNG"), ("f.PDF", b"%PDF"), ("f.svg", b"<?xml"), ("f.jpg", b"\xff\xd8")],
)
def test_a_matplotlib_figure_takes_the_suffixs_format(name: str, start: bytes) -> None:
    assert render_figure(line_figure(), name)[: len(start)] == start


def test_save_kwargs_reach_savefig() -> None:
    assert decoded(render_figure(line_figure(), "f.png", {"dpi": 50})).shape == (50, 100, 4)


@pytest.mark.parametrize("name", ["f.html", "f"])
def test_a_suffix_that_matplotlib_does_not_write_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match=r"matplotlib cannot write (\.html|no suffix)"):
        render_figure(line_figure(), name)


def test_plotly_html_works_offline() -> None:
    page = render_figure(go.Figure(go.Scatter(y=[1, 2])), "f.html")
    assert (len(page) > 1_000_000, re.findall(rb"<script[^>]+src=", page)) == (True, [])


def test_plotly_html_takes_mlflows_save_kwargs() -> None:
    options = {"include_plotlyjs": "cdn", "auto_open": False}
    assert len(render_figure(go.Figure(), "f.html", options)) < 20_000


def test_plotly_json_is_the_figure() -> None:
    figure = go.Figure(go.Scatter(y=[1, 2]))
    assert json.loads(render_figure(figure, "f.json"))["data"] == [{"type": "scatter", "y": [1, 2]}]


def test_a_plotly_image_without_kaleido_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingToolError, match="pip install kaleido"):
        render_figure(go.Figure(), "f.png")


def test_a_plotly_image_without_chrome_tells_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: go.Figure, **options: object) -> bytes:
        raise RuntimeError("Kaleido requires Google Chrome to be installed.")

    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    monkeypatch.setattr(go.Figure, "to_image", fail)
    with pytest.raises(MissingToolError, match="run `plotly_get_chrome`"):
        render_figure(go.Figure(), "f.png")


def test_a_plotly_image_takes_the_suffixs_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    monkeypatch.setattr(go.Figure, "to_image", lambda self, **options: repr(options).encode())
    assert render_figure(go.Figure(), "f.svg", {"width": 9}) == b"{'format': 'svg', 'width': 9}"


def test_a_suffix_that_plotly_does_not_write_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"plotly cannot write \.txt"):
        render_figure(go.Figure(), "f.txt")


def test_what_is_no_figure_is_named() -> None:
    with pytest.raises(InvalidValueError, match=r"matplotlib or plotly Figure, not list"):
        render_figure([1], "f.png")


def test_axes_are_refused_with_the_way_to_their_figure() -> None:
    with pytest.raises(InvalidValueError, match=r"log its `\.figure` instead"):
        render_figure(line_figure().axes[0], "f.png")


# --------------------------------------------------------------------------------------------------- images

RAMP = np.array([[0, 128, 255]], dtype=np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        RAMP,
        RAMP.astype(np.int64),
        RAMP.astype(np.float64) / 255,
        RAMP.astype(np.float16) / np.float16(255),
        RAMP[:, :, None],
        RAMP / 255 * 1.0005,
        Image.fromarray(RAMP),
    ],
    ids=["uint8", "int64", "float64", "float16", "one channel", "rounding", "pillow"],
)
def test_png_keeps_grey_pixels(image: object) -> None:
    assert decoded(render_image(image, "i.png")).tolist() == RAMP.tolist()


@pytest.mark.parametrize("channels", [3, 4])
def test_png_keeps_colour_and_alpha(channels: int) -> None:
    pixels = np.arange(2 * 3 * channels, dtype=np.uint8).reshape(2, 3, channels)
    assert decoded(render_image(pixels, "i.png")).tolist() == pixels.tolist()


def test_bools_are_black_and_white() -> None:
    assert decoded(render_image(np.array([[True, False]]), "i.png")).tolist() == [[255, 0]]


def test_the_suffix_names_the_format() -> None:
    assert Image.open(io.BytesIO(render_image(RAMP, "i.JPG"))).format == "JPEG"


class FakeTensor:
    """Behaves as a torch tensor on a GPU that needs grad: it is an array only after detach and cpu."""

    dtype = "torch.float32"

    def __init__(self, steps: tuple[str, ...] = ()) -> None:
        self.steps = steps

    def detach(self) -> FakeTensor:
        return FakeTensor((*self.steps, "detach"))

    def cpu(self) -> FakeTensor:
        return FakeTensor((*self.steps, "cpu"))

    def numpy(self) -> np.ndarray[Any, Any]:
        assert self.steps == ("detach", "cpu")
        return RAMP


def test_a_tensor_is_detached_and_brought_to_the_cpu() -> None:
    assert decoded(render_image(FakeTensor(), "i.png")).tolist() == RAMP.tolist()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.array([[0, 256]]), "int64 must lie in 0 to 255; found 0 to 256"),
        (np.array([[0.0, 2.5]]), "float64 must lie in 0 to 1; found 0.0 to 2.5"),
        (np.array([[0.0, np.nan]]), "float64 must lie in 0 to 1; found nan to nan"),
        (np.array([[1j]]), "bools, integers or floats, not complex128"),
        (np.zeros((3, 4, 5)), r"not \(3, 4, 5\)"),
        (np.zeros(3), r"not \(3,\)"),
        (np.zeros((0, 3)), r"not \(0, 3\)"),
        ("a.png", "not str"),
    ],
)
def test_an_image_that_does_not_fit_is_named_as_found(image: object, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        render_image(image, "i.png")


def test_a_format_without_alpha_is_refused_for_an_image_with_it() -> None:
    with pytest.raises(InvalidValueError, match="JPEG cannot hold an image of mode RGBA"):
        render_image(np.zeros((2, 2, 4), dtype=np.uint8), "i.jpg")


def test_a_suffix_that_pillow_does_not_write_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"Pillow cannot write \.txt"):
        render_image(RAMP, "i.txt")


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without_module(monkeypatch, "PIL", "PIL.Image")
    with pytest.raises(MissingToolError, match=r"pip install 'gittrack\[figures\]'"):
        render_image(RAMP, "i.png")


def test_an_image_path_has_mlflows_shape() -> None:
    path = image_path("val/dog 1", 3, 1700000000000)
    assert re.fullmatch(r"images/val~dog 1\+step\+3\+timestamp\+1700000000000\+[0-9a-f]{8}\.png", path)


def test_two_image_paths_of_one_moment_differ() -> None:
    assert image_path("a", 0, 0) != image_path("a", 0, 0)


@pytest.mark.parametrize("key", ["", "a+b", "a~b", "é", "a\n"])
def test_an_image_key_that_the_path_cannot_hold_is_refused(key: str) -> None:
    with pytest.raises(InvalidValueError, match="image key"):
        image_path(key, 0, 0)


# ------------------------------------------------------------------------------------------------- imports


def test_importing_the_modules_loads_nothing_heavy() -> None:
    heavy = ["numpy", "pandas", "PIL", "matplotlib", "plotly", "psutil", "pynvml", "yaml"]
    script = (
        "import sys, gittrack.tracking.rendering, gittrack.tracking.tables, gittrack.tracking.datasets\n"
        "import gittrack.tracking.monitor\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
