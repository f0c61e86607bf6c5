"""Numbers that are samples -> floats from -1 to 1.

Whole numbers are PCM, and how wide it is decides how loud they are: taken too wide, sound is silence.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.shared.array import as_array

WIDTHS = (16, 24, 32)  # of numbers without a type of their own: the narrowest that holds them all
EXPECTED = "samples (n,) or (n, channels): floats from -1 to 1, or whole numbers (PCM)"


def numbers(value: Any) -> np.ndarray:
    """An array, tensor, list or nested list -> (n,) or two axes of integers or floats, as they are.

    Errors: DataError for other shapes and for what is no number.
    """
    array = as_array(value, EXPECTED)
    if array.dtype == object:
        raise _no_number(array)
    if array.ndim not in (1, 2) or array.dtype.kind not in "iuf":
        raise DataError(f"got an array of {array.dtype}, shape {array.shape}", expected=EXPECTED)
    return array


def scaled(array: np.ndarray) -> np.ndarray:
    """Integers or floats -> float32 of the same shape, in memory of its own.

    Integers of 8, 16 and 32 bits are PCM of that width, and unsigned ones have their middle at half of it. Those of 64
    bits, as which Python's whole numbers come, are of 16, 24 or 32 bits: what holds them all. Errors: DataError for
    larger ones.
    """
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    width = 8 * array.dtype.itemsize
    if width == 64:
        width, middle = _width(array), 0.0
    else:
        middle = 2.0 ** (width - 1) if array.dtype.kind == "u" else 0.0
    if width <= 16:  # exact in single precision
        return (array.astype(np.float32) - np.float32(middle)) / np.float32(2.0 ** (width - 1))
    return ((array - middle) / 2.0 ** (width - 1)).astype(np.float32)


def _no_number(array: np.ndarray) -> DataError:
    """For what numpy keeps as objects: whole numbers beyond its types, or no numbers at all."""
    for sample in array.flat:
        if not isinstance(sample, (int, float)):
            return DataError(f"a sample is {str(sample)[:40]!r}", expected=EXPECTED)
    return DataError("whole numbers of more than 64 bits", expected=f"PCM of at most {WIDTHS[-1]} bits")


def _width(array: np.ndarray) -> int:
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for width in WIDTHS:
        if -(2 ** (width - 1)) <= low and high < 2 ** (width - 1):
            return width
    raise DataError(f"whole numbers from {low} to {high}", expected=f"PCM of at most {WIDTHS[-1]} bits")
