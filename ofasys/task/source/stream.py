"""A stream (an IterableDataset), copied once to a file so that its rows can be drawn by number."""

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

from ofasys.errors import ConfigError, DataError
from ofasys.task.source.blocks import Blocks
from ofasys.task.source.row import Row, no_row

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 1_000_000  # of a stream whose max_rows was not given: it may have no end
BLOCK_ROWS = 1000
BLOCK_BYTES = 16 * 2**20  # of texts and bytes that wait to be written

_log = logging.getLogger("ofasys")


class Stream(Blocks):
    """The rows of a stream, read to its end and copied to a file below the system's folder for temporary files.

    name: what a person would call the stream. max_rows: only so many are read; None: all, and MOST_ROWS of them or
    more are an error. The file goes when the source does, or with the process that made it. Each block of it is an
    Arrow stream of its own, so rows may differ in their columns, and a column in its kind. Errors: DataError for a
    row that is no dict or holds what Arrow cannot keep, or when the stream itself raises; ConfigError for too many rows.
    """

    def __init__(self, data: Iterable[Any], name: str, max_rows: int | None = None) -> None:
        if max_rows is not None and max_rows < 1:
            raise ConfigError(f"max_rows is {max_rows}; it is at least 1")
        self.name = name
        self._forget()
        sizes, ends, schemas = list[int](), [0], dict[Any, None]()
        try:
            folder = Path(tempfile.mkdtemp(prefix="ofasys-stream-"))
            weakref.finalize(self, _remove, folder, os.getpid())
            self.file = folder / "rows.arrows"
            most = f"{MOST_ROWS if max_rows is None else max_rows:,}"
            _log.warning(
                f"reading {name} (at most {most} rows) into {folder}, which is removed afterwards: rows are drawn by "
                "number and a stream has no numbers. To read it once and for all write it to a .parquet file and give the path"
            )
            with open(self.file, "wb") as file:
                for table in _tables(_numbered(data, name, max_rows), name):
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

    def describe(self) -> str:
        """`datasets.IterableDataset of 40 rows`."""
        return f"{self.name} of {len(self)} rows"

    def _open(self) -> Any:
        import pyarrow as pa

        return pa.memory_map(str(self.file)).read_buffer()

    def _load(self, reader: Any, block: int, columns: list[str] | None = None) -> pa.Table:
        import pyarrow as pa

        start, end = int(self.ends[block]), int(self.ends[block + 1])
        table = pa.ipc.open_stream(reader.slice(start, end - start)).read_all()
        return table if columns is None else table.select([name for name in columns if name in table.column_names])


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


def _numbered(data: Iterable[Any], name: str, max_rows: int | None) -> Iterator[tuple[int, Row]]:
    """(number, row) of each row, checked to be one."""
    rows = iter(data)
    i = 0
    while max_rows is None or i < max_rows:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise DataError(f"{name} raised {type(error).__name__} after {i} rows: {error}") from error
        if i >= MOST_ROWS and max_rows is None:
            raise ConfigError(
                f"{name} gives more than {MOST_ROWS:,} rows, or has no end; take the first of them with "
                "add_dataset(stream, split, max_rows=N), or write it to a .parquet file and give the path"
            )
        if not isinstance(row, Mapping) or not row:
            raise no_row(row, name, i)
        yield i, dict(row)
        i += 1


def _tables(rows: Iterator[tuple[int, Row]], name: str) -> Iterator[pa.Table]:
    """The rows in blocks of bounded size."""
    waiting: list[tuple[int, Row]] = []
    weight = 0
    for numbered in rows:
        waiting.append(numbered)
        weight += sum(map(_weight, numbered[1].values()))
        if len(waiting) >= BLOCK_ROWS or weight >= BLOCK_BYTES:
            yield from _made(waiting, name)
            waiting, weight = [], 0
    if waiting:
        yield from _made(waiting, name)


def _weight(value: Any) -> int:
    """Bytes that a value holds, roughly."""
    if isinstance(value, Mapping):
        return sum(map(_weight, value.values()))
    if isinstance(value, list | tuple) and value and isinstance(value[0], str | bytes | list | tuple | Mapping):
        return sum(map(_weight, value))
    return len(value) if isinstance(value, str | bytes) else 8 * len(value) if isinstance(value, list | tuple) else 8


def _made(rows: list[tuple[int, Row]], name: str) -> Iterator[pa.Table]:
    """One table, or several where a column changes its kind between rows. Errors: DataError when one row alone has none."""
    import pyarrow as pa

    columns = dict.fromkeys(column for _, row in rows for column in row)
    arrays = []
    for column in columns:
        values = [row.get(column) for _, row in rows]
        try:
            arrays.append(pa.array(values))
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            if len(rows) == 1:
                message = f"a row of {name} holds a {type(values[0]).__name__} that an Arrow file cannot keep ({error})"
                expected = "texts, numbers, bytes (of an image file, say), paths as texts, or lists or dicts of one kind of them"
                raise DataError(message, expected=expected, column=str(column), sample=rows[0][0]) from None
            half = len(rows) // 2
            yield from _made(rows[:half], name)
            yield from _made(rows[half:], name)
            return
    yield pa.Table.from_arrays(arrays, names=list(map(str, columns)))
