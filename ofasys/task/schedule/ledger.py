"""A schedule over given tasks: who draws which of its micro-batches at a step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from ofasys.errors import ConfigError, nearest
from ofasys.task.schedule.registry import find
from ofasys.task.schedule.schedule import Checked, Countable, Entry, Schedule, Turn


class Ledger:
    """A schedule over given tasks: who draws which of its micro-batches at a step.

    max_steps: the run's length, up to which every step must have a task (unknown: for ever).
    origin: (step, micro-batches drawn before it), of a run that goes on with other tasks or weights than it began with.
    """

    def __init__(
        self,
        schedule: str | Mapping[str, Any] | Schedule,
        entries: Sequence[Entry],
        max_steps: int | None = None,
        origin: tuple[int, Mapping[str, int]] = (0, {}),
    ) -> None:
        self.schedule, self.entries, self.max_steps = find(schedule), tuple(entries), max_steps
        self.origin_step, self._origin = origin[0], {entry.name: origin[1].get(entry.name, 0) for entry in entries}
        twice = sorted(name for name, times in Counter(entry.name for entry in entries).items() if times > 1)
        if twice:
            raise ConfigError(f"two tasks are named {twice[0]!r}; give each a name of its own")
        self._check_gaps()
        if isinstance(self.schedule, Checked):
            self.schedule.check(self.entries, self.origin_step, math.inf if max_steps is None else max_steps)
        self._counts = self.schedule if _counts_its_own_turns(self.schedule) else None
        self._borders = sorted({border for e in entries for border in (e.join, e.leave) if border is not None})
        self._stretches: dict[int, tuple[tuple[Entry, ...], frozenset[str]]] = {}
        self._memory = (self.origin_step, self._origin)

    @property
    def counts(self) -> bool:
        """Whether the place in the data at any step is found at once; else all turns before it are gone through."""
        return self._counts is not None

    def turns(self, step: int) -> list[Turn]:
        """The schedule's turns at a step, checked."""
        active, names = self._active(step)
        turns = self.schedule.turns(step, active)
        for turn in turns:
            if turn.task not in names:
                hint = nearest(turn.task, names)
                raise ConfigError(
                    f"the schedule gives a turn to {turn.task!r} at step {step}; {hint}active: "
                    f"{', '.join(sorted(names))}"
                )
            if turn.count < 0:
                raise ConfigError(f"the schedule gives {turn.task!r} {turn.count} micro-batches at step {step}")
        if not any(turn.count for turn in turns):
            raise ConfigError(f"the schedule gives no task a turn at step {step}; give at least one")
        return turns

    def positions(self, step: int) -> dict[str, int]:
        """How many micro-batches each task has drawn before this step.

        Closed form for a schedule that can count; for others a sum over the steps since the last answer (or since the
        origin, going back).
        """
        if step < self.origin_step:
            raise ConfigError(f"step {step} lies before the run's first, {self.origin_step}")
        known, drawn = self._memory if self._memory[0] <= step else (self.origin_step, self._origin)
        total = dict(drawn)
        borders = [border for border in self._borders if known < border < step] if known + 1 < step else []
        for start, stop in zip([known, *borders], [*borders, step], strict=True):
            for name, count in self._count(start, stop).items():
                total[name] += count
        self._memory = step, total
        return dict(total)

    def draws(self, step: int) -> list[tuple[str, int]]:
        """The step's micro-batches in order: (task, number of its micro-batch)."""
        position = self.positions(step)
        drawn = []
        for turn in self.turns(step):
            for _ in range(turn.count):
                drawn.append((turn.task, position[turn.task]))
                position[turn.task] += 1
        self._memory = step + 1, position
        return drawn

    def _active(self, step: int) -> tuple[tuple[Entry, ...], frozenset[str]]:
        """The tasks active at a step, and their names: the same ones between two borders."""
        stretch = bisect_right(self._borders, step)
        if stretch not in self._stretches:
            active = tuple(entry for entry in self.entries if entry.active(step))
            self._stretches[stretch] = active, frozenset(entry.name for entry in active)
        if not self._stretches[stretch][0]:
            raise ConfigError(f"no task is active at step {step}; let one join earlier or leave later")
        return self._stretches[stretch]

    def _count(self, start: int, stop: int) -> dict[str, int]:
        """Over a stretch without joins and leaves."""
        if start == stop:
            return {}
        if self._counts is not None:
            return self._counts.count(start, stop, self._active(start)[0])
        total: dict[str, int] = {}
        for step in range(start, stop):
            for turn in self.turns(step):
                total[turn.task] = total.get(turn.task, 0) + turn.count
        return total

    def _check_gaps(self) -> None:
        if not self.entries:
            raise ConfigError("there is no task to schedule; give at least one")
        end = math.inf if self.max_steps is None else self.max_steps
        covered: float = self.origin_step
        for entry in sorted(self.entries, key=lambda entry: entry.join):
            if entry.join > covered:
                break
            covered = max(covered, math.inf if entry.leave is None else entry.leave)
        if covered < end:
            later = min((entry.join for entry in self.entries if entry.join > covered), default=end)
            last = "on" if min(later, end) == math.inf else f"to step {int(min(later, end)) - 1}"
            raise ConfigError(
                f"no task is active from step {int(covered)} {last}; let one join earlier or leave later, or end the "
                "run before"
            )


def _counts_its_own_turns(schedule: Schedule) -> TypeGuard[Countable]:
    """Not so where a subclass has new `turns` and has inherited the `count` of the old ones."""
    line = type(schedule).__mro__
    places = [[name in vars(kind) for kind in line] for name in ("count", "turns")]
    return all(any(found) for found in places) and places[0].index(True) <= places[1].index(True)
