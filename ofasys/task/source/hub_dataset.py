"""A `datasets.Dataset`, read by number."""

from __future__ import annotations

import dataclasses
from typing import Any

from ofasys.task.source.columns import check_names, convert, holds_bytes, names_in
from ofasys.task.source.row import Rows, no_column
from ofasys.task.source.value import cell, named


class HubDataset(Rows):
    """A `datasets.Dataset`. Images and sounds come undecoded, classes by name; a transform of the user's is kept as it
    is.
    """

    def __init__(self, data: Any) -> None:
        self.own_transform = data.format["type"] == "custom"
        self.data = data if self.own_transform else undecoded(data).with_format("arrow")
        self.classes = classes(data)
        check_names(data.column_names, self.describe())

    def __len__(self) -> int:
        return len(self.data)

    def _row(self, i: int) -> Any:
        if self.own_transform:
            return self.data[i]
        row = self.data[i : i + 1]
        return {name: self._values(name, row)[0] for name in row.column_names}

    def _values(self, name: str, table: Any) -> list[Any]:
        column, names = table.column(name), self.classes.get(name)
        found = convert(column.type)(column)
        return found if names is None else [named(value, names) for value in found]

    def describe(self) -> str:
        """`datasets.Dataset of 40 rows`."""
        return f"datasets.Dataset of {len(self.data)} rows"

    def column(self, name: str) -> list[Any] | None:
        """All values of a column; None for images, sounds, and where the user's transform makes the columns."""
        if name not in self.data.column_names and not self.own_transform:
            raise no_column(name, self.data.column_names, self.describe())
        if self.own_transform or holds_bytes(self.data.features.arrow_schema.field(name).type):
            return None
        return list(map(cell, self._values(name, self.data.select_columns([name])[:])))


def classes(data: Any, stored: bool = True) -> dict[str, Any]:
    """Column -> what its classes are called, of a data set or stream of `datasets`; see `named`, and `names_in`."""
    return names_in(data.features.to_dict(), stored) or {} if data.features else {}


def undecoded(data: Any) -> Any:
    """The data set, or stream of one, with images and sounds as their bytes or path, and all else as Python values."""
    data = data.with_format(None)
    for name, feature in (data.features or {}).items():
        if getattr(feature, "decode", False) is True and type(feature).__name__ != "Json":
            data = data.cast_column(name, dataclasses.replace(feature, decode=False))
    return data
