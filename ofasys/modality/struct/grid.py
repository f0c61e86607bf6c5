"""Grids of small whole numbers: sudoku, ARC, boards. One token a cell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.shared.array import as_array, holds_array
from ofasys.modality.struct.notation import Malformed, shown
from ofasys.modality.struct.options import SIDE

Grid = list[list[int]]


def read_grid(value: Any, values: int, rows: int | None = None, columns: int | None = None) -> np.ndarray:
    """(rows, columns) int64 out of a list of lists, a 2-D array, or either as JSON text.

    Errors: DataError for what is no grid, ragged, empty, too large, of another shape than `rows` x `columns`, or with
    a cell that is no whole number from 0 to values - 1.
    """
    expected = f"a list of rows, each a list of whole numbers from 0 to {values - 1}"
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise DataError(f"got the text {shown(value)}", expected=expected) from None
    if holds_array(value):
        value = as_array(value, expected)
    if not isinstance(value, np.ndarray):
        value = _from_lists(value, expected)
    if value.ndim != 2 or value.dtype.kind not in "bui":
        raise DataError(f"got an array of {value.dtype}, of shape {value.shape}", expected=expected)
    if not value.size:
        raise DataError(f"the grid is {value.shape[0]} x {value.shape[1]}", expected="at least one cell")
    if max(value.shape) > SIDE:
        raise DataError(f"the grid is {value.shape[0]} x {value.shape[1]}", expected=f"at most {SIDE} x {SIDE} cells")
    if (rows is not None and value.shape[0] != rows) or (columns is not None and value.shape[1] != columns):
        raise DataError(f"the grid is {value.shape[0]} x {value.shape[1]}", expected=f"{rows} x {columns}")
    if int(value.min()) < 0 or int(value.max()) >= values:
        y, x = np.argwhere((value < 0) | (value >= values))[0].tolist()
        more = "; values= allows more" if value[y, x] >= values else ""
        raise DataError(
            f"row {y}, column {x} of the grid holds {int(value[y, x])}",
            expected=f"a whole number from 0 to {values - 1}{more}",
        )
    return np.asarray(value, dtype=np.int64)


def _from_lists(value: Any, expected: str) -> np.ndarray:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise DataError(f"got {type(value).__name__} {shown(value)}", expected=expected)
    if len(value) > SIDE:
        raise DataError(f"the grid has {len(value)} rows", expected=f"at most {SIDE}")
    made: Grid = []
    for y, row in enumerate(value):
        if isinstance(row, (str, bytes)) or not isinstance(row, (Sequence, np.ndarray)):
            raise DataError(f"row {y} of the grid is {type(row).__name__} {shown(row)}", expected=expected)
        if len(row) != len(value[0]):
            raise DataError(
                f"row {y} of the grid has {len(row)} cells and row 0 {len(value[0])}", expected="rows of one length"
            )
        if len(row) > SIDE:
            raise DataError(f"row {y} of the grid has {len(row)} cells", expected=f"at most {SIDE}")
        for x, cell in enumerate(row):
            if not isinstance(cell, (int, np.integer, np.bool_)) or abs(int(cell)) > 1 << 40:
                raise DataError(f"row {y}, column {x} of the grid holds {shown(cell)}", expected=expected)
        made.append([int(cell) for cell in row])
    return np.array(made, dtype=np.int64) if made else np.zeros((0, 0), dtype=np.int64)


def write_grid(grid: np.ndarray, end: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Cells in raster order (n,), and their (y, x) (n, 2). end: what stands after each row but the last, or None."""
    h, w = grid.shape
    if end is None:
        places = np.stack(np.meshgrid(np.arange(h), np.arange(w), indexing="ij"), -1).reshape(-1, 2)
        return grid.reshape(-1), places
    wide = np.concatenate([grid, np.full((h, 1), end, dtype=np.int64)], axis=1)
    cells, places = write_grid(wide, None)
    return cells[:-1], places[:-1]


def parse_grid(cells: np.ndarray, values: int, columns: int | None, end: int) -> Grid | Malformed:
    """The grid of cells (n,): in rows of `columns`, or of rows that `end` stands between."""
    if columns is not None:
        rows = [part.tolist() for part in np.split(cells, range(columns, len(cells), columns))]
    else:
        stops = np.flatnonzero(cells == end)
        rows = [part[part != end].tolist() for part in np.split(cells, stops)]
    problem = None
    if len({len(row) for row in rows}) > 1 or not rows[0]:
        problem = "rows of several lengths" if rows[0] else "a row without cells"
    elif any(cell >= values for row in rows for cell in row):
        problem = f"a cell above {values - 1}"
    if problem is not None:
        return Malformed("\n".join(" ".join(map(str, row)) for row in rows), problem)
    return rows
