"""STRUCT: tables, databases, triples and grids -> tokens, and back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.errors import ConfigError, DataError
from ofasys.modality.modality import NOWHERE, Concatenate, Context, Options
from ofasys.modality.struct.grid import Grid, parse_grid, read_grid, write_grid
from ofasys.modality.struct.notation import Malformed
from ofasys.modality.struct.options import CELLS
from ofasys.modality.struct.schema import TableSchema, is_database, read_schema
from ofasys.modality.struct.table import Table, header, lines, parse_table, read_table, whole
from ofasys.modality.struct.triples import NONE, Triple, parse_triples, read_triples, write_triple
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures

BLOCK = 64  # lines encoded at once
MOST_TEXT = 1_000  # characters of one value that the tokenizer is trained on
SAMPLES = 3  # values a column of a database that came without `preprocess=database`


class Lines(Concatenate):
    """What tables, databases and triples share: lines of text, as many whole ones as there is room for."""

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.options, self.symbols, self.room = options, symbols, int(options["max_length"])
        self.longest = max(map(len, symbols.tokenizer.get_vocab()), default=1)  # characters a piece stands for
        self.said = False

    def fitting(self, head: str, rest: Iterator[str], count: int | None, what: tuple[str, str]) -> SlotFeatures:
        """`head` and as many lines of `rest` as fit; what comes after is not read. count: lines there are, or None.

        what: what the head is called, and the lines. info: `kept` and `dropped` lines (None where it is not known how
        many). Errors: DataError if the head alone is too long.
        """
        tokens = self.symbols.encode(head) if len(head) <= self.room * self.longest else []
        if len(tokens) > self.room or not tokens:
            raise DataError(
                f"{what[0]} does not fit: {len(tokens) or len(head)} {'positions' if tokens else 'characters'}",
                expected=f"at most max_length={self.room} positions, or a larger max_length",
            )
        kept, full = 0, False
        while not full and (block := list(islice(rest, BLOCK))):
            longest, before = (self.room - len(tokens)) * self.longest, kept
            for encoded in self.symbols.encode_batch(list(takewhile(lambda line: len(line) <= longest, block))):  # noqa: B023
                if len(tokens) + len(encoded) > self.room:
                    break
                tokens += encoded
                kept += 1
            full = kept - before < len(block)
        dropped = (None if count is None else count - kept) if full else 0
        if full and not self.said:
            self.said = True
            left = "the rest are" if dropped is None else f"{dropped} more are"
            warnings.warn(f"{kept} {what[1]} fit max_length={self.room}; {left} left out", stacklevel=2)
        return SlotFeatures(
            {"tokens": np.array(tokens, dtype=np.int64)}, len(tokens), info={"kept": kept, "dropped": dropped}
        )

    @staticmethod
    def sampled(parts: Iterable[str]) -> list[str]:
        """The beginning of a value, to train the tokenizer on; of one that cannot be read, none."""
        text = ""
        try:
            for part in parts:
                if len(text) + len(part) > MOST_TEXT and text:
                    break
                text += part[:MOST_TEXT]
        except (DataError, ConfigError):
            return []
        return [text] if text else []


class Tables(Lines):
    """A table -> tokens (n,) of its lines, the header first. A database is read as `preprocess=database` does."""

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError for what is no table, and for a header longer than max_length."""
        if is_database(value, context.root):
            return Databases({**self.options, "samples": SAMPLES}, self.symbols).preprocess(value, context)
        table = read_table(value, context.root)
        return self.fitting(header(table.columns), lines(table), table.count, ("the header of the table", "rows"))

    def postprocess(self, tokens: np.ndarray, context: Context) -> Table | Malformed:
        """A Table; the text itself, Malformed, where it is none."""
        return parse_table(self.symbols.decode(tokens))

    @staticmethod
    def texts(value: Any, options: Options, root: str | Path | None = None) -> list[str]:
        """The first lines."""
        if is_database(value, root):
            return Databases.texts(value, options, root)
        return Lines.sampled(_table_lines(value, root))

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """As a Table, dates and the like as the text they are written as."""
        return None if value is None else whole(read_table(value, context.root))


def _table_lines(value: Any, root: str | Path | None) -> Iterator[str]:
    table = read_table(value, root)
    yield header(table.columns)
    yield from lines(table)


class TriplesText(Lines):
    """A list of triples -> tokens (n,), a line each."""

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError for what is no list of triples, and for a first one longer than max_length."""
        triples = map(write_triple, read_triples(value))
        first = next(triples, f" {NONE}")
        count = len(value) - 1 if isinstance(value, (list, tuple)) and value else None
        return self.fitting(
            first, ("\n" + line for line in triples), count, ("the first triple", "triples after the first")
        )

    def postprocess(self, tokens: np.ndarray, context: Context) -> list[Triple] | Malformed:
        """The triples; the text itself, Malformed, where it writes none."""
        return parse_triples(self.symbols.decode(tokens))

    @staticmethod
    def texts(value: Any, options: Options, root: str | Path | None = None) -> list[str]:
        """The first lines."""
        return Lines.sampled("\n" + line for line in map(write_triple, read_triples(value)))

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """A list of tuples."""
        return None if value is None else list(read_triples(value))


class Databases(Lines):
    """An SQLite database -> tokens (n,) of its schema, a line a table. If it does not fit, values go first, then
    tables.
    """

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError for what is no database, and for a first table longer than max_length."""
        most = int(self.options["samples"])
        tables = _schema(value, most, context.root)
        for samples in range(most, 0, -1):
            encoded = self.symbols.encode_batch(_written(tables, samples))
            if sum(map(len, encoded)) <= self.room:
                tokens = np.array(list(chain.from_iterable(encoded)), dtype=np.int64)
                return SlotFeatures({"tokens": tokens}, len(tokens), info={"kept": len(tables) - 1, "dropped": 0})
        first, *rest = _written(tables, 0)
        return self.fitting(first, iter(rest), len(rest), ("the first table of the database", "tables after the first"))

    def postprocess(self, tokens: np.ndarray, context: Context) -> str:
        """Its text: a database is not made out of one."""
        return self.symbols.decode(tokens)

    @staticmethod
    def texts(value: Any, options: Options, root: str | Path | None = None) -> list[str]:
        """The first tables, without values. Rows share databases, so this is little."""
        return Lines.sampled(_schema_lines(value, root))

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """Never an answer."""
        raise DataError("a database is not generated", expected="preprocess=table, triples or grid in a target")


def _schema_lines(value: Any, root: str | Path | None) -> Iterator[str]:
    yield from _written(_schema(value, 0, root), 0)


def _written(tables: tuple[TableSchema, ...], samples: int) -> list[str]:
    return [("\n" if i else "") + table.write(samples) for i, table in enumerate(tables)]


def _schema(value: Any, samples: int, root: str | Path | None) -> tuple[TableSchema, ...]:
    """`read_schema`; of a file that did not change it is remembered, for many rows ask the same database."""
    if isinstance(value, (str, os.PathLike)):
        try:
            path = Path(root or ".", value)
            found = path.stat()
            return _kept_schema(str(path.resolve()), samples, found.st_mtime_ns, found.st_size)
        except (OSError, ValueError):
            pass  # read_schema says what is wrong with it
    return read_schema(value, samples, root)


@lru_cache(maxsize=64)
def _kept_schema(path: str, samples: int, changed: int, size: int) -> tuple[TableSchema, ...]:
    return read_schema(path, samples)


class Grids(Concatenate):
    """A grid -> tokens (n,) in raster order with their (y, x); a token stands between rows where shapes vary."""

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.values, self.rows, self.columns = options["values"], options["rows"], options["columns"]
        self.most, self.start = options["max_length"], symbols.vocabulary.span("cells")[0]

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError for what is no grid, of another shape than the options say, or longer than max_length."""
        grid = read_grid(value, self.values, self.rows, self.columns)
        cells, places = write_grid(grid, CELLS if self.columns is None else None)
        if self.most is not None and len(cells) > self.most:
            raise DataError(
                f"a grid of {grid.shape[0]} x {grid.shape[1]} takes {len(cells)} positions",
                expected=f"at most max_length={self.most}: a grid is never cut",
            )
        return SlotFeatures({"tokens": cells + self.start}, len(cells), places, orders=1)

    def postprocess(self, tokens: np.ndarray, context: Context) -> Grid | Malformed:
        """A list of lists; the rows as text, Malformed, where they are of several lengths."""
        return parse_grid(np.asarray(tokens, dtype=np.int64) - self.start, self.values, self.columns, CELLS)

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """A list of lists."""
        return None if value is None else read_grid(value, self.values, self.rows, self.columns).tolist()
