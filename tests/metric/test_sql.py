"""Execution accuracy: results compared as they mean it; what is no single query that reads and ends is wrong, and harms nothing."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ofasys.metric.sql as module
from ofasys.errors import ConfigError, DataError
from ofasys.metric import METRICS, ExecutionAccuracy, execution_accuracy, find
from ofasys.metric.sql import Refused, Result, open_read_only, run, same

pytestmark = pytest.mark.slow

CARS = """CREATE TABLE cars(id INTEGER PRIMARY KEY, name TEXT, price REAL, photo BLOB);
INSERT INTO cars VALUES (1, 'Fiat', 1.5, x'00'), (2, 'Kia', 2.5, NULL), (3, 'Seat', NULL, NULL), (4, 'Fiat', 3.5, NULL)"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sql")


@pytest.fixture(scope="module")
def cars(folder):
    path = folder / "cars 100%?#.db"
    connection = sqlite3.connect(path)
    connection.executescript(CARS)
    connection.close()
    return path


def score(prediction, truth, database):
    return execution_accuracy([prediction], [(truth, database)])["execution_accuracy"]


@pytest.mark.parametrize(
    ("prediction", "truth", "right"),
    [
        ("select name from cars where id = 2", "SELECT name AS n FROM cars WHERE price = 2.5", True),
        ("SELECT name FROM cars WHERE id = 2;", "SELECT 'Kia'", True),
        ("SELECT name FROM cars ORDER BY id DESC", "SELECT name FROM cars", True),  # no order was asked for
        ("SELECT name FROM cars", "SELECT name FROM cars ORDER BY id DESC", False),
        ("SELECT name FROM cars ORDER BY id", "SELECT name FROM cars ORDER BY id ASC", True),
        ("SELECT name FROM cars", "SELECT n FROM (SELECT name AS n FROM cars ORDER BY id DESC)", True),
        ("SELECT 1 UNION SELECT 2 ORDER BY 1 DESC", "SELECT 1 UNION SELECT 2 ORDER BY 1", False),
        ("SELECT DISTINCT name FROM cars", "SELECT name FROM cars", False),  # Fiat twice is not Fiat once
        ("SELECT name, id FROM cars", "SELECT id, name FROM cars", False),  # columns have an order
        ("SELECT id FROM cars WHERE 0", "SELECT id, name FROM cars WHERE 0", False),
        ("SELECT id FROM cars WHERE 0", "SELECT name FROM cars WHERE 0", True),
        ("SELECT sum(price) / 3", "SELECT 1", False),  # fails
        ("SELECT count(*) * 1.0 FROM cars", "SELECT count(*) FROM cars", True),  # 4.0 and 4
        ("SELECT '4'", "SELECT 4", False),
        ("SELECT 0.1 + 0.2", "SELECT 0.3", True),
        ("SELECT 0.3001", "SELECT 0.3", False),
        ("SELECT NULL", "SELECT price FROM cars WHERE id = 3", True),
        ("SELECT 0", "SELECT NULL", False),
        ("SELECT ''", "SELECT NULL", False),
        ("VALUES (1), (2)", "SELECT id FROM cars WHERE id < 3", True),
        ("WITH c AS (SELECT * FROM cars) SELECT max(id) FROM c", "SELECT 4", True),
        ("SELECT id FROM cars -- all of them", "SELECT id FROM cars", True),
    ],
)
def test_results_are_compared(cars, prediction, truth, right):
    assert score(prediction, truth, cars) == right


def test_near_numbers_in_any_order():
    def result(rows, ordered=False):
        return Result(len(rows[0]), tuple(rows), ordered)

    a, b = 0.1 + 0.2, 0.3
    assert same(result([(b, 2), (a, 1)]), result([(b, 1), (b, 2)]))
    assert same(result([(b, "x", 2), (a, "y", 1)]), result([(a, "y", 1), (a, "x", 2)]))
    assert not same(result([(b, 2), (a, 1)]), result([(b, 1), (b, 1)]))
    edge = 1.0000005
    assert same(result([(edge, 1), (edge - 1e-9, 2)]), result([(edge - 1e-9, 1), (edge, 2)]))
    assert same(result([(None, b"x"), (1, None), ("a", 2)]), result([("a", 2.0), (None, b"x"), (1.0, None)]))
    assert not same(result([(1,), (2,)]), result([(2,), (1,)], ordered=True))


ENDLESS = "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) "


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("", "0 statements"),
        ("what is the price?", "syntax error"),
        ("SELECT weight FROM cars", "no such column"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("SELECT 1; DROP TABLE cars", "2 statements"),
        ("DROP TABLE cars", "drop is no query"),
        ("INSERT INTO cars VALUES (9, 'x', 1, NULL)", "insert is no query"),
        ("REPLACE INTO cars VALUES (1, 'x', 1, NULL)", "no query"),
        ("WITH c AS (SELECT 1) DELETE FROM cars", "delete is no query"),
        ("UPDATE cars SET name = 'x' RETURNING name", "update is no query"),
        ("CREATE TEMP TABLE t(x)", "create is no query"),
        ("ATTACH 'other.db' AS other", "attach is no query"),
        ("VACUUM INTO 'other.db'", "no query"),
        ("PRAGMA journal_mode = wal", "pragma is no query"),
        ("PRAGMA writable_schema = 1", "pragma is no query"),
        ("SELECT * FROM pragma_journal_mode('wal')", "no such table|not authorized"),
        ("SELECT * FROM pragma_table_info('cars')", "not authorized"),
        ("SELECT load_extension('x')", "not authorized"),
        ("BEGIN EXCLUSIVE", "no query"),
        ("EXPLAIN SELECT 1", "no query"),
        ("SELECT '\0'", "null character"),
        ("SELECT '\ud800'", "surrogates"),
        ("(" * 3000 + "SELECT 1" + ")" * 3000, "syntax error|overflow|deep"),
        ("SELECT 1" + " + 1" * 4000, "too large"),
        ("SELECT '" + "x" * 20_000 + "'", "more than 20000 characters"),
        (ENDLESS + "SELECT x FROM t", "more than 100000 rows"),
    ],
)
def test_what_is_not_run_to_its_end(cars, sql, says):
    before = cars.read_bytes()
    connection = open_read_only(cars)
    with pytest.raises(Refused, match=says):
        run(connection, sql)
    assert run(connection, "SELECT count(*) FROM cars").rows == ((4,),)
    connection.close()
    assert cars.read_bytes() == before
    assert [path.name for path in cars.parent.iterdir()] == [cars.name]
    assert execution_accuracy([sql], [("SELECT 1", cars)]) == {"execution_accuracy": 0, "executable": 0}


@pytest.mark.parametrize("sql", [ENDLESS + "SELECT count(*) FROM t", "SELECT count(*) FROM " + ", ".join(f"cars c{i}" for i in range(16))])  # fmt: skip
def test_work_is_counted(cars, sql):
    connection = open_read_only(cars)
    with pytest.raises(Refused, match="it does not end in time"):
        run(connection, sql, steps=200_000)
    assert run(connection, "SELECT count(*) FROM cars a, cars b, cars c", steps=200_000).rows == ((64,),)


def test_memory_is_bounded(cars, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    connection = open_read_only(cars)
    with pytest.raises(Refused, match="more than 10000 bytes of rows"):
        run(connection, ENDLESS + "SELECT zeroblob(1000) FROM t")
    with pytest.raises(Refused, match="too big"):
        run(connection, "SELECT zeroblob(100000000)")
    held = iter([0, 0])
    monkeypatch.setattr(module, "_memory", lambda: next(held, module.MOST_GROWTH + 1))
    with pytest.raises(Refused, match="it does not end in time"):
        run(connection, "SELECT count(*) FROM " + ", ".join(f"cars c{i}" for i in range(7)))


def test_even_if_the_parser_lets_it_through_nothing_is_written(cars, monkeypatch):
    monkeypatch.setattr(module, "_checked", lambda sql: False)
    before = cars.read_bytes()
    connection = open_read_only(cars)
    for sql in (
        "DROP TABLE cars",
        "INSERT INTO cars VALUES (9, 'x', 1, NULL)",
        "CREATE TEMP TABLE t(x)",
        "ATTACH ':memory:' AS other",
        "PRAGMA query_only = 0",
        "BEGIN",
        "VACUUM",
        "SELECT 1; DROP TABLE cars",
    ):
        with pytest.raises(Refused):
            run(connection, sql)
    connection.close()
    assert cars.read_bytes() == before


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_prediction(cars, text):
    assert 0 <= execution_accuracy([text], [("SELECT 1", cars)])["execution_accuracy"] <= 1


def test_figures(cars):
    truth = ("SELECT id FROM cars WHERE id < 3", cars)
    predictions = ["SELECT id FROM cars WHERE id IN (1, 2)", "SELECT 1", "gibberish", None]
    assert execution_accuracy(predictions, [truth] * 4) == {"execution_accuracy": 0.25, "executable": 0.5}


def test_forms_of_a_reference(cars, folder):
    other = folder / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE bikes AS SELECT 7 AS id")
    connection.close()
    sql = "SELECT id FROM cars"
    for reference in (
        (sql, cars),
        [sql, str(cars)],
        {"sql": sql, "database": str(cars)},
        [("SELECT id FROM bikes", other), (sql, cars)],
    ):
        assert execution_accuracy([sql], [reference])["execution_accuracy"] == 1
    bound = ExecutionAccuracy(cars)
    assert bound([sql], [sql]) == bound([sql], [["SELECT 1", sql]]) == {"execution_accuracy": 1, "executable": 1}
    other.unlink()


def test_a_connection_is_as_it_was():
    connection = sqlite3.connect(":memory:")
    connection.executescript(CARS)
    connection.row_factory = sqlite3.Row
    assert ExecutionAccuracy(connection)(["SELECT 'Kia'"], ["SELECT name FROM cars WHERE id = 2"])["executable"] == 1
    assert ExecutionAccuracy(connection)(["DELETE FROM cars"], ["SELECT 1"])["executable"] == 0
    connection.execute("DELETE FROM cars WHERE id = 4")
    connection.execute("CREATE TABLE t(x)")
    assert connection.execute("SELECT count(*) AS n FROM cars").fetchone()["n"] == 3
    assert len(connection.execute("SELECT zeroblob(2000000) AS z").fetchone()["z"]) == 2_000_000


def test_a_task_takes_it_as_a_metric(cars):
    metric = find(ExecutionAccuracy(cars))
    assert metric.name == metric.main == "execution_accuracy"
    assert metric(["SELECT 1"], ["SELECT 1"]) == {"execution_accuracy": 1, "executable": 1}
    assert METRICS["execution_accuracy"](["SELECT 1"], [("SELECT 1", cars)])["execution_accuracy"] == 1


@pytest.mark.parametrize("reference", ["SELECT 1", None, 7, [], ("SELECT 1", 7), {"sql": "SELECT 1"}])
def test_a_reference_without_its_database(reference):
    with pytest.raises(DataError, match=r"the reference is .*sample 0.*ExecutionAccuracy\(database\)"):
        execution_accuracy(["SELECT 1"], [reference])


def test_a_true_query_that_does_not_run(cars):
    with pytest.raises(
        DataError, match=r"the true SQL 'SELECT weight FROM cars' does not run: no such column.*sample 0"
    ):
        score("SELECT 1", "SELECT weight FROM cars", cars)
    with pytest.raises(DataError, match="it does not end in time"):
        execution_accuracy(["SELECT 1"], [(ENDLESS + "SELECT count(*) FROM t", cars)], steps=100_000)


def test_what_is_no_database(folder, cars):
    (folder / "text.db").write_text("no database at all, though it has some length")
    (folder / "empty.db").write_text("")
    (folder / "torn.db").write_bytes(cars.read_bytes()[:3000])
    for name, says in (
        ("nowhere.db", "no file"),
        (".", "no file"),
        ("text.db", "is no SQLite database"),
        ("empty.db", "is no SQLite database"),
        ("torn.db", "cannot be read|does not run"),
        ("a\0b", "no file|cannot be read"),
    ):
        with pytest.raises(DataError, match=says):
            score("SELECT 1", "SELECT * FROM cars", folder / name)
    for name in ("text.db", "empty.db", "torn.db"):
        (folder / name).unlink()


def test_a_locked_database(folder, cars):
    writer = sqlite3.connect(cars, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DataError, match="locked"):
        score("SELECT 1", "SELECT 1 FROM cars", cars)
    writer.execute("ROLLBACK")
    writer.close()
    assert score("SELECT 1", "SELECT 1", cars) == 1


def test_a_database_with_a_write_ahead_log(folder):
    path = folder / "log" / "wal.db"
    path.parent.mkdir()
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = wal")
    writer.execute("CREATE TABLE t AS SELECT 1 AS x")
    writer.commit()
    assert score("SELECT 1", "SELECT x FROM t", path) == 1  # while it is open for writing
    log = path.with_name("wal.db-wal").read_bytes()
    writer.close()
    assert [p.name for p in path.parent.iterdir()] == ["wal.db"]
    assert score("SELECT 1", "SELECT x FROM t", path) == 1
    assert [p.name for p in path.parent.iterdir()] == ["wal.db"]
    path.with_name("wal.db-wal").write_bytes(log)
    with pytest.raises(DataError, match="write-ahead log that was never written back"):
        score("SELECT 1", "SELECT x FROM t", path)
    assert sorted(p.name for p in path.parent.iterdir()) == ["wal.db", "wal.db-wal"]


def test_without_sqlglot(cars, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sqlglot", None)
    with pytest.raises(ConfigError, match=r'pip install "ofasys\[struct\]"'):
        score("SELECT 1", "SELECT 1", cars)
