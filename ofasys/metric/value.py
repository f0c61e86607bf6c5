"""When two values are the same: plain values of numpy's, torch's and Python's kinds, and what tells one from
another.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import Any

from ofasys.metric.word import pieces

Key = tuple[str, Hashable]
_PLAIN = (str, int, float, bool, bytes, type(None))


def plain(value: Any) -> Any:
    """Arrays, tensors and their numbers as Python values, tuples as lists, all the way down."""
    if type(value) in _PLAIN:
        return value
    if hasattr(value, "tolist"):
        found = value.tolist()
        return plain(found) if type(found) is not type(value) else float(found)  # a long double stays one
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {plain(name): plain(one) for name, one in value.items()}
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def key(value: Any) -> Key:
    """(kind, value), equal where two values are the same.

    Numbers are the same when equal: 1, 1.0 and Decimal("1.00"), whatever their size. Texts are the same in
    `word.pieces`. None and NaN are alike. Text, numbers, truth values and bytes are apart.
    """
    return ("number", value) if type(value) is int else _key(plain(value))


def _key(value: Any) -> Key:
    if value is None or (isinstance(value, (float, Decimal)) and value != value):
        return "none", None
    if isinstance(value, bool):
        return "truth", value
    if isinstance(value, (int, float, Decimal)):
        return "number", _number(value)
    if isinstance(value, str):
        return "text", " ".join(pieces(value))
    if isinstance(value, bytes):
        return "bytes", value
    if isinstance(value, list):
        return "list", tuple(map(_key, value))
    if isinstance(value, dict):
        return "dict", frozenset((_key(name), _key(one)) for name, one in value.items())
    return "text", str(value)


def _number(value: int | float | Decimal) -> int | float | Decimal:
    """A decimal as the real that it writes; one that no real writes, as it is."""
    if isinstance(value, Decimal) and value.is_finite() and value != value.to_integral_value():
        real = float(value)
        return real if Decimal(repr(real)) == value else value
    return value


def label(value: str | int | float | Decimal) -> str:
    """A label as the text that writes it: 1.0 as "1"; blanks and accents as in `word.pieces`."""
    if isinstance(value, (str, bool)):
        return " ".join(pieces(str(value)))
    if isinstance(value, int) or (math.isfinite(value) and value == int(value)):
        return str(Decimal(int(value)))  # of any length, which `str` is not
    return str(value)
