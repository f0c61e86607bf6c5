"""Tasks in proportion to a root of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from ofasys.arguments import arguments
from ofasys.errors import ConfigError
from ofasys.task.schedule.proportional import rows
from ofasys.task.schedule.schedule import Entry
from ofasys.task.schedule.shares import Shares
from ofasys.task.schedule.unit import check_unit, in_turns


@arguments("schedule temperature", {})
@dataclass(frozen=True)
class Temperature(Shares):
    """One task a step, and of all samples a share for each in proportion to min(rows, cap) ** (1 / temperature) times
    its weight, so that small tasks are seen more often (Raffel et al. 2020, T5, 3.5.2).

    A temperature of 1 without a cap is `proportional`; the higher it is, the more alike are the shares.
    """

    temperature: float = 2.0
    """Above 0; infinite: the shares are the weights."""
    cap: int | None = None
    """Rows beyond which a task counts as no larger. None: there is no such bound."""
    by: str = "samples"
    """What the shares are shares of: "samples", or "tokens", which are measured on a few rows before the first step."""

    def __post_init__(self) -> None:
        if not 0 < self.temperature <= inf:
            raise ConfigError(f"schedule temperature has temperature={self.temperature}; it is a number above 0")
        if self.cap is not None and self.cap < 1:
            raise ConfigError(f"schedule temperature has cap={self.cap}; it is 1 row or more, or None")
        check_unit("temperature", self.by)

    def shares(self, tasks: Sequence[Entry]) -> list[float]:
        """In proportion to a root of rows; that of the largest is 1, so that all are what numbers can hold."""
        sizes = [min(rows(task), self.cap or inf) for task in tasks]
        largest = max(sizes)
        return [
            in_turns(task, (size / largest) ** (1 / self.temperature), self.by)
            for task, size in zip(tasks, sizes, strict=True)
        ]
