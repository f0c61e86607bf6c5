"""A question over a small table, answered from its cells: those of the test rows are of tables that no training row
has.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from ofasys.gallery.tasks import text_to_sql
from ofasys.gallery.tasks.databases import Table, Value, tables
from ofasys.gallery.tasks.split import first_of
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

SHOWN = 6  # rows of a table that is asked about
COLUMNS = 3  # besides the one that a row is called by
LONGEST = 24  # letters of a cell
QUESTIONS = {"train": 1500, "valid": 150, "test": 300}  # of a table, before those that are alike are left out


@dataclass(frozen=True)
class Part:
    """Some rows and columns of a table; the first column has no value twice."""

    name: str
    """Of the table, in the plural."""
    columns: tuple[str, ...]
    """Their names."""
    rows: tuple[tuple[Value, ...], ...]
    """Of each row its values."""

    @classmethod
    def drawn(cls, table: Table, random: Random) -> Part | None:
        """None where those that were drawn lack a value, have a long one, or are called the same."""
        many = min(COLUMNS, len(table.columns) - 1)
        places = [0, *sorted(random.sample(range(1, len(table.columns)), many))]
        taken = random.sample(table.rows, min(SHOWN, len(table.rows)))
        rows = tuple(tuple(row[place] for place in places) for row in taken)
        if any(value is None or len(str(value)) > LONGEST for row in rows for value in row):
            return None
        if len({row[0] for row in rows}) < len(rows):
            return None
        return cls(table.name, tuple(table.columns[place] for place in places), rows)

    def column(self, place: int) -> list[Value]:
        """The values of a column."""
        return [row[place] for row in self.rows]

    @property
    def numbers(self) -> list[int]:
        """Which columns but the first hold numbers that differ."""
        found = []
        for place in range(1, len(self.columns)):
            values = self.column(place)
            if not any(isinstance(value, str) for value in values) and len(set(values)) == len(values):
                found.append(place)
        return found

    def write(self) -> str:
        """As JSON: a list of rows."""
        return json.dumps([dict(zip(self.columns, row, strict=True)) for row in self.rows], ensure_ascii=False)


Asked = tuple[Sequence[str], dict[str, Value], Value]
"""Wordings, what stands for their marks, the answer."""


def _cell(part: Part, random: Random) -> Asked | None:
    row, place = random.choice(part.rows), random.randrange(1, len(part.columns))
    said = {"v": row[0], "c": part.columns[place]}
    return ("what is the {c} of {v}?", "give the {c} for {v}.", "{c} of {v}?"), said, row[place]


def _which(part: Part, random: Random) -> Asked | None:
    row, place = random.choice(part.rows), random.randrange(1, len(part.columns))
    if Counter(part.column(place))[row[place]] > 1:
        return None
    said = {"v": row[place], "c": part.columns[place]}
    return ("which {k} has the {c} {v}?", "name the {k} whose {c} is {v}.", "whose {c} is {v}?"), said, row[0]


def _most(part: Part, random: Random) -> Asked | None:
    if not (numbers := part.numbers):
        return None
    place = random.choice(numbers)
    word, best = random.choice((("highest", max), ("lowest", min)))
    row = best(part.rows, key=lambda row: _number(row[place]))
    wordings = ("which {k} has the {w} {c}?", "name the {k} with the {w} {c}.", "whose {c} is the {w}?")
    return wordings, {"w": word, "c": part.columns[place]}, row[0]


def _more(part: Part, random: Random) -> Asked | None:
    if not (numbers := part.numbers):
        return None
    place, (one, other) = random.choice(numbers), random.sample(part.rows, 2)
    more = max((one, other), key=lambda row: _number(row[place]))
    said = {"v": one[0], "u": other[0], "c": part.columns[place]}
    wordings = ("which has the higher {c}, {v} or {u}?", "is the {c} of {v} or {u} higher?", "{v} or {u}: more {c}?")
    return wordings, said, more[0]


def _number(value: Value) -> float:
    return float(value or 0)


def _many(part: Part, random: Random) -> Asked | None:
    place = random.randrange(1, len(part.columns))
    value = random.choice(part.column(place))
    said = {"v": value, "c": part.columns[place]}
    wordings = ("how many {t} have the {c} {v}?", "count the {t} whose {c} is {v}.", "number of {t} with {c} {v}?")
    return wordings, said, Counter(part.column(place))[value]


FORMS: tuple[Callable[[Part, Random], Asked | None], ...] = (_cell, _which, _most, _more, _many)


def questions(table: Table, count: int) -> Iterator[Row]:
    """{"table", "question", "answer"}: of `count` that are drawn those that have one answer."""
    random = Random(f"table_qa/{table.name}")
    for _ in range(count):
        part = Part.drawn(table, random)
        asked = None if part is None else random.choice(FORMS)(part, random)
        if part is not None and asked is not None:
            wordings, said, answer = asked
            told = {mark: str(value).replace("_", " ") if mark == "c" else str(value) for mark, value in said.items()}
            names = {"t": part.name.replace("_", " "), "k": part.columns[0].replace("_", " ")}
            question = random.choice(wordings).format(**names, **told)
            yield {"table": part.write(), "question": question, "answer": str(answer)}


def make(data: Data) -> Splits:
    """By table, as `text_to_sql`; a question over a table stands once."""
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for table in tables(data):
        split = "test" if table.name in text_to_sql.TEST else "valid" if table.name in text_to_sql.VALID else "train"
        asked = questions(table, QUESTIONS[split])
        rows[split] += first_of(asked, lambda row: f"{row['question']}\n{row['table']}")
    return rows


TASK = GalleryTask(
    "table_qa",
    "a question over a table that was never seen",
    (
        "[STRUCT:table] [TEXT:question] -> [TEXT:answer]",
        "answer [TEXT:question] from [STRUCT:table] -> [TEXT:answer]",
        "[TEXT:question] look it up: [STRUCT:table] -> [TEXT:answer]",
    ),
    "exact_match",
    ("vega-datasets", "mendeleev", "countryinfo"),
    "Six rows and up to four columns of one of 18 tables, and a question of five forms (a cell, whose cell it is, the "
    "highest or lowest, which of two is higher, how many) in three wordings each, drawn by rule; only those are kept "
    "that have one answer. The splits are by table: cars, countries, elements and the weather of Seattle are test rows "
    "alone.",
    make,
    (9694, 125, 686),
    "bd05e8507b510c3e",
    Figure(0.1662, "always '1'"),
    Figure(0.6297, "the cell whose row and column are named, by rule"),
    settings={"micro_batch_size": 16, "generate": {"max_length": 20}},
)
