"""Every task in each update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ofasys.task.schedule.round_robin import fraction
from ofasys.task.schedule.schedule import Entry, Turn


@dataclass(frozen=True)
class Accumulate:
    """Every active task in each update, with its weight in micro-batches: 2 gives two, 1.5 gives one and two in turn.

    A weight below 1 gives one.
    """

    def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
        """All tasks."""
        return [Turn(name, count) for name, count in self.count(step, step + 1, tasks).items()]

    def count(self, start: int, stop: int, tasks: Sequence[Entry]) -> dict[str, int]:
        """The difference of two whole parts."""
        weights = {task.name: max(Fraction(1), fraction(task.weight)) for task in tasks}
        return {name: math.floor(stop * weight) - math.floor(start * weight) for name, weight in weights.items()}
