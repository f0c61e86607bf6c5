"""How many updates a run has: as many as asked for, or as its tasks need to be seen so often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from ofasys.errors import ConfigError
from ofasys.task.schedule import Entry, Follows, Ledger, Measured, Schedule, find
from ofasys.task.when import NEVER


def steps_of(
    epochs: float, entries: Sequence[Entry], schedule: str | Mapping[str, Any] | Schedule, accumulate: int
) -> int:
    """Updates until every task has been seen `epochs` times; a task that leaves need not be.

    An epoch of one task is all its rows once, in ceil(rows / micro_batch_size) micro-batches. Of several tasks those
    that the schedule draws more often are seen more often. A task that joins on a condition does not count. entries:
    with join and leave in micro-steps. Errors:
    ConfigError for a task the schedule never draws, or a schedule whose turns are not known before the run.
    """
    found = find(schedule)
    if isinstance(found, Follows) or (isinstance(found, Measured) and found.needs_tokens):
        raise ConfigError(
            f"epochs is {epochs}, and how many steps they are is not known before the run with schedule {schedule!r}; "
            "give max_steps instead"
        )
    entries = [entry for entry in entries if entry.join < NEVER]
    stay = [entry for entry in entries if entry.leave is None] or list(entries)
    needed = {entry.name: ceil((entry.size or 0) * epochs / entry.micro_batch_size) for entry in stay}
    ledger = Ledger(schedule, entries)

    def seen(steps: int) -> bool:
        drawn = ledger.positions(steps * accumulate)
        return all(drawn[name] >= count for name, count in needed.items())

    most = max(1, *(entry.leave or 0 for entry in entries))
    bound = most + 1000 * len(entries) * sum(needed.values())
    high = 1
    while not seen(high):
        if high > bound:
            short = next(name for name, count in needed.items() if ledger.positions(high * accumulate)[name] < count)
            raise ConfigError(
                f"epochs is {epochs}, and the schedule hardly draws task {short!r}; give max_steps instead"
            )
        high *= 2
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high
