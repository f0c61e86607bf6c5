"""A stream (an IterableDataset), copied once to a file so that its rows can be drawn by number.

The copy is blocks of Arrow. A column of a block whose values are all texts, all whole numbers and so on, is one of
Arrow's; any other is kept value by value, see `written.py`, so that what comes back is what was given.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ofasys.errors import ConfigError, DataError, LoadingError, OfasysError
from ofasys.task.source import written
from ofasys.task.source.blocks import Blocks, Values, beyond
from ofasys.task.source.row import Row, no_row, said
from ofasys.task.source.texts import Texts
from ofasys.task.source.value import cell, named

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 1_000_000  # of a stream whose max_rows was not given: it may have no end
BLOCK_ROWS = 1000
BLOCK_BYTES = 16 * 2**20  # of texts and bytes that wait to be written
_KINDS = (str, int, float, bool, bytes)  # what a column of Arrow keeps as it is, if it is all of one of them
_FLAT = (str, int, float, bool, type(None))  # what lists hold that wait as they are
_WRITTEN = {b"values": b"written"}
_HEAVY = {b"values": b"written, some of them large"}

_log = logging.getLogger("ofasys")


_NO_VALUE = object()  # of a row without the column


class Stream(Blocks):
    """The rows of a stream, read to its end and copied to a file below the system's folder for temporary files.

    name: what a person would call the stream. max_rows: only so many are read; None: all, and MOST_ROWS of them or more
    are an error, unless the stream is known to end. classes: column -> what its classes are called, see `named`. The
    file goes when the source does, or with the process that made it. Each block of it is an Arrow stream of its own, so
    rows may differ in their columns, and a column in its kind. Errors: DataError for a row that is no dict or holds
    what cannot be written to a file, or when the stream itself raises; ConfigError for too many rows.
    """

    def __init__(
        self,
        data: Iterable[Any],
        name: str,
        max_rows: int | None = None,
        classes: Mapping[str, Any] | None = None,
        endless: bool = True,
    ) -> None:
        if max_rows is not None and max_rows < 1:
            raise ConfigError(f"max_rows is {max_rows}; it is at least 1")
        self.name = name
        self._forget()
        sizes, ends, schemas = list[int](), [0], dict[Any, None]()
        try:
            folder = Path(tempfile.mkdtemp(prefix="ofasys-stream-"))
            weakref.finalize(self, _remove, folder, os.getpid())
            self.file = folder / "rows.arrows"
            most = MOST_ROWS if max_rows is None and endless else max_rows
            _log.warning(
                f"reading {name} ({'all' if most is None else f'at most {most:,}'} rows) into {folder}, which is "
                "removed afterwards: rows are drawn by number and a stream has no numbers. To read it once and for all "
                "write it to a .parquet file and give the path"
            )
            with open(self.file, "wb") as file:
                for table in _tables(_kept(_numbered(data, name, max_rows, endless), name, classes or {})):
                    ends.append(_append(file, table))
                    sizes.append(table.num_rows)
                    schemas[table.schema] = None
        except OSError as error:  # the disk's: what the stream itself raises is a DataError by now
            raise DataError(
                f"{name} cannot be copied to a file: {error.strerror or error}, after {sum(sizes)} rows",
                expected="room for all of it in the folder that TMPDIR names, or a smaller max_rows",
            ) from None
        self.ends = np.array(ends, dtype=np.int64)
        self._lay(sizes, schemas)
        self.classes = dict(classes or {})  # in the copy they have their names

    def describe(self) -> str:
        """`datasets.IterableDataset of 40 rows`."""
        return f"{self.name} of {len(self)} rows"

    def _row(self, i: int) -> Row:
        return {name: value for name, value in super()._row(i).items() if value is not _NO_VALUE}

    def _chosen(self, table: pa.Table | str, name: str, rows: range) -> Values:
        found = super()._chosen(table, name, rows)
        return found if isinstance(found, Texts) else [None if value is _NO_VALUE else value for value in found]

    def _values(self, field: pa.Field, column: Any) -> list[Any]:
        if field.metadata is None:
            return list(column.to_pylist())
        return [_NO_VALUE if data is None else written.read(data) for data in column.to_pylist()]

    def _simple(self, field: pa.Field) -> bool:
        return field.metadata is None

    def _heavy(self, field: pa.Field) -> bool:
        return super()._heavy(field) if field.metadata is None else field.metadata == _HEAVY

    def _open(self) -> Any:
        import pyarrow as pa

        try:
            with pa.memory_map(str(self.file)) as file:  # no other program's: nobody cuts it while it is mapped
                return file.read_buffer()  # which stays when the file is closed, or removed
        except OSError as error:
            raise LoadingError(
                f"the copy of {self.name} cannot be read any more ({self.file}): {error.strerror or error}",
                expected="a folder for temporary files that nothing clears during a run; TMPDIR names it",
            ) from None

    def _load(self, reader: Any, start: int, end: int, columns: list[str] | None = None) -> pa.Table:
        import pyarrow as pa

        first, last = int(self.ends[start]), int(self.ends[end])
        table = pa.ipc.open_stream(reader.slice(first, last - first)).read_all()
        return table if columns is None else table.select([name for name in columns if name in table.column_names])

    def _weight(self, table: pa.Table) -> int:
        return beyond(self._reader(), table)

    def _row_bytes(self) -> float:
        return 0.0  # blocks may differ in their columns, and are of BLOCK_ROWS


def _remove(folder: Path, process: int) -> None:
    """A forked worker has the source too, but not the right to take its file away."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _append(file: Any, table: pa.Table) -> int:
    """Write one block; where the file ends now."""
    import pyarrow as pa

    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return int(file.tell())


def _numbered(data: Iterable[Any], name: str, max_rows: int | None, endless: bool) -> Iterator[tuple[int, Row]]:
    """(number, row) of each row, checked to be one."""
    rows: Iterator[Any] | None = None
    i = 0
    while max_rows is None or i < max_rows:
        try:
            rows = iter(data) if rows is None else rows
            row = next(rows)
        except StopIteration:
            return
        except OfasysError:
            raise
        except (Exception, SystemExit) as error:
            raise DataError(f"{name} raised {type(error).__name__} after {i} rows: {said(error)}") from error
        if i >= MOST_ROWS and max_rows is None and endless:
            raise ConfigError(
                f"{name} gives more than {MOST_ROWS:,} rows, or has no end; take the first of them with "
                "add_dataset(stream, split, max_rows=N), or write it to a .parquet file and give the path"
            )
        if not isinstance(row, Mapping) or not row:
            raise no_row(row, name, i)
        yield i, dict(row)
        i += 1


class _Written(bytes):
    """A value as `written` writes it. heavy: it is, or holds, bytes or an array."""

    heavy: bool


def _kept(rows: Iterator[tuple[int, Row]], name: str, classes: Mapping[str, Any]) -> Iterator[Row]:
    """Each row with values as a block keeps them. Errors: DataError for one that cannot be written to a file."""
    for i, row in rows:
        kept: Row = {}
        for column, given in row.items():
            if not isinstance(column, str):
                kind = type(column).__name__
                raise DataError(
                    f"a column of {name} is named {column!r}, a {kind}", expected="a text", column=str(column), sample=i
                )
            try:
                value = cell(named(given, classes[column])) if column in classes else cell(given)
                kept[column] = _held(value)
            except Exception as error:  # the value itself may raise anything
                raise DataError(
                    f"a row of {name} holds a {type(given).__name__} that cannot be written to a file ({error})",
                    expected="texts, numbers, bytes (of an image file, say), arrays, or lists or dicts of them",
                    column=str(column),
                    sample=i,
                ) from None
        yield kept


def _as_written(value: Any) -> _Written:
    if isinstance(value, _Written):
        return value
    data, heavy = written.write(value)
    found = _Written(data)
    found.heavy = heavy
    return found


def _tables(rows: Iterator[Row]) -> Iterator[pa.Table]:
    """The rows in blocks of bounded size."""
    waiting: list[Row] = []
    weight = 0
    for row in rows:
        waiting.append(row)
        weight += sum(map(_weight, row.values()))
        if len(waiting) >= BLOCK_ROWS or weight >= BLOCK_BYTES:
            yield _table(waiting)
            waiting, weight = [], 0
    if waiting:
        yield _table(waiting)


def _table(rows: list[Row]) -> pa.Table:
    import pyarrow as pa

    fields, arrays = [], []
    for column in dict.fromkeys(column for row in rows for column in row):
        array, metadata = _array(rows, column)
        arrays.append(array)
        fields.append(pa.field(column, array.type, metadata=metadata))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _array(rows: list[Row], column: str) -> tuple[pa.Array, dict[bytes, bytes] | None]:
    """A column of a block: of one kind of value as Arrow keeps it; else each written, null where a row has none."""
    import pyarrow as pa

    values = [row[column] for row in rows if column in row]
    if len(values) == len(rows) and _alike(values):
        try:
            return pa.array(values), None
        except (pa.ArrowException, ValueError, OverflowError):  # half a surrogate, a whole number beyond 64 bits
            pass
    found = [_as_written(row[column]) if column in row else None for row in rows]
    heavy = any(value.heavy for value in found if value is not None)
    return pa.array(found, pa.large_binary()), _HEAVY if heavy else _WRITTEN


def _alike(values: list[Any]) -> bool:
    """Whether values are of one kind that Arrow keeps, or lists of values of one such kind; any may be missing."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {list}:
        kinds = {type(one) for value in values if value for one in value} - {type(None)}
    return len(kinds) <= 1 and kinds.issubset(_KINDS)


def _held(value: Any) -> Any:
    """As it waits for its block to be full: what may change meanwhile is copied or written."""
    if value is None or type(value) in _KINDS:
        return value
    flat = (
        type(value) is list
        and len(set(map(type, value)) - {type(None)}) <= 1
        and type(value[-1] if value else 1) in _FLAT
    )
    return list(value) if flat else _as_written(value)


def _weight(value: Any) -> int:
    """Bytes that a value holds, roughly."""
    if isinstance(value, list):
        return sum(map(len, value)) if value and isinstance(value[0], str) else 8 * len(value)
    return len(value) if isinstance(value, str | bytes) else 8
