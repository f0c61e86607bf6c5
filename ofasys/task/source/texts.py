"""A column of texts that stays in Arrow's memory: its lengths and its distinct values are found without Python's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ofasys.task.source.columns import values

if TYPE_CHECKING:
    import pyarrow as pa


class Texts:
    """Some thousand values of a column of texts, each a str or None."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    def __iter__(self) -> Iterator[Any]:
        return iter(values(self.column))

    def lengths(self, missing: int) -> np.ndarray:
        """Characters of each (n,); `missing` of each that is None."""
        return np.concatenate([_lengths(chunk, missing) for chunk in self.column.chunks])

    def distinct(self) -> set[Any]:
        """Each value once."""
        return set(self.column.to_pylist())


def texts(column: pa.ChunkedArray) -> Texts | None:
    """A column as texts; None for what is no column of texts, or holds one that is not UTF-8."""
    import pyarrow as pa

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return None
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return Texts(column)


def _lengths(array: pa.Array, missing: int) -> np.ndarray:
    """By numpy: Arrow's own functions for it take 40 MB of memory once they are imported."""
    valid, ends, data = array.buffers()
    rows = slice(array.offset, array.offset + len(array))
    wide = np.int64 if str(array.type) == "large_string" else np.int32
    places = np.frombuffer(ends, wide)[rows.start : rows.stop + 1]
    found = np.diff(places)
    if data is not None and len(places):
        begins = np.frombuffer(data, np.uint8)[places[0] : places[-1]] & 0xC0 != 0x80  # a character, not its next byte
        if not begins.all():
            found = np.diff(np.concatenate([[0], np.cumsum(begins, dtype=np.int64)])[places - places[0]])
    if valid is not None:
        known = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[rows]
        found = np.where(known, found, missing)
    return found
