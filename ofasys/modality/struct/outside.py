"""STRUCT from outside this machine: rows and columns as JSON has them, text of CSV or JSON, the bytes of a file."""

from __future__ import annotations

import sqlite3
from typing import Any

from ofasys.errors import DataError

EXPECTED = "rows, columns, the text of a CSV or JSON file, or the bytes of one or of an SQLite database"


def read(value: Any) -> Any:
    """A text is the text of a file, never its name; the bytes of a database are opened in memory.

    Errors: DataError for bytes that are neither text nor a database.
    """
    if isinstance(value, (bytes, bytearray)):
        value = _of_bytes(bytes(value))
    if isinstance(value, str):
        return value if value.endswith("\n") else value + "\n"  # with a line break it names no file
    return value


def _of_bytes(data: bytes) -> str | sqlite3.Connection:
    if data.startswith(b"SQLite format 3\0"):
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        try:
            connection.deserialize(data)
        except sqlite3.Error as error:
            connection.close()
            raise DataError(f"a database that cannot be opened: {error}", expected=EXPECTED) from None
        return connection
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{len(data)} bytes that are no text: {error}", expected=EXPECTED) from None
