"""Before the first step: a few rows of every split are read, and every label that validation will meet is looked up.

What would stop or empty a run after an hour stops it now: a missing library, a misspelt column, pictures that are
elsewhere, a label that is not in its set.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofasys import flow
from ofasys.errors import DataError, nearest
from ofasys.planner import SlotPlan
from ofasys.program.program import Program
from ofasys.task.loader import of_row, read
from ofasys.task.order import sample_seed
from ofasys.task.survey import Survey
from ofasys.task.task import Task
from ofasys.train.evaluate import spread_rows, true_values
from ofasys.types import Sample

_log = logging.getLogger("ofasys")

FEW = 4  # rows of a split that are read at first
MANY = 64  # training rows that are read before a task is given up of which none could be used
MOST_READ = 1_000  # rows whose labels are looked up where that means reading them whole
MOST_NAMED = 3  # labels named in an error


@dataclass(frozen=True)
class Looked:
    """What was seen of a split. rows: how many it has. read, of which bad: how many were looked at. first: why not.
    tokens: stream positions of a training row, both sides together, on average.
    """

    task: str
    """Its name."""
    split: str
    rows: int
    read: int
    bad: int = 0
    first: str = ""
    tokens: float = 0.0

    def __str__(self) -> str:
        found = f"{self.bad} of the {self.read} rows looked at cannot be used, the first: {self.first}"
        fine = f"the {self.read} rows looked at can be used" if self.read > 1 else "the row looked at can be used"
        return f"task {self.task!r}, {self.split}, {self.rows:,} rows: {found if self.bad else fine}"


def look_ahead(tasks: Sequence[Task], programs: Mapping[str, Sequence[Program]], seed: int) -> list[Looked]:
    """Read some rows of every split of every task as training and evaluation will, and look up all valid labels.

    Errors: ConfigError for a library that is missing or a setting no row can be read with. DataError for a task none of
    whose training rows looked at can be used, or one of them where bad rows stop the run; for a valid row that cannot
    be used, or holds a label that is not in its set. A bad test row is told as a warning.
    """
    found = []
    for task in tasks:
        for split in task.sources:
            if split == "train":
                found.append(_training(task, programs[task.name], seed))
            else:
                found.append(_judged(task, programs[task.name][0], split))
    return found


def _training(task: Task, programs: Sequence[Program], seed: int) -> Looked:
    rows, tried, errors = len(task.source("train")), 0, list[DataError]()
    samples: list[list[Sample]] = [[] for _ in programs]
    for row in _wider(rows):
        if tried >= FEW and len(errors) < tried:
            break
        tried += 1
        try:
            for program, own in zip(programs, samples, strict=True):
                random = np.random.Generator(np.random.PCG64(sample_seed(seed, f"{task.name}/ahead", 0, row)))
                own.append(read(task, program, "train", row, random, training=True)[1])
        except DataError as error:
            if task.on_bad == "stop":
                raise
            errors.append(error)
    if len(errors) == tried:
        which = "all there are" if tried == rows else "evenly spread"
        errors[0].message = f"none of {tried} training rows ({which}) can be used; the first: {errors[0].message}"
        raise errors[0]
    _tell_absent(task)
    _tell_alike(task)
    positions = sum(flow.collate(p, own).positions for p, own in zip(programs, samples, strict=True) if own)
    tokens = positions / max(1, sum(map(len, samples)))
    return Looked(task.name, "train", rows, tried, len(errors), str(errors[0]) if errors else "", tokens)


def _tell_absent(task: Task) -> None:
    """A warning for each column that rows may lack and none of those looked at has: its name may be misspelt."""
    source, known, looked = task.source("train"), set[str](), 0
    absent = {slot.column: slot.name for p in task.plans for slot in p.slots if slot.optional}
    for row in _wider(len(source)):
        if not absent:
            return
        with suppress(DataError), of_row(task, f"train row {row}"):
            values, looked = source[row], looked + 1
            known.update(values)
            there = {c for c in absent if any(values.get(n) is not None for n in (c, task.references.get(c, c)))}
            absent = {column: name for column, name in absent.items() if column not in there}
    for column, name in absent.items():
        _log.warning(
            f"task {task.name!r}: none of the {looked} training rows looked at has a value for {name}, which a row may "
            f"lack; {nearest(column, known - {column})}the rows have {', '.join(sorted(map(str, known)))}"
        )


def _tell_alike(task: Task) -> None:
    """A warning for labels of the rows that differ in case or blanks alone: each is learned as a label of its own."""
    for column, labels in task.labels.items():
        ways: dict[str, list[str]] = {}
        for label in labels if column not in task.closed_set else ():
            ways.setdefault(" ".join(label.split()).casefold(), []).append(label)
        if several := [own for own in ways.values() if len(own) > 1]:
            named = "; ".join(" and ".join(map(repr, own)) for own in several[:MOST_NAMED])
            _log.warning(
                f"task {task.name!r}: {len(several)} of the labels of {column!r} are spelled in several ways, each of "
                f"which is a label of its own: {named}{'; ...' * (len(several) > MOST_NAMED)}; where one is meant, "
                "spell it alike in all rows"
            )


def _wider(rows: int) -> Iterator[int]:
    """A few rows, evenly spread, and then as many more."""
    few = spread_rows(rows, FEW).tolist()
    yield from few
    yield from (row for row in spread_rows(rows, MANY).tolist() if row not in few)


def _judged(task: Task, program: Program, split: str) -> Looked:
    few, errors = spread_rows(len(task.source(split)), FEW).tolist(), list[DataError]()
    try:
        _look_up(task, program, split)
        for row in few:
            _read(task, program, split, row)
    except DataError as error:
        if split == "valid":
            raise
        errors.append(error)
        _log.warning(f"task {task.name!r} cannot be evaluated on its {split} rows as they are: {error}")
    return Looked(task.name, split, len(task.source(split)), len(few), len(errors), str(errors[0]) if errors else "")


def _read(task: Task, program: Program, split: str, row: int) -> None:
    """A row as evaluation reads it. Errors: DataError for a bad one."""
    random = np.random.Generator(np.random.PCG64(sample_seed(0, f"{task.name}/{split}", 0, row)))
    values, _ = read(task, program, split, row, random)
    root = task.source(split).root
    with of_row(task, f"{split} row {row}"):
        true_values(program, values, root)
        task.right_answers(program, values, root)


def _look_up(task: Task, program: Program, split: str) -> None:
    """Errors: DataError for a label that is not in its closed set, saying how many rows hold such."""
    survey = Survey(task.name, task.source(split), task.references)
    for slot in program.plan.slots:
        if not slot.closed_set:
            continue
        known, unknown, first = set(program.labels[slot.index]), Counter[str](), None
        for row, value in survey.numbered((program.plan, slot), MOST_READ):
            if (isinstance(value, str) and value in known) or (value is None and slot.optional):
                continue
            label = _label(program, slot, value)
            if label in known:
                continue
            try:
                if not unknown:
                    _read(task, program, split, row)
            except DataError as error:
                if value is None:  # there is no label at all
                    raise
                first = error
            if first is not None:
                unknown[label] += 1
        if first is not None:
            named = ", ".join(map(repr, list(unknown)[:MOST_NAMED])) + ", ..." * (len(unknown) > MOST_NAMED)
            first.message += f"; {split} rows with such a label: {unknown.total():,} ({named})"
            first.expected += f"; closed_set={{{slot.column!r}: [...]}} of the task says all labels there are"
            raise first


def _label(program: Program, slot: SlotPlan, value: Any) -> str:
    """A value as its closed set would spell it."""
    try:
        return str(program.preprocessors[slot.index].canonical(value))
    except DataError:
        return repr(value)
