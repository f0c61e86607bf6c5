"""Tasks in proportion to their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ofasys.arguments import arguments
from ofasys.errors import ConfigError
from ofasys.task.schedule.schedule import Entry, Turn
from ofasys.task.schedule.spread import counts, place
from ofasys.task.schedule.unit import check_unit, counts_tokens, in_turns


@arguments("schedule proportional", {})
@dataclass(frozen=True)
class Proportional:
    """One task a step, and of all samples a share for each in proportion to its rows times its weight.

    Tasks of one weight end each epoch together. By tokens it is the share of all tokens that is so: where rows are
    equally many, a task of pictures then has fewer turns than one of short texts.
    """

    by: str = "samples"
    """What the shares are shares of: "samples", or "tokens", which are measured on a few rows before the first step."""

    def __post_init__(self) -> None:
        check_unit("proportional", self.by)

    @property
    def needs_tokens(self) -> bool:
        """Where it counts in them."""
        return counts_tokens(self.by)

    def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
        """The task whose turn it is."""
        return [Turn(tasks[place(step, self._shares(tasks))].name)]

    def count(self, start: int, stop: int, tasks: Sequence[Entry]) -> dict[str, int]:
        """In closed form."""
        return dict(zip((task.name for task in tasks), counts(start, stop, self._shares(tasks)), strict=True))

    def _shares(self, tasks: Sequence[Entry]) -> list[float]:
        return [in_turns(task, rows(task), self.by) for task in tasks]


def rows(task: Entry) -> int:
    """Its rows. Errors: ConfigError where they are not known."""
    if task.size is None:
        raise ConfigError(f"task {task.name!r} has no known number of rows to be in proportion to; give training rows")
    return task.size
