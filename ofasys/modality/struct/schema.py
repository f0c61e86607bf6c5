"""A database as text: a line a table, with its columns, their types, keys and a few of their values.

    cars : id integer key = 1 , 2 , 3 | name text = 'Fiat' , 'Kia' | maker integer -> makers.id = 1 , 2

Names and values are written as SQL writes them, so that a query can copy them.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ofasys.errors import DataError
from ofasys.metric.sql_process import EXPECTED, Refused
from ofasys.metric.sql_reader import Failed, shared_reader
from ofasys.modality.struct.notation import shown

MOST_TABLES = 500
MOST_COLUMNS = 1000  # of a table, and
MOST_IN_ALL = 5000  # of a database: what comes after is far beyond any max_length
LOOKED_AT = 100  # rows of a table that samples come from
LONGEST = 40  # characters of a value that is shown

Read = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]  # a query and its values -> rows

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = frozenset(
    """add all alter and as autoincrement between case check collate commit constraint create default deferrable delete
    distinct drop else escape except exists foreign from group having if in index insert intersect into is isnull join
    limit not nothing notnull null on or order primary references returning select set table then to transaction union
    unique update using values when where""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Column:
    """refers: the column another table has it from, as written; samples: written values."""

    name: str
    type: str
    """As declared, in small letters; empty where nothing is."""
    key: bool
    """Whether it is part of the primary key."""
    refers: str | None
    samples: tuple[str, ...]

    def write(self, samples: int) -> str:
        """With at most so many of its values."""
        parts = [name_of(self.name), *([self.type] if self.type else []), *(["key"] if self.key else [])]
        parts += [f"-> {self.refers}"] if self.refers else []
        parts += [f"= {' , '.join(self.samples[:samples])}"] if self.samples[:samples] else []
        return " ".join(parts)


@dataclass(frozen=True)
class TableSchema:
    """A table or a view."""

    name: str
    columns: tuple[Column, ...]

    def write(self, samples: int) -> str:
        """The table's line."""
        return f" {name_of(self.name)} : {' | '.join(column.write(samples) for column in self.columns)}"


def is_database(value: Any, root: str | Path | None = None) -> bool:
    """Whether the value is a connection, or the path of a file that begins as an SQLite database does."""
    if isinstance(value, sqlite3.Connection):
        return True
    if not isinstance(value, (str, os.PathLike)) or len(os.fspath(value)) > 4096:
        return False
    try:
        path = Path(root or ".", value)
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except (OSError, ValueError):
        return False


def read_schema(value: Any, samples: int, root: str | Path | None = None) -> tuple[TableSchema, ...]:
    """The tables and views of a database, in the order they were made; at most MOST_TABLES, and of some MOST_IN_ALL
    columns.

    value: a path, relative ones from `root`, opened read-only; or a connection, which is as before afterwards. Errors:
    DataError for what is no database, has no table, is locked or damaged, or takes too long.
    """
    if not isinstance(value, (str, os.PathLike, sqlite3.Connection)):
        raise DataError(f"got {type(value).__name__} {shown(value)}", expected=EXPECTED)
    if isinstance(value, sqlite3.Connection):
        return _read(value, samples)
    path = Path(root or ".", value)
    return _read_once(path, tuple(map(_stamp, (path, Path(f"{path}-wal")))), samples)


def _stamp(path: Path) -> tuple[int, ...]:
    """By which a file is known again: size, time of change, inode; nothing of one that is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    return found.st_size, found.st_mtime_ns, found.st_ino


@lru_cache(maxsize=256)
def _read_once(path: Path, stamps: tuple[tuple[int, ...], ...], samples: int) -> tuple[TableSchema, ...]:
    """Many rows ask about one database, which stays as it is for as long as its files do."""
    return _read(path, samples)


def _read(place: Path | sqlite3.Connection, samples: int) -> tuple[TableSchema, ...]:
    try:
        with shared_reader() as reader:
            number = reader.open(place)
            try:
                found = tuple(_tables(partial(reader.read, number), samples))
            finally:
                reader.close(number)
    except (Failed, Refused) as error:
        raise DataError(f"the database cannot be read: {error.args[0]}", expected=EXPECTED) from None
    if not found:
        raise DataError("the database has no table", expected="at least one")
    return found


def _tables(read: Read, samples: int) -> Iterator[TableSchema]:
    shadows = {name for name, kind in _rows(read, "SELECT name, type FROM pragma_table_list") if kind == "shadow"}
    listed = _rows(
        read,
        "SELECT name, type FROM main.sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' ORDER BY rowid LIMIT ?",
        (MOST_TABLES,),
    )
    seen = 0
    for name, kind in listed:
        if name in shadows:
            continue
        if seen > MOST_IN_ALL:
            return
        try:
            columns = tuple(_columns(read, name, samples if kind == "table" else 0))
        except Failed as error:  # a view or a module that is broken here
            _pass_over(error, "OperationalError")
            continue
        seen += len(columns)
        if columns:
            yield TableSchema(name, columns)


def _columns(read: Read, table: str, samples: int) -> Iterator[Column]:
    refers = {}
    for to_table, column, to in _rows(read, 'SELECT "table", "from", "to" FROM pragma_foreign_key_list(?)', (table,)):
        refers[column] = name_of(to_table) + (f".{name_of(to)}" if to else "")
    listed = _rows(read, "SELECT name, type, pk, hidden FROM pragma_table_xinfo(?)", (table,))
    for name, kind, key, hidden in listed[:MOST_COLUMNS]:
        if hidden != 1:
            values = tuple(_samples(read, table, name, samples)) if samples else ()
            yield Column(name, (kind or "").lower(), bool(key), refers.get(name), values)


def _samples(read: Read, table: str, column: str, count: int) -> list[str]:
    """The first distinct values, as SQL writes them; long ones and blobs left out."""
    one = _quoted(column)
    query = (
        f"SELECT CASE typeof({one}) WHEN 'text' THEN CAST(substr({one}, 1, {LONGEST + 1}) AS "
        "BLOB) WHEN 'blob' THEN NULL "
    )
    query += f"ELSE {one} END FROM main.{_quoted(table)} LIMIT {LOOKED_AT}"
    try:
        found = dict.fromkeys(value for (value,) in _rows(read, query, decoded=False))
    except Failed as error:  # a value too large to look at
        _pass_over(error, "DataError", "OperationalError")
        return []
    return [text for text in map(_literal, found) if text is not None][:count]


def _literal(value: Any) -> str | None:
    if isinstance(value, (int, float)):
        return repr(value)
    if not isinstance(value, bytes):
        return None
    text = value.decode("utf8", "replace")
    if len(text) > LONGEST or "\ufffd" in text or any(c < " " for c in text):
        return None
    return "'" + text.replace("'", "''") + "'"


def name_of(name: str) -> str:
    """A name as SQL writes it: bare, or in quotes where it has to be."""
    return name if _NAME.fullmatch(name) and name.lower() not in _RESERVED else _quoted(name)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _rows(read: Read, sql: str, values: tuple[Any, ...] = (), decoded: bool = True) -> list[tuple[Any, ...]]:
    """Rows as tuples; texts in bytes where they are not decoded."""
    found = read(sql, values)
    if not decoded:
        return found
    return [tuple(v.decode("utf8", "replace") if isinstance(v, bytes) else v for v in row) for row in found]


def _pass_over(error: Failed, *kinds: str) -> None:
    """Raises the error where it is not of one of these kinds, or the database has taken all the time it may."""
    if error.args[1] not in kinds or error.args[0] == "it does not end in time":
        raise error
