"""What was given as data -> the source of its rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError, DataError, OfasysError, nearest
from ofasys.task.source.blocks import Arrow, Parquet
from ofasys.task.source.coco import open_json_file
from ofasys.task.source.columns import Frame, from_arrow, from_polars
from ofasys.task.source.folder import open_folder
from ofasys.task.source.hub_dataset import HubDataset, classes, undecoded
from ofasys.task.source.lance_dataset import LanceDataset
from ofasys.task.source.memory import Listed, MapStyle
from ofasys.task.source.remote import fetched, is_remote
from ofasys.task.source.row import Rows, Source, said
from ofasys.task.source.sql import Query, is_query
from ofasys.task.source.stream import Stream
from ofasys.task.source.tar import Tar
from ofasys.task.source.text_file import Csv, Jsonl, Tsv
from ofasys.task.source.value import cell, named
from ofasys.task.source.watch import advice

_READERS: dict[str, Callable[[Path], Source]] = {
    ".jsonl": Jsonl,
    ".json": open_json_file,
    ".csv": Csv,
    ".tsv": Tsv,
    ".parquet": Parquet,
    ".arrow": Arrow,
    ".feather": Arrow,
    ".tar": Tar,
}
SUFFIXES = tuple(_READERS)  # of the files whose rows are read here
_COMPRESSED = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".zip")


def open_source(data: Any, max_rows: int | None = None) -> Source:
    """The source of what was given as data: rows, a data set, a stream, a path, or a Source.

    max_rows: of a stream, how many rows are read; without it all, unless they are too many. Errors: ConfigError for
    what is no data, DataError for data that cannot be read or has no row.
    """
    if max_rows is not None and not is_stream(data):
        raise ConfigError(
            f"max_rows={max_rows} is for a stream; of a {type(data).__name__} give the rows that are meant"
        )
    try:
        source = _open_stream(data, max_rows) if is_stream(data) else _open(data)
        count = len(source)
    except OfasysError:
        raise
    except OSError as error:
        raise DataError(f"{_shown(data)} cannot be read: {error.strerror or error}", expected=advice(error)) from error
    except Exception as error:
        raise DataError(f"opening {_shown(data)} raised {type(error).__name__}: {said(error)}") from error
    if count == 0:
        raise DataError(f"the data set is empty: {source.describe()}", expected="at least one row")
    return source


def _shown(data: Any) -> str:
    return repr(os.fspath(data)) if isinstance(data, str | os.PathLike) else f"a {type(data).__name__}"


def is_elsewhere(data: Any) -> bool:
    """Whether data are given by what is no path: the URL of a file, or a query to a database."""
    return is_remote(data) or is_query(data)


def is_stream(data: Any) -> bool:
    """Whether it is a data set that gives its rows one after the other."""
    return _is_a(data, "torch.IterableDataset") or _is_a(data, "datasets.IterableDataset")


def streamed(data: Iterable[Any]) -> Iterator[Any]:
    """What a stream or any iterable gives, one by one, rows with values as a source has them; nothing is copied.

    Errors: DataError when the stream itself raises.
    """
    names = classes(data, stored=False) if _is_a(data, "datasets.IterableDataset") else {}
    rows, kind = iter(undecoded(data) if _is_a(data, "datasets.IterableDataset") else data), type(data).__name__
    count = 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except OfasysError:
            raise
        except Exception as error:
            raise DataError(f"the {kind} raised {type(error).__name__} after {count} rows: {error}") from error
        count += 1
        yield {n: cell(named(v, names[n]) if n in names else v) for n, v in row.items()} if type(row) is dict else row


def _open(data: Any) -> Source:
    kind = type(data).__name__
    if is_remote(data):
        source = _open_path(fetched(data))
        if isinstance(source, Rows):
            source.given = data
        return source
    if isinstance(data, str | os.PathLike):
        return _open_path(Path(data).expanduser())
    if isinstance(data, Source):
        return data
    if isinstance(data, list | tuple):
        return Listed(data, f"{kind} of {len(data)} rows")
    if _is_a(data, "pandas.DataFrame"):
        return Frame(data)
    if _is_a(data, "datasets.Dataset"):
        return HubDataset(data)
    if _is_a(data, "lance.LanceDataset"):
        return _of_lance(data)
    if _is_a(data, "pyarrow.Table") or _is_a(data, "pyarrow.RecordBatch"):
        return from_arrow(data, "pyarrow table")
    if _is_a(data, "polars.DataFrame"):
        return from_polars(data)
    if hasattr(type(data), "__arrow_c_stream__") and hasattr(type(data), "__len__"):
        return from_arrow(data, f"{type(data).__module__.partition('.')[0]} {kind}")
    if is_query(data):
        return Query(data)
    if isinstance(data, Mapping):
        if _is_a(data, "datasets.DatasetDict") or _is_a(data, "datasets.IterableDatasetDict"):
            raise ConfigError(f"the data is a {kind}; choose one of its splits: {', '.join(data)}")
        raise ConfigError(f"the data is one {kind}; give a list of rows, each a dict {{column: value}}")
    if hasattr(type(data), "__len__") and hasattr(type(data), "__getitem__"):
        return MapStyle(data)
    if hasattr(data, "__iter__"):
        raise ConfigError(
            f"a {kind} gives its rows one after the other, but rows are drawn by number; "
            "give list(data) if it fits in memory, else write it to a .parquet file and give the path"
        )
    raise ConfigError(
        f"no rows can be read from a {kind}; give a list of dicts, a data set with __len__ and __getitem__, "
        f"or a path ({' '.join(_READERS)}, a folder of images, what Lance or `datasets` wrote)"
    )


def _of_lance(data: Any) -> Source:
    if is_remote(data.uri):
        raise ConfigError(f"the Lance data set lies at {data.uri}; give the path of a copy on this machine")
    return LanceDataset(Path(data.uri), data.version)


def _open_stream(data: Any, max_rows: int | None) -> Source:
    if _is_a(data, "datasets.IterableDataset"):
        return Stream(undecoded(data), "datasets.IterableDataset", max_rows, classes(data, stored=False))
    return Stream(data, type(data).__name__, max_rows)


def _is_a(data: Any, name: str) -> bool:
    """Is it an object of that class of a library, which need not be installed?"""
    package, _, kind = name.partition(".")
    return any(c.__name__ == kind and c.__module__.partition(".")[0] == package for c in type(data).__mro__)


def _open_path(path: Path) -> Source:
    if path.is_dir() or (path.is_file() and path.suffix.lower() in (".yaml", ".yml")):
        return open_folder(path)
    if not path.exists():
        beside = os.listdir(path.parent) if path.parent.is_dir() else []
        raise DataError(_hinted(f"there is no file {str(path)!r}", path.name, beside))
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        what = f"{path.name}: files {suffix or 'without a suffix'} are not read here"
        expected = f"one of {' '.join(_READERS)}, or a folder: of images, or as Lance or `datasets` writes it"
        if suffix in _COMPRESSED:
            raise DataError(what, expected=f"the file unpacked, since rows are drawn by number: {expected}")
        raise DataError(_hinted(what, suffix, _READERS), expected=expected)
    if not path.is_file():  # a pipe or a device, which might be waited for without end
        raise DataError(f"{path} is no plain file", expected="a file on a disk, since rows are drawn by number")
    return _READERS[suffix](path)


def _hinted(message: str, word: str, known: Iterable[str]) -> str:
    hint = nearest(word, known).strip()
    return f"{message}; {hint}" if hint else message
