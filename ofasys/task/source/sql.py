"""The rows of a query to a database, by SQLAlchemy: read once, copied to a file, and then drawn by number."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError, DataError, nearest
from ofasys.task.source.columns import check_names
from ofasys.task.source.stream import Stream

KEYS = ("sql", "url")
FETCHED = 1000  # rows that the database hands over at once
_APART = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)  # quoted, and comments
_INNER = re.compile(r"\([^()]*\)")
_READ_ONLY = {"sqlite": "PRAGMA query_only = ON", "postgresql": "SET TRANSACTION READ ONLY"}
_INSTALL = 'pip install "ofasys[sql]"'


def is_query(data: Any) -> bool:
    """Whether a mapping says `sql: QUERY, url: DATABASE`, or half of it."""
    return isinstance(data, Mapping) and bool(data.keys() & set(KEYS)) and all(isinstance(key, str) for key in data)


class Query(Stream):
    """The rows of one SELECT with an ORDER BY, in its order.

    Another start asks the database again: what it gives then has to be the same rows, which `fingerprint` tells. The
    query runs once and may change nothing (SQLite and PostgreSQL refuse it, others undo it); rows come over FETCHED at
    a time.

    given: {"sql": QUERY, "url": DATABASE}; variables of the environment in the URL ($NAME) are filled in. Errors:
    ConfigError for what is no query or no URL, or a library that is missing; DataError for what the database says.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = _checked(given)
        engine = _engine(os.path.expandvars(self.given["url"]))
        super().__init__(_rows(engine, self.given["sql"]), "SQL query", endless=False)


def _checked(given: Mapping[str, Any]) -> dict[str, str]:
    for name in given:
        if name not in KEYS:
            raise ConfigError(f"a query has no {name!r}; {nearest(name, KEYS)}it has sql and url")
    for name in KEYS:
        if not isinstance(given.get(name), str) or not given[name].strip():
            expected = "a SELECT" if name == "sql" else "the URL of a database, such as sqlite:///data.db"
            raise ConfigError(f"{name} of a query is {given.get(name)!r:.80}; give {expected}")
    if not _ordered(given["sql"]):
        raise ConfigError(
            f"the query has no ORDER BY, and its rows may come in another order at each start: {given['sql']!r:.120}; "
            "add one by columns that no two rows share, such as ORDER BY id"
        )
    return dict(given)


def _ordered(query: str) -> bool:
    """Whether the rows of a query have an order, and not only those of a part of it."""
    bare = _APART.sub(" ", query)
    while (outer := _INNER.sub(" ", bare)) != bare:
        bare = outer
    return re.search(r"\border\s+by\b", bare, re.IGNORECASE) is not None


def _engine(url: str) -> Any:
    """Errors: ConfigError for a URL that is none, or whose library is not installed; DataError for a file that is not
    there.
    """
    try:
        import sqlalchemy
    except ImportError as error:
        raise ConfigError(f"rows of a database are read by the library `sqlalchemy`: {_INSTALL}") from error
    try:
        parsed = sqlalchemy.make_url(url)
        engine = sqlalchemy.create_engine(parsed, poolclass=sqlalchemy.pool.NullPool)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the driver of {parsed.drivername}: is not installed: {error.name}; {_INSTALL} brings psycopg for "
            "postgresql+psycopg:"
        ) from error
    except sqlalchemy.exc.ArgumentError as error:  # its text may hold the URL, and that a password
        raise ConfigError(
            f"the url of a query is none that SQLAlchemy knows ({type(error).__name__}); give one such as "
            "sqlite:///data.db or postgresql+psycopg://user@host/database"
        ) from None
    file = parsed.database if parsed.get_backend_name() == "sqlite" else None
    if file and not file.startswith((":memory:", "file:")) and not Path(file).is_file():
        raise DataError(f"there is no database {file!r}", expected="the path of a SQLite file after sqlite:///")
    return engine


def _rows(engine: Any, query: str) -> Iterator[dict[str, Any]]:
    """Rows of a query as dicts, as the database hands them over."""
    options = {"stream_results": True, "no_parameters": True}  # as it stands: `%` and `:` are its own
    with engine.connect().execution_options(**options) as connection:
        if (only := _READ_ONLY.get(engine.dialect.name)) is not None:
            connection.exec_driver_sql(only, execution_options={"stream_results": False})
        result = connection.exec_driver_sql(query)
        names = list(result.keys())
        check_names(names, "the query")
        for part in result.yield_per(FETCHED).partitions():
            for row in part:
                yield dict(zip(names, row, strict=True))
