"""Rows that Python holds: a list of them, or an object that gives them by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ofasys.errors import DataError
from ofasys.task.source.row import Rows, no_row, pick, said


class Listed(Rows):
    """Rows in memory. Errors: DataError at the first that is no dict."""

    def __init__(self, rows: Sequence[Any], name: str, root: Path | None = None) -> None:
        self.rows, self.name, self.root = rows, name, root
        for i, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise no_row(row, name, i)

    def __len__(self) -> int:
        return len(self.rows)

    def _fresh(self, i: int) -> Any:
        if self.watch is not None:  # of a file that was read whole, and that a run which goes on would read anew
            self.watch.check()
        return self._row(i)

    def _row(self, i: int) -> Any:
        return self.rows[i]

    def describe(self) -> str:
        """`list of 40 rows`."""
        return self.name

    def column(self, name: str) -> list[Any]:
        """All values of a column."""
        if self.watch is not None:
            self.watch.check()
        return pick(name, self.rows, self.name)


class MapStyle(Rows):
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
        except (Exception, SystemExit) as error:
            raise DataError(f"{self.describe()} raised {type(error).__name__}: {said(error)}", sample=i) from error

    def describe(self) -> str:
        """`Squares of 40 rows`."""
        return f"{type(self.data).__name__} of {len(self)} rows"
