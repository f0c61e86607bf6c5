"""Anything that is one number -> a float; anything else -> an error that says what to do."""

from __future__ import annotations

import math
import re
from datetime import date, time, timedelta
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.shared.array import as_array, got, holds_array

EXPECTED = "a finite number: 3, 2.5, or its text as '1e3'"
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_UNITS = re.compile(r"[^\d\s.+-]{0,4}\s*[+-]?[\d.,]+(?:[eE][+-]?\d+)?\s*[^\d\s]{0,4}", re.ASCII)


def read_number(value: Any) -> float:
    """A number of Python, numpy, torch or Arrow, a Decimal or Fraction, or the text of one, as a finite float.

    Errors: DataError for what is no number or is missing, for True and False, dates, NaN and infinity, and for a whole
    number that no float holds exactly.
    """
    if type(value) is float:
        return _finite(value, value)
    if not isinstance(value, (str, bytes, list, tuple)) and holds_array(value):
        value = _single(value)
    if isinstance(value, (bool, np.bool_)):
        raise DataError(f"got the truth value {value}", expected="a number: give 1 or 0, or read it with CATEGORY")
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, (date, time, timedelta, np.datetime64, np.timedelta64)):
        raise DataError(
            f"{got(value)}, a time",
            expected="a number: give what counts of it, as days since a fixed date, or its .timestamp() in seconds",
        )
    if isinstance(value, (int, np.integer)):
        return _of_whole(int(value))
    if isinstance(value, (bytes, bytearray, complex, np.complexfloating)) or not hasattr(value, "__float__"):
        raise DataError(got(value), expected=EXPECTED)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{got(value)}, which no float holds", expected=EXPECTED) from None
    return _finite(number, value)


def _single(value: Any) -> Any:
    """What an array or scalar of some library holds. Errors: DataError for more than one value."""
    if hasattr(value, "as_py"):
        value = value.as_py()
        if value is None:
            raise DataError("the value is missing (None)", expected=EXPECTED)
        return value
    if not isinstance(value, np.generic):
        array = as_array(value, EXPECTED)
        if array.ndim or array.dtype.kind not in "iufbMmOU":
            raise DataError(
                f"{got(value)}, of {array.dtype} and shape {array.shape}", expected=f"one number, {EXPECTED}"
            )
        value = array[()]
    return value


def _of_text(text: str) -> float:
    plain = text.strip()
    if not plain:
        raise DataError("the text is blank", expected=f"{EXPECTED}; leave out rows without one")
    if _PLAIN.fullmatch(plain):
        return _finite(float(plain), text)
    raise DataError(got(text), expected=EXPECTED + _advice(plain))


def _advice(text: str) -> str:
    """The next step for a text that a person would read as a number."""
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", text):
        return f"; write it without commas, {text.replace(',', '')!r}"
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return f"; write it with a point, {text.replace(',', '.')!r}"
    if text.lower() in {"nan", "na", "n/a", "null", "none", "-", "?", "missing"}:
        return "; leave out rows without one"
    if _UNITS.fullmatch(text):
        return "; write it without its unit"
    return "; read other text with TEXT"


def _of_whole(value: int) -> float:
    try:
        number = float(value)
    except OverflowError:
        raise DataError(
            f"a whole number of {value.bit_length()} bits, too large for a float", expected=EXPECTED
        ) from None
    if int(number) != value:
        raise DataError(
            f"the whole number {value}, which no float holds exactly (beyond 2**53)",
            expected="a number: if it is a name or a code read it with TEXT, if it is an amount give it as a float",
        )
    return number


def _finite(number: float, value: Any) -> float:
    if math.isnan(number):
        raise DataError("the value is missing (NaN)", expected=f"{EXPECTED}; leave out rows without one")
    if math.isinf(number):
        raise DataError(f"{got(value)}, beyond what a float holds", expected=EXPECTED)
    return number
