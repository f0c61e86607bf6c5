"""Execution accuracy of SQL: both queries run on an SQLite database, read-only and bounded, and their results compared.

The measure of Spider (Yu et al., 2018; Zhong et al., 2020). What a model writes is run as what it is, a stranger's
text: the database is opened read-only, an authorizer lets nothing but reading through, one statement runs at a time,
and work, result and memory are bounded.
"""

from __future__ import annotations

import math
import re
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from ofasys.errors import DataError
from ofasys.metric.pairs import pairs

Row = tuple[Any, ...]
Database = str | Path | sqlite3.Connection

STEPS = 20_000_000  # instructions of SQLite's machine a query may take: under a second of plain work
ROWS = 100_000
MOST_BYTES = 64 << 20  # of a result
MOST_TEXT = 20_000  # characters of a query
MOST_VALUE = 1_000_000  # bytes of a value, while a query runs
MOST_GROWTH = 512 << 20  # bytes the process may grow by while a query runs
SECONDS = 10.0  # behind the count of instructions, where single ones are slow
EVERY = 1000  # instructions between two looks at these bounds

EXPECTED = "the path of an SQLite database, or a sqlite3.Connection"
_MAGIC = b"SQLite format 3\0"
_REFUSED_FUNCTIONS = {"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"}
_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_INSERT,  # these three by virtual tables only, see _Authorizer
    sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_DELETE,
}
_READING_PRAGMAS = frozenset(
    """table_info table_xinfo table_list index_list index_info index_xinfo foreign_key_list foreign_key_check database_list
    collation_list function_list module_list pragma_list compile_options integrity_check quick_check user_version
    application_id schema_version data_version encoding page_count page_size freelist_count""".split()  # noqa: SIM905
)
_NO_QUERY = frozenset(
    """alter analyze attach begin commit create delete detach drop end explain insert pragma reindex release replace
    rollback savepoint update vacuum""".split()  # noqa: SIM905
)
_NAME = r"A-Za-z0-9_$\x80-\U0010ffff"
_TOKEN = re.compile(
    rf"""(?P<passed> --[^\n]* | /\*.*?(?:\*/|\Z) | \s+ | \ufeff )
    | (?P<quoted> '(?:[^']|'')*(?:'|\Z) | "(?:[^"]|"")*(?:"|\Z) | `(?:[^`]|``)*(?:`|\Z) | \[[^\]]*(?:\]|\Z) )
    | (?P<other> [0-9$:@\#][{_NAME}.]* )
    | (?P<word> [{_NAME}]+ )
    | (?P<sign> . )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)


class Refused(Exception):  # noqa: N818
    """A query that did not run to its end: the message says why."""


@dataclass(frozen=True)
class Result:
    """What a query gave. columns: how many. ordered: the query asks for an order."""

    columns: int
    rows: tuple[Row, ...]
    ordered: bool


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
    that is no single query, writes, fails, or does not end within `steps` instructions and `rows` rows is wrong.
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
    rows: int = ROWS

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
        self.opened: dict[str, sqlite3.Connection] = {}
        self.truths: dict[tuple[int, str], Result] = {}

    def __enter__(self) -> _Databases:
        return self

    def __exit__(self, *problem: object) -> None:
        for connection in self.opened.values():
            connection.close()

    def connection(self, place: Database) -> sqlite3.Connection:
        if isinstance(place, sqlite3.Connection):
            return place
        if str(place) not in self.opened:
            self.opened[str(place)] = open_read_only(place)
        return self.opened[str(place)]

    def result(self, place: Database, sql: str) -> Result:
        return run(self.connection(place), sql, self.steps, self.rows)

    def truth(self, place: Database, sql: str, sample: int) -> Result:
        try:
            connection = self.connection(place)
            if (id(connection), sql) not in self.truths:
                self.truths[id(connection), sql] = self.result(place, sql)
        except Refused as error:
            raise DataError(
                f"the true SQL {sql!r:.200} does not run: {error}", expected="one query that SQLite runs", sample=sample
            ) from None
        except DataError as error:
            raise error.at(sample=sample) from error.__cause__
        return self.truths[id(connection), sql]


# --- running ------------------------------------------------------------------------------------------------------


def open_read_only(path: str | Path) -> sqlite3.Connection:
    """A connection that cannot change the file, nor leave one beside it.

    Errors: DataError for no file, what is no SQLite database, and one whose write-ahead log was left unfinished.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise DataError(f"no file {str(path)[:200]!r}", expected=EXPECTED)
        with path.open("rb") as file:
            head = file.read(20)
        uri = path.resolve().as_uri() + "?mode=ro"
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{str(path)[:200]!r} cannot be read: {error}", expected=EXPECTED) from None
    if not head.startswith(_MAGIC) or len(head) < 20:
        raise DataError(f"{path} is no SQLite database", expected=EXPECTED)
    if 2 in head[18:20]:  # a write-ahead log: reading one makes files beside it, unless told that nobody writes
        log = Path(f"{path}-wal")
        if not log.is_file() or not log.stat().st_size:
            uri += "&immutable=1"
        elif not Path(f"{path}-shm").is_file():
            raise DataError(
                f"{path} has a write-ahead log that was never written back",
                expected=f"a database that was closed; `sqlite3 {path.name} 'PRAGMA wal_checkpoint'` does so",
            )
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise DataError(f"{path} cannot be opened: {error}", expected=EXPECTED) from None
    try:
        connection.text_factory = _text
        for setting in ("query_only = 1", "temp_store = memory", "trusted_schema = 1"):
            connection.execute(f"PRAGMA {setting}")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise DataError(f"{path} cannot be read: {error}", expected=EXPECTED) from None
    return connection


def run(connection: sqlite3.Connection, sql: str, steps: int = STEPS, rows: int = ROWS) -> Result:
    """The result of one query. Raises Refused, with the reason, for what is no query or goes over a bound."""
    ordered = _checked(sql)
    try:
        with bounded(connection, steps), reading(connection):
            cursor = connection.cursor()
            cursor.row_factory = None
            cursor.execute(sql.rstrip("; \t\r\n\f"))  # sqlite3 takes one ";" at most
            columns = len(cursor.description or ())
            found: list[Row] = []
            size = 0
            for row in cursor:
                size += sum(len(value) for value in row if isinstance(value, (str, bytes)))
                found.append(tuple(row))
                if len(found) > rows:
                    raise Refused(f"more than {rows} rows")
                if size > MOST_BYTES:
                    raise Refused(f"more than {MOST_BYTES} bytes of rows")
            cursor.close()
    except (sqlite3.Error, sqlite3.Warning, UnicodeError, ValueError, OverflowError, MemoryError) as error:
        raise Refused("it does not end in time" if str(error) == "interrupted" else str(error)) from None
    if not columns:
        raise Refused("it gives no result")
    return Result(columns, tuple(found), ordered)


@contextmanager
def bounded(connection: sqlite3.Connection, steps: int = STEPS) -> Iterator[None]:
    """Within it the connection takes at most `steps` instructions and no value above MOST_VALUE; afterwards it is as
    before.
    """
    longest = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_VALUE)
    connection.set_progress_handler(_Meter(steps), EVERY)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """Within it the connection only reads; afterwards it is as before."""
    before = connection.execute("PRAGMA query_only").fetchone()[0]
    attached = connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.execute("PRAGMA query_only = 1")
    connection.set_authorizer(_Authorizer())
    try:
        yield
    finally:
        connection.set_authorizer(None)
        connection.execute(f"PRAGMA query_only = {int(before)}")
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, attached)


class _Meter:
    """Asked every EVERY instructions; true is stop. The count decides, and is the same wherever it runs."""

    def __init__(self, steps: int) -> None:
        self.left = max(1, steps // EVERY)
        self.deadline, self.peak = time.monotonic() + SECONDS, _memory() + MOST_GROWTH

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0 or _memory() > self.peak or time.monotonic() > self.deadline


def _memory() -> int:
    """Bytes the process has held at most; 0 where the system does not say."""
    try:
        import resource
        import sys
    except ModuleNotFoundError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class _Authorizer:
    """Answers what SQLite asks while it prepares a statement: may this be done?

    The first question tells the statement's kind; only that of a query is SELECT. What it asks of writing after that,
    it asks for virtual tables: opened, they declare their columns, and an R-tree prepares the statements it would write
    with. None is run, and none could be: the connection is `query_only`.
    """

    def __init__(self) -> None:
        self.first: int | None = None

    def __call__(self, action: int, one: str | None, two: str | None, database: str | None, within: str | None) -> int:
        self.first = action if self.first is None else self.first
        if self.first != sqlite3.SQLITE_SELECT:
            allowed = False
        elif action == sqlite3.SQLITE_FUNCTION:
            allowed = (two or "").lower() not in _REFUSED_FUNCTIONS
        elif action == sqlite3.SQLITE_PRAGMA:
            allowed = (one or "").lower() in _READING_PRAGMAS
        else:
            allowed = action in _ALLOWED
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _text(data: bytes) -> str:
    return data.decode("utf8", "replace")


def _checked(sql: str) -> bool:
    """Whether the query asks for an order of its rows. Raises Refused for what is clearly no single query."""
    if len(sql) > MOST_TEXT:
        raise Refused(f"more than {MOST_TEXT} characters")
    statements = _statements(sql)
    if len(statements) != 1:
        raise Refused(f"{len(statements)} statements")
    words = statements[0]
    if words[0] in _NO_QUERY:
        raise Refused(f"{words[0]} is no query")
    if words[0] == "with" and not {"select", "values"} & set(words):
        verb = next((word for word in words if word in _NO_QUERY), "with")
        raise Refused(f"{verb} is no query")
    return "order" in words


def _statements(sql: str) -> list[list[str]]:
    """Of each statement its words outside of parentheses, in lower case, by SQLite's own rules of what a token is.

    ORDER is no name in SQLite unless it is quoted, so there it begins the ORDER BY of the outermost query, and nothing
    else.
    """
    found: list[list[str]] = [[]]
    depth = 0
    for token in _TOKEN.finditer(sql):
        if token.lastgroup == "passed":
            continue
        text = token[0]
        depth += (text == "(") - (text == ")")
        if text == ";":
            depth = 0
            found.append([])
        elif depth == 0 or not found[-1]:
            found[-1].append(text.lower() if token.lastgroup == "word" else "")
    return [words for words in found if words]


__all__ = ["ExecutionAccuracy", "execution_accuracy", "open_read_only", "run"]
