"""What a task's share of a run is counted in: samples or tokens."""

from __future__ import annotations

from ofasys.errors import ConfigError, nearest
from ofasys.task.schedule.schedule import Entry

UNITS = ("samples", "tokens")


def check_unit(schedule: str, by: str) -> None:
    """Errors: ConfigError for what shares cannot be counted in."""
    if by not in UNITS:
        raise ConfigError(
            f"schedule {schedule} counts by={by!r}; {nearest(by, UNITS)}it is {' or '.join(map(repr, UNITS))}"
        )


def counts_tokens(by: str) -> bool:
    """Whether a unit is that of tokens."""
    return by == UNITS[1]


def in_turns(task: Entry, size: float, by: str) -> float:
    """The task's turns in proportion to those of others, so that its samples or tokens are so as size times its weight.

    Errors: ConfigError for tokens that were not measured.
    """
    of_one = float(task.micro_batch_size)
    if counts_tokens(by):
        if task.tokens is None:
            raise ConfigError(f"the tokens of a row of task {task.name!r} were not measured; count by='samples'")
        of_one *= max(task.tokens, 1.0)
    return size * task.weight / of_one
