"""SQLite databases, read by a process of their own that can be ended: what is in one, or what a model writes to ask
one, may take SQLite minutes within a single instruction, which nothing inside the process can interrupt.
"""

from __future__ import annotations

import atexit
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from ofasys.errors import DataError
from ofasys.metric import sql_process
from ofasys.metric.sql_process import EXPECTED, MOST_BYTES, SECONDS, Refused, Result, Row, receive, send

Database = str | Path | sqlite3.Connection

GRACE = 1.0  # seconds the process has to end by itself


class Failed(Exception):  # noqa: N818
    """SQLite's own error: its message, and the name of its class."""


class SqlReader:
    """Opened databases, by the number `open` gives. Use as a context, in one thread.

    seconds: what the system lets a request take, whatever SQLite counts. A process that was ended is begun anew.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self.process: subprocess.Popen[bytes] | None = None
        self.opened: dict[int, dict[str, Any]] = {}
        self.count = 0
        self.here: set[int] = set()  # of them those that this process has open

    def __enter__(self) -> SqlReader:
        return self

    def __exit__(self, *problem: object) -> None:
        self._end()

    def open(self, place: Database) -> int:
        """The number of a database, whose content stays as it is now where it is a connection.

        Errors: DataError for what is none, or cannot be read.
        """
        number = self.count
        self.opened[number] = {"number": number, **_found(place)}
        self.count += 1
        try:
            self._open(number)
        except BaseException:
            del self.opened[number]
            raise
        return number

    def close(self, number: int) -> None:
        """Close a database."""
        del self.opened[number]
        if number in self.here:
            self.here.remove(number)
            self._ask({"to": "close", "number": number})

    def run(self, number: int, sql: str, steps: int, rows: int, most_bytes: int = MOST_BYTES) -> Result:
        """The result of one query of a stranger. Raises Refused, with the reason, where there is none."""
        request = {"to": "run", "number": number, "sql": sql, "steps": steps, "rows": rows, "most_bytes": most_bytes}
        try:
            columns, found, ordered = self._asked(number, request)
        except Failed as error:
            raise Refused(error.args[0]) from None
        return Result(columns, tuple(map(tuple, found)), ordered)

    def read(self, number: int, sql: str, values: tuple[Any, ...] = ()) -> list[Row]:
        """The rows of a query of our own, texts in bytes. Raises Failed; Refused where the process was ended."""
        found = self._asked(number, {"to": "read", "number": number, "sql": sql, "values": list(values)})
        return list(map(tuple, found))

    def _open(self, number: int) -> None:
        try:
            self._ask({"to": "open", **self.opened[number]})
        except (Refused, Failed) as error:
            raise DataError(f"the database cannot be opened: {error.args[0]}", expected=EXPECTED) from None
        self.here.add(number)

    def _asked(self, number: int, request: dict[str, Any]) -> Any:
        """Asked once more where the process was ended, but not by its alarm: by another process, for want of memory."""
        for _ in range(2):
            if number not in self.here:
                self._open(number)
            try:
                return self._ask(request)
            except _Ended as error:
                ended = error
        raise ended

    def _ask(self, request: dict[str, Any]) -> Any:
        pipes = self._pipes()
        try:
            send(pipes[0], request | {"seconds": self.seconds})
            answer = receive(pipes[1])
        except OSError:  # it ended before it had read the request
            answer = None
        except BaseException:  # its answer would be taken for that of the next request
            if self.process is not None:
                self.process.kill()
            self._end()
            raise
        if answer is None:
            by = self._end()
            if by == -signal.SIGALRM:
                raise Refused("it does not end in time")
            raise _Ended(f"it ends SQLite, {_how(by)}")
        if "result" in answer:
            return answer["result"]
        if "refused" in answer:
            raise Refused(answer["refused"])
        if "unreadable" in answer:
            raise DataError(answer["unreadable"][0], expected=answer["unreadable"][1])
        raise Failed(answer["failed"], answer["kind"])

    def _pipes(self) -> tuple[BinaryIO, BinaryIO]:
        if self.process is None:
            # A session of its own: a signal to the group of the one that asks is not for it.
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", sql_process.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        return cast(BinaryIO, self.process.stdin), cast(BinaryIO, self.process.stdout)

    def _end(self) -> int:
        """End the process; how it ended, where it had done so already."""
        self.here.clear()
        process, self.process = self.process, None
        if process is None:
            return 0
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:  # what was not yet sent goes nowhere
                continue
        try:
            return process.wait(GRACE)
        except subprocess.TimeoutExpired:  # a fork of this process holds the pipe too, so that it sees no end of it
            process.kill()
            return process.wait()


@contextmanager
def shared_reader() -> Iterator[SqlReader]:
    """The reader of this process, begun at first use and kept; one thread at a time."""
    with _sharing:
        if os.getpid() not in _shared:  # a fork's reader is not its parent's
            _shared[os.getpid()] = SqlReader()
        yield _shared[os.getpid()]


_sharing = threading.Lock()
_shared: dict[int, SqlReader] = {}


@atexit.register
def _end_shared() -> None:
    if (reader := _shared.get(os.getpid())) is not None:
        reader.__exit__()


def _after_fork() -> None:
    global _sharing
    _sharing = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


class _Ended(Refused):
    """The process ended, and it was not its alarm."""


def _how(code: int) -> str:
    try:
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    except ValueError:
        return f"signal {-code}"


def _found(place: Database) -> dict[str, Any]:
    """The path of a database, or its content. Errors: DataError for a connection that cannot be copied."""
    if not isinstance(place, sqlite3.Connection):
        return {"path": _whole(str(place)), "content": None}
    try:
        cursor = place.cursor()
        cursor.row_factory = None
        files = {_text(name): _text(path) for _, name, path in cursor.execute("PRAGMA database_list").fetchall()}
        if os.path.isabs(files.get("main", "")) and not place.in_transaction:  # what was deserialized is called "x"
            return {"path": files["main"], "content": None}
        (pages,) = cursor.execute("PRAGMA main.page_count").fetchone()
        return {"path": None, "content": place.serialize() if pages else b""}
    except sqlite3.Error as error:
        raise DataError(f"the database cannot be read: {error}", expected=EXPECTED) from None


def _whole(path: str) -> str:
    """From the root: the process that reads keeps the working folder in which it was begun."""
    with suppress(OSError):  # a working folder that is gone
        return os.path.join(os.getcwd(), path)
    return path


def _text(value: str | bytes) -> str:
    return value.decode("utf8", "replace") if isinstance(value, bytes) else value
