"""A `datasets.Dataset`, read by number."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ofasys.task.source.row import Rows, cell, no_column


class HubDataset(Rows):
    """A `datasets.Dataset`. Images and sounds come undecoded; a transform of the user's is kept as it is."""

    def __init__(self, data: Any) -> None:
        self.own_transform = data.format["type"] == "custom"
        self.data = data if self.own_transform else undecoded(data)
        self.arrays = {} if self.own_transform else array_columns(self.data.features)

    def __len__(self) -> int:
        return len(self.data)

    def _row(self, i: int) -> Any:
        row = self.data[i]
        return {
            **row,
            **{name: np.array(row[name], kind) for name, kind in self.arrays.items() if row[name] is not None},
        }

    def describe(self) -> str:
        """`datasets.Dataset of 40 rows`."""
        return f"datasets.Dataset of {len(self)} rows"

    def column(self, name: str) -> list[Any] | None:
        """All values of a column; None for images, sounds, and where the user's transform makes the columns."""
        if name not in self.data.column_names and not self.own_transform:
            raise no_column(name, self.data.column_names, self.describe())
        if self.own_transform or hasattr(self.data.features[name], "decode"):
            return None
        table = self.data.select_columns([name]).with_format("arrow")[:]
        return [cell(value) for value in table.column(name).to_pylist()]


def array_columns(features: Any) -> dict[str, str]:
    """The columns that hold an array a row, Array2D to Array5D, and the kind of its numbers."""
    found = {name: getattr(feature, "dtype", None) for name, feature in features.items() if hasattr(feature, "shape")}
    return {name: kind for name, kind in found.items() if isinstance(kind, str)}


def undecoded(data: Any) -> Any:
    """The data set, or stream of one, with images and sounds as their bytes or path, and all else as Python values."""
    data = data.with_format(None)
    for name, feature in (data.features or {}).items():
        if getattr(feature, "decode", False) is True:
            data = data.cast_column(name, dataclasses.replace(feature, decode=False))
    return data
