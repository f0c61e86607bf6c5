"""Text files of records (JSON lines, CSV, TSV): one record after the other, found by its offset. A JSON list is read whole."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.task.source.memory import Listed
from ofasys.task.source.row import Row, Rows, Source, pick

CHECKED_BYTES = 64 * 2**20  # of a .jsonl file, checked when it is opened; lines beyond are checked when they are read


class TextFile(Rows):
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
        """The file's name."""
        return self.path.name

    def column(self, name: str) -> list[Any]:
        """All values of a column, of the records that can be read."""
        return pick(name, self._readable_rows(), self.path.name)

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


class Jsonl(TextFile):
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


class Csv(TextFile):
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


def open_json(path: Path) -> Source:
    """A file that is one JSON list of objects."""
    try:
        rows = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        expected = "one JSON list of objects (one object a line is a .jsonl file)"
        raise DataError(f"{path.name} is not JSON: {error}", expected=expected) from None
    if not isinstance(rows, list):
        raise DataError(f"{path.name} holds a {type(rows).__name__}", expected="one JSON list of objects")
    return Listed(rows, path.name, path.parent)
