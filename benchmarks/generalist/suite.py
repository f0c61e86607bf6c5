"""The list of tasks as data, and each entry made into a `Task`."""

from __future__ import annotations

import copy
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError, nearest
from ofasys.gallery.pages import MAIN, PAGES
from ofasys.gallery.pages.page import Asked, Page
from ofasys.gallery.tasks.run import chosen, fields_of
from ofasys.task.source.row import Row, Rows, Source
from ofasys.task.task import Task

Entry = Mapping[str, Any]
FILE = Path(__file__).with_name("suite.toml")
DATA_SEED = 0  # of rows that are made up: the same in every run
FIELDS = frozenset(("name", "from", "task", "instruction", "times", "metrics", "where", "single"))


@cache
def suite() -> Mapping[str, Any]:
    """The whole list. Errors: ConfigError for an entry with a field that is not known."""
    found = tomllib.loads(FILE.read_text(encoding="utf8"))
    for entry in (*found["task"], *found["variant"], *found["probe"]):
        for field in entry:
            if field not in FIELDS:
                raise ConfigError(f"{FILE.name}, {entry['name']}: {nearest(field, FIELDS)}no field {field!r}")
    return found


def entries(names: Sequence[str] = ()) -> list[Entry]:
    """The tasks of these names in the list's order, all for none. Errors: ConfigError for one that is not there."""
    known = [entry["name"] for entry in suite()["task"]]
    for name in names:
        if name not in known:
            raise ConfigError(f"no task {name!r} in {FILE.name}; {nearest(name, known)}there are {', '.join(known)}")
    return [entry for entry in suite()["task"] if not names or entry["name"] in names]


def entry_of(name: str) -> Entry:
    """A task or a variant of one."""
    return next(entry for entry in (*suite()["task"], *suite()["variant"]) if entry["name"] == name)


def digest(found: Any) -> str:
    """Of entries: figures of one list are not mixed with those of another."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]


def recipe(place: str) -> str:
    """What is known of a task's rows and wordings before any are made: of other ones, figures do not compare."""
    kind, _, name = place.partition(":")
    if kind == "gallery":
        (task,) = chosen([name])
        return repr((place, task.digest, task.instructions, task.metric, sorted(task.settings.items())))
    return repr((place, [(line.name, line.instruction, line.metric) for line in page_of(name).lines]))


def page_of(name: str) -> Page:
    (page,) = (page for page in (MAIN, *PAGES) if page.name == name)
    return page


def ranked(name: str, count: int) -> list[int]:
    """The rows of a test split in an order that is a function of the task's name alone."""
    return sorted(range(count), key=lambda i: hashlib.sha256(f"{name}/{i}".encode()).digest())


class Chosen(Rows):
    """Some rows of a source, as it gives them; files they name lie where they lay. single: of rows whose lists have
    one element each, column -> the column that this element stands in.
    """

    def __init__(self, source: Source, rows: Sequence[int], single: Mapping[str, str] | None = None) -> None:
        self.source, self.rows, self.single, self.root = source, list(rows), single or {}, source.root

    def __len__(self) -> int:
        return len(self.rows)

    def _row(self, i: int) -> Row:
        row = self.source[self.rows[i]]
        others = {name: value for name, value in row.items() if name not in self.single}
        return others | {other: row[name][0] for name, other in self.single.items()}

    def describe(self) -> str:
        """How many of which."""
        return f"{len(self)} rows of {self.source.describe()}"

    def column(self, name: str) -> list[Any] | None:
        """Values of a column, where the source has them at hand."""
        values = None if self.single else self.source.column(name)
        return None if values is None else [values[i] for i in self.rows]


def kept(source: Source, entry: Entry) -> Source:
    """The rows that an entry wants of a source. Errors: ConfigError where none is left."""
    where, single = entry.get("where", {}), entry.get("single", {})
    if not where and not single:
        return source
    columns = {name: source.column(name) or [source[i][name] for i in range(len(source))] for name in where}
    rows = [i for i in range(len(source)) if all(columns[name][i] in values for name, values in where.items())]
    if single:
        rows = [i for i in rows if len(source[i][next(iter(single))]) == 1]
    if not rows:
        raise ConfigError(f"{FILE.name}, {entry['name']}: no row has {where or single}")
    return Chosen(source, rows, single)


def made(entry: Entry, folder: Path, test: int | None, examples: int = 0) -> Task:
    """The task of an entry, at most `test` test rows by a fixed hash; None: all.

    examples: that many rows, the next by the same hash, are all there is to learn from, and where there are no more the
    test has fewer; 0: all training rows. folder: for files that rows refer to. Errors: DataError for a package that is
    not fetched.
    """
    kind, _, place = entry["from"].partition(":")
    task = _of_gallery(entry, place) if kind == "gallery" else _of_page(entry, place, folder)
    held, train = kept(task.source("test"), entry), task.source("train")
    order = ranked(task.name, len(held))
    if examples and test is not None:
        test = max(0, min(test, len(held) - examples))
    rows = Chosen(held, order[test:][:examples]) if examples else kept(train, entry)
    if not test and test is not None:
        raise ConfigError(
            f"{FILE.name}, {task.name}: {len(held)} test rows are too few to learn from {examples} of them"
        )
    labels = task.labels  # of all rows, whatever is learned from
    task.sources = {"train": rows, "test": Chosen(held, order[:test])}
    task.restore_labels(labels)
    task.weight = 1.0
    return task


def _called(entry: Entry) -> str:
    """The name of a task, which is letters, digits and dashes."""
    return "".join(c if c.isalnum() or c == "_" else "-" for c in entry["name"])


def _of_gallery(entry: Entry, name: str) -> Task:
    (task,) = chosen([name])
    return Task(_called(entry), **fields_of(task) | _own(entry))


def _of_page(entry: Entry, name: str, folder: Path) -> Task:
    wanted = entry.get("task", entry["name"])
    (task,) = (copy.copy(task) for task in _page_tasks(name, folder) if task.name == wanted)
    if not _own(entry):
        return task
    train, test = task.source("train"), task.source("test")
    settings, size = task.settings, task.micro_batch_size
    return Task(_called(entry), train=train, test=test, settings=settings, micro_batch_size=size, **_own(entry))


def _own(entry: Entry) -> dict[str, Any]:
    return {field: entry[field] for field in ("instruction", "metrics") if field in entry}


@cache
def _page_tasks(name: str, folder: Path) -> Sequence[Task]:
    page = page_of(name)
    if lacking := page.lacks():
        raise ConfigError(lacking)
    return tuple(page.tasks(Asked(folder, DATA_SEED)))
