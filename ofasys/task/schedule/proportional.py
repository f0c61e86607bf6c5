"""Tasks in proportion to their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ofasys.arguments import arguments
from ofasys.errors import ConfigError
from ofasys.task.schedule.schedule import Entry
from ofasys.task.schedule.shares import Shares
from ofasys.task.schedule.unit import check_unit, in_turns


@arguments("schedule proportional", {})
@dataclass(frozen=True)
class Proportional(Shares):
    """One task a step, and of all samples a share for each in proportion to its rows times its weight.

    Tasks of one weight end each epoch together. By tokens it is the share of all tokens that is so: where rows are
    equally many, a task of pictures then has fewer turns than one of short texts.
    """

    by: str = "samples"
    """What the shares are shares of: "samples", or "tokens", which are measured on a few rows before the first step."""

    def __post_init__(self) -> None:
        check_unit("proportional", self.by)

    def shares(self, tasks: Sequence[Entry]) -> list[float]:
        """In proportion to rows."""
        return [in_turns(task, rows(task), self.by) for task in tasks]


def rows(task: Entry) -> int:
    """Its rows. Errors: ConfigError where they are not known."""
    if task.size is None:
        raise ConfigError(f"task {task.name!r} has no known number of rows to be in proportion to; give training rows")
    return task.size
