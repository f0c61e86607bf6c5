"""Tables: every form they come in, row by row as far as is asked for; as text, and back."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ofasys.errors import DataError
from ofasys.modality.shared.separated import (
    LOOKED_AT,
    TSV,
    Form,
    form_of_csv,
    in_quotes,
    needs_quotes,
    not_utf8,
    with_text,
)
from ofasys.modality.struct.notation import (
    Malformed,
    Value,
    plain,
    read_cell,
    read_line,
    shown,
    write_cell,
    write_line,
    write_name,
)

EXPECTED = (
    "a table: a list of rows (dicts), a dict of columns (lists), a list of lists whose first holds the names of the "
    "columns, a pandas.DataFrame, a pyarrow.Table, CSV text, or the path of a .csv, .tsv, .json or .jsonl file"
)
MOST_COLUMNS = 1000
LONGEST_LINE = 1 << 20  # characters of a line of CSV
BLOCK = 256


class Table(list[dict[str, Value]]):
    """A list of rows, each a dict of column to value, that knows its columns even where it has no row."""

    columns: tuple[str, ...]

    def __init__(self, rows: Iterable[Mapping[str, Value]] = (), columns: Sequence[str] | None = None) -> None:
        super().__init__(dict(row) for row in rows)
        self.columns = tuple(columns if columns is not None else self[0] if self else ())

    def to_pandas(self) -> Any:
        """A pandas.DataFrame with the same columns."""
        from ofasys.modality.struct.extra import pandas

        return pandas().DataFrame(list(self), columns=list(self.columns))

    def __reduce__(self) -> tuple[type[Table], tuple[list[dict[str, Value]], tuple[str, ...]]]:
        return Table, (list(self), self.columns)


@dataclass(frozen=True)
class Reading:
    """A table being read. columns: their names. rows: checked, one after another. count: rows in all, None if
    unknown.
    """

    columns: tuple[str, ...]
    rows: Iterator[list[Value]]
    count: int | None


def read_table(value: Any, root: str | Path | None = None) -> Reading:
    """A table in any of its forms; only the header is read yet. Relative paths start at `root`.

    Rows are read as they are asked for, and each is checked then. Errors: DataError for what is no table, names that
    come twice, a row with another number of cells, a cell that is no single value.
    """
    if isinstance(value, (str, os.PathLike)):
        return _from_text(value, root)
    if isinstance(value, Table):
        return _checked(value.columns, ([row.get(c) for c in value.columns] for row in value), len(value))
    kind = type(value).__module__.partition(".")[0]
    if kind == "pandas" and hasattr(value, "itertuples"):
        blocks = (value.iloc[at : at + BLOCK].itertuples(index=False, name=None) for at in range(0, len(value), BLOCK))
        return _checked([str(name) for name in value.columns], chain.from_iterable(blocks), len(value))
    if kind == "pyarrow" and hasattr(value, "column_names"):
        return _checked(value.column_names, _arrow_rows(value), value.num_rows)
    if isinstance(value, Mapping):
        return _from_columns(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return _from_rows(value)
    raise DataError(f"got {type(value).__name__} {shown(value)}", expected=EXPECTED)


def header(columns: Sequence[str]) -> str:
    """The line of the names."""
    return write_line([write_name(name) for name in columns])


def lines(reading: Reading) -> Iterator[str]:
    """Each row as a line, line break first."""
    for row in reading.rows:
        yield "\n" + write_line([write_cell(value) for value in row])


def write_table(table: Reading) -> str:
    """The whole table as text; `parse_table` reads it back."""
    return header(table.columns) + "".join(lines(table))


def parse_table(text: str) -> Table | Malformed:
    """The table that a text writes; the text itself, Malformed, where it writes none."""
    first, *rest = text.split("\n")
    try:
        names = read_line(first, names=True)
        if None in names:
            return Malformed(text, "a column has no name")
        if twice := _twice([str(name) for name in names]):
            return Malformed(text, f"two columns are called {twice!r}")
        rows = [read_line(line) for line in rest]
    except ValueError as error:
        return Malformed(text, str(error))
    columns = tuple(str(name) for name in names)
    for number, row in enumerate(rows):
        if len(row) != len(columns):
            return Malformed(text, f"row {number} has {len(row)} cells and the header {len(columns)}")
    return Table((dict(zip(columns, row, strict=True)) for row in rows), columns)


def whole(reading: Reading) -> Table:
    """All of it."""
    return Table((dict(zip(reading.columns, row, strict=True)) for row in reading.rows), reading.columns)


def _checked(columns: Iterable[Any], rows: Iterable[Sequence[Any]], count: int | None) -> Reading:
    names = tuple(columns)
    if odd := [name for name in names if not isinstance(name, str)]:
        hint = "; is it a grid? write preprocess=grid" if all(isinstance(name, int) for name in odd) else ""
        raise DataError(f"a column is called {shown(odd[0])}, which is no text{hint}", expected=EXPECTED)
    if not names:
        raise DataError("the table has no columns", expected="at least one; a table without rows still has a header")
    if len(names) > MOST_COLUMNS:
        raise DataError(f"the table has {len(names)} columns", expected=f"at most {MOST_COLUMNS}")
    if twice := _twice(names):
        raise DataError(f"two columns are called {twice!r}", expected="names that differ")
    return Reading(names, _rows(names, rows), count)


def _twice(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def _rows(names: tuple[str, ...], rows: Iterable[Sequence[Any]]) -> Iterator[list[Value]]:
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise _ragged(number, len(row), len(names))
        try:
            yield [plain(cell) for cell in row]
        except DataError:
            for name, cell in zip(names, row, strict=True):
                try:
                    plain(cell)
                except DataError as error:
                    raise DataError(
                        f"row {number}, column {name!r}: {error.message}", expected=error.expected
                    ) from None
            raise


def _ragged(number: int, cells: int, columns: int) -> DataError:
    return DataError(
        f"row {number} of the table has {cells} cells and its header {columns}",
        expected="a cell for each column, None where there is no value",
    )


def _from_rows(value: Sequence[Any]) -> Reading:
    if not len(value):
        raise DataError(
            "an empty list has no columns", expected='a header at least: [["name", "age"]] or {"name": [], "age": []}'
        )
    first = value[0]
    if isinstance(first, Mapping):
        names = tuple(first)
        return _checked(names, _from_dicts(names, value), len(value))
    if isinstance(first, Sequence) and not isinstance(first, (str, bytes, bytearray)):
        return _checked(first, _from_lists(value), len(value) - 1)
    raise DataError(f"got a list of {type(first).__name__} {shown(first)}", expected=EXPECTED)


def _from_dicts(names: tuple[str, ...], rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(f"row {number} of the table is a {type(row).__name__}", expected="a dict as row 0 is")
        if len(row) != len(names) or any(name not in row for name in names):
            lacking = [name for name in names if name not in row]
            more = [name for name in row if name not in names]
            problem = f"lacks the column {lacking[0]!r}" if lacking else f"has a column {more[0]!r} that row 0 lacks"
            raise DataError(
                f"row {number} of the table {problem}", expected="the same columns in every row, None for no value"
            )
        yield [row[name] for name in names]


def _from_lists(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for number in range(1, len(rows)):
        row = rows[number]
        if isinstance(row, (str, bytes, Mapping)) or not isinstance(row, Sequence):
            raise DataError(f"row {number - 1} of the table is a {type(row).__name__}", expected="a list of cells")
        yield row


def _from_columns(value: Mapping[str, Any]) -> Reading:
    columns = list(value.values())
    for name, column in value.items():
        if isinstance(column, (str, bytes, Mapping)) or not hasattr(column, "__len__"):
            raise DataError(f"column {name!r} is a {type(column).__name__} {shown(column)}", expected=EXPECTED)
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        at = next(i for i, length in enumerate(lengths) if length != lengths[0])
        names = list(value)
        raise DataError(
            f"column {names[0]!r} has {lengths[0]} cells and column {names[at]!r} {lengths[at]}",
            expected="columns of one length",
        )
    return _checked(value, zip(*columns, strict=True), lengths[0] if lengths else 0)


def _arrow_rows(table: Any) -> Iterator[Sequence[Any]]:
    for at in range(0, table.num_rows, BLOCK):
        part = table.slice(at, BLOCK)
        yield from zip(*(part.column(i).to_pylist() for i in range(part.num_columns)), strict=True)


# --- text: CSV, its path, or JSON -----------------------------------------------------------------------------------


def _from_text(value: str | os.PathLike[str], root: str | Path | None) -> Reading:
    text = os.fspath(value)
    path = None if "\n" in text or len(text) > 4096 else Path(root or ".", text)
    if path is not None and _is_file(path):
        return _from_file(path)
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return read_table(json.loads(text, object_pairs_hook=_once))
        except (ValueError, RecursionError) as error:
            if isinstance(error, DataError):
                raise
            if "\n" not in text:
                raise DataError(f"JSON that cannot be read: {error}", expected=EXPECTED) from None
    if "\n" not in text.strip("\n") and not text.endswith("\n"):
        raise DataError(f"no file {text[:200]!r}, and CSV text has more than one line", expected=EXPECTED)
    return _from_csv(_short_lines(io.StringIO(text.removeprefix("\ufeff"), newline=""), "the CSV text"))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _from_file(path: Path) -> Reading:
    suffix = path.suffix.lower()
    try:
        if suffix not in (".json", ".jsonl"):
            return _from_csv(_file_lines(path), TSV if suffix == ".tsv" else None)
        text = path.read_text(encoding="utf-8-sig")
        lines = [text] if suffix == ".json" else [line for line in text.split("\n") if line.strip()]
        found = [json.loads(line, object_pairs_hook=_once) for line in lines]
        value = found[0] if suffix == ".json" else found
        if isinstance(value, str):
            raise DataError(f"{path} holds a text", expected="rows as JSON")
        return read_table(value)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}", expected="a file of a table") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} is not JSON: {error}", expected=f"rows as JSON, {'a list' if suffix == '.json' else 'one a line'}"
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's fields. Errors: DataError for two of one name."""
    if twice := _twice([name for name, _ in pairs]):
        raise DataError(f"two columns are called {twice!r}", expected="names that differ")
    return dict(pairs)


def _file_lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            encoding = not_utf8(file.read(64))
        if encoding is not None:
            raise DataError(f"{path} is {encoding}", expected="a CSV file in UTF-8: save it anew in that encoding")
        with path.open(encoding="utf-8-sig", newline="") as text:
            yield from _short_lines(text, str(path))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error}", expected="a CSV file in UTF-8") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}", expected="a CSV file") from None


def _short_lines(file: Any, what: str) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise DataError(f"{what} has a line of {LONGEST_LINE} characters or more", expected="CSV with a line a row")
        yield line


def _from_csv(text: Iterator[str], form: Form | None = None) -> Reading:
    first = list(islice(text, LOOKED_AT))
    form = form or form_of_csv(first)
    read = _csv_records(chain(first, text), form)
    names, written = next(read, ([], ""))
    if not names:
        raise DataError("the CSV has no header", expected="a first line with the names of the columns")
    telling = form.quotes and not any(
        quoted and not needs_quotes(name) for name, quoted in zip(names, in_quotes(names, written), strict=True)
    )
    return replace(_checked(names, (), None), rows=_csv_rows(read, len(names), telling))


def _csv_records(lines: Iterator[str], form: Form) -> Iterator[tuple[list[str], str]]:
    """The cells of each record that has some, and how it was written."""
    try:
        yield from (found for found in with_text(islice(lines, form.before, None), form) if found[0])
    except csv.Error as error:
        raise DataError(f"CSV that cannot be read: {error}", expected=EXPECTED) from None


def _csv_rows(read: Iterator[tuple[list[str], str]], columns: int, telling: bool) -> Iterator[list[Value]]:
    """The values of each record. telling: a cell in quotes is text; they say nothing where a name has some without
    need.
    """
    for number, (cells, written) in enumerate(read):
        if len(cells) != columns:
            raise _ragged(number, len(cells), columns)
        values = [read_cell(cell) for cell in cells]
        if telling and '"' in written and cells != [""]:  # `""` alone on its line: without quotes it would be no record
            yield _unless_quoted(values, cells, written)
        else:
            yield values


def _unless_quoted(values: list[Value], cells: list[str], written: str) -> list[Value]:
    """The values, of cells in quotes the text."""
    if not any(f'"{cell}"' in written for value, cell in zip(values, cells, strict=True) if type(value) is not str):
        return values
    quotes = in_quotes(cells, written)
    return [cell if quoted else value for value, cell, quoted in zip(values, cells, quotes, strict=True)]
