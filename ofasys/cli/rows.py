"""The rows that `ofasys infer` answers: of a file or folder, of standard input, or of paths that fit a pattern."""

from __future__ import annotations

import glob
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError, DataError, LoadingError
from ofasys.seeds import key_of
from ofasys.task.source import fingerprint, open_source

STANDARD_INPUT = "-"
LOOKED_AT = 100  # rows, for what columns there are
Row = dict[str, Any] | DataError  # a row, or what is wrong with it


@dataclass(frozen=True)
class Rows:
    """Rows, read once, in order. name: what a person calls them. total: None where it is not known.

    read: the number of the first row -> the rows from there on. root: where relative paths inside them start; None:
    where we are. told: what tells their content, in a few digits; None where that cannot be told, and where they come
    but once. again: opens them in another process; None where they come but once.
    """

    read: Callable[[int], Iterator[Row]]
    name: str
    total: int | None = None
    root: Path | None = None
    told: str | None = None
    again: Callable[[], Rows] | None = None

    def columns(self) -> list[str]:
        """Of the first rows, which need not all have the same; none where rows come but once."""
        first = islice(self.read(0), LOOKED_AT) if self.again is not None else ()
        return list(dict.fromkeys(str(name) for row in first if not isinstance(row, DataError) for name in row))


def of_path(path: Path, needed: Sequence[str]) -> Rows:
    """The rows of a file, or of a folder of pictures. needed: the columns of the source.

    Of a folder the pictures are the one column that is needed. Errors: as `open_source`.
    """
    source = open_source(path)
    column = needed[0] if path.is_dir() and len(needed) == 1 else None

    def read(first: int) -> Iterator[Row]:
        for number in range(first, len(source)):
            try:
                row = source[number]
            except LoadingError:
                raise
            except DataError as error:
                yield error
                continue
            if column is not None and column not in row and "image" in row:
                row = {column: row.pop("image"), **row}
            yield row

    again = partial(of_path, path.absolute(), needed)
    return Rows(read, str(path), len(source), source.root, fingerprint(source), again)


def of_pattern(pattern: str, column: str) -> Rows:
    """A row for each path that fits, in order. Errors: ConfigError where none does."""
    paths = sorted(glob.glob(pattern, recursive=True))
    if not paths:
        raise ConfigError(f"no file fits {column}={pattern}; look at the pattern, or give a path that is there")
    return _of_paths(paths, column, pattern)


def _of_paths(paths: Sequence[str], column: str, name: str) -> Rows:
    told, again = key_of("paths", *paths), partial(_of_paths, paths, column, name)
    return Rows(lambda first: ({column: path} for path in paths[first:]), name, len(paths), None, f"{told:x}", again)


def of_standard_input(needed: Sequence[str], column: str | None, value: Callable[[str, str], Any]) -> Rows:
    """A row for each line of standard input that is not blank: a JSON object, or a value of the one column needed.

    column: the one whose values the lines are, if it was said. value: (column, text) -> the value meant.
    """
    return Rows(lambda first: islice(_lines(needed, column, value), first, None), "standard input")


def _lines(needed: Sequence[str], column: str | None, value: Callable[[str, str], Any]) -> Iterator[Row]:
    number = -1
    for text in _standard_input():
        if not text.strip():
            continue
        number += 1
        if column is not None:
            yield {column: value(column, text)}
            continue
        if number == 0 and not text.lstrip().startswith("{"):
            if len(needed) != 1:
                columns = ", ".join(needed) or "none"
                raise ConfigError(
                    f"standard input begins with {text[:40]!r}, which is no JSON object; a line that is a value goes "
                    "with "
                    f"one column, and this instruction has {len(needed)}: {columns}; give a JSON object a line"
                )
            column = needed[0]
            yield {column: value(column, text)}
            continue
        yield _object(text)
    if number < 0:
        raise ConfigError("standard input holds no row; give a JSON object, or a value of the one column, a line")


def _object(text: str) -> dict[str, Any] | DataError:
    try:
        row = json.loads(text)
    except ValueError as error:
        return DataError(f"the line is not JSON: {error}: {text[:80]!r}", expected="a JSON object a line")
    if not isinstance(row, dict):
        return DataError(f"the line is a {type(row).__name__}: {text[:80]!r}", expected="a JSON object a line")
    return row


def _standard_input() -> Iterator[str]:
    try:
        for number, line in enumerate(sys.stdin):
            yield (line.removeprefix("\ufeff") if number == 0 else line).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input is not UTF-8 text: {error.reason}; save it as UTF-8") from None
