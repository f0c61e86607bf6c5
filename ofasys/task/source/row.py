"""A row, what a source of rows does, and what all sources here share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ofasys.errors import DataError, nearest
from ofasys.task.source.value import cell
from ofasys.task.source.watch import Watch

Row = dict[str, Any]


@runtime_checkable
class Source(Protocol):
    """Rows by number. root: where relative paths inside the rows start: the folder of their file, if they have one."""

    root: Path | None

    def __len__(self) -> int:
        """How many rows."""
        ...

    def __getitem__(self, i: int) -> Row:
        """Row i, a new dict of Python's values; a missing one (None, NaN, an empty cell of a CSV file) is None.

        Errors: DataError for what is wrong with this row, LoadingError where no row can be read any more.
        """
        ...

    def describe(self) -> str:
        """What a person would call it: `rows.csv`, `list of 40 rows`."""
        ...

    def column(self, name: str) -> list[Any] | None:
        """All values of a column; None where that would mean decoding images or running the user's code."""
        ...


class Rows:
    """Rows by number: a subclass says how many, and reads one.

    watch: of the file that they are read from, if there is one; each row is read inside it. given: the URL or the query
    that they are of, if they are.
    """

    root: Path | None = None
    watch: Watch | None = None
    given: str | dict[str, str] | None = None

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, i: int) -> Row:
        i = int(i)
        if not 0 <= i < len(self):
            raise IndexError(f"row {i} of {self.describe()}, which has rows 0 to {len(self) - 1}")
        row = self._fresh(i)
        if not isinstance(row, Mapping):
            raise no_row(row, self.describe(), i)
        return {name: cell(value) for name, value in row.items()}

    def _fresh(self, i: int) -> Any:
        """The row, of a file that is as it was when it was opened."""
        if self.watch is None:
            return self._row(i)
        with self.watch:
            return self._row(i)

    def _row(self, i: int) -> Any:
        raise NotImplementedError

    def describe(self) -> str:
        """What a person would call it."""
        raise NotImplementedError

    def column(self, name: str) -> list[Any] | None:
        """All values of a column, where they are at hand. Errors: DataError when no row has it."""
        return None


def said(error: BaseException) -> str:
    """What an error of someone else's code says; of some the text itself fails."""
    try:
        return str(error)
    except Exception:
        return "(its text cannot be had)"


def no_row(row: Any, where: str, i: int) -> DataError:
    """The error for a row that is no dict."""
    return DataError(
        f"a row of {where} is a {type(row).__name__}: {row!r:.80}", expected="a dict {column: value}", sample=i
    )


def no_column(name: str, known: Iterable[str], where: str) -> DataError:
    """The error for a column that is not there."""
    names = sorted(map(str, known))
    hint = nearest(name, names)
    return DataError(f"{where} has no column {name!r}; {hint}its columns: {', '.join(names)}", column=name)


def pick(name: str, rows: Iterable[Mapping[str, Any]], where: str) -> list[Any]:
    """One column of rows that need not all have it, but one must. Errors: DataError when none has it."""
    values: list[Any] = []
    known: set[str] = set()
    for row in rows:
        values.append(cell(row.get(name)))
        known.update(row)
    if name not in known:
        raise no_column(name, known, where)
    return values
