"""Text files of records (JSON lines, CSV, TSV): one record after the other, found by its offset. A JSON list is read
whole.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from json.scanner import make_scanner
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ofasys.errors import DataError
from ofasys.modality.shared.separated import LOOKED_AT, TSV, Form, form_of_csv, not_utf8, records
from ofasys.task.source import index
from ofasys.task.source.memory import Listed
from ofasys.task.source.row import Row, Rows, cell, no_column, no_row
from ofasys.task.source.watch import Watch

BLOCK_BYTES = 2**22  # read at once to find where lines begin
PIECE_ROWS = 2000
TRIED = 100  # records of which one at least must be JSON, or the file is refused when it is opened
_BOM = b"\xef\xbb\xbf"
_PLAIN = {str, int, bool, type(None), list}  # what `cell` leaves as it is
_OBJECTS = "one JSON object a line"

Integers = NDArray[np.int64]


class TextFile(Rows):
    """A file of records. Known of it: where each begins, and at which line where that is not told by its number; of a
    large file this is kept beside it, see `index.py`."""

    watch: Watch

    def __init__(self, path: Path) -> None:
        self.path, self.root, self.watch = path, path.parent, Watch(path)
        kind = f"records-of-{type(self).__name__.lower()}"
        found = index.load(self.watch, kind)
        if found is None:
            found = index.keep(self.watch, kind, self._found())
        self.starts, self.leaps, self.ahead = (found.arrays[name] for name in ("starts", "leaps", "ahead"))
        self._take(found.facts)

    def _found(self) -> index.Found:
        """Where the records are, as reading all of the file says; and what `_facts` says of it."""
        kind = np.uint32 if self.watch.size < 2**32 else np.int64
        parts, leaps, ahead, count, last = [np.zeros(0, kind)], list[int](), list[int](), 0, -1
        with self.watch, open(self.watch.path, "rb") as file:
            self.first = self._begin(file)
            for starts, lines in self._scan(file):
                before = lines - np.arange(count, count + len(lines))
                for i in np.flatnonzero(np.diff(before, prepend=last)).tolist():
                    leaps.append(count + i)
                    ahead.append(int(before[i]))
                parts.append(starts.astype(kind))
                count, last = count + len(lines), int(before[-1]) if len(lines) else last
        arrays = {
            "starts": np.concatenate(parts),
            "leaps": np.array(leaps, np.int64),
            "ahead": np.array(ahead, np.int64),
        }
        return index.Found(arrays, self._facts())

    def _begin(self, file: BinaryIO) -> int:
        """Bytes before the first of the text, past which the file is. Errors: DataError for what is not UTF-8."""
        start = file.read(64)
        if (encoding := not_utf8(start)) is not None:
            raise DataError(f"{self.path.name} is {encoding}", expected="UTF-8 text: save it anew, encoding UTF-8")
        first = len(_BOM) if start.startswith(_BOM) else 0
        file.seek(first)
        return first

    def _facts(self) -> dict[str, Any]:
        """What else `_scan` found."""
        return {"first": self.first}

    def _take(self, facts: Mapping[str, Any]) -> None:
        """Be as `_scan` left it."""
        self.first = int(facts["first"])

    def _scan(self, file: BinaryIO) -> Iterator[tuple[Integers, Integers]]:
        """Where each record begins, and at which line; some thousands at once. file: open at its first byte of text."""
        raise NotImplementedError

    def _parse(self, record: bytes, line: int) -> Row:
        raise NotImplementedError

    def _pieces(self, names: Sequence[str]) -> Generator[list[list[Any]], None, None]:
        """The columns, PIECE_ROWS of their values at once; None where a record cannot be read."""
        raise NotImplementedError

    def _known(self) -> set[str]:
        """The names of all columns."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.starts)

    def _row(self, i: int) -> Row:
        record = self.watch.part(*self._place(i))
        try:
            return self._parse(record, 0)
        except DataError:
            return self._parse(record, self._line(i))  # once more, to say where

    def _place(self, i: int) -> tuple[int, int]:
        """Where record i begins, and its bytes."""
        start = int(self.starts[i])
        end = int(self.starts[i + 1]) if i + 1 < len(self.starts) else self.watch.size
        return start, end - start

    def _line(self, i: int) -> int:
        """The line at which record i begins, from 1."""
        return i + int(self.ahead[np.searchsorted(self.leaps, i, side="right") - 1])

    def describe(self) -> str:
        """The file's name."""
        return self.path.name

    def column(self, name: str) -> list[Any]:
        """All values of a column; None where a record cannot be read. Errors: DataError when no record has the
        column.
        """
        values = [value for (piece,) in self.in_pieces([name]) for value in piece]
        if all(value is None for value in values) and name not in (known := self._known()):
            raise no_column(name, known, self.path.name)
        return values

    def in_pieces(self, names: Sequence[str], step: int = 1) -> Iterator[list[list[Any]]]:
        """Several columns in one pass, some thousand rows at once: a list for each name. step: of every `step`-th row.

        None where a record lacks a column or cannot be read, which is said when the row itself is read. Errors:
        LoadingError when the file has changed.
        """
        pieces = self._pieces(names) if step == 1 else self._spread(names, step)
        with closing(pieces):
            while (piece := self._checked(pieces)) is not None:
                yield piece

    def _checked(self, pieces: Iterator[list[list[Any]]]) -> list[list[Any]] | None:
        with self.watch:
            return next(pieces, None)

    def _spread(self, names: Sequence[str], step: int) -> Generator[list[list[Any]], None, None]:
        for start in range(0, len(self), step * PIECE_ROWS):
            rows = [self._readable(i) for i in range(start, min(len(self), start + step * PIECE_ROWS), step)]
            yield [_cells([row.get(name) for row in rows]) for name in names]

    def _readable(self, i: int) -> Row:
        try:
            return self._parse(self.watch.part(*self._place(i)), 0)
        except DataError:
            return {}

    def _fault(self, line: int, what: str, expected: str) -> DataError:
        return DataError(f"{self.path.name}, line {line}: {what}", expected=expected)

    def _text(self, record: bytes, line: int) -> str:
        try:
            return record.decode()
        except UnicodeDecodeError as error:
            raise self._fault(line, f"not UTF-8 ({error.reason} at byte {error.start})", "UTF-8 text") from None


def _cells(values: list[Any]) -> list[Any]:
    return values if set(map(type, values)) <= _PLAIN else list(map(_cell, values))


def _cell(value: Any) -> Any:
    try:
        return cell(value)
    except RecursionError:  # as deep as JSON may just be; said when the row itself is read
        return None


# --- JSON ------------------------------------------------------------------------------------------------------------


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's fields. Errors: ValueError for two of one name."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two fields of one object are named {twice!r}")
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_once)
_LENIENT = json.JSONDecoder(parse_int=str)  # takes whatever is JSON, to tell it from what is none


class Jsonl(TextFile):
    """One JSON object a line; empty lines do not count. What is wrong with a line is that row's.

    Errors: DataError when none of the first lines is JSON.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self.watch:
            self._try()

    def _scan(self, file: BinaryIO) -> Iterator[tuple[Integers, Integers]]:
        """The lines that are not empty, of one block after the other."""
        offset, line, begun = file.tell(), 1, True  # begun: a line begins with the first byte of the block
        while block := file.read(BLOCK_BYTES):
            data = np.frombuffer(block, dtype=np.uint8)
            starts = np.flatnonzero(data[:-1] == ord("\n")) + 1
            starts = np.concatenate([[0], starts]) if begun else starts
            lines = np.arange(line, line + len(starts))
            kept = data[starts] > ord(" ")
            for i in np.flatnonzero(~kept & (data[starts] != ord("\n"))):
                kept[i] = self._holds(offset + int(starts[i]))
            yield starts[kept] + offset, lines[kept]
            offset, line, begun = offset + len(block), line + len(starts), block.endswith(b"\n")

    def _holds(self, start: int) -> bool:
        """Whether the line that begins there holds more than blanks."""
        with open(self.watch.path, "rb") as file:
            file.seek(start)
            return bool(file.readline().strip())

    def _try(self) -> None:
        """Errors: DataError when none of the first records is a JSON object, or all of them together are one JSON
        list.
        """
        if not len(self) or (not self._is_list() and any(map(self._is_object, self._first()))):
            return
        try:
            self._row(0)
        except DataError as error:
            raise DataError(error.message, expected=f"{_OBJECTS} (one JSON list of them is a .json file)") from None

    def _first(self) -> Iterator[bytes]:
        return (self.watch.part(*self._place(i)) for i in range(min(len(self), TRIED)))

    def _is_list(self) -> bool:
        first, last = (self.watch.part(*self._place(i)).strip() for i in (0, len(self) - 1))
        return first.startswith(b"[") and last.endswith(b"]") and len(self) > 1 and not first.endswith(b"]")

    @staticmethod
    def _is_object(record: bytes) -> bool:
        try:
            return isinstance(_LENIENT.decode(record.decode()), dict)
        except (ValueError, RecursionError):
            return False

    def _parse(self, record: bytes, line: int) -> Row:
        text = self._text(record, line)
        try:
            row = _DECODER.decode(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise self._fault(line, f"not JSON: {error}", _OBJECTS) from None
        except ValueError as error:  # two fields of one name, a number of thousands of digits
            raise self._fault(line, str(error), f"{_OBJECTS}, that Python can hold") from None
        if not isinstance(row, dict):
            raise self._fault(line, f"a {type(row).__name__}: {row!r:.80}", _OBJECTS)
        return row

    def _known(self) -> set[str]:
        with self.watch:
            return {name for i in range(len(self)) for name in self._readable(i)}

    def _pieces(self, names: Sequence[str]) -> Generator[list[list[Any]], None, None]:
        with open(self.watch.path, "rb") as file:
            file.seek(self.first)
            rows = self._objects(file)
            while piece := list(islice(rows, PIECE_ROWS)):
                yield [_cells([row.get(name) for row in piece]) for name in names]

    def _objects(self, file: BinaryIO) -> Iterator[Row]:
        """The object of each record; an empty one where it cannot be read."""
        scan = make_scanner(_DECODER)  # type: ignore[arg-type]  # `decode` without its search for blanks, half of the time
        for record in file:
            try:
                text = record.decode()
                row, end = scan(text, 0)
                if type(row) is dict and text[end:] in ("\n", "\r\n", ""):
                    yield row
                    continue
            except (StopIteration, ValueError, RecursionError):
                pass
            if record.strip():  # blanks around it, or a fault: as when the row itself is read
                try:
                    yield self._parse(record, 0)
                except DataError:
                    yield {}


# --- CSV and TSV
# -------------------------------------------------------------------------------------------------------


class Csv(TextFile):
    """A header, then one record a line (or more, where a quoted cell has line breaks). Cells are texts; "" is missing.

    How cells are separated is found by the first lines. Errors: DataError naming the line for a record with
    more or fewer cells than the header, quotes that do not fit, two columns of one name, and what is not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self.names = list[str]()
        super().__init__(path)

    def _form(self, lines: Sequence[str]) -> Form:
        return form_of_csv(lines)

    def _facts(self) -> dict[str, Any]:
        return super()._facts() | {"names": self.names, "form": dataclasses.asdict(self.form)}

    def _take(self, facts: Mapping[str, Any]) -> None:
        super()._take(facts)
        self.names, self.form = list(facts["names"]), Form(**facts["form"])

    def _scan(self, file: BinaryIO) -> Iterator[tuple[Integers, Integers]]:
        self.form = self._form([self._text(line, n) for n, line in enumerate(islice(_lines(file), LOOKED_AT), 1)])
        file.seek(self.first)
        found = self._records(file)
        while piece := list(islice(found, PIECE_ROWS)):
            starts, lines = np.array(piece, dtype=np.int64).T
            yield starts, lines

    def _records(self, file: BinaryIO) -> Iterator[tuple[int, int]]:
        """Where each record begins, and at which line; the first is the header, and is taken as such."""
        end, line = self.first, 0

        def lines() -> Iterator[str]:
            nonlocal end, line
            for record in _lines(file):
                end, line = end + len(record), line + 1
                if line > self.form.before:
                    yield self._text(record, line)

        reader = records(lines(), self.form)
        start, first = end, 1
        while (cells := self._next(reader, first)) is not None:
            if cells and not self.names:
                self.names = self._header(cells, first)
            elif cells:
                self._check(cells, first)
                yield start, first
            start, first = end, line + 1

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
        if len(cells) == len(self.names):
            return
        expected = f"{len(self.names)}, as in the header"
        if self.form.mark not in ",\t":
            expected += f" (separated by {self.form.mark!r})"
        if not self.form.quotes and any(text.startswith('"') for text in cells):
            expected += "; a .tsv has no quotes, so no tab or line break in a cell: write a .csv or .jsonl instead"
        raise self._fault(line, f"{len(cells)} cells", expected)

    def _parse(self, record: bytes, line: int) -> Row:
        reader = records(io.StringIO(self._text(record, line), newline=""), self.form)
        cells = self._next(reader, line) or []
        self._check(cells, line)
        return {name: text or None for name, text in zip(self.names, cells, strict=True)}

    def _known(self) -> set[str]:
        return set(self.names)

    def _pieces(self, names: Sequence[str]) -> Generator[list[list[Any]], None, None]:
        places = [self.names.index(name) if name in self.names else None for name in names]
        with open(self.watch.path, encoding="utf-8-sig", newline="") as file:
            read = (cells for cells in records(islice(file, self.form.before, None), self.form) if cells)
            next(read, None)  # the header
            while piece := list(islice(read, PIECE_ROWS)):
                yield [[None if at is None else cells[at] or None for cells in piece] for at in places]


class Tsv(Csv):
    """A header, then one record a line, a tab between cells. There are no quotes: one is part of its cell's text."""

    def _form(self, lines: Sequence[str]) -> Form:
        return TSV


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, each with its end: \\n, \\r\\n or \\r."""
    for line in file:
        if b"\r" in line[:-2]:
            yield from line.splitlines(keepends=True)
        else:
            yield line


# --- one JSON list
# -----------------------------------------------------------------------------------------------------

_LIST = "one JSON list of objects (one object a line is a .jsonl file)"
_BLANKS = re.compile(r"[ \t\r\n]*")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # as bytes are decoded that are none


class JsonList(Listed):
    """A file that is one JSON list of objects, read whole. What is wrong with an object is that row's.

    Errors: DataError for what is no JSON list, and when no element of it is an object.
    """

    def __init__(self, path: Path) -> None:
        self.faults: dict[int, DataError] = {}
        self.watch = Watch(path)
        with self.watch:
            data = self.watch.path.read_bytes()
        try:
            rows = _whole(data)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path.name} is not JSON: {error}", expected=_LIST) from None
        except ValueError:
            rows = self._one_by_one(data.decode("utf-8-sig", "surrogateescape"), path.name)
        if not isinstance(rows, list):
            raise DataError(f"{path.name} holds a {type(rows).__name__}", expected="one JSON list of objects")
        for i, row in enumerate(rows if any(isinstance(row, dict) for row in rows) else ()):
            if not isinstance(row, dict):
                self.faults[i], rows[i] = no_row(row, path.name, i), {}
        super().__init__(rows, path.name, path.parent)

    def _one_by_one(self, text: str, name: str) -> list[Any]:
        """The elements; an empty object, and a fault, for each of which Python can make none."""
        at, rows, expected = _after(text, 0), list[Any](), "JSON objects that Python can hold, in UTF-8"
        try:
            if not text.startswith("[", at):
                raise json.JSONDecodeError("no list", text, at)
            while not rows or text[at] == ",":
                at = _after(text, at + 1)
                _, end = _LENIENT.raw_decode(text, at)
                try:
                    if odd := _NOT_UTF8.search(text, at, end):
                        raise ValueError(f"not UTF-8 (byte {ord(odd[0]) - 0xDC00:#x})")
                    rows.append(_DECODER.raw_decode(text, at)[0])
                except ValueError as error:
                    line = text.count("\n", 0, at) + 1
                    self.faults[len(rows)] = DataError(f"{name}, line {line}: {error}", expected=expected)
                    rows.append({})
                at = _after(text, end)
            if text[at] != "]" or _after(text, at + 1) < len(text):
                raise json.JSONDecodeError("no end of the list", text, at)
        except (json.JSONDecodeError, RecursionError, IndexError) as error:
            raise DataError(f"{name} is not JSON: {error}", expected=_LIST) from None
        return rows

    def _row(self, i: int) -> Any:
        if i in self.faults:
            raise self.faults[i]
        return super()._row(i)


def _whole(data: bytes) -> Any:
    return json.loads(data, cls=json.JSONDecoder, object_pairs_hook=_once)


def _after(text: str, at: int) -> int:
    """Where the blanks end that begin there."""
    found = _BLANKS.match(text, at)
    return found.end() if found else at
