"""Questions over small real databases as SQL that runs: those of the test rows are in no training row."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ofasys.gallery.tasks.databases import Table, Value, tables
from ofasys.gallery.tasks.split import first_of
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

TEST, VALID = ("cars", "countries", "elements", "days"), ("flowers", "stocks")
QUESTIONS = {"train": 600, "valid": 100, "test": 250}  # of a database, before those that are alike are left out
FEW = 40  # values at most of a column whose values are asked for
LONGEST = 30  # letters of such a value
MOST_ROWS = 50  # of a result

# What is asked, in several wordings, and its SQL. t: table; k: what rows are called by; c, v: a column and one of its
# values; n, x, y: a column of numbers and two of them; word, sql: as AGGREGATES.
TEMPLATES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("how many {t_} are there?", "count all {t_}.", "what is the number of {t_}?"),
        "SELECT count(*) FROM {t}",
    ),
    (
        ("how many {t_} have the {c_} {v}?", "count the {t_} whose {c_} is {v}.", "number of {t_} with {c_} {v}?"),
        "SELECT count(*) FROM {t} WHERE {c} = {v!}",
    ),
    (
        (
            "what is the {k_} of {t_} whose {c_} is {v}?",
            "list the {k_} of {t_} with {c_} {v}.",
            "which {k_} has {c_} {v}?",
        ),
        "SELECT {k} FROM {t} WHERE {c} = {v!}",
    ),
    (
        ("what is the {word} {n_} of all {t_}?", "give the {word} {n_} of the {t_}.", "{word} {n_} over all {t_}?"),
        "SELECT {sql}({n}) FROM {t}",
    ),
    (
        (
            "what is the {word} {n_} of {t_} whose {c_} is {v}?",
            "for {c_} {v}, give the {word} {n_} of the {t_}.",
            "{word} {n_} of {t_} with {c_} {v}?",
        ),
        "SELECT {sql}({n}) FROM {t} WHERE {c} = {v!}",
    ),
    (
        (
            "how many {t_} have a {n_} of more than {x}?",
            "count the {t_} with {n_} over {x}.",
            "number of {t_} with {n_} above {x}?",
        ),
        "SELECT count(*) FROM {t} WHERE {n} > {x}",
    ),
    (
        (
            "how many {t_} have a {n_} of less than {x}?",
            "count the {t_} with {n_} under {x}.",
            "number of {t_} with {n_} below {x}?",
        ),
        "SELECT count(*) FROM {t} WHERE {n} < {x}",
    ),
    (
        (
            "what is the {k_} of {t_} with {n_} between {x} and {y}?",
            "list the {k_} where {n_} is from {x} to {y}.",
            "which {k_} has a {n_} of {x} to {y}?",
        ),
        "SELECT {k} FROM {t} WHERE {n} BETWEEN {x} AND {y}",
    ),
    (
        ("how many {t_} are there for each {c_}?", "count the {t_} by {c_}.", "number of {t_} per {c_}?"),
        "SELECT {c}, count(*) FROM {t} GROUP BY {c}",
    ),
    (
        (
            "what is the {word} {n_} for each {c_}?",
            "give the {word} {n_} by {c_}.",
            "{word} {n_} of the {t_} per {c_}?",
        ),
        "SELECT {c}, {sql}({n}) FROM {t} GROUP BY {c}",
    ),
    (
        ("which values of {c_} are there?", "list each {c_} once.", "what different {c_} do the {t_} have?"),
        "SELECT DISTINCT {c} FROM {t}",
    ),
    (
        (
            "how many different values of {c_} are there?",
            "count each {c_} once.",
            "number of different {c_} of the {t_}?",
        ),
        "SELECT count(DISTINCT {c}) FROM {t}",
    ),
    (
        (
            "what is the {k_} with the highest {n_}?",
            "name the {k_} whose {n_} is largest.",
            "which {k_} has the most {n_}?",
        ),
        "SELECT {k} FROM {t} ORDER BY {n} DESC LIMIT 1",
    ),
    (
        ("which {c_} has the most {t_}?", "name the most frequent {c_}.", "what {c_} do most {t_} have?"),
        "SELECT {c} FROM {t} GROUP BY {c} ORDER BY count(*) DESC LIMIT 1",
    ),
    (
        (
            "how many {t_} with {c_} {v} have a {n_} of more than {x}?",
            "count the {t_} whose {c_} is {v} and whose {n_} is over {x}.",
            "number of {t_} with {c_} {v} and {n_} above {x}?",
        ),
        "SELECT count(*) FROM {t} WHERE {c} = {v!} AND {n} > {x}",
    ),
)
AGGREGATES = {"average": "avg", "total": "sum", "highest": "max", "lowest": "min"}


@dataclass(frozen=True)
class Asker:
    """What can be asked of a table."""

    table: Table
    numbers: tuple[str, ...]
    """Columns of numbers."""
    kinds: tuple[str, ...]
    """Columns of few values."""
    values: Mapping[str, Sequence[Value]]
    """Of each column its different values, sorted."""

    @classmethod
    def of(cls, table: Table) -> Asker:
        """Of a table of at least one column of each sort."""
        numbers = tuple(c for c in table.columns[1:] if not any(isinstance(v, str) for v in table.values(c)))
        kinds = tuple(
            c
            for c in table.columns
            if len(set(table.values(c))) <= FEW and max(Counter(table.values(c)).values()) > 1 and _short(table, c)
        )
        values: dict[str, Sequence[Value]] = {c: sorted(set(table.values(c)), key=str) for c in table.columns}
        for column in numbers:
            values[column] = sorted(v for v in values[column] if isinstance(v, (int, float)))
        return cls(table, numbers, kinds, values)

    def ask(self, random: Random) -> tuple[str, str]:
        """(question, SQL), drawn."""
        wordings, sql = random.choice(TEMPLATES)
        number, kind = random.choice(self.numbers), random.choice(self.kinds or self.numbers)
        if kind == number:
            kind = self.table.columns[0]
        low, high = sorted(random.choice(range(len(self.values[number]))) for _ in range(2))
        value = random.choice(self.values[kind])
        word = random.choice(list(AGGREGATES))
        written = f"'{value.replace(chr(39), chr(39) * 2)}'" if isinstance(value, str) else str(value)
        said = {
            **{"{t}": self.table.name, "{k}": self.table.columns[0], "{c}": kind, "{n}": number},
            **{
                "{v}": str(value),
                "{v!}": written,
                "{x}": str(self.values[number][low]),
                "{y}": str(self.values[number][high]),
            },
            **{"{word}": word, "{sql}": AGGREGATES[word]},
        }
        said |= {f"{{{mark[1:-1]}_}}": text.replace("_", " ") for mark, text in said.items() if len(mark) == 3}
        return _filled(random.choice(wordings), said), _filled(sql, said)


def _short(table: Table, column: str) -> bool:
    return all(len(str(value)) <= LONGEST for value in table.values(column))


def _filled(text: str, said: dict[str, str]) -> str:
    for mark, word in said.items():
        text = text.replace(mark, word)
    return text


def questions(table: Table, folder: Path, count: int) -> Iterator[Row]:
    """{"db", "question", "sql", "true"} of a table's database, which is written into the folder; of `count` that are
    drawn those that have one answer: rows, no more than MOST_ROWS, nothing missing, and no tie where an order decides.

    true: the SQL and the file of its database, as `execution_accuracy` takes them.
    """
    file, asker, random = table.write(folder), Asker.of(table), Random(f"text_to_sql/{table.name}")
    connection = sqlite3.connect(folder / file)
    for _ in range(count):
        question, sql = asker.ask(random)
        found = connection.execute(sql.replace(" LIMIT 1", "")).fetchall()
        limited = sql.endswith(" LIMIT 1")
        if not limited and not (0 < len(found) <= MOST_ROWS and all(v is not None for row in found for v in row)):
            continue
        if limited and (found[0][0] is None or _tied(connection, sql)):
            continue
        yield {"db": file, "question": question, "sql": sql, "true": [[sql, file]]}
    connection.close()


def _tied(connection: sqlite3.Connection, sql: str) -> bool:
    """Whether the first two rows of a query that is ordered have the same place in the order."""
    before, _, order = sql.removesuffix(" LIMIT 1").partition(" ORDER BY ")
    key = order.removesuffix(" DESC")
    places = connection.execute(f"SELECT {key} {before[before.index(' FROM ') :]} ORDER BY {order} LIMIT 2").fetchall()
    return len(places) == 2 and places[0] == places[1]


def make(data: Data) -> Splits:
    """By database; a question stands once."""
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for table in tables(data):
        split = "test" if table.name in TEST else "valid" if table.name in VALID else "train"
        asked = questions(table, data.folder, QUESTIONS[split])
        rows[split] += first_of(asked, lambda row: str(row["question"]))
    return rows


TASK = GalleryTask(
    "text_to_sql",
    "a question as SQL, over a database that was never seen",
    (
        "[STRUCT:db,preprocess=database,samples=2] [TEXT:question] -> [TEXT:sql]",
        "answer [TEXT:question] by a query of [STRUCT:db,preprocess=database,samples=2] -> [TEXT:sql]",
        "[TEXT:question] write SQL for [STRUCT:db,preprocess=database,samples=2] -> [TEXT:sql]",
    ),
    "execution_accuracy",
    ("vega-datasets", "mendeleev", "countryinfo"),
    "Questions in fifteen forms and three wordings each over 18 databases of one table, and the query they stand for. "
    "They are drawn by rule, and only those are kept whose answer is not empty and not a matter of ties. The splits "
    "are by database: cars, countries, elements and the weather of Seattle are test rows alone.",
    make,
    (3493, 149, 549),
    "50443bf49f2af2c7",
    Figure(0, "always 'SELECT count(*) FROM airports'"),
    Figure(0.9636, "the nearest question, its names and values exchanged"),
    settings={"references": {"sql": "true"}, "micro_batch_size": 16, "generate": {"max_length": 60}},
)
