"""Weights that move with the run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from numbers import Real
from typing import Any

from ofasys.arguments import arguments
from ofasys.errors import ConfigError, nearest
from ofasys.task.schedule.schedule import Entry, Turn
from ofasys.task.schedule.spread import place


@arguments("schedule curriculum", {})
@dataclass(frozen=True)
class Curriculum:
    """One task a step, each as often as its weight at that step: easy ones first, a new one faded in (Bengio et al.
    2009).
    """

    weights: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """Task -> update -> its weight there, a line between two updates, level before the first and after the last; 0: no
    turns. A task that is not here has its own weight throughout."""

    def __post_init__(self) -> None:
        for name, points in self.weights.items():
            if not isinstance(points, Mapping) or not points or not all(map(_is_point, points.items())):
                raise ConfigError(
                    f"schedule curriculum has {points!r:.60} for task {name!r}; give update: weight, as "
                    "{0: 1, 1000: 0}, updates from 0 on and weights of 0 or more"
                )
        numbered = {name: {int(at): weight for at, weight in points.items()} for name, points in self.weights.items()}
        object.__setattr__(self, "weights", numbered)

    def check(self, tasks: Sequence[Entry], start: int, stop: float) -> None:
        """Errors: ConfigError for a task there is not, or a step at which no task has a weight above 0."""
        names = [task.name for task in tasks]
        for name in self.weights:
            if name not in names:
                raise ConfigError(
                    f"schedule curriculum has weights for {name!r}, and no task is called so; {nearest(name, names)}"
                    f"tasks: {', '.join(names[:8])}"
                )
        at = {update * tasks[0].per_update for points in self.weights.values() for update in points} if tasks else set()
        borders = {start} | {step for task in tasks for step in (task.join, task.leave) if step is not None}
        borders |= {step - 1 for step in borders}  # sums of lines are 0 within a stretch only where they are at an end
        for step in sorted(step for step in at | borders if start <= step < stop):
            active = [task for task in tasks if task.active(step)]
            if active and not any(self._weight(task, step) for task in active):
                told = ", ".join(task.name for task in active[:8])
                raise ConfigError(
                    f"schedule curriculum gives no task a weight above 0 at update {step // tasks[0].per_update} "
                    f"(active: {told}); give one, or let another task join"
                )

    def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
        """The task whose turn it is."""
        return [Turn(tasks[place(step, [self._weight(task, step) for task in tasks])].name)]

    def _weight(self, task: Entry, step: int) -> float:
        if task.name not in self.weights:
            return task.weight
        points = sorted(self.weights[task.name].items())
        update = step // task.per_update
        after = bisect_right(points, update, key=lambda point: point[0])
        if after in (0, len(points)):
            return float(points[max(0, after - 1)][1])
        (left, low), (right, high) = points[after - 1], points[after]
        return float(low + (high - low) * (update - left) / (right - left))


def _is_point(point: tuple[Any, Any]) -> bool:
    """Whether it is an update, which a run file has as text, and a weight."""
    update, weight = point
    counted = update.isdecimal() if isinstance(update, str) else isinstance(update, int) and update >= 0
    real = isinstance(weight, Real) and not isinstance(weight, bool)
    return counted and real and weight >= 0 and isfinite(weight)
