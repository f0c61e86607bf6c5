"""A picture cut into square patches, in raster order; what IMAGE and VIDEO share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ofasys.types import SlotFeatures


def shape_in_patches(width: int, height: int, size: int, patch: int, keep_aspect: bool) -> tuple[int, int]:
    """Patches down and across: a square of `size` pixels, or with `keep_aspect` the longer side of `size` pixels."""
    most = size // patch
    if not keep_aspect:
        return most, most
    longest = max(width, height)
    return max(1, round(most * height / longest)), max(1, round(most * width / longest))


def resized(image: Image.Image, width: int, height: int, resample: str = "bilinear") -> np.ndarray:
    """RGB pixels (height, width, 3) uint8. resample: "bilinear", or "bicubic", which looks at all pixels."""
    if resample == "bicubic":
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))


def cut(image: Image.Image, h: int, w: int, patch: int, resample: str = "bilinear") -> np.ndarray:
    """An RGB image as h x w patches: (h * w, 3 * patch * patch) uint8, channel first, in raster order."""
    return in_patches(resized(image, w * patch, h * patch, resample), patch)


def in_patches(pixels: np.ndarray, patch: int) -> np.ndarray:
    """Pixels (height, width, 3), whole patches of them -> (n, 3 * patch * patch), channel first, in raster order."""
    h, w = pixels.shape[0] // patch, pixels.shape[1] // patch
    patches = pixels.reshape(h, patch, w, patch, 3).transpose(0, 2, 4, 1, 3).reshape(h * w, -1)
    return np.ascontiguousarray(patches)


def raster(h: int, w: int) -> np.ndarray:
    """(h * w, 2): the (y, x) of places in rows of w."""
    return np.stack(np.meshgrid(np.arange(h), np.arange(w), indexing="ij"), -1).reshape(-1, 2)


def pictures(parts: Sequence[SlotFeatures]) -> dict[str, np.ndarray]:
    """patches (n, 3 * p * p) of values whose `shapes` are those of their pictures, and of each shape (h, w) `grid HxW`
    (pictures, h * w): their rows.
    """
    found: dict[str, list[np.ndarray]] = {}
    start = 0
    for h, w in (shape for part in parts for shape in part.tensors["shapes"].tolist()):
        found.setdefault(f"grid {h}x{w}", []).append(np.arange(start, start + h * w))
        start += h * w
    grids = {name: np.stack(rows) for name, rows in sorted(found.items())}
    return {"patches": np.concatenate([part.tensors["patches"] for part in parts]), **grids}
