"""What may follow the comma in a STRUCT slot, by preprocessor."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option

CELLS = 64  # the most values a cell of a grid may have; the range holds one id more, which ends a row
SIDE = 64  # the most rows, and the most columns, of a grid


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """Attributes of what is written as text: tables and triples."""

    max_length: int = option(1024, low=1, about="the most positions the slot may take; whole rows are left out")


@dataclass(frozen=True, kw_only=True)
class DatabaseOptions(TextOptions):
    """Attributes of `preprocess=database`."""

    samples: int = option(3, low=0, high=20, side="source", about="values shown of each column of a database")


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """Attributes of `preprocess=grid`."""

    values: int = option(10, low=2, high=CELLS, about="a cell of a grid is a whole number from 0 to one less")
    rows: int | None = option(None, low=1, high=SIDE, about="rows of every grid, where they all have as many")
    columns: int | None = option(None, low=1, high=SIDE, about="columns of every grid, where they all have as many")
