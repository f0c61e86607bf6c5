"""The content of a source in a few characters, to tell other content with the same number of rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.errors import LoadingError
from ofasys.task.source import written
from ofasys.task.source.blocks import Blocks
from ofasys.task.source.columns import Columns
from ofasys.task.source.hub_dataset import HubDataset
from ofasys.task.source.images import ImageFolder
from ofasys.task.source.lance_dataset import LanceDataset
from ofasys.task.source.memory import Listed
from ofasys.task.source.row import Rows, Source
from ofasys.task.source.saved_dataset import SavedDataset
from ofasys.task.source.stream import Stream
from ofasys.task.source.watch import unreadable
from ofasys.task.source.yolo import Yolo

WHOLE_BYTES = 64 * 2**20  # of a file; of a larger one as many blocks of it as make up this much
BLOCK_BYTES = 2**20
MOST_ROWS = 1000  # of rows in memory, evenly spread
MOST_FILES = 256  # of a folder, evenly spread


def fingerprint(source: Source) -> str | None:
    """What a source holds, as 32 hexadecimal digits; None where its rows run code of the user's.

    A file by its bytes: all of them up to WHOLE_BYTES, beyond that its size and blocks evenly spread. A folder by the
    names in it, and some of its files. Rows in memory by their number and some of them. The place of a file and its
    times do not matter, and any process finds the same. Errors: LoadingError when a file has changed since it was
    opened.
    """
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(source, SavedDataset):
        for shard in spread(source.shards, MOST_FILES):
            _add_file(digest, shard.path, WHOLE_BYTES // min(len(source.shards), MOST_FILES))
            shard.check()
    elif isinstance(source, LanceDataset):
        digest.update(f"lance {source.files}".encode())
    elif isinstance(source, Stream):
        _add_file(digest, source.file, WHOLE_BYTES)
    elif isinstance(source, Rows) and source.watch is not None:
        source.watch.check()
        _add_file(digest, source.watch.path, WHOLE_BYTES)
        source.watch.check()
    elif isinstance(source, ImageFolder | Yolo):
        _add_folder(digest, source)
    elif isinstance(source, Listed | Columns | Blocks) or (isinstance(source, HubDataset) and not source.own_transform):
        _add_rows(digest, source)
    else:
        return None
    digest.update(f"rows {len(source)}".encode())
    return digest.hexdigest()


def spread(things: Any, most: int) -> list[Any]:
    """`most` of a sequence's elements or all of them, evenly spread, the first and the last among them."""
    places = np.linspace(0, len(things) - 1, min(most, len(things)), dtype=np.int64)
    return [things[i] for i in places.tolist()]


def _add_file(digest: Any, path: Path, most: int) -> None:
    """The size of a file, and its bytes; blocks of it where these are more than `most`."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"file {size} ".encode())
            blocks = range(0, size, BLOCK_BYTES)
            for start in blocks if size <= most else spread(blocks, max(2, most // BLOCK_BYTES)):
                file.seek(start)
                digest.update(file.read(BLOCK_BYTES))
    except OSError as error:
        raise unreadable(path.name, error) from error


def _add_folder(digest: Any, source: ImageFolder | Yolo) -> None:
    digest.update(repr(source.paths).encode("utf8", "surrogatepass"))
    if isinstance(source, Yolo):
        digest.update(repr(sorted(source.names.items()) if source.names else None).encode())
        for i in spread(range(len(source)), MOST_FILES):
            if source.stamps[i, 0] >= 0:
                _add_file(digest, source.labels_of(i), BLOCK_BYTES)
        digest.update(source.stamps[:, 0].tobytes())
    for name in spread(source.paths, MOST_FILES):
        if (path := source.folder / name).is_file():  # one that is gone is a fault of its row
            _add_file(digest, path, BLOCK_BYTES)


def _add_rows(digest: Any, source: Source) -> None:
    """Rows in memory, until WHOLE_BYTES of them are counted in."""
    read = 0
    for i in spread(range(len(source)), MOST_ROWS):
        try:
            row = source[i]
        except LoadingError:
            raise
        except Exception as error:  # a bad row: it is told by what is wrong with it
            row = {"bad": type(error).__name__}
        for name in sorted(row, key=str):
            data = b"\0".join((str(name).encode("utf8", "surrogatepass"), _bytes(row[name])))
            digest.update(f"{len(data)} ".encode())
            digest.update(data)
            read += len(data)
        if read > WHOLE_BYTES:
            return


def _bytes(value: Any) -> bytes:
    """A value by what it holds; of an object that is no data, its kind."""
    try:
        return written.write(value)[0]
    except Exception:  # an object that has no written form, or one whose own code fails
        pass
    if isinstance(value, Mapping):
        return b"{" + b",".join(sorted(_bytes(name) + b":" + _bytes(one) for name, one in value.items())) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b",".join(map(_bytes, value)) + b"]"
    if isinstance(value, set | frozenset):
        return b"(" + b",".join(sorted(map(_bytes, value))) + b")"
    if hasattr(value, "tobytes") and hasattr(value, "size"):  # a picture of PIL
        return f"{getattr(value, 'mode', '')} {value.size} ".encode() + bytes(value.tobytes())
    return f"{type(value).__module__}.{type(value).__qualname__}".encode()
