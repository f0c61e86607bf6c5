"""Schedules whose tasks each have a share that stays as it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ofasys.task.schedule.schedule import Entry, Turn
from ofasys.task.schedule.spread import counts, place
from ofasys.task.schedule.unit import counts_tokens


class Shares(ABC):
    """One task a step, each as often as its share among the active ones."""

    by: str
    """What the shares are shares of."""

    @property
    def needs_tokens(self) -> bool:
        """Where it counts in them."""
        return counts_tokens(self.by)

    def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
        """The task whose turn it is."""
        return [Turn(tasks[place(step, self.shares(tasks))].name)]

    def count(self, start: int, stop: int, tasks: Sequence[Entry]) -> dict[str, int]:
        """In closed form."""
        return dict(zip((task.name for task in tasks), counts(start, stop, self.shares(tasks)), strict=True))

    @abstractmethod
    def shares(self, tasks: Sequence[Entry]) -> list[float]:
        """Of each task, of any sum above 0. Errors: ConfigError for a task that has none."""
