"""Tables that are read block by block: Parquet row groups, Arrow record batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ofasys.errors import DataError
from ofasys.task.source.cache import Shelf, share_of_memory, workers
from ofasys.task.source.columns import check_fields, class_names, convert, holds_bytes, simple
from ofasys.task.source.mapped import mapped
from ofasys.task.source.row import Row, Rows, no_column
from ofasys.task.source.texts import Texts, texts
from ofasys.task.source.value import cell, named
from ofasys.task.source.watch import Watch

if TYPE_CHECKING:
    import pyarrow as pa

CACHE_BYTES = share_of_memory()  # of decoded blocks that a process keeps, of all its tables; workers share it
SPAN_BYTES = 4 * 2**20  # of small blocks that are decoded together, where all of the table can be kept
FEW_BYTES = SPAN_BYTES // 16  # the same where it cannot, and a row may cost decoding as much
SPAN_ROWS = 2**16
PIECE_ROWS = 2**15  # of columns that are read whole, at once
_MAGIC = 8  # bytes of Arrow's file format before what is as in its stream format
_SAMPLED = 3  # blocks that are decoded to see how large a row is


Values = list[Any] | Texts


class Blocks(Rows):
    """A table read block by block. Kept of it, mapped from files without a name: the last blocks used, up to
    CACHE_BYTES (and at least one).

    Blocks of a few rows are read together, in spans. A subclass opens it and loads blocks; it calls `_lay` with what
    they hold.
    """

    names: list[str]  # the columns, of any block
    heavy: set[str]  # those that hold bytes, which `column` does not read
    classes: dict[str, Any]  # of those that hold classes by number, their names; see `named`
    odd: set[str]  # those whose values are not Arrow's own Python values
    _block_name = "block"
    starts: np.ndarray  # (blocks + 1,): the number of each block's first row, and of all rows
    _opened: Any | None
    _laid: tuple[np.ndarray, np.ndarray] | None  # (spans + 1,): each span's first block, and first row; and the ends
    _kept: Shelf  # a span's first block -> its table, or what is wrong with it

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
        """What blocks are loaded from; it holds no open file, of which a process may have few."""
        raise NotImplementedError

    def _load(self, reader: Any, start: int, end: int, columns: list[str] | None = None) -> pa.Table:
        """The blocks from `start` to before `end`; of the columns asked for, those that they have."""
        raise NotImplementedError

    def __len__(self) -> int:
        return int(self.starts[-1])

    def _fresh(self, i: int) -> Any:
        if self.watch is not None:
            self.watch.check()  # blocks are loaded inside it
        return self._row(i)

    def _row(self, i: int) -> Row:
        blocks, firsts = self._laid or self._lay_spans()
        span = int(firsts.searchsorted(i, side="right")) - 1
        found = self._kept.block(int(blocks[span]), self._decoded, _most_bytes)
        if isinstance(found, str):
            raise DataError(found, expected="a file that is whole; write or fetch it again")
        place = i - int(firsts[span])
        if place >= found.num_rows:  # the span was split meanwhile, for a block of it is damaged
            return self._row(i)
        table = found.slice(place, 1)
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
        return [value for (piece,) in self.in_pieces([name]) for value in piece]

    def in_pieces(self, names: Sequence[str], step: int = 1) -> Iterator[list[Values]]:
        """Several columns in one pass, some thousand rows at once: values for each name. step: of every `step`-th row.

        None where a row lacks a column or its block is damaged, which is said when the row itself is read. None of the
        columns may be one of those that hold bytes. Errors: LoadingError when the file has changed.
        """
        known = [name for name in names if name in self.names]
        reader, start = None, 0
        while (block := int(self.starts.searchsorted(start, side="right")) - 1) < len(self.starts) - 1:
            with nullcontext() if self.watch is None else self.watch:
                reader = self._reader_of(known) if reader is None else reader
                table = self._table(reader, block, known)
            rows = self._size(block, block + 1) if isinstance(table, str) else table.num_rows
            for place in range(0, rows, PIECE_ROWS):
                chosen = range(place + -(start + place) % step, min(rows, place + PIECE_ROWS), step)
                yield [self._chosen(table, name, chosen) for name in names]
            start += rows

    def _chosen(self, table: pa.Table | str, name: str, rows: range) -> Values:
        """A column of a table in some of its rows."""
        import pyarrow as pa

        if isinstance(table, str) or name not in table.column_names:
            return [None] * len(rows)
        field, column = table.schema.field(name), table.column(name)
        if rows.step == 1:
            column = column[rows.start : rows.stop]
        else:
            column = pa.chunked_array([column.slice(i, 1).chunk(0) for i in rows], column.type)
        if rows.step == 1 and name not in self.odd and (found := texts(column)) is not None:
            return found
        return list(map(cell, self._values(field, column)))

    def _size(self, start: int, end: int) -> int:
        return int(self.starts[end] - self.starts[start])

    def _decoded(self, block: int) -> tuple[pa.Table | str, int]:
        with nullcontext() if self.watch is None else self.watch:
            found = self._table(self._reader(), block)
        if isinstance(found, str):
            return found, 0
        weight = self._weight(found)
        return mapped(found) if weight >= found.nbytes else found, weight

    def _weight(self, table: pa.Table) -> int:
        """Bytes that a table takes, in memory or in a file that is mapped."""
        return int(table.nbytes)

    def _table(self, reader: Any, block: int, columns: list[str] | None = None) -> pa.Table | str:
        """The blocks of the span that begins with `block`; what is wrong where they are damaged."""
        blocks, _ = self._laid or self._lay_spans()
        end = int(blocks[blocks.searchsorted(block, side="right")])
        found = self._whole(reader, block, end, columns)
        if isinstance(found, str) and end - block > 1:
            self._split(block, end)
            return self._table(reader, block, columns)
        return found

    def _whole(self, reader: Any, start: int, end: int, columns: list[str] | None = None) -> pa.Table | str:
        import pyarrow as pa

        try:
            table = self._load(reader, start, end, columns)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the system's
            what = " ".join(str(error).split())
            return (
                f"{self.describe()}: {self._block_name} {start} is damaged, and with it "
                f"{self._size(start, end)} rows: {what}"
            )
        if table.num_rows != self._size(start, end):
            return (
                f"{self.describe()}: {self._block_name} {start} holds {table.num_rows} rows of {self._size(start, end)}"
            )
        return table.combine_chunks() if end - start > 1 else table

    # --- spans

    def _lay_spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Lay small blocks together, for each costs some time that is not its rows'."""
        blocks = len(self.starts) - 1
        most = CACHE_BYTES // workers()
        row = self._row_bytes() if blocks > 1 and len(self) < blocks * SPAN_ROWS else 0.0
        able = SPAN_BYTES if row * len(self) <= most else FEW_BYTES
        rows = min(SPAN_ROWS, int(min(able, most // 64) / row)) if row else 0
        firsts, start = [0], 0
        starts = self.starts.tolist()
        for block in range(1, blocks):
            if starts[block + 1] - starts[start] > rows:
                firsts.append(block)
                start = block
        return self._laid_as(np.array([*firsts, blocks], dtype=np.int64))

    def _laid_as(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._laid = blocks, self.starts[blocks]
        return self._laid

    def _row_bytes(self) -> float:
        """Bytes of a row, as some blocks have them; 0 where it is not known, or blocks are not to be laid together."""
        filled = np.flatnonzero(np.diff(self.starts))
        chosen = filled[np.linspace(0, len(filled) - 1, min(_SAMPLED, len(filled)), dtype=np.int64)]
        tables = [(block, self._whole(self._reader(), block, block + 1)) for block in dict.fromkeys(chosen.tolist())]
        return max((t.nbytes / self._size(b, b + 1) for b, t in tables if not isinstance(t, str)), default=0.0)

    def _split(self, start: int, end: int) -> None:
        """Let each block of a span be one of its own."""
        blocks, _ = self._laid or self._lay_spans()
        self._laid_as(np.union1d(blocks, np.arange(start, end)))

    def _reader(self) -> Any:
        """What `_open` gave in this process."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _reader_of(self, columns: list[str]) -> Any:
        """The same, where some columns of all blocks are wanted."""
        return self._reader()

    def _forget(self) -> None:
        self._opened, self._laid, self._kept = None, None, Shelf()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_opened", "_laid", "_kept")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()


def _most_bytes() -> int:
    return CACHE_BYTES // workers()


class _TableFile(Blocks):
    """A file that is one table.

    Where all of it is larger than CACHE_BYTES, rows in random order make blocks be decoded again and again: an
    uncompressed Arrow file (.arrow) is the better form then, its blocks are mapped and not decoded.
    """

    watch: Watch

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.path, self.root, self.watch = path, path.parent, Watch(path)
        self._forget()
        try:
            with self.watch:
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
    """A Parquet file, by row group. Kept of it is what its footer says; it is open only while it is read."""

    _block_name = "row group"

    def _open(self) -> Any:
        import pyarrow.parquet as pq

        return pq.read_metadata(self.watch.path)

    def _look(self, reader: Any) -> tuple[list[int], pa.Schema]:
        groups = [reader.row_group(group) for group in range(reader.num_row_groups)]
        self.written = sum(group.total_byte_size for group in groups)
        return [group.num_rows for group in groups], reader.schema.to_arrow_schema()

    def _load(self, reader: Any, start: int, end: int, columns: list[str] | None = None) -> pa.Table:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.watch.path, metadata=reader) as file:
            return file.read_row_groups(range(start, end), columns=columns)

    def _row_bytes(self) -> float:
        return super()._row_bytes() if self.written < SPAN_BYTES * (len(self.starts) - 1) else 0.0


class Arrow(_TableFile):
    """Arrow's file format, by record batch; its stream format (what `datasets` writes).

    The file is mapped, so a row costs what it holds and not what its batch holds. To read a mapped page that is no
    more ends a process: so the file is looked at right before a row and right after it, no value that is given out lies
    in the mapping, and whole columns are read without it.
    """

    _block_name = "record batch"

    def _open(self) -> Any:
        import pyarrow as pa

        with pa.memory_map(str(self.watch.path)) as file:
            self.mapped = file.read_buffer()  # which stays when the file is closed
        return self._batches(pa.BufferReader(self.mapped))

    def _batches(self, file: Any, fields: list[int] | None = None) -> Any:
        import pyarrow as pa

        def options(threads: bool) -> pa.ipc.IpcReadOptions:
            return pa.ipc.IpcReadOptions(included_fields=fields, use_threads=threads)

        try:
            reader = pa.ipc.open_file(file, options=options(True))
        except pa.ArrowInvalid:
            file.seek(0)
            return pa.ipc.open_stream(file, options=options(True)).read_all().to_batches()
        if self.watch.size < reader.num_record_batches * FEW_BYTES:  # threads cost more than they bring
            return pa.ipc.open_file(file, options=options(False))
        return reader

    def _look(self, reader: Any) -> tuple[list[int], pa.Schema]:
        import pyarrow as pa

        if isinstance(reader, list):
            return [batch.num_rows for batch in reader], reader[0].schema if reader else pa.schema([])
        return list(lengths(self.mapped.slice(_MAGIC))), reader.schema

    def _fresh(self, i: int) -> Any:
        with self.watch:
            return self._row(i)

    def _reader_of(self, columns: list[str]) -> Any:
        import pyarrow as pa

        reader = self._reader()
        schema = reader[0].schema if isinstance(reader, list) else reader.schema
        return self._batches(pa.OSFile(str(self.watch.path)), [schema.get_field_index(column) for column in columns])

    def _load(self, reader: Any, start: int, end: int, columns: list[str] | None = None) -> pa.Table:
        import pyarrow as pa

        blocks = range(start, end)
        return pa.Table.from_batches(
            [reader[block] if isinstance(reader, list) else reader.get_batch(block) for block in blocks]
        )

    def _weight(self, table: pa.Table) -> int:
        return beyond(self.mapped, table)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "mapped"}


def beyond(mapping: pa.Buffer, table: pa.Table) -> int:
    """Bytes that a table takes besides what lies in a mapping."""
    start, end = mapping.address, mapping.address + mapping.size
    chunks = [chunk for column in table.columns for chunk in column.chunks]
    buffers = [buffer for chunk in chunks for buffer in chunk.buffers() if buffer is not None]
    return sum(buffer.size for buffer in buffers if not start <= buffer.address < end) + 512 * len(chunks)


def lengths(stream: pa.Buffer) -> Iterator[int]:
    """The rows of each record batch in Arrow's stream format, as its messages say, which are not decoded."""
    import pyarrow as pa

    for message in pa.ipc.MessageReader.open_stream(stream):
        if message.type == "record batch":
            data = message.metadata.to_pybytes()
            header = _field(data, int.from_bytes(data[:4], "little"), 2)
            at = _field(data, header + int.from_bytes(data[header : header + 4], "little"), 0)
            yield int.from_bytes(data[at : at + 8], "little") if at else 0


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of a table of FlatBuffers lies; 0 where it has its default."""
    layout = table - int.from_bytes(data[table : table + 4], "little", signed=True)
    place, known = layout + 4 + 2 * number, int.from_bytes(data[layout : layout + 2], "little")
    step = int.from_bytes(data[place : place + 2], "little") if 4 + 2 * number < known else 0
    return table + step if step else 0
