"""Metrics of pictures: how like two are, and how much of a codebook is used."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ofasys.errors import DataError
from ofasys.metric.pairs import pairs, shown

if TYPE_CHECKING:
    import numpy as np

MOST_DB = 100.0  # of two equal pictures, whose ratio has no bound
RADIUS, SIGMA = 5, 1.5  # SSIM's window: 11 x 11


def psnr(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`psnr`, dB, 0..100: 10 log10(255^2 / mean squared difference) over pixels and channels; mean over samples.

    A value is a PIL image, a path, or an array (H, W), (H, W, 3) or (H, W, 4): uint8 or float in 0..1. All are compared
    in RGB; a reference of another size is resized (bilinear) to that of the answer. Equal pictures score 100.
    """
    import numpy as np

    each = []
    for one, other in _pictures(predictions, references):
        error = float(np.mean((one - other) ** 2))
        each.append(min(MOST_DB, 10 * math.log10(255**2 / error)) if error else MOST_DB)
    return {"psnr": math.fsum(each) / len(each)}


def ssim(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`ssim`, -1..1: structural similarity (Wang et al. 2004), mean over pixels, channels and samples.

    A Gaussian window of 11 x 11, sigma 1.5; K1 = 0.01, K2 = 0.03, L = 255; places where the window lies wholly inside.
    Values as of `psnr`, each channel for itself. Errors: DataError for a picture smaller than the window.
    """
    each = []
    for i, (one, other) in enumerate(_pictures(predictions, references)):
        if min(one.shape[:2]) < 2 * RADIUS + 1:
            size = f"{one.shape[1]} x {one.shape[0]}"
            raise DataError(f"the picture is {size} pixels", expected="at least 11 x 11, SSIM's window", sample=i)
        each.append(_ssim(one, other))
    return {"ssim": math.fsum(each) / len(each)}


def codebook_use(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`codebook_perplexity`, 1..size: exp of the entropy of the codes used; `codebook_share`, 0..1: codes used at all.

    predictions: codes, whole numbers in any shape, a sample each. references: the size of the codebook, a sample each.
    """
    import numpy as np

    scored = pairs(predictions, references)
    size = scored[0][1]
    if not isinstance(size, int | np.integer) or size < 1 or any(other != size for _, other in scored):
        raise DataError(f"the codebook's size is {size!r:.40}", expected="one whole number, the same for all samples")
    counts = np.zeros(int(size), dtype=np.int64)
    for i, (found, _) in enumerate(scored):
        codes = np.asarray(found)
        if codes.dtype.kind not in "iu" or (codes.size and not 0 <= codes.min() <= codes.max() < size):
            raise DataError(f"not codes: {shown(found)}", expected=f"whole numbers from 0 to {size - 1}", sample=i)
        counts += np.bincount(codes.reshape(-1), minlength=int(size))
    if not counts.any():
        raise DataError("there are no codes at all", expected="at least one")
    share = counts[counts > 0] / counts.sum()
    entropy = -math.fsum(share * np.log(share))
    return {"codebook_perplexity": math.exp(entropy), "codebook_share": float((counts > 0).mean())}


def _ssim(one: np.ndarray, other: np.ndarray) -> float:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean1, mean2 = _blur(one), _blur(other)
    var1, var2 = _blur(one * one) - mean1**2, _blur(other * other) - mean2**2
    both = _blur(one * other) - mean1 * mean2
    ratio = (2 * mean1 * mean2 + c1) * (2 * both + c2) / ((mean1**2 + mean2**2 + c1) * (var1 + var2 + c2))
    return float(ratio.mean())


def _blur(array: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (H - 10, W - 10, C): means under a Gaussian window."""
    import numpy as np

    window = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
    window /= window.sum()
    for axis in (0, 1):
        size = array.shape[axis] - 2 * RADIUS
        parts = (np.take(array, range(i, i + size), axis) * weight for i, weight in enumerate(window))
        array = sum(parts, start=np.zeros(()))
    return array


def _pictures(predictions: Sequence[Any], references: Sequence[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both as (H, W, 3) float64 0..255, of the answer's size."""
    import numpy as np
    from PIL import Image

    found = []
    for i, (prediction, reference) in enumerate(pairs(predictions, references)):
        one, other = (_rgb(value, i) for value in (prediction, reference))
        if one.size != other.size:
            other = other.resize(one.size, Image.Resampling.BILINEAR)
        found.append((np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)))
    return found


def _rgb(value: Any, sample: int) -> Any:
    import numpy as np
    from PIL import Image

    expected = "a PIL image, a path, or an array (H, W), (H, W, 3) or (H, W, 4), uint8 or float in 0..1"
    if isinstance(value, str | os.PathLike):
        try:
            value = Image.open(value)
            value.load()
        except Exception as error:  # PIL raises many kinds for broken files
            raise DataError(f"no picture that can be read: {error}", expected=expected, sample=sample) from None
    if not isinstance(value, Image.Image):
        array = np.asarray(value) if hasattr(value, "__array__") else np.zeros(())
        if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)) or not array.size:
            raise DataError(f"not a picture: {shown(value)}", expected=expected, sample=sample)
        if array.dtype.kind == "f":
            if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
                raise DataError("a float array with values outside 0..1", expected=expected, sample=sample)
            array = (array * 255).round()
        elif array.dtype != np.uint8:
            raise DataError(f"an array of {array.dtype}", expected=expected, sample=sample)
        value = Image.fromarray(array.astype(np.uint8))
    return value.convert("RGB")
