"""16 bits a channel, of colour or of grey with alpha: Pillow keeps the upper eight, so a file is read twice."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from PIL import Image

from ofasys.errors import DataError

_OTHER = {
    "B": "L",
    "L": "B",
    "N": "B" if sys.byteorder == "little" else "L",
}  # the byte order whose upper byte is the lower one
_GREY_WITH_ALPHA = "LA;16B"  # which Pillow reads as RGBA, and in one byte order alone
_BITS, _COMPRESSION, _PLANES = 258, 259, 284  # tags of TIFF


def has_sixteen_bits(image: Image.Image) -> bool:
    """Whether an opened file, not yet loaded, is of mode RGB or RGBA, and of 16 bits. Errors: DataError for a TIFF that
    Pillow would misread."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(_PLANES) == 2 and tags.get(_COMPRESSION) == 1 and tags.get(_BITS, (8,))[0] > 8:
        raise DataError(
            "a TIFF of 16 bits in separate planes, uncompressed: Pillow takes it for 8 bits",
            expected="planes together (planarconfig contiguous), or compressed",
        )
    if image.mode not in ("RGB", "RGBA") or tags.get(_PLANES) == 2:
        return False
    raw = _raw_mode(image)
    return raw.startswith(f"{image.mode};16") or (image.mode == "RGBA" and raw == _GREY_WITH_ALPHA)


def with_lower_bytes(image: Image.Image, again: Image.Image) -> Image.Image:
    """The image in 8 bits, rounded as an array of uint16 is, and RGBA where one colour of it is transparent.

    image: loaded. again: the same file, opened and not loaded.
    """
    upper, lower = np.asarray(image), _lower_bytes(again)
    info = dict(image.info)
    difference = lower.astype(np.int16) - upper
    pixels = (upper + (difference > 128) - (difference < -128)).astype(np.uint8)  # (256 upper + lower) / 257, rounded
    if (clear := info.pop("transparency", None)) is not None:
        values = upper.astype(np.uint16) * 256 + lower
        opaque = (values != np.array(clear)).any(2)
        pixels = np.dstack([pixels, opaque * np.uint8(255)])
    made = Image.fromarray(pixels)
    made.info = info
    return made


def _lower_bytes(image: Image.Image) -> np.ndarray:
    """Those of an opened file, not yet loaded, in the shape of its pixels."""
    raw = _raw_mode(image)
    grey = raw == _GREY_WITH_ALPHA
    other = "RGBA" if grey else raw[:-1] + _OTHER[raw[-1]]
    image.tile = [_with_raw_mode(tile, other) for tile in image.tile]  # type: ignore[attr-defined]
    image.load()
    values = np.asarray(image)
    return values[..., [1, 1, 1, 3]] if grey else values  # two bytes of grey, two of alpha, taken for RGBA


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    raw = args[0] if isinstance(args, tuple) and args else args
    return raw if isinstance(raw, str) else ""


def _with_raw_mode(tile: Any, raw: str) -> Any:
    args = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
    return tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args)
