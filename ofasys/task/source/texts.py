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
        import pyarrow.compute as pc

        return np.asarray(pc.utf8_length(self.column).fill_null(missing).to_numpy())

    def distinct(self) -> set[Any]:
        """Each value once."""
        return set(self.column.unique().to_pylist())


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
