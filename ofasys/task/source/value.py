"""Values of rows: what numpy, torch, pandas and Arrow call a number, a text or a list is that in Python, in every
source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ofasys.types import NamedBytes

_PLAIN = frozenset((str, int, float, bool, bytes, type(None)))
_NUMBERS = "biufc"  # kinds of numpy's dtypes that stay arrays


class Numbers(list[Any]):
    """A list of numbers, or of lists of them, that knows how wide they were.

    It equals the plain list. `numpy.asarray` of it has that dtype, so that int16 stays int16.
    """

    __slots__ = ("dtype",)

    def __init__(self, values: Iterable[Any], dtype: Any) -> None:
        super().__init__(values)
        self.dtype = np.dtype(dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(list(self), dtype=self.dtype if dtype is None else dtype)

    def __reduce__(self) -> tuple[type[Numbers], tuple[list[Any], np.dtype[Any]]]:
        return Numbers, (list(self), self.dtype)


def typed(values: list[Any] | None, width: np.dtype[Any]) -> list[Any] | None:
    """Numbers of one width as a list that knows it; one that lacks a value stays as it is."""
    return values if values is None or _lacks(values) else Numbers(values, width)


def _lacks(values: list[Any]) -> bool:
    """Whether a value is missing, or in a list of it."""
    return None in values or (type(values[0]) is list and any(map(_lacks, values)) if values else False)


def cell(value: Any) -> Any:
    """The value of a column in a row: as `plain`, and NaN as None; an undecoded file of `datasets` as its bytes or
    path.

    Where such a file has both, the bytes know the path: `NamedBytes`.
    """
    if type(value) not in _PLAIN:
        value = plain(value)
        if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
            return _file(value["bytes"], value["path"])
    return None if type(value) is float and value != value else value


def plain(value: Any) -> Any:
    """The value as Python's own, inside lists, tuples and dicts too; what has no such form is itself.

    Numbers of no axis, of numpy or torch, are bool, int, float; a missing value in any of its spellings is None; arrays
    of numbers stay arrays, other arrays are lists; times are `datetime`'s where these hold them whole.
    """
    kind = type(value)
    if kind in _PLAIN or kind is Numbers:
        return value
    if kind is list:
        return value if _PLAIN.issuperset(map(type, value)) else [plain(one) for one in value]
    if kind is dict:
        return {name: plain(one) for name, one in value.items()}
    if kind is tuple:
        return value if _PLAIN.issuperset(map(type, value)) else tuple(plain(one) for one in value)
    if isinstance(value, np.ndarray) and value.ndim:
        return value if value.dtype.kind in _NUMBERS + "V" else [plain(one) for one in value]
    if isinstance(value, np.datetime64 | np.timedelta64):
        return _moment(value)
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return _scalar(value)
    return _foreign(value)


def _scalar(value: Any) -> Any:
    """A numpy scalar, or an array or tensor without axes."""
    if isinstance(value, str):  # numpy's own text, which is a str already
        return str(value)
    if isinstance(value, np.void) or getattr(value, "is_meta", False):
        return value
    found = value.item()
    if isinstance(found, np.longdouble):
        return float(found) if float(found) == found or found != found else found
    return plain(found) if type(found) is not type(value) else found


def _moment(value: np.datetime64 | np.timedelta64) -> Any:
    """As `datetime` has it; of one that is finer than a microsecond, or beyond its years, itself."""
    if np.isnat(value):
        return None
    found = value.item()
    if not isinstance(found, int):
        return found
    kind = "datetime64" if isinstance(value, np.datetime64) else "timedelta64"
    coarse = value.astype(f"{kind}[us]")
    found = coarse.item()
    return value if isinstance(found, int) or coarse != value else found


def _foreign(value: Any) -> Any:
    """Values of pandas and Arrow, without importing either."""
    name, package = type(value).__name__, type(value).__module__.partition(".")[0]
    if name in ("NAType", "NaTType"):
        return None
    if package == "pyarrow" and hasattr(value, "type") and hasattr(value, "to_pylist"):  # an array; a table stays one
        return plain(value.to_pylist())
    if package in ("pandas", "pyarrow") and not getattr(value, "nanosecond", getattr(value, "nanoseconds", 0)):
        for form in ("to_pydatetime", "to_pytimedelta", "as_py"):
            if hasattr(value, form):
                return plain(getattr(value, form)())
    return value


def _file(data: Any, path: Any) -> Any:
    """Bytes and the name of their file, one of which may be missing."""
    if data is None:
        return path
    return NamedBytes(data, path) if isinstance(data, bytes) and isinstance(path, str) and path else data


def as_list(value: Any) -> Any:
    """An array of numbers with one axis as `Numbers`, inside lists and dicts too; anything else as it is."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is np.ndarray and value.ndim == 1:
        return Numbers(value.tolist(), value.dtype) if value.dtype.kind in "biuf" else [as_list(one) for one in value]
    if kind is list:
        return [as_list(one) for one in value]
    return {name: as_list(one) for name, one in value.items()} if kind is dict else value


def named(value: Any, names: Any) -> Any:
    """The value with its classes by name, as `class_names` found them: in lists each, in dicts by field; -1 is None."""
    if names is None or value is None:
        return value
    if isinstance(value, list):
        return [named(one, names) for one in value]
    if isinstance(names, Mapping):
        return {n: named(one, names.get(n)) for n, one in value.items()} if isinstance(value, dict) else value
    if callable(names):
        return names(value)
    if type(value) is not int:
        return value
    return names[value] if 0 <= value < len(names) else None if value == -1 else value
