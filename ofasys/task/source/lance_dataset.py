"""A Lance data set, read by number in a process of its own.

Lance runs threads that a fork does not bring along, and data workers begin by fork: of 180 forks of a process that had
read with it three hung or crashed (pylance 14.0.2). So it is never imported here; each process that reads rows asks a
child, which is begun when it is first needed. Where Lance crashes that child dies alone, and the next row gets another.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofasys.errors import ConfigError, DataError, LoadingError
from ofasys.task.source import lance_process
from ofasys.task.source.columns import check_fields, class_names, convert, holds_bytes
from ofasys.task.source.lance_process import ERROR, LENGTH_BYTES, is_blob
from ofasys.task.source.row import Rows, no_column
from ofasys.task.source.value import cell, named

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_ROWS = 2**13  # of columns that are read whole, at once
_PATIENCE = 10.0  # seconds that a child has to end by itself
_GONE = "Not found"  # in what Lance says of a file that is there no more


class Died(Exception):  # noqa: N818
    """The child has ended in the midst of a request. Its text says how."""


class Child:
    """A process that reads one version of a data set, for the process that began it."""

    def __init__(self, uri: str, version: int) -> None:
        self.owner, self.lock = os.getpid(), threading.Lock()
        self.process = subprocess.Popen(
            [sys.executable, lance_process.__file__, uri, str(version)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # a buffer has a lock, which a fork may find held
            start_new_session=True,  # a terminal's Ctrl-C is for the run, which ends it
        )
        weakref.finalize(self, _end, self.process, self.owner)

    def ask(self, **request: Any) -> Any:
        """A table of Arrow. Errors: Died; ValueError with what Lance says."""
        with self.lock:
            self._request(request)
            return self._answer()

    def _request(self, request: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        left = memoryview(json.dumps(request).encode() + b"\n")
        try:
            while left:
                left = left[self.process.stdin.write(left) :]
        except BrokenPipeError:
            raise self._died() from None

    def _answer(self) -> Any:
        head = self._read(LENGTH_BYTES + 1)
        data = self._read(int.from_bytes(head[:LENGTH_BYTES], "little"))
        if head[LENGTH_BYTES:] == ERROR:
            raise ValueError(data.decode())
        return _unpacked(data)

    def _read(self, size: int) -> bytes:
        assert self.process.stdout is not None
        parts, left = list[bytes](), size
        while left:
            part = self.process.stdout.read(left)
            if not part:
                raise self._died()
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _died(self) -> Died:
        code = self.process.wait()
        return Died(signal.Signals(-code).name if code < 0 else f"exit code {code}")


def _unpacked(data: bytes) -> Any:
    import pyarrow as pa

    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """End a child; in a process that was forked from its owner only the pipes are closed."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    if os.getpid() != owner:
        process.returncode = process.returncode or 0
        return
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def is_lance(folder: Path) -> bool:
    """Whether Lance wrote this folder."""
    return (folder / "_versions").is_dir() and next((folder / "_versions").glob("*.manifest"), None) is not None


class LanceDataset(Rows):
    """The rows of one version of a Lance data set: the one that is the latest when it is opened.

    files: those its rows lie in. Relative paths inside rows start at the folder. Errors: ConfigError when `pylance` is
    not installed; DataError for a folder that cannot be read.
    """

    def __init__(self, folder: Path, version: int = 0) -> None:
        if find_spec("lance") is None:
            raise ConfigError(f'{folder} is of the library `pylance`: pip install "ofasys[lance]"')
        self.root, self.name, self.version = folder.absolute(), folder.name, version
        self.child: Child | None = None
        try:
            schema = self._child().ask(what="about").schema
        except (Died, ValueError) as error:
            raise DataError(f"{folder} cannot be read: {error}", expected="a data set that Lance wrote") from None
        about = json.loads(schema.metadata[b"about"])
        self.version, self.count, self.files = about["version"], about["rows"], about["files"]
        check_fields(schema, self.describe())
        self.names, self.classes = schema.names, class_names(schema)
        self.heavy = {field.name for field in schema if is_blob(field) or holds_bytes(field.type)}

    def __len__(self) -> int:
        return int(self.count)

    def describe(self) -> str:
        """`Lance data set pets.lance, version 3`."""
        return f"Lance data set {self.name}, version {self.version}"

    def _row(self, i: int) -> dict[str, Any]:
        table = self._asked(f"row {i}", what="rows", rows=[i])
        return {name: self._values(table, name)[0] for name in table.column_names}

    def _values(self, table: pa.Table, name: str) -> list[Any]:
        column, names = table.column(name), self.classes.get(name)
        found = convert(column.type)(column)
        return found if names is None else [named(value, names) for value in found]

    def _child(self) -> Child:
        if self.child is None or self.child.owner != os.getpid():
            self.child = Child(str(self.root), self.version)
        return self.child

    def _asked(self, part: str, **request: Any) -> pa.Table:
        try:
            return self._child().ask(**request)
        except (Died, ValueError) as error:
            raise self._fault(part, error) from None

    def _fault(self, part: str, error: Exception) -> DataError:
        if isinstance(error, Died):
            self.child = None
            return DataError(f"{self.describe()}: Lance died reading {part} ({error})")
        if _GONE in str(error):
            why = "its files are gone since it was opened"
            return LoadingError(f"{self.describe()}: {why}: {error}", expected="a version that stays during a run")
        return DataError(f"{self.describe()}: {part} cannot be read: {error}")

    def column(self, name: str) -> list[Any] | None:
        """All values of a column; None where it holds bytes. Errors: DataError when there is no such column."""
        if name not in self.names:
            raise no_column(name, self.names, self.describe())
        return None if name in self.heavy else [value for (piece,) in self.in_pieces([name]) for value in piece]

    def in_pieces(self, names: Sequence[str], step: int = 1) -> Iterator[list[list[Any]]]:
        """Several columns in one pass, some thousand rows at once: a list for each name. step: of every `step`-th row.

        None where there is no such column. None of the columns may be one that holds bytes.
        """
        known = [name for name in names if name in self.names]
        for table in self._tables(known or self.names[:1], step):
            rows = table.num_rows
            yield [list(map(cell, self._values(table, n))) if n in known else [None] * rows for n in names]

    def _tables(self, names: list[str], step: int) -> Iterator[pa.Table]:
        chosen = range(0, len(self), step)
        for start in range(0, len(chosen), PIECE_ROWS):
            part = chosen[start : start + PIECE_ROWS]
            said = f"rows {part[0]} to {part[-1]}"
            if step > 1:
                yield self._asked(said, what="rows", rows=list(part), names=names)
            else:
                yield self._asked(said, what="span", start=part.start, end=part.stop, names=names)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "child": None}
