"""Tables that are read block by block: Parquet row groups, Arrow record batches."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ofasys.errors import DataError
from ofasys.task.source.columns import check_fields, class_names, convert, holds_bytes, simple
from ofasys.task.source.row import Row, Rows, no_column
from ofasys.task.source.value import cell, named

if TYPE_CHECKING:
    import pyarrow as pa

CACHE_BYTES = 256 * 2**20  # decoded row groups that a process keeps of one file


class Blocks(Rows):
    """A table read block by block. Kept in memory: the last blocks used, up to CACHE_BYTES (and at least one).

    A subclass opens it (in each process anew) and loads a block; it calls `_lay` with what the blocks hold.
    """

    names: list[str]  # the columns, of any block
    heavy: set[str]  # those that hold bytes, which `column` does not read
    classes: dict[str, Any]  # of those that hold classes by number, their names; see `named`
    odd: set[str]  # those whose values are not Arrow's own Python values
    starts: np.ndarray  # (blocks + 1,): the number of each block's first row, and of all rows
    _opened: tuple[int, Any] | None  # whose process, and what it opened
    _kept: OrderedDict[int, pa.Table]
    _lock: threading.Lock

    def _lay(self, sizes: Sequence[int], schemas: Iterable[pa.Schema]) -> None:
        """Say how many rows each block has, and which columns there are."""
        schemas = list(schemas)
        fields = [field for schema in schemas for field in schema]
        self.names = list(dict.fromkeys(field.name for field in fields))
        self.heavy = {field.name for field in fields if self._heavy(field)}
        self.classes = {name: names for schema in schemas for name, names in class_names(schema).items()}
        self.odd = {field.name for field in fields if not self._simple(field)} | self.classes.keys()
        self.starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])

    def _open(self) -> Any:
        raise NotImplementedError

    def _load(self, reader: Any, block: int, columns: list[str] | None = None) -> pa.Table:
        """One block; of the columns asked for, those that it has."""
        raise NotImplementedError

    def __len__(self) -> int:
        return int(self.starts[-1])

    def _row(self, i: int) -> Row:
        block = int(np.searchsorted(self.starts, i, side="right")) - 1
        table = self._block(block).slice(i - int(self.starts[block]), 1)
        odd = [name for name in table.column_names if name in self.odd] if self.odd else []
        try:
            plain = table.drop_columns(odd) if odd else table
            row: Row = plain.to_pylist()[0] if plain.num_columns else {}
        except (ValueError, OverflowError):  # a value that Python cannot hold
            row, odd = {}, table.column_names
        for name in odd:
            row[name] = self._values(table.field(name), table.column(name))[0]
        return {name: row[name] for name in table.column_names} if odd else row

    def _values(self, field: pa.Field, column: Any) -> list[Any]:
        """The values of a column."""
        found, names = convert(field.type)(column), self.classes.get(field.name)
        return found if names is None else [named(value, names) for value in found]

    def _simple(self, field: pa.Field) -> bool:
        return simple(field.type)

    def _heavy(self, field: pa.Field) -> bool:
        return holds_bytes(field.type)

    def column(self, name: str) -> list[Any] | None:
        """All values of a column; None where it holds bytes."""
        if name not in self.names:
            raise no_column(name, self.names, self.describe())
        if name in self.heavy:
            return None
        values: list[Any] = []
        for block in range(len(self.starts) - 1):
            table = self._load(self._reader(), block, [name])
            here = name in table.column_names
            found = self._values(table.schema.field(name), table.column(name)) if here else [None] * self._size(block)
            values += map(cell, found)
        return values

    def _size(self, block: int) -> int:
        return int(self.starts[block + 1] - self.starts[block])

    def _block(self, block: int) -> pa.Table:
        with self._lock:
            table = self._kept.get(block)
            if table is None:
                table = self._kept[block] = self._load(self._reader(), block)
                while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > CACHE_BYTES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(block)
            return table

    def _reader(self) -> Any:
        """The open file, of this process's own."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), self._open()
        return self._opened[1]

    def _forget(self) -> None:
        self._opened, self._kept, self._lock = None, OrderedDict(), threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_opened", "_kept", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()


class _TableFile(Blocks):
    """A file that is one table.

    Where it is larger than CACHE_BYTES, rows in random order make blocks be decoded again and again: an uncompressed
    Arrow file (.arrow) is the better form then, its blocks are mapped and not decoded.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.path, self.root = path, path.parent
        self._forget()
        try:
            sizes, schema = self._look(self._reader())
        except (pa.ArrowException, OSError) as error:
            expected = f"a {path.suffix} file"
            raise DataError(f"{path.name} cannot be read: {str(error).strip()}", expected=expected) from None
        check_fields(schema, path.name)
        self._lay(sizes, [schema])

    def _look(self, reader: Any) -> tuple[list[int], pa.Schema]:
        """The number of rows of each block, and the columns."""
        raise NotImplementedError

    def describe(self) -> str:
        """The file's name."""
        return self.path.name


class Parquet(_TableFile):
    """A Parquet file, by row group."""

    def _open(self) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.path)

    def _look(self, reader: Any) -> tuple[list[int], pa.Schema]:
        groups = range(reader.num_row_groups)
        return [reader.metadata.row_group(group).num_rows for group in groups], reader.schema_arrow

    def _load(self, reader: Any, block: int, columns: list[str] | None = None) -> pa.Table:
        return reader.read_row_group(block, columns=columns)


class Arrow(_TableFile):
    """Arrow's file format, by record batch; its stream format (what `datasets` writes), mapped whole."""

    def _open(self) -> Any:
        import pyarrow as pa

        mapped = pa.memory_map(str(self.path))
        try:
            return pa.ipc.open_file(mapped)
        except pa.ArrowInvalid:
            mapped.seek(0)
            return pa.ipc.open_stream(mapped).read_all().to_batches()

    def _look(self, reader: Any) -> tuple[list[int], pa.Schema]:
        import pyarrow as pa

        if isinstance(reader, list):
            return [batch.num_rows for batch in reader], reader[0].schema if reader else pa.schema([])
        return [reader.get_batch(block).num_rows for block in range(reader.num_record_batches)], reader.schema

    def _load(self, reader: Any, block: int, columns: list[str] | None = None) -> pa.Table:
        import pyarrow as pa

        batch = reader[block] if isinstance(reader, list) else reader.get_batch(block)
        table = pa.Table.from_batches([batch])
        return table.select(columns) if columns else table
