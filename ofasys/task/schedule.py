"""Which task gets micro-batches at which step, and how many each has had before a step: a run's place in its data.

A schedule is a pure function of (step, the tasks active at it), so a run can be resumed at any step. One's own is a
class with one method:

    class Largest:
        def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
            return [Turn(max(tasks, key=lambda task: task.size or 0).name)]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ofasys.errors import ConfigError, nearest
from ofasys.packages import brought


@dataclass(frozen=True)
class Entry:
    """A task as the schedule sees it."""

    name: str
    weight: float = 1.0
    """Its turns in proportion to those of the others, or its micro-batches: as the schedule takes it."""
    join: int = 0
    """The first step it is active at."""
    leave: int | None = None
    """The first step it is no longer active at. None: it stays."""
    size: int | None = None
    """Its rows, if known."""
    micro_batch_size: int = 1
    """Rows of a micro-batch."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ConfigError(f"task {self.name!r} has weight {self.weight}; a weight is a number above 0")
        if self.join < 0:
            raise ConfigError(f"task {self.name!r} joins at step {self.join}; steps begin at 0")
        if self.leave is not None and self.leave <= self.join:
            raise ConfigError(
                f"task {self.name!r} joins at step {self.join} and leaves at {self.leave}; it leaves after it joins"
            )
        size = self.micro_batch_size
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ConfigError(f"task {self.name!r} has micro_batch_size {size}; it is a whole number of at least 1")

    def active(self, step: int) -> bool:
        """Does this task take part at the step?"""
        return self.join <= step and (self.leave is None or step < self.leave)


@dataclass(frozen=True)
class Turn:
    """A task that has its turn at a step."""

    task: str
    """Its name."""
    count: int = 1
    """Micro-batches it gets."""


@runtime_checkable
class Schedule(Protocol):
    """What a schedule does. `tasks` are those active at the step, in the order given by the user."""

    def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
        """The turns of one step, at least one; a pure function of its arguments."""
        ...


@runtime_checkable
class Countable(Protocol):
    """What a schedule may also do, so that a run of so many epochs finds its length at once: count in closed form."""

    def count(self, start: int, stop: int, tasks: Sequence[Entry]) -> dict[str, int]:
        """Micro-batches of each task over the steps start <= step < stop, at all of which `tasks` are active."""
        ...


class RoundRobin:
    """One task a step, in turn; a task of weight 2 comes twice as often as one of weight 1.

    As long as the same tasks are active from step 0 on, every task's turns differ from its share of the steps by less
    than 1 at any step (Tijdeman 1980, the chairman assignment); over a stretch in mid-run by less than 2. The pattern
    is periodic. Shares are exact where a pattern of 4096 turns or fewer holds them; else they are rounded to that
    pattern, with one turn at least.
    """

    def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
        """The task whose turn it is."""
        pattern = _pattern(tuple(task.weight for task in tasks))
        return [Turn(tasks[pattern.order[step % len(pattern.order)]].name)]

    def count(self, start: int, stop: int, tasks: Sequence[Entry]) -> dict[str, int]:
        """Whole periods, plus what is left over at both ends."""
        pattern = _pattern(tuple(task.weight for task in tasks))
        counts = pattern.before(stop) - pattern.before(start)
        return {task.name: int(count) for task, count in zip(tasks, counts, strict=True)}


class Accumulate:
    """Every active task in each update, with its weight in micro-batches: 2 gives two, 1.5 gives one and two in turn.

    A weight below 1 gives one.
    """

    def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
        """All tasks."""
        return [Turn(name, count) for name, count in self.count(step, step + 1, tasks).items()]

    def count(self, start: int, stop: int, tasks: Sequence[Entry]) -> dict[str, int]:
        """The difference of two whole parts."""
        weights = {task.name: max(Fraction(1), _fraction(task.weight)) for task in tasks}
        return {name: math.floor(stop * weight) - math.floor(start * weight) for name, weight in weights.items()}


SCHEDULES: dict[str, Schedule] = {"round_robin": RoundRobin(), "accumulate": Accumulate()}


@lru_cache(maxsize=1)
def known_schedules() -> Mapping[str, Schedule]:
    """The built-in schedules and those of installed packages, by name; theirs are entry points `ofasys.schedules`, each
    an object with `turns(step, tasks)` under the name of its entry.

    Errors: ConfigError naming the entry point that does not load, is no schedule, or has a name that is taken.
    """
    found = dict(SCHEDULES)
    for entry, schedule in brought(entry_points(group="ofasys.schedules"), Schedule, "schedule"):
        if entry.name in found:
            raise ConfigError(
                f"plug-in {entry.name!r} ({entry.value}): schedule {entry.name!r} is registered already; give the new "
                "one another name"
            )
        found[entry.name] = schedule
    return MappingProxyType(found)


def find(schedule: str | Schedule, schedules: Mapping[str, Schedule] | None = None) -> Schedule:
    """The schedule of that name, of `known_schedules` if None are given; an object with `turns(step, tasks)` as it
    is.
    """
    if isinstance(schedule, str):
        schedules = known_schedules() if schedules is None else schedules
        if schedule not in schedules:
            raise ConfigError(
                f"unknown schedule {schedule!r}; {nearest(schedule, schedules)}known here: "
                f"{', '.join(sorted(schedules))}"
            )
        return schedules[schedule]
    if isinstance(schedule, type) or not isinstance(schedule, Schedule):
        raise ConfigError(
            f"not a schedule: {schedule!r:.80}; give a name or an object with a method turns(step, tasks)"
        )
    return schedule


class Ledger:
    """A schedule over given tasks: who draws which of its micro-batches at a step.

    max_steps: the run's length, up to which every step must have a task (unknown: for ever).
    origin: (step, micro-batches drawn before it), of a run that goes on with other tasks or weights than it began with.
    """

    def __init__(
        self,
        schedule: str | Schedule,
        entries: Sequence[Entry],
        max_steps: int | None = None,
        origin: tuple[int, Mapping[str, int]] = (0, {}),
    ) -> None:
        self.schedule, self.entries, self.max_steps = find(schedule), tuple(entries), max_steps
        self.origin_step, self._origin = origin[0], {entry.name: origin[1].get(entry.name, 0) for entry in entries}
        names = [entry.name for entry in entries]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"two tasks are named {twice[0]!r}; give each a name of its own")
        self._check_gaps()
        self._memory = (self.origin_step, self._origin)

    def turns(self, step: int) -> list[Turn]:
        """The schedule's turns at a step, checked."""
        active = self._active(step)
        turns = self.schedule.turns(step, active)
        names = {entry.name for entry in active}
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
        borders = sorted({b for e in self.entries for b in (e.join, e.leave) if b is not None and known < b < step})
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
        return drawn

    def _active(self, step: int) -> list[Entry]:
        active = [entry for entry in self.entries if entry.active(step)]
        if not active:
            raise ConfigError(f"no task is active at step {step}; let one join earlier or leave later")
        return active

    def _count(self, start: int, stop: int) -> dict[str, int]:
        """Over a stretch without joins and leaves."""
        if start == stop:
            return {}
        if isinstance(self.schedule, Countable) and _counts_its_own_turns(self.schedule):
            return self.schedule.count(start, stop, self._active(start))
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


def _counts_its_own_turns(schedule: object) -> bool:
    """Not so where a subclass has new `turns` and has inherited the `count` of the old ones."""
    line = type(schedule).__mro__
    places = [[name in vars(kind) for kind in line] for name in ("count", "turns")]
    return all(any(found) for found in places) and places[0].index(True) <= places[1].index(True)


# --- the pattern of a weighted round robin -------------------------------------------------------------------------

_LONGEST = 4096


@dataclass(frozen=True)
class _Pattern:
    """One period of a weighted round robin."""

    order: list[int]
    """Whose turn it is."""
    tally: NDArray[np.int64]
    """(period + 1, tasks): turns of each before each place of it."""

    def before(self, step: int) -> NDArray[np.int64]:
        periods, rest = divmod(step, len(self.order))
        return periods * self.tally[-1] + self.tally[rest]


@lru_cache(maxsize=64)
def _pattern(weights: tuple[float, ...]) -> _Pattern:
    """Tijdeman's rule: among the tasks far enough behind their share, the one that would be late first."""
    share = np.array(_whole(weights), dtype=np.int64)
    period, slack = int(share.sum()), max(1, 2 * len(share) - 2)
    tally = np.zeros((period + 1, len(share)), dtype=np.int64)
    order = []
    for n in range(1, period + 1):
        behind = slack * (share * n - tally[n - 1] * period)
        late = np.where(behind >= period, (slack * period - period - behind) / share, np.inf)
        chosen = int(np.argmin(late)) if len(share) > 1 else 0
        tally[n] = tally[n - 1]
        tally[n, chosen] += 1
        order.append(chosen)
    return _Pattern(order, tally)


def _whole(weights: tuple[float, ...]) -> list[int]:
    """Whole numbers in the proportion of the weights: exact if their sum is small, else rounded, at least 1."""
    exact = [_fraction(weight) for weight in weights]
    total = sum(exact)
    common = math.lcm(*(weight.denominator for weight in exact))
    whole = [int(weight * common) for weight in exact]
    divisor = math.gcd(*whole)
    if sum(whole) // divisor <= _LONGEST:
        return [weight // divisor for weight in whole]
    return [max(1, round(weight / total * _LONGEST)) for weight in exact]


def _fraction(weight: float) -> Fraction:
    """The number as it is written: 0.1 is a tenth."""
    return Fraction(repr(float(weight)))
