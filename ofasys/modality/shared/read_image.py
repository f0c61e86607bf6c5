"""Anything that holds a picture -> an upright RGB PIL image."""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ofasys.errors import DataError

MOST_PIXELS = 100_000_000
EXPECTED = "a path, bytes, base64 or data URL, a PIL image, or an array (H, W, 3) or (H, W)"
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)


def read_image(value: Any, root: str | Path | None = None) -> Image.Image:
    """An RGB image, EXIF rotation applied, alpha on white, 16-bit scaled to 8.

    value: a path (relative ones start at `root`), bytes, base64 or a data URL, a PIL image, an array or tensor
    (H, W, 3), (H, W, 4) or (H, W): uint8, uint16, bool, or float in 0..1. A mapping with `bytes` or `path`, as
    `datasets` gives, is read too. Errors: DataError when it is none of these, holds no picture, has no pixels, or more
    than MOST_PIXELS of them.
    """
    if isinstance(value, dict) and {"bytes", "path"} & value.keys():
        value = value.get("bytes") or value.get("path")
    if isinstance(value, Image.Image):
        image = value
    elif isinstance(value, (bytes, bytearray, memoryview)):
        image = _decode(io.BytesIO(bytes(value)), f"{len(value)} bytes")
    elif isinstance(value, str) and _DATA_URL.match(value):
        image = _decode_base64(value.split(",", 1)[1])
    elif isinstance(value, (str, os.PathLike)):
        image = _from_path(os.fspath(value), root)
    elif hasattr(value, "__array__") or isinstance(value, np.ndarray):
        image = _from_array(np.asarray(value))
    else:
        raise DataError(f"got {type(value).__name__} {str(value)[:40]!r}", expected=EXPECTED)
    try:
        return _upright_rgb(image)
    except DataError:
        raise
    except Exception as error:  # a PIL image loads its pixels late
        raise DataError(f"the image cannot be read: {error}", expected=EXPECTED) from None


def _from_path(text: str, root: str | Path | None) -> Image.Image:
    path = Path(root or ".", text)
    if _is_file(path):
        return _decode(path, str(path))
    if len(text) > 64 and re.fullmatch(r"[A-Za-z0-9+/\s]+=*\s*", text):
        return _decode_base64(text)
    raise DataError(f"no file {text[:200]!r}", expected=EXPECTED)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # base64 is too long for a file's name
        return False


def _decode_base64(text: str) -> Image.Image:
    try:
        data = base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"not base64: {error}", expected=EXPECTED) from None
    return _decode(io.BytesIO(data), f"{len(data)} bytes of base64")


def _decode(file: Any, what: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file)
            _check_size(*image.size)
            image.load()
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{what}: {error}", expected=f"at most {MOST_PIXELS:,} pixels") from None
    except Exception as error:  # PIL raises many kinds for broken files
        raise DataError(f"{what} hold no picture that can be read: {error}", expected=EXPECTED) from None
    return image


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise DataError(f"the image is {width} x {height} pixels", expected="at least one pixel")
    if width * height > MOST_PIXELS:
        raise DataError(f"the image is {width} x {height} pixels", expected=f"at most {MOST_PIXELS:,} pixels")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        hint = "; move the channels last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise DataError(f"got an array of shape {array.shape}{hint}", expected="(H, W, 3), (H, W, 4) or (H, W)")
    _check_size(array.shape[1], array.shape[0])
    if array.dtype.kind not in "buif":
        raise DataError(f"got an array of {array.dtype}", expected="uint8, uint16, bool, or floats in 0..1")
    if array.dtype == np.uint16:
        array = (array / 257).round()
    elif array.dtype == bool:
        array = array * 255.0
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise DataError("a float array with values outside 0..1 or NaN", expected="floats in 0..1, or uint8")
        array = (array * 255).round()
    elif array.dtype != np.uint8 and (array.min() < 0 or array.max() > 255):
        raise DataError(f"an array of {array.dtype} with values outside 0..255", expected="uint8, uint16 or float")
    return Image.fromarray(array.astype(np.uint8))


def _upright_rgb(image: Image.Image) -> Image.Image:
    _check_size(*image.size)
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        values = np.asarray(image).astype(np.float64)
        scale = 257 if image.mode != "I" or values.max() > 255 else 1
        image = Image.fromarray(np.clip(values / scale, 0, 255).round().astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
