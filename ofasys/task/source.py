"""The rows of a task, whatever they come in: lists, data sets, files, folders of images. Read by number, one at a time.

A source travels to worker processes: what it carries there is paths and offsets, never an open file.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ofasys.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]

CACHE_BYTES = 256 * 2**20  # decoded row groups that a process keeps of one file
CHECKED_BYTES = 64 * 2**20  # of a .jsonl file, checked when it is opened; lines beyond are checked when they are read
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@runtime_checkable
class Source(Protocol):
    """Rows by number. root: where relative paths inside the rows start: the folder of their file, if they have one."""

    root: Path | None

    def __len__(self) -> int:
        """How many rows."""
        ...

    def __getitem__(self, i: int) -> Row:
        """Row i, a new dict; a missing value (None, NaN, an empty cell of a CSV file) is None."""
        ...

    def describe(self) -> str:
        """What a person would call it: `rows.csv`, `list of 40 rows`."""
        ...

    def column(self, name: str) -> list[Any] | None:
        """All values of a column; None where that would mean decoding images or running the user's code."""
        ...


def open_source(data: Any) -> Source:
    """The source of what was given as data: rows, a data set, a path, or a Source."""
    source = _open(data)
    if len(source) == 0:
        raise DataError(f"the data set is empty: {source.describe()}", expected="at least one row")
    return source


def _open(data: Any) -> Source:
    kind = type(data).__name__
    if isinstance(data, str | os.PathLike):
        return _open_path(Path(data).expanduser())
    if isinstance(data, Source):
        return data
    if isinstance(data, list | tuple):
        return _Listed(data, f"{kind} of {len(data)} rows")
    if _is_a(data, "pandas.DataFrame"):
        return _Listed(data.to_dict("records"), f"DataFrame of {len(data)} rows")
    if _is_a(data, "pyarrow.Table"):
        return _Listed(data.to_pylist(), f"pyarrow table of {len(data)} rows")
    if _is_a(data, "datasets.Dataset"):
        return _HubDataset(data)
    if isinstance(data, Mapping):
        if _is_a(data, "datasets.DatasetDict"):
            raise ConfigError(f"the data is a DatasetDict; choose one of its splits: {', '.join(data)}")
        raise ConfigError(f"the data is one {kind}; give a list of rows, each a dict {{column: value}}")
    streamed = _is_a(data, "torch.IterableDataset") or _is_a(data, "datasets.IterableDataset")
    if not streamed and hasattr(type(data), "__len__") and hasattr(type(data), "__getitem__"):
        return _MapStyle(data)
    if streamed or hasattr(data, "__iter__"):
        raise ConfigError(
            f"a {kind} gives its rows one after the other, but rows are drawn by number; "
            "give list(data) if it fits in memory, else write it to a .parquet file and give the path"
        )
    raise ConfigError(
        f"no rows can be read from a {kind}; give a list of dicts, a data set with __len__ and __getitem__, "
        f"or a path ({' '.join(_READERS)}, a folder of images)"
    )


def _is_a(data: Any, name: str) -> bool:
    """Is it an object of that class of a library, which need not be installed?"""
    package, _, kind = name.partition(".")
    return any(c.__name__ == kind and c.__module__.partition(".")[0] == package for c in type(data).__mro__)


# --- what all sources share ----------------------------------------------------------------------------------------


class _Rows:
    """Rows by number: a subclass says how many, and reads one."""

    root: Path | None = None

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, i: int) -> Row:
        i = int(i)
        if not 0 <= i < len(self):
            raise IndexError(f"row {i} of {self.describe()}, which has rows 0 to {len(self) - 1}")
        row = self._row(i)
        if not isinstance(row, Mapping):
            raise _no_row(row, self.describe(), i)
        return {name: _cell(value) for name, value in row.items()}

    def _row(self, i: int) -> Any:
        raise NotImplementedError

    def describe(self) -> str:
        raise NotImplementedError

    def column(self, name: str) -> list[Any] | None:
        return None


def _cell(value: Any) -> Any:
    """A missing value in any of its spellings as None; an undecoded image or sound of `datasets` as its bytes or path."""
    if isinstance(value, float | np.floating) and value != value:
        return None
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
        return value["path"] if value["bytes"] is None else value["bytes"]
    return value


def _no_row(row: Any, where: str, i: int) -> DataError:
    return DataError(
        f"a row of {where} is a {type(row).__name__}: {row!r:.80}", expected="a dict {column: value}", sample=i
    )


def _no_column(name: str, known: Iterable[str], where: str) -> DataError:
    names = sorted(map(str, known))
    hint = nearest(name, names)
    return DataError(f"{where} has no column {name!r}; {hint}its columns: {', '.join(names)}", column=name)


def _pick(name: str, rows: Iterable[Mapping[str, Any]], where: str) -> list[Any]:
    """One column of rows that need not all have it, but one must."""
    values: list[Any] = []
    known: set[str] = set()
    for row in rows:
        values.append(_cell(row.get(name)))
        known.update(row)
    if name not in known:
        raise _no_column(name, known, where)
    return values


# --- in memory -----------------------------------------------------------------------------------------------------


class _Listed(_Rows):
    """Rows in memory."""

    def __init__(self, rows: Sequence[Any], name: str, root: Path | None = None) -> None:
        self.rows, self.name, self.root = rows, name, root
        for i, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise _no_row(row, name, i)

    def __len__(self) -> int:
        return len(self.rows)

    def _row(self, i: int) -> Any:
        return self.rows[i]

    def describe(self) -> str:
        return self.name

    def column(self, name: str) -> list[Any]:
        return _pick(name, self.rows, self.name)


class _MapStyle(_Rows):
    """A user's data set. What goes wrong inside it is a fault of that row."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def _row(self, i: int) -> Any:
        try:
            return self.data[i]
        except DataError as error:
            raise error.at(sample=i) from None
        except Exception as error:
            raise DataError(f"{self.describe()} raised {type(error).__name__}: {error}", sample=i) from error

    def describe(self) -> str:
        return f"{type(self.data).__name__} of {len(self)} rows"


class _HubDataset(_Rows):
    """A `datasets.Dataset`. Images and sounds come undecoded; a transform of the user's is kept as it is."""

    def __init__(self, data: Any) -> None:
        self.own_transform = data.format["type"] == "custom"
        if not self.own_transform:
            data = data.with_format(None)
            for name, feature in data.features.items():
                if getattr(feature, "decode", False) is True:
                    data = data.cast_column(name, dataclasses.replace(feature, decode=False))
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def _row(self, i: int) -> Any:
        return self.data[i]

    def describe(self) -> str:
        return f"datasets.Dataset of {len(self)} rows"

    def column(self, name: str) -> list[Any] | None:
        if name not in self.data.column_names and not self.own_transform:
            raise _no_column(name, self.data.column_names, self.describe())
        if self.own_transform or hasattr(self.data.features[name], "decode"):
            return None
        table = self.data.select_columns([name]).with_format("arrow")[:]
        return [_cell(value) for value in table.column(name).to_pylist()]


# --- text files: one record after the other, found by its offset ----------------------------------------------------


class _TextFile(_Rows):
    """A file of records. Kept in memory: where each begins and ends, and at which line."""

    def __init__(self, path: Path) -> None:
        self.path, self.root = path, path.parent
        places = list(self._scan())
        self.places = np.array(places, dtype=np.int64).reshape(-1, 3)

    def _scan(self) -> Iterator[tuple[int, int, int]]:
        """(start, end, line) of each record, checking it on the way."""
        raise NotImplementedError

    def _parse(self, record: bytes, line: int) -> Row:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.places)

    def _row(self, i: int) -> Row:
        start, end, line = map(int, self.places[i])
        with open(self.path, "rb") as file:
            file.seek(start)
            return self._parse(file.read(end - start), line)

    def describe(self) -> str:
        return self.path.name

    def column(self, name: str) -> list[Any]:
        return _pick(name, self._readable_rows(), self.path.name)

    def _readable_rows(self) -> Iterator[Row]:
        with open(self.path, "rb") as file:
            for start, end, line in self.places.tolist():
                file.seek(start)
                try:
                    yield self._parse(file.read(end - start), line)
                except DataError:  # said when the row itself is read
                    yield {}

    def _fault(self, line: int, what: str, expected: str) -> DataError:
        return DataError(f"{self.path.name}, line {line}: {what}", expected=expected)

    def _text(self, record: bytes, line: int) -> str:
        try:
            return record.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise self._fault(line, f"not UTF-8 ({error.reason} at byte {error.start})", "UTF-8 text") from None


class _Jsonl(_TextFile):
    """One JSON object a line; empty lines do not count."""

    def _scan(self) -> Iterator[tuple[int, int, int]]:
        start = 0
        with open(self.path, "rb") as file:
            for line, record in enumerate(file, start=1):
                end = start + len(record)
                if record.strip():
                    if start < CHECKED_BYTES:
                        self._parse(record, line)
                    yield start, end, line
                start = end

    def _parse(self, record: bytes, line: int) -> Row:
        try:
            row = json.loads(self._text(record, line))
        except (json.JSONDecodeError, RecursionError) as error:
            raise self._fault(line, f"not JSON: {error}", "one JSON object a line") from None
        if not isinstance(row, dict):
            raise self._fault(line, f"a {type(row).__name__}: {row!r:.80}", "one JSON object a line")
        return row


class _Csv(_TextFile):
    """A header, then one record a line (or more, where a quoted cell has line breaks). Cells are texts; "" is missing."""

    def __init__(self, path: Path, dialect: str = "excel") -> None:
        self.dialect, self.names = dialect, list[str]()
        super().__init__(path)

    def _scan(self) -> Iterator[tuple[int, int, int]]:
        end = line = 0

        def lines(file: io.BufferedReader) -> Iterator[str]:
            nonlocal end, line
            for record in file:
                end, line = end + len(record), line + 1
                yield self._text(record, line)

        with open(self.path, "rb") as file:
            reader = self._reader(lines(file))
            start, first = 0, 1
            while (cells := self._next(reader, first)) is not None:
                if cells and not self.names:
                    self.names = self._header(cells, first)
                elif cells:
                    self._check(cells, first)
                    yield start, end, first
                start, first = end, line + 1

    def _reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))  # a cell may hold an image in base64
        return csv.reader(lines, self.dialect, strict=True)

    def _next(self, reader: Iterator[list[str]], line: int) -> list[str] | None:
        try:
            return next(reader, None)
        except csv.Error as error:
            raise self._fault(line, f"{error}", 'cells as in a spreadsheet\'s export, a quote inside as ""') from None

    def _header(self, cells: list[str], line: int) -> list[str]:
        twice = sorted({name for name in cells if cells.count(name) > 1})
        if twice:
            raise self._fault(line, f"two columns are named {twice[0]!r}", "a name of its own for each column")
        return cells

    def _check(self, cells: list[str], line: int) -> None:
        if len(cells) != len(self.names):
            raise self._fault(line, f"{len(cells)} cells", f"{len(self.names)}, as in the header")

    def _parse(self, record: bytes, line: int) -> Row:
        cells = self._next(self._reader(io.StringIO(self._text(record, line), newline="")), line) or []
        self._check(cells, line)
        return self._named(cells)

    def _named(self, cells: list[str]) -> Row:
        return {name: cell or None for name, cell in zip(self.names, cells, strict=True)}

    def _readable_rows(self) -> Iterator[Row]:
        with open(self.path, encoding="utf-8-sig", newline="") as file:
            records = (cells for cells in self._reader(file) if cells)
            next(records, None)  # the header
            yield from map(self._named, records)


def _open_json(path: Path) -> Source:
    try:
        rows = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        expected = "one JSON list of objects (one object a line is a .jsonl file)"
        raise DataError(f"{path.name} is not JSON: {error}", expected=expected) from None
    if not isinstance(rows, list):
        raise DataError(f"{path.name} holds a {type(rows).__name__}", expected="one JSON list of objects")
    return _Listed(rows, path.name, path.parent)


# --- tables in blocks: Parquet row groups, Arrow record batches ------------------------------------------------------


class _Blocks(_Rows):
    """A table read block by block. Kept in memory: the last blocks used, up to CACHE_BYTES (and at least one).

    Where a file is larger than that, rows in random order make blocks be decoded again and again: an uncompressed Arrow
    file (.arrow) is the better form then, its blocks are mapped and not decoded.
    """

    _opened: tuple[int, Any] | None  # whose process, and what it opened
    _kept: OrderedDict[int, pa.Table]
    _lock: threading.Lock

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.path, self.root = path, path.parent
        self._forget()
        try:
            sizes, schema = self._look(self._reader())
        except (pa.ArrowException, OSError) as error:
            expected = f"a {path.suffix} file"
            raise DataError(f"{path.name} cannot be read: {str(error).strip()}", expected=expected) from None
        self.names = list(schema.names)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise DataError(f"{path.name}: two columns are named {twice[0]!r}", expected="a name of its own for each")
        self.heavy = {field.name for field in schema if _holds_bytes(field.type)}
        self.starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])

    def _open(self) -> Any:
        raise NotImplementedError

    def _look(self, reader: Any) -> tuple[list[int], pa.Schema]:
        """The number of rows of each block, and the columns."""
        raise NotImplementedError

    def _load(self, reader: Any, block: int, columns: list[str] | None = None) -> pa.Table:
        raise NotImplementedError

    def __len__(self) -> int:
        return int(self.starts[-1])

    def _row(self, i: int) -> Row:
        block = int(np.searchsorted(self.starts, i, side="right")) - 1
        row: Row = self._block(block).slice(i - int(self.starts[block]), 1).to_pylist()[0]
        return row

    def describe(self) -> str:
        return self.path.name

    def column(self, name: str) -> list[Any] | None:
        if name not in self.names:
            raise _no_column(name, self.names, self.path.name)
        if name in self.heavy:
            return None
        blocks = (self._load(self._reader(), block, [name]) for block in range(len(self.starts) - 1))
        return [_cell(value) for block in blocks for value in block.column(name).to_pylist()]

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


class _Parquet(_Blocks):
    def _open(self) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.path)

    def _look(self, reader: Any) -> tuple[list[int], pa.Schema]:
        groups = range(reader.num_row_groups)
        return [reader.metadata.row_group(group).num_rows for group in groups], reader.schema_arrow

    def _load(self, reader: Any, block: int, columns: list[str] | None = None) -> pa.Table:
        return reader.read_row_group(block, columns=columns)


class _Arrow(_Blocks):
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


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))


# --- a folder of images ----------------------------------------------------------------------------------------------


class _ImageFolder(_Rows):
    """All images below a folder, by path: `image` (to open), `path` (within the folder), `label` (the folder it lies in)."""

    def __init__(self, path: Path) -> None:
        self.root, self.folder = path, path
        found = (Path(at) / name for at, _, names in os.walk(path) for name in names)
        images = (file for file in found if file.suffix.lower() in IMAGES and not file.name.startswith("."))
        self.paths = sorted(file.relative_to(path).as_posix() for file in images)
        if not self.paths:
            raise DataError(f"the folder {path} holds no image", expected=f"files {' '.join(IMAGES)}")

    def __len__(self) -> int:
        return len(self.paths)

    def _row(self, i: int) -> Row:
        parent = Path(self.paths[i]).parent.name
        return {"image": str(self.folder / self.paths[i]), "path": self.paths[i], "label": parent or None}

    def describe(self) -> str:
        return f"folder {self.folder.name} of {len(self)} images"

    def column(self, name: str) -> list[Any]:
        return _pick(name, (self._row(i) for i in range(len(self))), self.describe())


# --- paths -----------------------------------------------------------------------------------------------------------

_READERS: dict[str, Callable[[Path], Source]] = {
    ".jsonl": _Jsonl,
    ".json": _open_json,
    ".csv": _Csv,
    ".tsv": lambda path: _Csv(path, "excel-tab"),
    ".parquet": _Parquet,
    ".arrow": _Arrow,
    ".feather": _Arrow,
}


def _open_path(path: Path) -> Source:
    if path.is_dir():
        return _ImageFolder(path)
    if not path.exists():
        beside = os.listdir(path.parent) if path.parent.is_dir() else []
        raise DataError(_hinted(f"there is no file {str(path)!r}", path.name, beside))
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        what = f"{path.name}: files {suffix or 'without a suffix'} are not read here"
        expected = f"one of {' '.join(_READERS)}, or a folder of images"
        raise DataError(_hinted(what, suffix, _READERS), expected=expected)
    try:
        return _READERS[suffix](path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _hinted(message: str, word: str, known: Iterable[str]) -> str:
    hint = nearest(word, known).strip()
    return f"{message}; {hint}" if hint else message
