"""Which checkpoint is the best: by a figure of the valid sets, and how long a run waits for a better one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from ofasys.errors import ConfigError, nearest
from ofasys.metric import known_metrics
from ofasys.task.task import Task
from ofasys.train.evaluate import mean

Figures = Mapping[str, Mapping[str, float]]  # task -> its figures on the valid rows
DIRECTIONS = {"max": True, "min": False}


@dataclass(frozen=True)
class Choice:
    """The figure that a best checkpoint has the best of.

    name: "TASK.FIGURE", or "FIGURE": its mean over the tasks that have it. tasks: those. larger: whether more is
    better.
    """

    name: str
    figure: str
    tasks: tuple[str, ...]
    larger: bool
    what: str = "trainer.best"
    """What asks for it, as errors say it."""

    def value(self, found: Figures) -> float:
        """What these figures are by it; NaN where there is none. Errors: ConfigError for a figure that no task has."""
        values = [found[task][self.figure] for task in self.tasks if self.figure in found.get(task, {})]
        if not values and self.tasks:
            known = sorted({name for task in self.tasks for name in found.get(task, {})})
            raise _no_figure(f"{self.what} is {self.name!r}", self.figure, known)
        return mean(sum(values), len(values)) if values else nan

    def better(self, value: float, before: float | None) -> bool:
        """Is `value` better than the best before? What is not finite is never, and anything finite is to nothing."""
        if not isfinite(value):
            return False
        if before is None or not isfinite(before):
            return True
        return value > before if self.larger else value < before

    def known(self, before: Any) -> float | None:
        """The best so far, as a run's state holds it; None where it is of another figure or other tasks."""
        if not isinstance(before, Mapping) or before.get("tasks") != sorted(self.tasks):
            return None
        if "figure" not in before:  # of a version that knew the loss alone
            return before.get("loss") if self.name == "loss" else None
        return before.get("value") if before["figure"] == self.name else None


def choose(asked: str, tasks: Sequence[Task], what: str = "trainer.best") -> Choice:
    """`Trainer(best=...)` for these tasks, or another figure that is asked for. what: what asks, as errors say it.

    Errors: ConfigError for a task or figure there is not, or no valid rows.
    """
    word, colon, rest = asked.partition(":")
    said = DIRECTIONS.get(word) if colon else None
    name = asked if said is None else rest
    valid = {task.name: task for task in tasks if "valid" in task.sources}
    if not _owner(name, tasks)[1].strip():
        raise ConfigError(f"{what} is {asked!r}, which names no figure; give one as 'loss' or 'max:TASK.FIGURE'")
    if name == "loss":
        return Choice(name, "loss", tuple(valid), bool(said), what)
    one, figure = _owner(name, tasks)
    chosen = [one] if one is not None else list(valid.values())
    if one is not None and one.name not in valid:
        raise ConfigError(f"{what} is {asked!r}, and task {one.name!r} has no valid rows; give it valid=")
    if not chosen:
        raise ConfigError(f"{what} is {asked!r}, and no task has valid rows; give one valid=")
    known = sorted({n for task in ([one] if one else valid.values()) for n in _figures(task)})
    if one is None and "." in name and name not in known:
        names = [task.name for task in tasks]
        raise ConfigError(
            f"{what} is {asked!r}, and no task is called so; {nearest(name.partition('.')[0], names)}"
            f"tasks: {', '.join(names)}; figures: {', '.join(known)}"
        )
    chosen = [task for task in chosen if _may_have(task, figure)]
    if not chosen:
        raise _no_figure(f"{what} is {asked!r}", figure, known)
    if said is None:
        said = _direction(f"{what} is {asked!r}", name, figure, chosen)
    return Choice(name, figure, tuple(task.name for task in chosen), said, what)


def _owner(name: str, tasks: Sequence[Task]) -> tuple[Task | None, str]:
    """The task that a name begins with, the longest, and the figure after it."""
    for task in sorted(tasks, key=lambda task: -len(task.name)):
        if name.startswith(f"{task.name}."):
            return task, name[len(task.name) + 1 :]
    return None, name


def _figures(task: Task) -> list[str]:
    return ["loss", *task.plan.ways, *(name for metric in task.metrics for name in metric.directions)]


def _may_have(task: Task, figure: str) -> bool:
    """Whether a task's evaluation may give this figure; what a function of one's own gives is not known before."""
    own = {*task.plan.ways, *(name for metric in task.metrics for name in (metric.name, *metric.directions))}
    head, slash, _ = figure.partition("/")
    foreign = any(known_metrics().get(metric.name) is not metric for metric in task.metrics)
    return figure in own or figure == "loss" or bool(slash and head in own) or foreign


def _direction(said: str, name: str, figure: str, tasks: Sequence[Task]) -> bool:
    found = {task.larger_is_better(figure) for task in tasks}
    direction = found.pop() if len(found) == 1 else None
    if direction is None:
        raise ConfigError(f"{said}, and whether more of it is better is not known; write 'max:{name}' or 'min:{name}'")
    return direction


def _no_figure(said: str, figure: str, known: Sequence[str]) -> ConfigError:
    return ConfigError(
        f"{said}, and there is no figure {figure!r}; {nearest(figure, known)}there are {', '.join(known)}"
    )
