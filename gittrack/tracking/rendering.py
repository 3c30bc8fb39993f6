"""Turns what a script logs (text, dicts, figures, images) into the bytes of an artifact; tables have `tables`.

Pure: bytes out, no file, no git. Anything on the tracking floor may import it. It imports only the errors;
NumPy, Pillow and the figure libraries load inside the call that needs them, and whether a value is
theirs is asked of `sys.modules`, since a library that made a value is loaded already. The bytes are stored by
`ActiveRun.log_artifact` and its kin.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.util
import io
import json
import math
import re
import sys
import uuid
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from gittrack.errors import InvalidValueError, MissingToolError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

_YAML_SUFFIXES = (".yaml", ".yml")
_PLOTLY_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf")
_IMAGE_KEY = re.compile(r"[\w\-./ ]+", re.ASCII)
_MISSING_TYPES = ("NaTType", "NAType")
# Floats within this of [0, 1] are taken as rounding of a resize or of half precision, and clipped: it is a
# quarter of one step of 8 bits, so nobody sees it. Beyond it the scale is wrong, and that must be said.
_FLOAT_SLACK = 1e-3


# ---------------------------------------------------------------------------------------------- text, dicts


def render_text(text: str) -> bytes:
    """The text in UTF-8, line ends untouched; lone surrogates become their backslash escapes."""
    if not isinstance(text, str):
        raise InvalidValueError(
            f"text must be a str, not {type_name(text)}", "log a dict or list with log_dict, else call str()"
        )
    return text.encode("utf-8", "backslashreplace")


def render_dict(dictionary: object, artifact_file: str) -> bytes:
    """YAML for `.yaml` and `.yml`, else JSON indented by 2; both in the dictionary's own order.

    JSON has no NaN or infinity, so there they are the strings "NaN", "Infinity" and "-Infinity". For other
    values see `plain`.

    Raises:
        InvalidValueError: two keys become the same text, or the value contains itself.
    """
    try:
        value = plain(dictionary)
        return _yaml_bytes(value) if suffix_of(artifact_file) in _YAML_SUFFIXES else _json_bytes(value)
    except RecursionError as error:
        raise InvalidValueError(
            f"{artifact_file}: the {type_name(dictionary)} contains itself, or is nested too deeply"
        ) from error


def plain(value: object) -> object:
    """The value in what JSON and YAML share: dict, list, str, int, float, bool and None.

    NumPy, pandas and torch values become Python's, times ISO 8601 text, enums their value, dataclasses dicts,
    sets sorted lists, missing values None; anything else its `str`, as in MLflow.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return unique_keys((_plain_key(key), plain(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return _plain_other(value)


def _plain_other(value: object) -> object:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if type(value).__name__ in _MISSING_TYPES:
        return None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    # A class such as np.float32 has `tolist` too, but there is nothing in it to list.
    if isinstance(value, type) or not hasattr(value, "tolist"):
        return str(value)
    if is_numpy_time(value):
        # tolist() of datetime64[ns] gives bare integers.
        return _without_nat(value.astype(str).tolist())  # type: ignore[attr-defined]
    return plain(value.tolist())


def is_numpy_time(value: object) -> bool:
    """Whether the value is a NumPy array or scalar of times, whose `tolist` may give bare integers."""
    return type(value).__module__ == "numpy" and getattr(value, "dtype", None).kind in "mM"  # type: ignore[union-attr]


def _without_nat(value: object) -> object:
    if isinstance(value, list):
        return [_without_nat(item) for item in value]
    return None if value == "NaT" else value


def _plain_key(key: object) -> object:
    small = plain(key)
    return str(key) if isinstance(small, list | dict) else small


def unique_keys(pairs: Iterable[tuple[Any, object]]) -> dict[Any, object]:
    """A dictionary of the pairs.

    Raises:
        InvalidValueError: two keys are the same.
    """
    found: dict[Any, object] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidValueError(f"two keys of the dictionary are written {key!r}", "rename one of them")
        found[key] = value
    return found


def json_ready(value: object) -> object:
    """A plain value in what JSON can hold: text for keys, names for NaN and infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else _non_finite_name(value)
    if isinstance(value, dict):
        return unique_keys((_json_key(key), json_ready(item)) for key, item in value.items())
    if isinstance(value, list):
        return [json_ready(item) for item in value]
    return value


def _json_key(key: object) -> str:
    ready = json_ready(key)
    return ready if isinstance(ready, str) else json.dumps(ready)


def _non_finite_name(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _json_bytes(value: object) -> bytes:
    ready = json_ready(value)
    try:
        text = json.dumps(ready, indent=2, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()
    except UnicodeEncodeError:
        # Lone surrogates (file names that are not UTF-8) exist in JSON only as escapes.
        return f"{json.dumps(ready, indent=2, allow_nan=False)}\n".encode()


def _yaml_bytes(value: object) -> bytes:
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return text.encode()


# -------------------------------------------------------------------------------------------------- figures


def render_figure(figure: object, artifact_file: str, save_kwargs: Mapping[str, Any] | None = None) -> bytes:
    """The figure in the format that the file's suffix names.

    Args:
        figure: a matplotlib `Figure`, or a plotly figure.
        artifact_file: for matplotlib any suffix that `savefig` takes; for plotly `.html`, `.json`, or with
            kaleido an image suffix.
        save_kwargs: for matplotlib's `savefig`, or plotly's `to_html`, `to_json` or `to_image`. The `.html`
            carries plotly.js (4.5 MB) so that it opens offline; `{"include_plotlyjs": "cdn"}` leaves it out.

    Raises:
        InvalidValueError: not a figure, or a suffix that the library cannot write.
        MissingToolError: plotly needs kaleido, or kaleido needs Chrome, to draw an image.
    """
    options = dict(save_kwargs or {})
    if is_loaded_instance(figure, "matplotlib.figure", "Figure"):
        return _matplotlib_bytes(figure, artifact_file, options)
    if is_loaded_instance(figure, "plotly.basedatatypes", "BaseFigure"):
        return _plotly_bytes(figure, artifact_file, options)
    owner = "" if isinstance(figure, type) or not hasattr(figure, "figure") else "log its `.figure` instead"
    raise InvalidValueError(
        f"{artifact_file}: a figure must be a matplotlib or plotly Figure, not {type_name(figure)}", owner
    )


def _matplotlib_bytes(figure: Any, artifact_file: str, options: dict[str, Any]) -> bytes:
    options.setdefault("format", suffix_of(artifact_file)[1:])
    known = sorted(figure.canvas.get_supported_filetypes())
    if options["format"] not in known:
        raise unknown_suffix(artifact_file, "matplotlib", [f".{name}" for name in known])
    buffer = io.BytesIO()
    figure.savefig(buffer, **options)
    return buffer.getvalue()


def _plotly_bytes(figure: Any, artifact_file: str, options: dict[str, Any]) -> bytes:
    suffix = suffix_of(artifact_file)
    if suffix == ".html":
        # MLflow passes these to write_html, which knows one argument more.
        options.pop("auto_open", None)
        return str(figure.to_html(**{"include_plotlyjs": True, **options})).encode()
    if suffix == ".json":
        return str(figure.to_json(**options)).encode()
    if suffix in _PLOTLY_IMAGE_SUFFIXES:
        return _plotly_image(figure, artifact_file, {"format": suffix[1:], **options})
    raise unknown_suffix(artifact_file, "plotly", [".html", ".json", *_PLOTLY_IMAGE_SUFFIXES])


def _plotly_image(figure: Any, artifact_file: str, options: dict[str, Any]) -> bytes:
    if importlib.util.find_spec("kaleido") is None:
        raise MissingToolError(
            f"{artifact_file}: plotly needs the kaleido package to draw an image",
            "pip install kaleido, or log the figure as .html or .json",
        )
    try:
        return bytes(figure.to_image(**options))
    except RuntimeError as error:
        if "chrome" not in str(error).lower():
            raise
        raise MissingToolError(
            f"{artifact_file}: kaleido found no Chrome to draw an image with",
            "run `plotly_get_chrome`, or log the figure as .html or .json",
        ) from error


# --------------------------------------------------------------------------------------------------- images


def render_image(image: object, artifact_file: str) -> bytes:
    """The image in the format that the file's suffix names (`.png` keeps every pixel).

    Args:
        image: a Pillow image, or an array or tensor of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) with
            bools, integers from 0 to 255, or floats from 0 to 1.
        artifact_file: its suffix is one that Pillow writes.

    Raises:
        InvalidValueError: another type, shape, dtype or range, each named as found.
        MissingToolError: Pillow is not installed.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingToolError(
            f"{artifact_file}: Pillow is needed to write images", "pip install 'gittrack[figures]'"
        ) from error
    format_name = _image_format(artifact_file)
    picture = _to_pillow(image)
    buffer = io.BytesIO()
    try:
        picture.save(buffer, format=format_name)
    except (OSError, ValueError) as error:
        raise InvalidValueError(
            f"{artifact_file}: {format_name} cannot hold an image of mode {picture.mode}: {error}",
            "log it as .png, or convert it first",
        ) from error
    return buffer.getvalue()


def image_path(key: str, step: int, timestamp_ms: int) -> str:
    """A fresh path for `log_image(key=, step=)`, of MLflow 3's shape, so that one can list a key's images.

    `images/<key, "/" as "~">+step+<step>+timestamp+<timestamp_ms>+<8 random hex digits>.png`

    Raises:
        InvalidValueError: the key has other than ASCII letters, digits, `_`, `-`, `.`, space and `/`.
    """
    if not _IMAGE_KEY.fullmatch(key):
        raise InvalidValueError(
            f"image key {key!r} may hold only ASCII letters, digits, '_', '-', '.', ' ' and '/'"
        )
    name = key.replace("/", "~")
    return f"images/{name}+step+{step}+timestamp+{timestamp_ms}+{uuid.uuid4().hex[:8]}.png"


def _image_format(artifact_file: str) -> str:
    from PIL import Image

    writable = {end: name for end, name in Image.registered_extensions().items() if name in Image.SAVE}
    suffix = suffix_of(artifact_file)
    if suffix not in writable:
        raise unknown_suffix(artifact_file, "Pillow", sorted(writable))
    return writable[suffix]


def _to_pillow(image: Any) -> Image:
    from PIL import Image

    if isinstance(image, Image.Image):
        return image
    if hasattr(image, "to_pil"):  # mlflow.Image
        return _to_pillow(image.to_pil())
    pixels = _to_bytes_range(_to_array(image))
    return Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def _to_array(image: Any) -> np.ndarray[Any, Any]:
    import numpy as np

    if hasattr(image, "detach"):
        image = image.detach().cpu()
        # NumPy has no bfloat16.
        image = (image.float() if "bfloat16" in str(image.dtype) else image).numpy()
    if not hasattr(image, "__array__") or isinstance(image, type):
        raise InvalidValueError(f"an image must be a Pillow image, an array or a tensor, not {type_name(image)}")
    pixels = np.asarray(image)
    channels_fit = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))
    if not channels_fit or pixels.size == 0:
        raise InvalidValueError(
            f"an image must have shape (H, W) or (H, W, 1, 3 or 4), not {pixels.shape}",
            "channels come last: transpose a (C, H, W) image first",
        )
    return pixels


def _to_bytes_range(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind in "iu":
        _refuse_outside(pixels, 0, 255)
        return pixels.astype(np.uint8)
    if pixels.dtype.kind == "f":
        _refuse_outside(pixels, -_FLOAT_SLACK, 1 + _FLOAT_SLACK)
        scaled: np.ndarray[Any, Any] = np.rint(np.clip(pixels.astype(np.float32), 0, 1) * 255)
        return scaled.astype(np.uint8)
    raise InvalidValueError(f"an image must hold bools, integers or floats, not {pixels.dtype}")


def _refuse_outside(pixels: np.ndarray[Any, Any], low: float, high: float) -> None:
    least, most = pixels.min(), pixels.max()
    if not (least >= low and most <= high):  # so put, NaN is outside
        raise InvalidValueError(
            f"an image of {pixels.dtype} must lie in {round(low)} to {round(high)}; found {least} to {most}",
            "rescale it first",
        )


# -------------------------------------------------------------------------------------------- names of things


def suffix_of(artifact_file: str) -> str:
    """A file's suffix in lower case, dot included; empty where it has none."""
    return PurePosixPath(artifact_file).suffix.lower()


def unknown_suffix(artifact_file: str, writer: str, known: Iterable[str]) -> InvalidValueError:
    """The error for a file whose suffix a writer does not write."""
    found = suffix_of(artifact_file) or "no suffix"
    return InvalidValueError(f"{artifact_file}: {writer} cannot write {found}", f"it writes {', '.join(known)}")


def type_name(value: object) -> str:
    """The full name of the value's class, as an error shows it: `numpy.ndarray`, `list`."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def is_loaded_instance(value: object, module: str, name: str) -> bool:
    """Whether the value is of that class, without importing what is not loaded."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)
