"""Answers given without looking at the question, to judge figures by: what a model should at least be better than."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from ofasys.errors import DataError, OfasysError
from ofasys.metric import Metric
from ofasys.program.program import Program
from ofasys.task.loader import read
from ofasys.task.task import Task, metric_columns
from ofasys.train.evaluate import Answered, true_values

LOOKED_AT = 300  # rows of training that trivial answers come from


@dataclass(frozen=True)
class Trivial:
    """The best of the answers without looking."""

    value: float
    """The headline of a metric for it."""
    kind: str
    """Which kind of answer it is."""


def trivial(
    task: Task, program: Program, metric: Metric, answered: Answered, split: str, seed: int = 0
) -> Trivial | None:
    """The best of the trivial answers to the rows that were answered; None where no such answer can be scored.

    They are made of LOOKED_AT training rows; of a task without these, of rows of the split.
    """
    columns = metric_columns(metric, program.plan)
    seen = seen_values(task, program, "train" if "train" in task.sources else split, seed)
    seen = [row for row in seen if all(row.get(column) is not None for column in columns)]
    if not seen or not answered.references:
        return None
    truth = _picked(answered.references, columns)
    best: Trivial | None = None
    by_column = {column: trivial_answers([row[column] for row in seen], len(truth), seed) for column in columns}
    for kind in dict.fromkeys(kind for answers in by_column.values() for kind in answers):
        answers = [by_column[column].get(kind, by_column[column]["random"]) for column in columns]
        joined = answers[0] if len(columns) == 1 else list(zip(*answers, strict=True))
        try:
            value = metric(joined, truth, root=task.source(split).root)[metric.main]
        except (OfasysError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError):
            continue  # an answer of one's own kind that this metric does not read
        if best is None or metric.better(value, best.value):
            best = Trivial(value, kind)
    return best


def seen_values(task: Task, program: Program, split: str, seed: int = 0) -> list[dict[str, Any]]:
    """True values of at most LOOKED_AT rows drawn from a split; rows that cannot be read are left out."""
    source = task.source(split)
    found = []
    for i in Random(seed).sample(range(len(source)), min(LOOKED_AT, len(source))):
        with suppress(DataError):
            row, _ = read(task, program, split, i, np.random.default_rng(0))
            found.append(true_values(program, row, source.root))
    return found


def trivial_answers(seen: Sequence[Any], n: int, seed: int) -> dict[str, list[Any]]:
    """n answers of each kind: one drawn from those seen; the most frequent; of numbers, boxes and pictures the mean."""
    random = Random(seed)
    made = {kind: make(seen) for kind, make in _KINDS.items()}
    found = {kind: [value] * n for kind, value in made.items() if value is not None}
    return found | {"random": [random.choice(seen) for _ in range(n)]}


def _frequent(seen: Sequence[Any]) -> Any:
    if not all(isinstance(value, str | int | float | list | tuple | dict) for value in seen):
        return None
    counts = Counter(map(repr, seen))
    return max(seen, key=lambda value: counts[repr(value)])


def _mean(seen: Sequence[Any]) -> Any:
    if all(isinstance(value, Image.Image) for value in seen):
        if len({(value.size, value.mode) for value in seen}) > 1:
            return None
        mean = np.mean([np.asarray(picture, dtype=np.float64) for picture in seen], axis=0)
        return Image.fromarray(mean.round().astype(np.uint8))
    if all(_numbers(value) for value in seen) and len({np.shape(value) for value in seen}) == 1:
        return np.mean([np.asarray(value, dtype=np.float64) for value in seen], axis=0).tolist()
    return None


def _numbers(value: Any) -> bool:
    """A number, or some of them that are measured, as a box; not a board of digits."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return True
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, float) for one in value)


_KINDS: Mapping[str, Callable[[Sequence[Any]], Any]] = {"most frequent": _frequent, "mean": _mean}


def _picked(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[Any]:
    if len(columns) == 1:
        return [row[columns[0]] for row in rows]
    return [tuple(row[column] for column in columns) for row in rows]
