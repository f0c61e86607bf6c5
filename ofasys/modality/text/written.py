"""Numbers and truth values as the text that writes them: what an open TEXT slot reads besides a str."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from ofasys.modality.shared.array import as_array


def number_text(value: Any) -> str | None:
    """A whole number in digits, a float in the fewest that mean it (2.50 is 2.5), a Decimal or Fraction as it writes
    itself, True and False as these words; numpy's and torch's as Python's. None for anything else, and for NaN.
    """
    if type(value) is str:
        return None
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a number of numpy or torch
        value = value if isinstance(value, np.generic) else as_array(value)[()]
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, np.floating):
        return None if np.isnan(value) else str(value)  # in its own width: float32's 0.1 is 0.1
    if isinstance(value, float):
        return None if math.isnan(value) else repr(float(value))
    if isinstance(value, Decimal):
        return None if value.is_nan() else str(value)
    if isinstance(value, (int, np.integer)):
        try:
            return str(int(value))
        except ValueError:  # Python writes no number of more than 4300 digits
            return None
    return str(value) if isinstance(value, Fraction) else None
