"""Execution accuracy of SQL: both queries run on an SQLite database, read-only and bounded, and their results compared.

The measure of Spider (Yu et al., 2018; Zhong et al., 2020). What a model writes is run as what it is, a stranger's
text: in a process of its own the database is opened read-only, an authorizer lets nothing but reading through, one
statement runs at a time, and work, result and memory are bounded.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from ofasys.errors import DataError
from ofasys.metric.pairs import pairs
from ofasys.metric.sql_process import ROWS, STEPS, Refused, Result, Row
from ofasys.metric.sql_reader import Database, SqlReader


def execution_accuracy(
    predictions: Sequence[Any],
    references: Sequence[Any],
    *,
    database: Database | None = None,
    steps: int = STEPS,
    rows: int = ROWS,
    root: str | Path | None = None,
) -> dict[str, float]:
    """`execution_accuracy`, 0..1: the share of queries whose result is the true one; `executable`: those that ran at
    all.

    A reference is (true SQL, database), or {"sql": ..., "database": ...}, or a list of such alternatives; with
    `database` given, the true SQL alone. root: the folder that relative paths in references start from. Results are
    compared as multisets of rows, as lists where the true SQL ends in ORDER BY (rows that tie there are still expected
    in the order SQLite gives); columns in their order, whatever their names. Whole numbers are the same when equal, 1
    and 1.0 alike; of reals, those are that rounding may have parted: within 1e-6 (below 1, a millionth of the larger,
    but at least 1e-9), or a part in 10^12. Text, numbers, blobs and NULL are apart. A prediction may be any text: one
    that is no single query, writes, fails, or does not end within `steps` instructions of SQLite's machine and `rows`
    rows is wrong. So is one of which single instructions take longer than ten seconds: it runs in a process of its own,
    which is then ended. Of a connection to a database in memory, the content is read, not functions of one's own.
    Virtual tables are read like others: FTS, R-tree, json_each, pragma_table_info. Errors: DataError where a database
    cannot be read or a true query does not run.
    """
    scored = pairs(predictions, references)
    right = ran = 0
    with _Databases(steps, rows) as databases:
        for i, (prediction, reference) in enumerate(scored):
            verdicts = []
            for sql, place in _ways(reference, database, i, root):
                truth = databases.truth(place, sql, i)
                try:
                    if not isinstance(prediction, str):
                        raise Refused("no text")
                    found = databases.result(place, prediction)
                except Refused:
                    continue
                verdicts.append(same(found, truth))
            ran += bool(verdicts)
            right += any(verdicts)
    return {"execution_accuracy": right / len(scored), "executable": ran / len(scored)}


@dataclass(frozen=True, eq=False)
class ExecutionAccuracy:
    """`execution_accuracy` on one database, for the metrics of a task: references are the true SQL alone."""

    database: Database
    steps: int = STEPS
    """Instructions of SQLite's machine a query may take."""
    rows: int = ROWS
    """Rows a query may give."""

    __name__ = "execution_accuracy"

    def __call__(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        """The figures; see `execution_accuracy`."""
        return execution_accuracy(predictions, references, database=self.database, steps=self.steps, rows=self.rows)


def same(found: Result, truth: Result) -> bool:
    """Whether two results hold the same rows; in the same order where the true query asks for one."""
    if found.columns != truth.columns or len(found.rows) != len(truth.rows):
        return False
    if truth.ordered:
        return all(map(_same_row, found.rows, truth.rows))
    left, right = Counter(found.rows), Counter(truth.rows)
    return _matched(list((left - right).elements()), list((right - left).elements()))


def _matched(ours: list[Row], theirs: list[Row]) -> bool:
    """Whether rows pair off. Those of one group differ by rounding at most, so that only groups are searched."""
    places = _places([*ours, *theirs])
    groups: defaultdict[Row, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for side, rows in enumerate((ours, theirs)):
        for row in rows:
            groups[tuple(map(_place, row, places))][side].append(row)
    return all(len(mine) == len(other) and _paired(mine, other) for mine, other in groups.values())


def _paired(ours: list[Row], theirs: list[Row]) -> bool:
    free = sorted(theirs)
    for row in sorted(ours):
        at = next((i for i, other in enumerate(free) if _same_row(row, other)), None)
        if at is None:
            return False
        del free[at]
    return True


def _places(rows: list[Row]) -> list[dict[Any, int]]:
    """Of each column: number -> the place of its run, in which each is near the one before."""
    found = []
    for column in zip(*rows, strict=True):
        numbers = sorted({value for value in column if isinstance(value, (int, float))})
        near = [not _same_value(one, other) for one, other in pairwise(numbers)]
        found.append(dict(zip(numbers, accumulate(near, initial=0), strict=False)))
    return found


def _place(value: Any, numbers: dict[Any, int]) -> tuple[type, Any]:
    if isinstance(value, (int, float)):
        return float, numbers[value]
    return type(value), value


def _same_row(one: Row, other: Row) -> bool:
    return all(map(_same_value, one, other))


def _same_value(one: Any, other: Any) -> bool:
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other or (not (_whole(one) and _whole(other)) and _near(float(one), float(other)))
    return type(one) is type(other) and bool(one == other)


def _whole(number: int | float) -> bool:
    """Whether it is a whole number that a real holds exactly: one that rounding does not make of another."""
    return isinstance(number, int) or (number.is_integer() and abs(number) <= 2**53)


def _near(one: float, other: float) -> bool:
    """Reals that rounding may have parted."""
    size = max(abs(one), abs(other))
    return math.isfinite(size) and abs(one - other) <= max(1e-6 * min(size, 1), 1e-12 * size, 1e-9)


def _ways(
    reference: Any, database: Database | None, sample: int, root: str | Path | None
) -> list[tuple[str, Database]]:
    """(true SQL, database) of each alternative."""
    if _is_way(reference, database):
        ways = [reference]
    else:
        ways = list(reference) if isinstance(reference, (list, tuple)) else []
        if not ways or not all(_is_way(way, database) for way in ways):
            raise DataError(
                f"the reference is {reference!r:.80}",
                expected="(true SQL, database), or the true SQL alone with ExecutionAccuracy(database) as the metric",
                sample=sample,
            )
    if database is not None:
        return [(way, database) for way in ways]
    own = [(way["sql"], way["database"]) if isinstance(way, Mapping) else tuple(way) for way in ways]
    return [(sql, Path(root or ".", at) if isinstance(at, str | Path) else at) for sql, at in own]


def _is_way(value: Any, database: Database | None) -> bool:
    if database is not None:
        return isinstance(value, str)
    if isinstance(value, Mapping):
        value = (value.get("sql"), value.get("database"))
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return False
    return isinstance(value[0], str) and isinstance(value[1], (str, Path, sqlite3.Connection))


class _Databases:
    """The databases of one evaluation, each opened once, and the results of the true queries."""

    def __init__(self, steps: int, rows: int) -> None:
        self.steps, self.rows = steps, rows
        self.reader = SqlReader()
        self.numbers: dict[str | int, int] = {}
        self.truths: dict[tuple[int, str], Result] = {}

    def __enter__(self) -> _Databases:
        return self

    def __exit__(self, *problem: object) -> None:
        self.reader.__exit__(*problem)

    def number(self, place: Database) -> int:
        key = id(place) if isinstance(place, sqlite3.Connection) else str(place)
        if key not in self.numbers:
            self.numbers[key] = self.reader.open(place)
        return self.numbers[key]

    def result(self, place: Database, sql: str) -> Result:
        return self.reader.run(self.number(place), sql, self.steps, self.rows)

    def truth(self, place: Database, sql: str, sample: int) -> Result:
        try:
            number = self.number(place)
            if (number, sql) not in self.truths:
                self.truths[number, sql] = self.result(place, sql)
        except Refused as error:
            raise DataError(
                f"the true SQL {sql!r:.200} does not run: {error}", expected="one query that SQLite runs", sample=sample
            ) from None
        except DataError as error:
            raise error.at(sample=sample) from error.__cause__
        return self.truths[number, sql]


__all__ = ["ROWS", "STEPS", "ExecutionAccuracy", "Refused", "SqlReader", "execution_accuracy", "same"]
