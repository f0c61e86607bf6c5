"""Metrics of structures: tables, grids and triples, as plain values.

A prediction that is a str or None (an answer that reads as no structure) is wrong. A reference is one value, or a list
of alternatives.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from ofasys.errors import DataError
from ofasys.metric.pairs import pairs
from ofasys.metric.value import Key, key, label, plain

TABLE = "a list of rows (dicts), a dict of columns (lists), or a list of lists whose first is the header"
GRID = "a list of rows, each a list of whole numbers"
TRIPLES = "a list of (subject, relation, object)"

Table = tuple[tuple[str, ...], list[list[Any]]]  # columns, rows
Grid = list[list[Key]]
Plain = TypeVar("Plain")


def table_exact(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`table_exact`, 0..1: the share of tables equal to their reference; `cell_f1`, 0..1, the mean over the samples.

    Columns are compared by name, in any order. A cell is (number of its row, column, value) and counts as often as it
    occurs; of two tables without a cell F1 is 1 if their columns are equal. Numbers are the same when equal, without
    tolerance: 1 and 1.0; texts as in `exact_match`; text, numbers, truth values and None (or NaN) are apart. Of several
    references the best counts.
    """
    exact, f1 = _tables(predictions, references, True)
    return {"table_exact": exact, "cell_f1": f1}


def table_exact_any_order(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`table_exact_any_order` and `cell_f1_any_order`, 0..1: as `table_exact`, but rows may stand in any order.

    A cell is then (column, value), whichever its row.
    """
    exact, f1 = _tables(predictions, references, False)
    return {"table_exact_any_order": exact, "cell_f1_any_order": f1}


def grid_exact(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`grid_exact`, 0..1: the share of grids equal to their reference; `cell_accuracy`, 0..1: that of right cells.

    Cells are counted over the whole data set; those of a grid of another shape than its reference are all wrong. Of
    several references the one with most cells right counts.
    """
    scored = pairs(predictions, references)
    exact = right = cells = 0
    for i, (prediction, reference) in enumerate(scored):
        found = _grid(prediction)
        ways = [(_right_cells(found, way), way) for way in _ways(reference, _grid, GRID, i)]
        hits, truth = max(ways, key=lambda way: way[0])
        exact += any(found == way for _, way in ways)
        right, cells = right + hits, cells + sum(map(len, truth))
    return {"grid_exact": exact / len(scored), "cell_accuracy": right / cells}


def triples_f1(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`triples_f1`, `triples_precision`, `triples_recall`, 0..1, over all triples of the data set.

    The triples of a sample are a set; parts are compared as `table_exact` compares cells. Where there is no triple at
    all, neither predicted nor true, all three are the share of answers that say so, with an empty list. Of several
    references the best counts.
    """
    scored = pairs(predictions, references)
    hits = made = true = read = 0
    for i, (prediction, reference) in enumerate(scored):
        answer = _triples(prediction)
        found, read = answer or set(), read + (answer is not None)
        ways = _ways(reference, _triples, TRIPLES, i)
        truth = max(ways, key=lambda way: len(found & way) / max(1, len(found) + len(way)))
        hits, made, true = hits + len(found & truth), made + len(found), true + len(truth)
    if not made + true:
        return dict.fromkeys(("triples_f1", "triples_precision", "triples_recall"), read / len(scored))
    return {
        "triples_f1": 2 * hits / (made + true),
        "triples_precision": hits / made if made else 0.0,
        "triples_recall": hits / true if true else 0.0,
    }


def _tables(predictions: Sequence[Any], references: Sequence[Any], row_order: bool) -> tuple[float, float]:
    """The share of equal tables, and the mean F1 of cells."""
    scored = pairs(predictions, references)
    exact, scores = 0, []
    for i, (prediction, reference) in enumerate(scored):
        found, ways = _table(prediction), _ways(reference, _table, TABLE, i)
        if found is None:
            scores.append(0.0)
            continue
        exact += any(_same_table(found, way, row_order) for way in ways)
        scores.append(max(_cell_f1(found, way, row_order) for way in ways))
    return exact / len(scored), math.fsum(scores) / len(scored)


# --- plain values -------------------------------------------------------------------------------------------------


def _ways(reference: Any, read: Callable[[Any], Plain | None], expected: str, sample: int) -> list[Plain]:
    """The reference, or each of a list of alternatives."""
    whole = read(reference)
    ways = [whole] if whole is not None else [read(way) for way in reference] if isinstance(reference, list) else []
    found = [way for way in ways if way is not None]
    if not found or len(found) < len(ways):
        raise DataError(f"the reference is {reference!r:.80}", expected=expected, sample=sample)
    return found


def _table(value: Any) -> Table | None:
    """(columns, rows), or None for what is no table."""
    columns = getattr(value, "columns", None)
    if isinstance(value, Mapping):
        lists = [plain(column) for column in value.values()]
        if not all(isinstance(column, list) for column in lists) or len({len(column) for column in lists}) != 1:
            return None
        return _names(value), [list(row) for row in zip(*lists, strict=True)]
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, (list, tuple)) or any(hasattr(row, "columns") for row in value):
        return None
    rows = plain(value)
    if isinstance(columns, tuple) or (rows and isinstance(rows[0], dict)):
        names = columns if isinstance(columns, tuple) else tuple(rows[0])
        if not all(isinstance(row, dict) and set(row) == set(names) for row in rows):
            return None
        return _names(names), [[row[name] for name in names] for row in rows]
    if not rows or not all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows):
        return None
    if any(_nested(cell) for row in rows for cell in row):
        return None
    return _names(rows[0]), rows[1:]


def _names(columns: Iterable[Any]) -> tuple[str, ...]:
    return tuple(label(str(name)) for name in columns)


def _same_table(found: Table, truth: Table, row_order: bool) -> bool:
    ours, theirs = _rows(*found), _rows(*truth)
    return set(found[0]) == set(truth[0]) and (ours == theirs if row_order else Counter(ours) == Counter(theirs))


def _rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[tuple[Key, ...]]:
    """Each row with its cells in the order of the columns' names."""
    order = sorted(range(len(columns)), key=columns.__getitem__)
    return [tuple(key(row[i]) for i in order) for row in rows]


def _cell_f1(found: Table, truth: Table, row_order: bool) -> float:
    ours, theirs = _cells(*found, row_order), _cells(*truth, row_order)
    total = ours.total() + theirs.total()
    return 2 * (ours & theirs).total() / total if total else float(set(found[0]) == set(truth[0]))


def _cells(columns: Sequence[str], rows: Sequence[Sequence[Any]], row_order: bool) -> Counter[Hashable]:
    return Counter(
        (number if row_order else None, name, key(value))
        for number, row in enumerate(rows)
        for name, value in zip(columns, row, strict=True)
    )


def _grid(value: Any) -> Grid | None:
    value = plain(value)
    if not isinstance(value, list) or not value:
        return None
    if not all(isinstance(row, list) and row and not any(map(_nested, row)) for row in value):
        return None
    return [list(map(key, row)) for row in value]


def _right_cells(found: Grid | None, truth: Grid) -> int:
    if found is None or [len(row) for row in found] != [len(row) for row in truth]:
        return 0
    return sum(a == b for ours, theirs in zip(found, truth, strict=True) for a, b in zip(ours, theirs, strict=True))


def _triples(value: Any) -> set[tuple[Key, ...]] | None:
    value = plain(value)
    if not isinstance(value, list):
        return None
    if not all(isinstance(one, list) and len(one) == 3 and not any(map(_nested, one)) for one in value):
        return None
    return {tuple(map(key, one)) for one in value}


def _nested(value: Any) -> bool:
    return isinstance(value, (list, dict))
