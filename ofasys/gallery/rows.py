"""Rows that are made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

Row = dict[str, Any]


class Rows(Sequence[Row]):
    """`length` rows, row i made by `make(i)` when asked for. Picklable when `make` is."""

    def __init__(self, make: Callable[[int], Row], length: int) -> None:
        self.make, self.length = make, length

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self.make(i) for i in range(*index.indices(self.length))]
        if not -self.length <= index < self.length:
            raise IndexError(f"row {index} of {self.length}")
        return self.make(int(index) % self.length)

    def __iter__(self) -> Iterator[Row]:
        return (self.make(i) for i in range(self.length))

    def __repr__(self) -> str:
        return f"Rows({self.length})"
