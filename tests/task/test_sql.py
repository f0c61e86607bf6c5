"""Rows of a query: those of a list of the same, in its order, from SQLite and from PostgreSQL."""

import datetime
import decimal
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest

from ofasys import ConfigError, DataError, Task
from ofasys.task.source import fingerprint, open_source, sql, stream

pytest.importorskip("sqlalchemy")

ROWS = [
    {"id": i, "text": f"ro'w % {i} :x", "label": f"k{i % 3}", "data": bytes([i % 256]), "n": None} for i in range(2500)
]
ALL = "SELECT id, text, label, data, n FROM rows ORDER BY id"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    path = tmp_path_factory.mktemp("sqlite") / "data.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE rows (id INTEGER, text TEXT, label TEXT, data BLOB, n REAL)")
        database.executemany("INSERT INTO rows VALUES (:id, :text, :label, :data, :n)", ROWS[::-1])
    return f"sqlite:///{path}"


def test_rows_are_those_of_the_table_in_the_order_asked(url):
    source = open_source({"sql": ALL, "url": url})
    assert [source[i] for i in range(len(source))] == ROWS
    assert source.column("label") == [row["label"] for row in ROWS]
    assert source.describe() == "SQL query of 2500 rows"
    down = open_source({"sql": "SELECT id FROM rows ORDER BY id DESC", "url": url})
    assert [down[i]["id"] for i in range(5)] == [2499, 2498, 2497, 2496, 2495]


def test_a_task_learns_the_same_as_from_a_list(url):
    task = Task("mood", "[TEXT:text] -> [CATEGORY:label]", {"sql": ALL, "url": url})
    listed = Task("mood", "[TEXT:text] -> [CATEGORY:label]", ROWS)
    assert task.labels == listed.labels
    assert task.lengths().tolist() == listed.lengths().tolist()


def test_it_is_known_again_by_what_it_gives(url):
    first, again = (open_source({"sql": ALL, "url": url}) for _ in range(2))
    other = open_source({"sql": ALL.replace("ORDER BY id", "ORDER BY id DESC"), "url": url})
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)


def test_rows_are_handed_over_some_at_a_time(url, monkeypatch):
    """As many as FETCHED, and no more: a text query loses SQLAlchemy's own option for it without a word."""
    import sqlalchemy

    fetched = []
    real = sqlalchemy.engine.CursorResult.partitions

    def partitions(self, *size):
        for part in real(self, *size):
            fetched.append(len(part))
            yield part

    monkeypatch.setattr(sqlalchemy.engine.CursorResult, "partitions", partitions)
    open_source({"sql": ALL, "url": url})
    assert fetched == [1000, 1000, 500]


def test_a_table_has_no_most_rows(url, monkeypatch):
    monkeypatch.setattr(stream, "MOST_ROWS", 100)
    assert len(open_source({"sql": ALL, "url": url})) == 2500


def test_nothing_is_changed_by_a_query(url):
    before = fingerprint(open_source({"sql": ALL, "url": url}))
    with pytest.raises(DataError, match="attempt to write a readonly database"):
        open_source({"sql": "CREATE TABLE more AS SELECT * FROM rows ORDER BY id", "url": url})
    with pytest.raises(DataError, match="no such table: more"):
        open_source({"sql": "SELECT * FROM more ORDER BY 1", "url": url})
    assert fingerprint(open_source({"sql": ALL, "url": url})) == before


@pytest.mark.parametrize(
    ("query", "ordered"),
    [
        ("select a from t order  by a", True),
        ("select a from t ORDER\nBY a", True),
        ("select * from (select a from t order by a)", False),
        ("select a, row_number() over (order by a) from t", False),
        ("select 'order by' from t", False),
        ('select a as "order by" from t', False),
        ("select a from t -- order by a", False),
        ("select a from t /* order\nby a */", False),
        ("select a from t where b = 'it''s' order by (a)", True),
        ("select a, (select max(b) from u order by (b)) from t order by a", True),
        ("select reorder by_ from t", False),
    ],
)
def test_a_query_has_an_order_or_is_refused(query, ordered, url):
    if ordered:
        assert sql._ordered(query)
        return
    with pytest.raises(ConfigError, match=r"the query has no ORDER BY.*add one by columns that no two rows share"):
        open_source({"sql": query, "url": url})


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"sql": ALL}, ConfigError, "url of a query is None; give the URL of a database"),
        ({"url": "sqlite://"}, ConfigError, "sql of a query is None; give a SELECT"),
        ({"sql": ALL, "url": 3}, ConfigError, "url of a query is 3"),
        ({"sql": ALL, "url": "sqlite://", "qery": 1}, ConfigError, "a query has no 'qery'; it has sql and url"),
        ({"sql": ALL, "url": "no url, but secret"}, ConfigError, "the url of a query is none that SQLAlchemy knows"),
        ({"sql": ALL, "url": "nosql://me:secret@host/x"}, ConfigError, "none that SQLAlchemy knows .NoSuchModuleError"),
        ({"sql": ALL, "url": "sqlite:///gone.db"}, DataError, "there is no database 'gone.db'"),
        ({"sql": ALL, "url": "sqlite://"}, DataError, "OperationalError after 0 rows: .*no such table: rows"),
        (
            {"sql": "SELECT id, id FROM (SELECT 1 id) ORDER BY 1", "url": "sqlite://"},
            DataError,
            "two columns are named 'id'",
        ),
        ({"sql": "SELECT 1 AS n WHERE 1 = 0 ORDER BY n", "url": "sqlite://"}, DataError, "the data set is empty"),
    ],
)
def test_what_is_refused(given, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message) as caught:
        open_source(given)
    assert "secret" not in str(caught.value)
    assert not list(tmp_path.iterdir()), "a database that was not there is made"


def test_a_variable_of_the_environment_keeps_a_password_out_of_the_file(url, monkeypatch):
    monkeypatch.setenv("MY_DATABASE", url)
    source = open_source({"sql": ALL, "url": "$MY_DATABASE"})
    assert len(source) == 2500
    assert source.given == {"sql": ALL, "url": "$MY_DATABASE"}


def test_without_the_library_the_extra_is_named(url, monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r"task 'one', train: .*`sqlalchemy`: pip install \"ofasys\[sql\]\""):
        Task("one", "[TEXT:text] -> [TEXT:label]", {"sql": ALL, "url": url})


def test_without_the_driver_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"the driver of postgresql\+psycopg: is not installed: psycopg; pip install"):
        open_source({"sql": ALL, "url": "postgresql+psycopg://me:secret@host/x"})


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def _program(name):
    places = [*Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), *filter(None, [shutil.which(name)])]
    return str(places[0]) if places else None


@pytest.fixture(scope="module")
def postgres():
    """The URL of a server of its own, on a socket in a temporary folder."""
    pytest.importorskip("psycopg")
    if _program("initdb") is None or _program("pg_ctl") is None:
        pytest.skip("initdb and pg_ctl of PostgreSQL are not installed (Debian's package postgresql has them)")
    folder = Path(tempfile.mkdtemp(prefix="ofasys-pg-"))  # short: the path of a socket has 107 bytes at most
    user = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"

    def run(*words):
        subprocess.run(words, check=True, capture_output=True, cwd=folder, timeout=120, **user)

    try:
        run(_program("initdb"), "-D", f"{folder}/data", "-A", "trust", "-U", "me", "-E", "UTF8", "--no-sync")
        run(_program("pg_ctl"), "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options, "-w", "start")
        yield f"postgresql+psycopg://me@/postgres?host={folder}"
    finally:
        subprocess.run(
            (_program("pg_ctl"), "-D", f"{folder}/data", "-m", "immediate", "stop"),
            capture_output=True,
            cwd="/",
            **user,
        )
        shutil.rmtree(folder, ignore_errors=True)


VALUES = """
SELECT i AS id, 'ro''w % :x ' || i AS text, i * 1.5 AS price, ARRAY[[i, 2], [3, 4]] AS grid,
    '{"a": [1, null]}'::jsonb AS tree, '\\x00ff'::bytea AS data, DATE '2026-01-01' + i AS day, NULL AS nothing,
    i % 2 = 0 AS even, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS key
FROM generate_series(0, 2499) AS i ORDER BY i
"""


def test_values_of_postgres(postgres):
    source = open_source({"sql": VALUES, "url": postgres})
    assert len(source) == 2500
    assert source[7] == {
        "id": 7,
        "text": "ro'w % :x 7",
        "price": decimal.Decimal("10.5"),
        "grid": [[7, 2], [3, 4]],
        "tree": {"a": [1, None]},
        "data": b"\x00\xff",
        "day": datetime.date(2026, 1, 8),
        "nothing": None,
        "even": False,
        "key": uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    }
    assert source.column("id") == list(range(2500))


def test_postgres_hands_rows_over_some_at_a_time(postgres, monkeypatch):
    """A cursor of the server: by itself psycopg would hold all rows at once."""
    import psycopg

    asked = []
    real = psycopg.ServerCursor.fetchmany

    def fetchmany(self, size=0):
        asked.append(size)
        return real(self, size)

    monkeypatch.setattr(psycopg.ServerCursor, "fetchmany", fetchmany)
    open_source({"sql": VALUES, "url": postgres})
    assert max(asked) <= sql.FETCHED
    assert len(asked) >= 3


def test_a_value_that_has_no_form_is_named(postgres):
    query = "SELECT 1 AS id, '[1,5)'::int4range AS span ORDER BY 1"
    with pytest.raises(DataError, match=r"a row of SQL query holds a Range that cannot be written.*column 'span'"):
        open_source({"sql": query, "url": postgres})


def test_what_postgres_refuses_is_said(postgres):
    with pytest.raises(DataError, match="cannot execute SELECT FOR UPDATE in a read-only transaction"):
        open_source({"sql": "SELECT relname FROM pg_class ORDER BY 1 FOR UPDATE", "url": postgres})
    with pytest.raises(DataError, match='relation "gone" does not exist'):
        open_source({"sql": "SELECT * FROM gone ORDER BY 1", "url": postgres})
    with pytest.raises(DataError, match=r"OperationalError after 0 rows"):
        open_source({"sql": "SELECT 1 ORDER BY 1", "url": "postgresql+psycopg://me:secret@/postgres?host=/nowhere"})
