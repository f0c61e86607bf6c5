"""Execution accuracy: results compared as they mean it; what is no single query that reads and ends is wrong, and harms
nothing.
"""

import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import DataError
from ofasys.metric import METRICS, ExecutionAccuracy, execution_accuracy, find
from ofasys.metric import sql_process as module
from ofasys.metric.sql import SqlReader, same
from ofasys.metric.sql_process import Refused, Result, open_read_only, run

pytestmark = pytest.mark.slow

CARS = """CREATE TABLE cars(id INTEGER PRIMARY KEY, name TEXT, price REAL, photo BLOB);
INSERT INTO cars VALUES
(1, 'Fiat', 1.5, x'00'), (2, 'Kia', 2.5, NULL), (3, 'Seat', NULL, NULL), (4, 'Fiat', 3.5, NULL)"""


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


ORDERS = (
    "CREATE TABLE o(id INT, day INT, sum REAL); "
    "INSERT INTO o VALUES (10000001, 20240131, 1e7), (10000002, 20240201, 1e7 + 1)"
)


@pytest.mark.parametrize(
    ("prediction", "truth", "right"),
    [
        ("select id from o where day > 20240131", "select id from o where day < 20240201", False),  # two ids
        ("select id from o order by id desc", "select id from o order by id", False),
        ("select day from o order by 1 desc", "select day from o order by 1", False),
        ("select 9007199254740993", "select 9007199254740992", False),
        ("select -9223372036854775808", "select -9223372036854775807", False),
        ("select 20240131", "select 20240131.0", True),
        ("select 20240131.0", "select 20240201", False),  # a real that is a whole number
        ("select 20240131.0", "select 20240201.0", False),
        ("select sum from o where id = 10000001", "select sum from o where id = 10000002", False),
        ("select 1234567.25", "select 1234567.75", False),
        ("select 20240131.5", "select 20240131", False),
        ("select 0.1 + 0.2", "select 0.3", True),
        ("select 1e15 * 1.1", "select 1.1e15", True),
        ("select 2.0 + 1e-9", "select 2", True),
        ("select 0.0000001", "select 0.0000002", False),
        ("select 9e999", "select 1e308", False),
        ("select 9e999", "select 9e999", True),
        ("select -9e999", "select 9e999", False),
        ("select x'61'", "select 'a'", False),
        ("select true", "select 1", True),  # SQLite has no truth values
        ("select day, id from o", "select id, day from o", False),
        ("select 1 union all select 1", "select 1", False),
    ],
)
def test_whole_numbers_are_equal_when_equal(prediction, truth, right):
    connection = sqlite3.connect(":memory:")
    connection.executescript(ORDERS)
    assert ExecutionAccuracy(connection)([prediction], [truth]) == {"execution_accuracy": right, "executable": 1}


# --- what reads -----------------------------------------------------------------------------------------------------

KINDS = """CREATE TABLE t(id INTEGER PRIMARY KEY, list TEXT, name TEXT);
INSERT INTO t VALUES (1, '[1, {"a": 2}]', 'x'), (2, '[3]', 'y');
CREATE INDEX of_name ON t(name);
CREATE VIRTUAL TABLE three USING fts3(body);
CREATE VIRTUAL TABLE four USING fts4(body);
CREATE VIRTUAL TABLE terms USING fts4aux(four);
CREATE VIRTUAL TABLE five USING fts5(body);
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(five, 'row');
CREATE VIRTUAL TABLE outside USING fts5(name, content='t', content_rowid='id');
INSERT INTO three VALUES ('a red car'), ('a blue car');
INSERT INTO four SELECT body FROM three;
INSERT INTO five SELECT body FROM three;
INSERT INTO outside(rowid, name) SELECT id, name FROM t;
CREATE VIRTUAL TABLE places USING rtree(id, x0, x1, +label TEXT);
CREATE VIRTUAL TABLE whole USING rtree_i32(id, x0, x1);
INSERT INTO places VALUES (1, 0, 1, 'here'), (2, 5, 6, 'there');
INSERT INTO whole VALUES (1, 0, 1);
CREATE VIEW near AS SELECT id FROM places WHERE x0 < 2;
CREATE VIEW found AS SELECT body FROM five WHERE five MATCH 'red'"""


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    path = tmp_path_factory.mktemp("kinds") / "kinds.db"
    connection = sqlite3.connect(path)
    connection.executescript(KINDS)
    connection.close()
    return path


READ = [
    ("SELECT value FROM json_each('[1, 2]')", [(1,), (2,)]),
    ("SELECT t.id, value FROM t, json_each(t.list) WHERE type = 'integer'", [(1, 1), (2, 3)]),
    ("SELECT atom FROM t, json_tree(t.list) WHERE fullkey = '$[1].a'", [(2,)]),
    ("SELECT json_extract(list, '$[0]'), list ->> 0 FROM t", [(1, 1), (3, 3)]),
    ("SELECT body FROM three WHERE body MATCH 'red'", [("a red car",)]),
    ("SELECT snippet(four) FROM four WHERE four MATCH 'blue'", [("a <b>blue</b> car",)]),
    ("SELECT documents FROM terms WHERE term = 'car' AND col = '*'", [(2,)]),
    ("SELECT body FROM five WHERE five MATCH 'car NOT red' ORDER BY rank", [("a blue car",)]),
    ("SELECT highlight(five, 0, '<', '>') FROM five('red')", [("a <red> car",)]),
    ("SELECT doc FROM vocabulary WHERE term = 'car'", [(2,)]),
    ("SELECT t.id FROM t JOIN outside o ON o.rowid = t.id WHERE o.name MATCH 'y'", [(2,)]),
    ("SELECT label FROM places WHERE x0 >= 5", [("there",)]),
    ("SELECT id FROM whole WHERE x1 <= 1", [(1,)]),
    ("SELECT id FROM near", [(1,)]),
    ("SELECT body FROM found", [("a red car",)]),
    ("SELECT name FROM pragma_table_info('t')", [("id",), ("list",), ("name",)]),
    (
        "SELECT m.name, c.name FROM sqlite_master m, pragma_index_info(m.name) c WHERE m.name = 'of_name'",
        [("of_name", "name")],
    ),
    ("SELECT name, row_number() OVER (ORDER BY name DESC) FROM t", [("y", 1), ("x", 2)]),
    (
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT * FROM n",
        [(1,), (2,), (3,)],
    ),
    ("SELECT name FROM t INDEXED BY of_name WHERE name = 'x'", [("x",)]),
    ("WITH replace AS (SELECT 1) SELECT * FROM replace", [(1,)]),  # REPLACE is a word that may be a name
    ("SELECT 1;;", [(1,)]),
    ("/* one */ SELECT 1 -- two", [(1,)]),
]


@pytest.mark.parametrize(("sql", "rows"), READ)
def test_what_reads_runs(kinds, sql, rows):
    before = kinds.read_bytes()
    connection = open_read_only(kinds)
    for _ in range(2):  # opened, and open
        assert sorted(run(connection, sql).rows) == sorted(rows)
    connection.close()
    with sqlite3.connect(kinds, isolation_level=None) as connection:  # one that could write
        assert sorted(run(connection, sql).rows) == sorted(rows)
    connection.close()
    assert kinds.read_bytes() == before


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO five(five) VALUES ('optimize')",
        "INSERT INTO four(four) VALUES ('rebuild')",
        "SELECT optimize(four) FROM four",
        "DELETE FROM places",
        "DELETE FROM places_node",
        "UPDATE five_content SET c0 = ''",
        "WITH a AS (SELECT * FROM places) DELETE FROM places WHERE id IN (SELECT id FROM a)",
        "INSERT INTO t SELECT 3, value, '' FROM json_each('[1]')",
        "DROP TABLE five",
        "CREATE VIRTUAL TABLE temp.mine USING fts5(x)",
        "SELECT fts3_tokenizer('simple')",
        "SELECT * FROM pragma_query_only(0)",
    ],
)
@pytest.mark.parametrize("checked", [True, False])
def test_what_writes_does_not(kinds, sql, checked, monkeypatch):
    if not checked:
        monkeypatch.setattr(module, "_checked", lambda sql: False)
    before = kinds.read_bytes()
    writer = sqlite3.connect(kinds, isolation_level=None)
    for connection in (open_read_only(kinds), writer):
        run(connection, "SELECT count(*) FROM places, five, four")  # all open
        with pytest.raises(Refused):
            run(connection, sql)
        assert not connection.in_transaction
        connection.close()
    assert kinds.read_bytes() == before


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("select 1 order by 1", True),
        ("SELECT 1 OrDeR\n\tbY 1", True),
        ("select 1/**/order/* by */by 1", True),
        ("select 1 order -- by\nby 1", True),
        ("select 1 union select 2 order by 1 desc", True),
        ("with a as (select 1 x) select x from a order by x limit 1", True),
        ("with a as (select 1 x order by x) select x from a", False),
        ("select x from (select 1 x order by x)", False),
        ("select x from (select 1 x order by x) order by x", True),
        ("select row_number() over (order by 1)", False),
        ("select sum(1) over w from (select 1) window w as (order by 1)", False),
        ("select row_number() over (order by 1) as n order by n", True),
        ("select (select 1 order by 1)", False),
        ("select 1 where 1 in (select 1 order by 1)", False),
        ("select 'order by 1'", False),
        ("select 'it''s order by 1'", False),
        ('select 1 as "order"', False),
        ('select 1 as "a "" order by"', False),
        ("select 1 as `order by`", False),
        ("select 1 as [order by]", False),
        ("select 1 -- order by 1", False),
        ("select 1 /* order by 1 */", False),
        ("select 1 /* order by 1", False),
        ("select ')' order by 1", True),
        ("select '(' order by 1", True),
        ("select 1 as [(] order by 1", True),
        ("select 1 -- (\n order by 1", True),
        ("select 1 limit 1", False),
        ("values (2), (1)", False),
        ("values (2), (1) order by 1", False),  # SQLite refuses it
        ("select 1 as reorder, 2 as order_by", False),
        ("select 1 as größe order by 1", True),
        ("select 5 % 2 order by 1", True),
        ("select '{\"a\": 1}' -> '$.a' order by 1", True),
        ("select 1 is not distinct from 1 order by 1 nulls last", True),
        ("select group_concat(x, ';') from (select 1 x) group by x having 1 order by 1;", True),
        ("select 1e3 order by 1", True),
        ("select x'6f72646572' order by 1", True),
        ("select * from json_each('[2, 1]') as j cross join (select 1) order by j.value", True),
    ],
)
def test_an_order_is_seen_where_sqlite_sees_one(sql, ordered):
    connection = sqlite3.connect(":memory:")
    if sql.startswith("values (2), (1) order"):
        with pytest.raises(Refused, match="syntax error"):
            run(connection, sql)
    else:
        assert run(connection, sql).ordered == ordered


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
    assert not same(result([(edge, 20240131)]), result([(edge, 20240201)]))


def test_many_near_rows_pair_off():
    random = np.random.default_rng(0)
    values = random.random(2000)
    ours = [(20240101 + i % 300, value, None) for i, value in enumerate(values.tolist())]
    theirs = [(day, value * (1 + 1e-14), none) for day, value, none in ours]
    theirs = [theirs[i] for i in random.permutation(len(theirs))]
    assert same(Result(3, tuple(ours), False), Result(3, tuple(theirs), False))
    day, value, none = theirs[7]
    for other in ((day + 1, value, none), (day, value + 1e-5, none), (day, value, 0)):
        changed = (*theirs[:7], other, *theirs[8:])
        assert not same(Result(3, tuple(ours), False), Result(3, changed, False))


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
        ("SELECT * FROM pragma_journal_mode('wal')", "unknown database|no such table"),
        ("SELECT * FROM pragma_journal_mode", "not authorized"),
        ("SELECT * FROM pragma_optimize", "not authorized"),
        ("PRAGMA table_info(cars)", "pragma is no query"),
        ("WITH c AS (SELECT 1) INSERT INTO cars SELECT 1, 2, 3, 4", "not authorized"),
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


@pytest.mark.parametrize("sql",
    [ENDLESS + "SELECT count(*) FROM t",
     "SELECT count(*) FROM " + ", ".join(f"cars c{i}" for i in range(16))])  # fmt: skip
def test_work_is_counted(cars, sql):
    connection = open_read_only(cars)
    with pytest.raises(Refused, match="it does not end in time"):
        run(connection, sql, steps=200_000)
    assert run(connection, "SELECT count(*) FROM cars a, cars b, cars c", steps=200_000).rows == ((64,),)


def test_memory_is_bounded(cars):
    connection = open_read_only(cars)
    with pytest.raises(Refused, match="more than 10000 bytes of rows"):
        run(connection, ENDLESS + "SELECT zeroblob(1000) FROM t", most_bytes=10_000)
    with pytest.raises(Refused, match="too big"):
        run(connection, "SELECT zeroblob(100000000)")


def test_limits_are_those_of_the_query_alone(cars):
    connection = open_read_only(cars)
    before = {limit: connection.getlimit(limit) for limit in module.LIMITS}
    with module.bounded(connection, module.Meter(1000)):
        assert {limit: connection.getlimit(limit) for limit in module.LIMITS} == module.LIMITS
    assert {limit: connection.getlimit(limit) for limit in module.LIMITS} == before


# --- the process -----------------------------------------------------------------------------------------------------

SLOW = f"SELECT count(*) FROM {', '.join(f'cars {name}' for name in 'abcdefghijklmnop')}"


def test_a_query_that_nothing_else_ends_is_ended_by_the_clock(cars):
    """As one is whose single instructions take long: the count of instructions is set out of reach."""
    with SqlReader(seconds=0.2) as reader:
        number = reader.open(cars)
        with pytest.raises(Refused, match="it does not end in time"):
            reader.run(number, SLOW, steps=10**12, rows=10)
        assert reader.run(number, "SELECT count(*) FROM cars", 10_000, 10).rows == ((4,),), "begun anew"


def test_a_process_that_somebody_else_ended_is_begun_anew(cars):
    with SqlReader() as reader:
        number = reader.open(cars)
        reader.process.kill()
        assert reader.run(number, "SELECT count(*) FROM cars", 10_000, 10).rows == ((4,),)


def test_a_relative_path_starts_in_the_folder_of_who_asks(cars, monkeypatch, tmp_path_factory):
    with SqlReader() as reader:
        reader.open(cars)  # its process is begun
        monkeypatch.chdir(cars.parent)
        number = reader.open(cars.name)
        monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
        reader.process.kill()
        assert reader.run(number, "SELECT count(*) FROM cars", 10_000, 10).rows == ((4,),), (
            "it is the same when begun anew"
        )
        with pytest.raises(DataError, match="no file"):
            reader.open(cars.name)


def test_values_are_those_of_sqlite(cars):
    sql = "SELECT 9223372036854775807, -1, 0.1, 1e308 * 10, x'00ff', 'é😀', NULL, '', x''"
    with SqlReader() as reader:
        number = reader.open(cars)
        assert reader.run(number, sql, 10_000, 10) == run(open_read_only(cars), sql)


def test_an_answer_that_was_not_waited_for_is_not_taken_for_the_next(cars, monkeypatch):
    from ofasys.metric import sql_reader

    def interrupted(pipe):
        raise KeyboardInterrupt

    with SqlReader() as reader:
        number = reader.open(cars)
        with monkeypatch.context() as patched:
            patched.setattr(sql_reader, "receive", interrupted)
            with pytest.raises(KeyboardInterrupt):
                reader.run(number, "SELECT 7", 10_000, 10)
        assert reader.run(number, "SELECT 8", 10_000, 10).rows == ((8,),)


def test_no_process_is_left(cars):
    with SqlReader() as reader:
        reader.open(cars)
        process = reader.process
    assert process.returncode == 0


def test_a_connection_is_read_as_it_is_now():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(CARS)
    connection.execute("BEGIN")
    connection.execute("DELETE FROM cars WHERE id > 2")
    with SqlReader() as reader:
        assert reader.run(reader.open(connection), "SELECT count(*) FROM cars", 10_000, 10).rows == ((2,),)
    connection.execute("ROLLBACK")
    empty = sqlite3.connect(":memory:")
    assert ExecutionAccuracy(empty)(["SELECT 1"], ["SELECT 1"])["executable"] == 1


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


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=4, max_size=4))
def test_any_text_is_a_prediction(cars, texts):
    assert 0 <= execution_accuracy(texts, [("SELECT 1", cars)] * 4)["execution_accuracy"] <= 1


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
