"""Tables, boards, triples and databases on a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from ofasys.modality.modality import View
from ofasys.modality.shared import media
from ofasys.modality.struct.grid import read_grid
from ofasys.modality.struct.notation import Malformed
from ofasys.modality.struct.schema import is_database, read_schema
from ofasys.modality.struct.table import read_table
from ofasys.modality.struct.triples import read_triples

ROWS, COLUMNS, CELLS = 12, 12, 30  # shown of a table; of a board
LETTERS = 2000  # of an answer that reads as nothing


def show(values: Sequence[Any], view: View) -> str:
    """HTML of tables, boards, triples or a database's schema, as the slot reads them; of an answer that is none, its
    text. Errors: DataError for a value that is none.
    """
    kind = str(view.options["preprocess"])
    return "".join(_one(value, kind, view) for value in values)


def _one(value: Any, kind: str, view: View) -> str:
    if kind == "table" and is_database(value, view.root):
        kind = "database"
    if value is None or isinstance(value, Malformed):
        return f"<pre>{media.text('(nothing)' if value is None else value[:LETTERS])}</pre>"
    return _SHOWN[kind](value, view)


def _table(value: Any, view: View) -> str:
    table = read_table(value, view.root)
    rows = [list(row) for row in islice(table.rows, ROWS)]
    more = "" if table.count is None or table.count <= ROWS else f"{table.count:,} rows; "
    more += f"{len(table.columns)} columns; " if len(table.columns) > COLUMNS else ""
    note = f"<span class='muted'>{more}the first are shown</span>" if more else ""
    return media.table(table.columns[:COLUMNS], [row[:COLUMNS] for row in rows]) + note


def _triples(value: Any, view: View) -> str:
    rows = list(islice(read_triples(value), ROWS))
    return media.table(("subject", "relation", "object"), rows)


def _grid(value: Any, view: View) -> str:
    rows = [list(row)[:CELLS] for row in read_grid(value, int(view.options["values"])).tolist()[:CELLS]]
    return media.table((), rows, "board")


def _database(value: Any, view: View) -> str:
    text = "\n".join(table.write(0) for table in read_schema(value, 0, view.root)[:ROWS])
    return f"<pre>{media.text(text)}</pre>"


_SHOWN: Mapping[str, Callable[[Any, View], str]] = {
    "table": _table,
    "triples": _triples,
    "grid": _grid,
    "database": _database,
}
