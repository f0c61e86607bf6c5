"""What each row of a task costs, in tokens: known of all rows by their characters, measured of some."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from ofasys.errors import ConfigError
from ofasys.task.order import UNITS
from ofasys.task.task import Task

MEASURED = 64  # rows, evenly spread


def costs(task: Task, tokens: Callable[[int], int | None]) -> np.ndarray:
    """Tokens of each row (n,), both sides, in 1/UNITS of one: what all rows have, and so much a character.

    tokens: row -> its stream positions, None of one that cannot be used. The line is the best through the rows measured
    (least squares, exact fractions, so that every process finds the same). Errors: ConfigError for a task without texts
    whose lengths are at hand.
    """
    lengths = task.lengths()
    if lengths is None:
        raise ConfigError(
            f"task {task.name!r} has batch_by='tokens', and no text whose length is known before it is read; "
            "leave it out: its rows are alike, or of a length that only reading them tells"
        )
    rows = np.unique(np.linspace(0, len(lengths) - 1, MEASURED, dtype=np.int64)).tolist()
    points = [(int(lengths[row]), count) for row in rows if (count := tokens(row)) is not None]
    base, rate = line(points) if points else (Fraction(1), Fraction(1))
    return round(base * UNITS) + round(rate * UNITS) * lengths.astype(np.int64)


def line(points: list[tuple[int, int]]) -> tuple[Fraction, Fraction]:
    """The line y = base + rate x nearest to points (x, y); base is 1 at least, and it does not fall."""
    count, x, y = len(points), sum(x for x, _ in points), sum(y for _, y in points)
    spread = count * sum(x * x for x, _ in points) - x * x
    rate = Fraction(count * sum(x * y for x, y in points) - x * y, spread) if spread else Fraction(0)
    rate = max(Fraction(0), rate)
    return max(Fraction(1), (y - rate * x) / count), rate
