"""Answers given without looking at the question, to judge figures by: what a model should at least be better than."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from ofasys.errors import DataError, OfasysError
from ofasys.metric import Metric
from ofasys.modality.video.moving import Video
from ofasys.program.program import Program
from ofasys.task.loader import of_row
from ofasys.task.task import Task, metric_columns
from ofasys.train.evaluate import Answered, column_values, scored, true_values

Row = Mapping[str, Any]
LOOKED_AT = 300  # rows of training that trivial answers come from


@dataclass(frozen=True)
class Trivial:
    """The best of the answers without looking."""

    value: float
    """The headline of a metric for it."""
    kind: str
    """Which kind of answer it is."""


def trivial(
    task: Task,
    program: Program,
    metric: Metric,
    answered: Answered,
    split: str,
    seed: int = 0,
    looked_at: int = LOOKED_AT,
) -> Trivial | None:
    """The best of the trivial answers to the rows that were answered; None where no such answer can be scored.

    They are made of `looked_at` training rows; of a task without these, of rows of the split.
    """
    columns, random = metric_columns(metric, program.plan), Random(seed)
    seen = seen_values(task, program, "train" if "train" in task.sources else split, random, looked_at)
    seen = [row for row in seen if all(row.get(column) is not None for column in columns)]
    _, _, truth = scored(program, metric, answered)
    if not seen or not truth:
        return None
    repeated = [slot.column for slot in program.plan.answered if slot.group is not None]
    best: Trivial | None = None
    for kind, answers in trivial_answers(seen, columns, len(truth), random, repeated).items():
        try:
            value = metric(column_values(answers, columns), truth, root=task.source(split).root)[metric.main]
        except (OfasysError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError):
            continue  # an answer of one's own kind that this metric does not read
        if best is None or metric.better(value, best.value):
            best = Trivial(value, kind)
    return best


def seen_values(
    task: Task, program: Program, split: str, random: Random, looked_at: int = LOOKED_AT
) -> list[dict[str, Any]]:
    """True values of at most `looked_at` rows drawn from a split; rows that cannot be read are left out."""
    source = task.source(split)
    found = []
    for i in random.sample(range(len(source)), min(looked_at, len(source))):
        with suppress(DataError), of_row(task, f"{split} row {i}"):
            found.append(true_values(program, source[i], source.root))
    return found


def trivial_answers(
    seen: Sequence[Row], columns: Sequence[str], n: int, random: Random, repeated: Collection[str] = ()
) -> dict[str, list[Row]]:
    """Kind -> n answers, each column -> value: rows drawn at random from those seen; always the most frequent value of
    each column; always the mean where there is one (of numbers, boxes, pictures and clips), else the most frequent.

    repeated: columns that hold a value a turn; their answer has the commonest number of turns, each turn its own value.
    """
    made = {
        kind: {column: _typical(make, [row[column] for row in seen], column in repeated) for column in columns}
        for kind, make in _KINDS.items()
    }
    found: dict[str, list[Row]] = {}
    for kind, own in made.items():
        if any(value is not None for value in own.values()):
            whole = {
                column: made["most frequent"][column] if own[column] is None else own[column] for column in columns
            }
            found[kind] = [whole] * n
    return found | {"random": [random.choice(seen) for _ in range(n)]}


def _typical(make: Callable[[Sequence[Any]], Any], values: Sequence[Any], repeated: bool) -> Any:
    """What `make` makes of all values; turn by turn of those with the commonest number of turns. None for nothing."""
    if not repeated:
        return make(values)
    turns = Counter(map(len, values)).most_common(1)[0][0]
    found = [make([value[i] for value in values if len(value) == turns]) for i in range(turns)]
    return None if any(one is None for one in found) else found


def _frequent(seen: Sequence[Any]) -> Any:
    if not all(isinstance(value, str | int | float | list | tuple | dict) for value in seen):
        return None
    counts = Counter(map(repr, seen))
    return max(seen, key=lambda value: counts[repr(value)])


def _mean(seen: Sequence[Any]) -> Any:
    if all(isinstance(value, Image.Image) for value in seen):
        if len({(value.size, value.mode) for value in seen}) > 1:
            return None
        return Image.fromarray(_mean_pixels(seen))
    if all(isinstance(value, Video) for value in seen):
        return None if len({value.frames.shape for value in seen}) > 1 else Video(_mean_pixels(seen), seen[0].rate)
    if all(_numbers(value) for value in seen) and len({np.shape(value) for value in seen}) == 1:
        return np.mean([np.asarray(value, dtype=np.float64) for value in seen], axis=0).tolist()
    return None


def _mean_pixels(seen: Sequence[Any]) -> np.ndarray:
    """Of pictures or clips of one shape: uint8."""
    total = np.zeros(np.shape(seen[0]))
    for value in seen:
        total += np.asarray(value)
    mean: np.ndarray = (total / len(seen)).round().astype(np.uint8)
    return mean


def _numbers(value: Any) -> bool:
    """A number, or some of them that are measured, as a box; not a board of digits."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return True
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, float) for one in value)


_KINDS: Mapping[str, Callable[[Sequence[Any]], Any]] = {"most frequent": _frequent, "mean": _mean}
