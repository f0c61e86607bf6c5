"""Anything that holds numbers -> a numpy array: the one place where tensors and other libraries' arrays are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from ofasys.errors import DataError

EXPECTED = "an array, a tensor, or lists of numbers of one length"
_MARKS = ("__array__", "__array_interface__", "__dlpack__", "to_pylist", "as_py")


def holds_array(value: Any) -> bool:
    """Whether `as_array` reads it: an array or tensor of any library, a value of Arrow. Lists are asked for apart."""
    return any(hasattr(value, mark) for mark in _MARKS)


def got(value: Any) -> str:
    """A value that is none of what was expected, for an error's sentence: its kind, and how it begins."""
    try:
        text = str(value)
    except ValueError:  # a whole number of more digits than Python writes
        return f"got {type(value).__name__}"
    return f"got {type(value).__name__} {text[:40]!r}"


def as_array(value: Any, expected: str = EXPECTED) -> np.ndarray:
    """The values of an array, a tensor, an Arrow value or nested lists of them, in their own shape and kind.

    Of a tensor that wants a gradient its values; bfloat16 and the 8-bit floats, which numpy lacks, as float32; from
    another device they are fetched. Errors: DataError for a tensor that holds no values (device meta), masked entries,
    lists that differ in length, or whatever the value's own library raises.
    """
    try:
        return _read(value, expected)
    except DataError:
        raise
    except Exception as error:  # each library raises its own
        raise DataError(f"a {type(value).__name__} that gives no array: {error}", expected=expected) from None


def _read(value: Any, expected: str) -> np.ndarray:
    if isinstance(value, np.ndarray):
        if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
            raise DataError("a masked array, some of whose entries are missing", expected=expected)
        return np.asarray(value)
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        return _of_tensor(value, expected)
    if isinstance(value, (list, tuple)):
        return _of_list(value, expected)
    if holds_array(value) and type(value).__module__.startswith("pyarrow"):
        return _of_arrow(value)
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    if holds_array(value):
        return _of_arrow(value)
    raise DataError(got(value), expected=expected)


def _of_tensor(value: Any, expected: str) -> np.ndarray:
    """A torch tensor, known by what it can do, so that torch need not be imported here."""
    if value.device.type == "meta":
        raise DataError("a tensor on the device 'meta', which holds no values", expected=expected)
    value = value.detach().cpu()
    if str(value.layout) != "torch.strided":
        value = value.to_dense()
    if value.dtype.is_floating_point and str(value.dtype) not in ("torch.float16", "torch.float32", "torch.float64"):
        value = value.float()
    return np.asarray(value.resolve_conj().resolve_neg().numpy())


def _of_list(value: Any, expected: str) -> np.ndarray:
    first = value
    while isinstance(first, (list, tuple)) and len(first):
        first = first[0]
    if holds_array(first) and not np.isscalar(first):
        parts = [as_array(part, expected) for part in value]
        shapes = sorted({part.shape for part in parts})
        if len(shapes) > 1:
            raise DataError(f"a list of arrays of shapes {shapes[0]} and {shapes[1]}", expected=expected)
        return np.stack(parts)
    try:
        return np.asarray(value)
    except ValueError:
        raise DataError(f"lists that differ in length: {str(value)[:40]}", expected=expected) from None


def _of_arrow(value: Any) -> np.ndarray:
    """A scalar or column of Arrow: a tensor of fixed shape in that shape, all else by way of lists."""
    if hasattr(value, "to_numpy_ndarray"):
        return np.asarray(value.to_numpy_ndarray())
    if hasattr(value, "to_numpy") and hasattr(value, "as_py"):  # a scalar that is a tensor
        kind, flat = value.type, np.array(value.value.values)
        # pyarrow 26 mixes up the numbers of a scalar whose axes are permuted
        return np.ascontiguousarray(flat.reshape(kind.shape).transpose(kind.permutation or range(len(kind.shape))))
    return np.asarray(value.as_py() if hasattr(value, "as_py") else value.to_pylist())
