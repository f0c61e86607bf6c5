"""Databases: schema, keys and a few values as text; nothing is changed; what is no database is an error that says
so.
"""

import os
import sqlite3
from pathlib import Path

import pytest

from ofasys.errors import DataError
from ofasys.metric import sql_reader
from ofasys.modality import Context
from ofasys.modality.struct.preprocess import Databases, Tables
from ofasys.modality.struct.schema import (
    LOOKED_AT,
    MOST_COLUMNS,
    MOST_IN_ALL,
    MOST_TABLES,
    is_database,
    name_of,
    read_schema,
)
from ofasys.modality.symbols import Symbols
from ofasys.modality.vocabulary import Vocabulary

SHOP = """
CREATE TABLE makers(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE cars(
    id INTEGER PRIMARY KEY, name TEXT, price REAL, maker INTEGER REFERENCES makers(id), photo BLOB, "order" VARCHAR(9));
CREATE TABLE empty(a, b DECIMAL(10, 2));
CREATE VIEW cheap AS SELECT name, price FROM cars WHERE price < 2;
INSERT INTO makers VALUES (1, 'Fiat'), (2, 'Kia''s'), (3, 'a long name, longer than forty characters'), (4, '');
INSERT INTO cars VALUES
(10, 'Uno', 1.5, 1, x'00ff', NULL), (11, 'Uno', 2, 1, NULL, 'x'), (12, NULL, 1e300, 2, NULL, 'y|z');
"""

WRITTEN = """\
 makers : id integer key = 1 , 2 , 3 | name text = 'Fiat' , 'Kia''s' , ''
 cars : id integer key = 10 , 11 , 12 | name text = 'Uno' | price real = 1.5 , 2.0 , 1e+300 | \
maker integer -> makers.id = 1 , 2 | photo blob | "order" varchar(9) = 'x' , 'y|z'
 empty : a | b decimal(10, 2)
 cheap : name text | price real"""


@pytest.fixture(scope="module")
def symbols(tiny):
    return Symbols(tiny.tokenizer(), Vocabulary.assemble({"text": tiny.tokenizer().get_vocab_size()}))


@pytest.fixture
def shop(tmp_path):
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.executescript(SHOP)
    connection.close()
    return path


def databases(symbols, max_length=1024, samples=3):
    return Databases({"max_length": max_length, "samples": samples}, symbols)


def text(made, value, root=None):
    return made.postprocess(made.preprocess(value, Context(root=root)).tensors["tokens"], Context())


def test_a_database_as_text(symbols, shop):
    before, made = shop.read_bytes(), databases(symbols)
    assert text(made, shop) == text(made, str(shop)) == text(made, "shop.db", shop.parent) == WRITTEN
    assert shop.read_bytes() == before
    assert list(shop.parent.iterdir()) == [shop]
    connection = sqlite3.connect(shop)
    assert text(made, connection) == WRITTEN
    connection.execute("INSERT INTO empty VALUES (1, 2)")
    connection.rollback()
    connection.close()


def test_a_table_slot_reads_a_database_too(symbols, shop):
    made = Tables({"max_length": 1024}, symbols)
    assert text(made, shop) == WRITTEN
    assert is_database(shop)
    assert is_database("shop.db", shop.parent)
    for value in ("shop.db", [["a"]], None, b"x", "a\0b", "x" * 5000, "a,b\n1,2\n", shop.parent, Path("nowhere")):
        assert not is_database(value)


def test_how_many_values(symbols, shop):
    assert "= 1 |" in text(databases(symbols, samples=1), shop)
    assert "=" not in text(databases(symbols, samples=0), shop)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t(a)")
    connection.executemany("INSERT INTO t VALUES (?)", [(1,)] * LOOKED_AT + [(2,)])
    assert text(databases(symbols), connection) == " t : a = 1"  # as far as was looked


def test_names_are_written_as_sql_writes_them():
    assert [name_of(name) for name in ("cars", "Group", "two words", '"', "1st", "größe", "")] == [
        "cars",
        '"Group"',
        '"two words"',
        '""""',
        '"1st"',
        '"größe"',
        '""',
    ]
    connection = sqlite3.connect(":memory:")
    for name in ("a b", "order", "x]", "it's", "a\nb", "table", "index", "values", "漢"):
        connection.execute(f"CREATE TABLE {name_of(name)}({name_of(name)} TEXT)")
        connection.execute(f"SELECT {name_of(name)} FROM {name_of(name)}")
    assert [table.name for table in read_schema(connection, 3)][:2] == ["a b", "order"]


def test_what_does_not_fit_goes(symbols, shop):
    full = databases(symbols).preprocess(shop, Context())
    bare = databases(symbols, samples=0).preprocess(shop, Context())
    made = databases(symbols, full.length - 1)
    assert made.preprocess(shop, Context()).info["dropped"] == 0
    assert text(made, shop) == text(databases(symbols, samples=2), shop)
    assert text(databases(symbols, bare.length), shop) == text(databases(symbols, samples=0), shop)
    with pytest.warns(UserWarning, match="tables after the first fit"):
        piece = databases(symbols, bare.length - 1).preprocess(shop, Context())
    assert piece.info == {"kept": 2, "dropped": 1}
    with pytest.raises(DataError, match=r"the first table of the database does not fit: .*max_length=5"):
        databases(symbols, 5).preprocess(shop, Context())


def test_a_file_that_changes_is_read_anew(symbols, shop):
    made = databases(symbols)
    first = text(made, shop)
    with sqlite3.connect(shop) as connection:
        connection.execute("CREATE TABLE another_one(x)")
    connection.close()
    assert text(made, shop) == first + "\n another_one : x"


@pytest.mark.slow
def test_large_databases(symbols, tmp_path):
    path = tmp_path / "large.db"
    connection = sqlite3.connect(path)
    for number in range(MOST_TABLES + 5):
        connection.execute(f"CREATE TABLE t{number}(a, b)")
    connection.execute("INSERT INTO t0 SELECT zeroblob(20000000), 'x'")
    connection.execute("INSERT INTO t1 SELECT 'x' || hex(zeroblob(5000000)), 'short'")
    connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO t2 "
                       "SELECT i, NULL FROM n")  # fmt: skip
    connection.commit()
    connection.close()
    tables = read_schema(path, 3)
    assert len(tables) == MOST_TABLES
    assert [table.write(3) for table in tables[:3]] == [
        " t0 : a | b = 'x'",
        " t1 : a | b = 'short'",
        " t2 : a = 1 , 2 , 3 | b",
    ]
    with pytest.warns(UserWarning, match="tables after the first fit max_length=200"):
        assert databases(symbols, 200).preprocess(path, Context()).length <= 200


def test_wide_databases(tmp_path):
    connection = sqlite3.connect(tmp_path / "wide.db")
    for number in range(8):
        columns = ", ".join(f"c{i}" for i in range(1500))
        connection.execute(f"CREATE TABLE t{number}({columns})")
    connection.close()
    tables = read_schema(tmp_path / "wide.db", 1)
    assert [len(table.columns) for table in tables] == [MOST_COLUMNS] * 6
    assert len(tables) == MOST_IN_ALL // MOST_COLUMNS + 1


def test_odd_tables_do_not_matter(tmp_path):
    path = tmp_path / "odd.db"
    connection = sqlite3.connect(path)
    connection.executescript("""
        CREATE TABLE t(a TEXT, b GENERATED ALWAYS AS (a || 'x'), FOREIGN KEY (a) REFERENCES gone);
        INSERT INTO t VALUES (CAST(x'ff41' AS TEXT)), ('two
lines'), (9e999);
        CREATE VIEW broken AS SELECT * FROM gone;
        CREATE VIEW endless AS
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS n FROM n;
        CREATE VIRTUAL TABLE words USING fts5(word);
    """)
    connection.close()
    assert [table.write(3) for table in read_schema(path, 3)] == [
        " t : a text -> gone = 'Inf' | b = 'Infx'",
        " endless : n",
        " words : word",
    ]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "got NoneType"),
        (7, "got int 7"),
        (b"SQLite format 3\0", "got bytes"),
        ("nowhere.db", "no file"),
        ("", "no file"),
    ],
)
def test_what_is_no_database(symbols, value, says):
    with pytest.raises(DataError, match=says):
        databases(symbols).preprocess(value, Context())


def test_files_that_are_no_databases(symbols, shop):
    whole = shop.read_bytes()
    for data, says in (
        (b"a,b\n1,2\n", "is no SQLite database"),
        (b"", "is no SQLite database"),
        (b"SQLite format 3\0", "is no SQLite database"),
        (whole[:20] + b"x" * 5000, "cannot be read"),
        (whole[:5000], "cannot be read"),
        (b"SQLite format 3\0" + bytes(5000), "cannot be read"),
    ):
        shop.write_bytes(data)
        with pytest.raises(DataError, match=says):
            databases(symbols).preprocess(shop, Context())
        assert shop.read_bytes() == data
    shop.unlink()
    sqlite3.connect(shop).executescript("CREATE TABLE t(a); DROP TABLE t; VACUUM;")
    with pytest.raises(DataError, match="the database has no table"):
        databases(symbols).preprocess(shop, Context())
    connection = sqlite3.connect(shop)
    connection.close()
    with pytest.raises(DataError, match="the database cannot be read"):
        databases(symbols).preprocess(connection, Context())


def test_a_locked_database(symbols, shop):
    writer = sqlite3.connect(shop, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DataError, match="locked"):
        databases(symbols).preprocess(shop, Context())
    writer.execute("ROLLBACK")
    writer.close()
    assert text(databases(symbols), shop) == WRITTEN


def test_a_connection_keeps_its_factories(symbols, shop):
    connection = sqlite3.connect(shop)
    connection.row_factory, connection.text_factory = sqlite3.Row, bytes
    assert text(databases(symbols), connection) == WRITTEN
    assert connection.execute("SELECT name FROM makers").fetchone()["name"] == b"Fiat"
    connection.close()


def test_text_for_the_tokenizer(shop):
    (found,) = Databases.texts(shop, {})
    assert found.startswith(" makers : id integer key | name text\n cars : id")
    assert Databases.texts("nowhere.db", {}) == []
    assert Tables.texts(str(shop), {}) == [found]


def test_a_database_is_no_answer(symbols, shop):
    with pytest.raises(DataError, match="a database is not generated"):
        databases(symbols).canonical(shop)


def test_a_database_that_takes_long_is_told(shop, monkeypatch):
    """As one is whose own expressions take long: the alarm goes off at once."""
    monkeypatch.setattr(sql_reader, "_shared", {os.getpid(): sql_reader.SqlReader(seconds=1e-6)})
    with pytest.raises(DataError, match="it does not end in time"):
        read_schema(shop, 2)


def test_a_database_is_read_again_when_its_file_has_changed(shop):
    before = read_schema(shop, 2)
    assert read_schema(shop, 2) is before
    with sqlite3.connect(shop) as connection:
        connection.execute("CREATE TABLE added(x)")
    connection.close()
    assert [table.name for table in read_schema(shop, 2)] == [*(table.name for table in before), "added"]
