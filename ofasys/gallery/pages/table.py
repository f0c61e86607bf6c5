"""Questions over a table, answered; and over a database, as SQL that runs. The tables are of the emoji themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from ofasys.gallery.emoji.pack import Drawing, load
from ofasys.gallery.pages.page import Asked, Line, Page, Shown
from ofasys.gallery.rows import Rows
from ofasys.modality.shared import media

if TYPE_CHECKING:
    from ofasys.task.task import Task

LINES = 3  # of a table
TEST = 200
ASKED = ("animals & nature", "food & drink", "travel & places", "activities")  # kinds whose families are asked for
WIDEST = 9  # letters of a name in a table
QUESTION = Line("table_question", "[STRUCT:table] [TEXT:q] -> [TEXT:a]", "exact_match")
SQL = Line("sql", "[STRUCT:db,preprocess=database,samples=0] [TEXT:q] -> [TEXT:sql]", "execution_accuracy")

# A question and its SQL; {column} is `kind` or `family`, {value} one of its values.
TEMPLATES = {
    "count": ("how many are of the {column} {value}?", "SELECT count(*) FROM emoji WHERE {column} = '{value}'"),
    "list": ("which are of the {column} {value}?", "SELECT name FROM emoji WHERE {column} = '{value}'"),
    "first": (
        "which of the {column} {value} has the lowest code?",
        "SELECT name FROM emoji WHERE {column} = '{value}' ORDER BY code LIMIT 1",
    ),
    "longest": (
        "which of the {column} {value} has the longest name?",
        "SELECT name FROM emoji WHERE {column} = '{value}' ORDER BY length(name) DESC, name LIMIT 1",
    ),
    "most": (
        "which of the {column} {value} has the most keywords?",
        "SELECT name FROM emoji WHERE {column} = '{value}' ORDER BY keywords DESC, name LIMIT 1",
    ),
    "mean": (
        "how many keywords have those of the {column} {value} on average?",
        "SELECT avg(keywords) FROM emoji WHERE {column} = '{value}'",
    ),
    "many": (
        "how many of the {column} {value} have more than {number} keywords?",
        "SELECT count(*) FROM emoji WHERE {column} = '{value}' AND keywords > {number}",
    ),
}


@cache
def emoji() -> tuple[Drawing, ...]:
    """Each emoji once."""
    return tuple(drawing for drawing in load() if drawing.style == "noto")


def make_database(path: Path) -> Path:
    """An SQLite database of one table, emoji: name, kind, family, code, keywords."""
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE emoji (name TEXT PRIMARY KEY, kind TEXT, family TEXT, code INTEGER, keywords INTEGER)"
        )
        connection.executemany(
            "INSERT INTO emoji VALUES (?, ?, ?, ?, ?)",
            [(d.name, d.group, _family(d), int(d.hexcode.split("-")[0], 16), len(d.keywords)) for d in emoji()],
        )
    connection.close()
    return path


def sql_rows(split: str, count: int, database: Path, seed: int = 0) -> Rows:
    """{"db", "q", "sql"}: in `test` pairs of a question and a value that `train` has not."""
    return Rows(partial(_sql_row, split=split, database=str(database), seed=seed), count)


def _sql_row(index: int, *, split: str, database: str, seed: int) -> dict[str, str]:
    random = Random(f"{seed}/sql/{split}/{index}")
    column, value, name = random.choice(_pairs(split))
    question, sql = TEMPLATES[name]
    filled = {"column": column, "value": value, "number": random.randint(2, 6)}
    return {"db": database, "q": question.format(**filled), "sql": sql.format(**filled)}


@cache
def _pairs(split: str) -> list[tuple[str, str, str]]:
    """(column, value, template): one in five in tests alone."""
    values = {
        "kind": sorted({d.group for d in emoji()}),
        "family": sorted({_family(d) for d in emoji() if d.group in ASKED}),
    }
    names = list(TEMPLATES)
    return [
        (column, value, name)
        for column, listed in values.items()
        for i, value in enumerate(listed)
        for j, name in enumerate(names)
        if ((i + 2 * j) % 5 == 0) == (split == "test")
    ]


def table_rows(split: str, count: int, seed: int = 0) -> Rows:
    """{"table", "q", "a"}: tables of LINES emoji; in `test` of emoji that are in no table of `train`."""
    return Rows(partial(_table_row, split=split, seed=seed), count)


def _table_row(index: int, *, split: str, seed: int) -> dict[str, Any]:
    random = Random(f"{seed}/table/{split}/{index}")
    lines: list[dict[str, Any]] = []
    pool = _pool(split)
    while len(lines) < LINES:
        one = random.choice(pool)
        line = {"name": one.name, "kind": one.group, "keywords": len(one.keywords)}
        if line["name"] not in {other["name"] for other in lines}:
            lines.append(line)
    asked = random.choice(lines)
    turn = index % 3
    if turn == 0:
        return {"table": lines, "q": f"what kind is {asked['name']}?", "a": asked["kind"]}
    if turn == 1:
        return {"table": lines, "q": f"how many keywords has {asked['name']}?", "a": str(asked["keywords"])}
    many = sum(line["kind"] == asked["kind"] for line in lines)
    return {"table": lines, "q": f"how many are of the kind {asked['kind']}?", "a": str(many)}


@cache
def _pool(split: str) -> tuple[Drawing, ...]:
    return tuple(
        d
        for d in emoji()
        if (d.emoji_split == "test") == (split == "test") and len(d.name) <= WIDEST and d.name.isalpha()
    )


def _family(drawing: Drawing) -> str:
    return drawing.subgroup.replace("-", " ")


def _tasks(asked: Asked) -> Sequence[Task]:
    from ofasys.metric import ExecutionAccuracy

    database = make_database(asked.folder / "emoji.db")
    return [
        QUESTION.task(
            table_rows("train", asked.some(20_000), asked.seed),
            test=table_rows("test", asked.some(TEST, 4), asked.seed),
            micro_batch_size=asked.some(8, 4),
            weight=3,
            generate={"max_length": 12},
        ),
        SQL.task(
            sql_rows("train", asked.some(20_000), database, asked.seed),
            test=sql_rows("test", asked.some(TEST, 4), database, asked.seed),
            metrics=[ExecutionAccuracy(database)],
            micro_batch_size=asked.some(8, 4),
            generate={"max_length": 48},
        ),
    ]


def _show(shown: Shown) -> str:
    table, sql = shown.tasks["table_question"], shown.tasks["sql"]
    cards = []
    for i in media.spread(len(table.rows)):
        row = table.rows[i]
        lines = [list(line.values()) for line in row["table"]]
        answer = media.verdict(table.predictions[i]["a"], table.references[i]["a"])
        cards.append(
            media.card(media.table(list(row["table"][0]), lines), f"<b>{media.text(row['q'])}</b>", answer, kind="wide")
        )
    parts = [media.row(cards), "<p>The same as SQL, which was run:</p>"]
    cards = []
    for i in media.spread(len(sql.rows)):
        row, made = sql.rows[i], sql.predictions[i]["sql"]
        asked = f"<b>{media.text(row['q'])}</b>"
        cards.append(media.card(asked, f"<code>{media.text(made)}</code>", _result(made, row), kind="wide"))
    parts.append(media.row(cards))
    return "".join(parts)


def _result(sql: str, row: Any) -> str:
    """What a query gives, green if that is what the true one gives."""
    from ofasys.metric.sql import ROWS, STEPS, Refused, SqlReader, same

    with SqlReader() as reader:
        number = reader.open(row["db"])
        try:
            truth, found = (reader.run(number, one, STEPS, ROWS) for one in (row["sql"], sql))
        except Refused as error:
            return (
                f"<span class='wrong'>does not run: {media.text(error)}</span><br><span "
                f"class='muted'>truth: {media.text(row['sql'])}</span>"
            )
    first = ", ".join(str(line[0]) for line in found.rows[:6])
    more = f" ... ({len(found.rows)} rows)" if len(found.rows) > 6 else ""
    if same(found, truth):
        return f"<span class='right'>{media.text(first)}{more}</span>"
    return (
        f"<span class='wrong'>{media.text(first) or '(no row)'}{more}</span><br><span "
        f"class='muted'>truth: {media.text(row['sql'])}</span>"
    )


PAGE = Page(
    "table",
    "Questions over a table, and as SQL",
    "Tables of three emoji with what is known of them; tested on tables of emoji that are in no table of training, so "
    "the answer has to be read. And a database of all emoji: "
    "tested on pairs of a question and a value that are not in training. The figures are the share of answers right "
    "word for word, and of queries whose result is the true one.",
    (QUESTION, SQL),
    _tasks,
    _show,
    minutes=1.7,
)
