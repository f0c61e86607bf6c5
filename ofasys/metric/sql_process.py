"""The process that runs SQL: requests come in on standard input, answers go out on standard output.

It is run as a file of its own, with no more than Python's standard library, so that it begins in some hundredths of a
second. An alarm of the system ends it when a request takes too long, whatever SQLite is in the midst of then, and also
when the process that asked is there no more.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import sqlite3
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

Row = tuple[Any, ...]

STEPS = 20_000_000  # instructions of SQLite's machine a query may take: under a second of plain work
ROWS = 100_000
MOST_BYTES = 64 << 20  # of a result
MOST_TEXT = 20_000  # characters of a query
MOST_VALUE = 1_000_000  # bytes of a value, while a query runs
MOST_HEAP = 512 << 20  # bytes SQLite may hold while a query runs
SECONDS = 10.0  # behind the count of instructions, where single ones are slow
EVERY = 1000  # instructions between two counts
LIMITS = {  # https://www.sqlite.org/limits.html
    sqlite3.SQLITE_LIMIT_LENGTH: MOST_VALUE,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 4 * MOST_TEXT,
    sqlite3.SQLITE_LIMIT_COLUMN: 2000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 1000,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 500,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 100,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 10,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}

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
    """table_info table_xinfo table_list index_list index_info index_xinfo foreign_key_list foreign_key_check
    database_list collation_list function_list module_list pragma_list compile_options integrity_check quick_check
    user_version application_id schema_version data_version encoding page_count page_size freelist_count""".split()  # noqa: SIM905
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


class Unreadable(Exception):  # noqa: N818
    """A database that cannot be read. args: what is wrong, and what was expected."""


class Refused(Exception):  # noqa: N818
    """A query that did not run to its end: the message says why."""


@dataclass(frozen=True)
class Result:
    """What a query gave. columns: how many. ordered: the query asks for an order."""

    columns: int
    rows: tuple[Row, ...]
    ordered: bool


def open_read_only(path: str | Path) -> sqlite3.Connection:
    """A connection that cannot change the file, nor leave one beside it.

    Raises Unreadable for no file, what is no SQLite database, and one whose write-ahead log was left unfinished.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise Unreadable(f"no file {str(path)[:200]!r}", EXPECTED)
        with path.open("rb") as file:
            head = file.read(20)
        uri = path.resolve().as_uri() + "?mode=ro"
    except (OSError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"{str(path)[:200]!r} cannot be read: {error}", EXPECTED) from None
    if not head.startswith(_MAGIC) or len(head) < 20:
        raise Unreadable(f"{path} is no SQLite database", EXPECTED)
    if 2 in head[18:20]:  # a write-ahead log: reading one makes files beside it, unless told that nobody writes
        log = Path(f"{path}-wal")
        if not log.is_file() or not log.stat().st_size:
            uri += "&immutable=1"
        elif not Path(f"{path}-shm").is_file():
            raise Unreadable(
                f"{path} has a write-ahead log that was never written back",
                f"a database that was closed; `sqlite3 {path.name} 'PRAGMA wal_checkpoint'` does so",
            )
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise Unreadable(f"{path} cannot be opened: {error}", EXPECTED) from None
    try:
        connection.text_factory = _text
        for setting in ("query_only = 1", "temp_store = memory", "trusted_schema = 1"):
            connection.execute(f"PRAGMA {setting}")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise Unreadable(f"{path} cannot be read: {error}", EXPECTED) from None
    return connection


def run(
    connection: sqlite3.Connection, sql: str, steps: int = STEPS, rows: int = ROWS, most_bytes: int = MOST_BYTES
) -> Result:
    """The result of one query. Raises Refused, with the reason, for what is no query or goes over a bound."""
    ordered = _checked(sql)
    try:
        with bounded(connection, Meter(steps)), reading(connection):
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
                if size > most_bytes:
                    raise Refused(f"more than {most_bytes} bytes of rows")
            cursor.close()
    except (sqlite3.Error, sqlite3.Warning, UnicodeError, ValueError, OverflowError, MemoryError) as error:
        raise Refused(
            "it does not end in time" if str(error) == "interrupted" else str(error) or "out of memory"
        ) from None
    if not columns:
        raise Refused("it gives no result")
    return Result(columns, tuple(found), ordered)


@contextmanager
def bounded(connection: sqlite3.Connection, meter: Meter) -> Iterator[None]:
    """Within it the connection takes as many instructions as its meter has left, and has SQLite's own limits at
    LIMITS; afterwards it is as before.
    """
    before = {limit: connection.setlimit(limit, most) for limit, most in LIMITS.items()}
    connection.set_progress_handler(meter, EVERY)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)
        for limit, most in before.items():
            connection.setlimit(limit, most)


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """Within it the connection only reads; afterwards it is as before."""
    before = connection.execute("PRAGMA query_only").fetchone()[0]
    connection.execute("PRAGMA query_only = 1")
    connection.set_authorizer(_Authorizer())
    try:
        yield
    finally:
        connection.set_authorizer(None)
        connection.execute(f"PRAGMA query_only = {int(before)}")


class Meter:
    """Asked every EVERY instructions; true is stop. The count decides, and is the same wherever it runs."""

    def __init__(self, steps: int) -> None:
        self.left = max(1, steps // EVERY)

    def __call__(self) -> bool:
        """Whether to stop."""
        self.left -= 1
        return self.left < 0


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


# --- the process ----------------------------------------------------------------------------------------------------


def send(pipe: BinaryIO, message: Any) -> None:
    """One message, as JSON after its length; bytes in it as base64."""
    data = json.dumps(message, default=_packed).encode()
    pipe.write(struct.pack("<Q", len(data)))
    pipe.write(data)
    pipe.flush()


def receive(pipe: BinaryIO) -> Any:
    """The next message; None where there is none any more."""
    head = pipe.read(8)
    if len(head) < 8:
        return None
    (size,) = struct.unpack("<Q", head)
    data = pipe.read(size)
    return json.loads(data, object_hook=_unpacked) if len(data) == size else None


def _packed(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    raise TypeError(f"{type(value).__name__} is no value of SQLite")


def _unpacked(found: dict[str, Any]) -> Any:
    return base64.b64decode(found["base64"]) if found.keys() == {"base64"} else found


class Served:
    """The databases that are open, by the number the asking process gave them."""

    def __init__(self) -> None:
        self.opened: dict[int, sqlite3.Connection] = {}
        self.meters: dict[int, Meter] = {}

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What a request gives: {"result": ...}, or why it gives nothing."""
        try:
            return {"result": getattr(self, f"to_{asked.pop('to')}")(**asked)}
        except Unreadable as error:
            return {"unreadable": list(error.args)}
        except Refused as error:
            return {"refused": str(error)}
        except (sqlite3.Error, MemoryError) as error:
            kind = type(error).__name__
            return {
                "failed": "it does not end in time" if str(error) == "interrupted" else str(error) or kind,
                "kind": kind,
            }

    def to_open(self, number: int, path: str | None, content: bytes | None) -> None:
        """Open a file, or the content of a database in memory."""
        self.to_close(number)
        if path is not None:
            connection = open_read_only(path)
        else:
            connection = sqlite3.connect(":memory:", isolation_level=None)
            connection.text_factory = _text
            if content:
                connection.deserialize(content)
            connection.execute("PRAGMA temp_store = memory")
        connection.execute(f"PRAGMA hard_heap_limit = {MOST_HEAP}")
        self.opened[number], self.meters[number] = connection, Meter(STEPS)

    def to_close(self, number: int) -> None:
        """Close it, if it is open."""
        if (connection := self.opened.pop(number, None)) is not None:
            connection.close()

    def to_run(self, number: int, sql: str, steps: int, rows: int, most_bytes: int) -> list[Any]:
        """One query of a stranger: columns, rows, whether it asks for an order."""
        found = run(self.opened[number], sql, steps, rows, most_bytes)
        return [found.columns, found.rows, found.ordered]

    def to_read(self, number: int, sql: str, values: list[Any]) -> list[Row]:
        """A query of our own, texts as they are, in bytes. How long it takes is the database's doing: all of one that
        is open may take STEPS instructions.
        """
        connection = self.opened[number]
        connection.text_factory = bytes
        try:
            with bounded(connection, self.meters[number]):
                return connection.execute(sql, values).fetchall()
        finally:
            connection.text_factory = _text


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more. Each takes at most the seconds it names, or the process ends."""
    served = Served()
    while (asked := receive(requests)) is not None:
        signal.setitimer(signal.ITIMER_REAL, asked.pop("seconds"))
        found = served.answer(asked)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        send(answers, found)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write among the answers
    serve(sys.stdin.buffer, _answers)
