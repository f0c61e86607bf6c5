"""What a schedule sees, gives and promises: entries in, turns out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ofasys.errors import ConfigError


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
    tokens: float | None = None
    """Positions of a row, source and target together, on average. None: not measured."""
    per_update: int = 1
    """Steps of the schedule that make one update."""

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


@runtime_checkable
class Checked(Protocol):
    """What a schedule may also do: say before the first step what does not go together."""

    def check(self, tasks: Sequence[Entry], start: int, stop: float) -> None:
        """tasks: all of the run. start, stop: its steps; stop is infinite where its length is not known. Errors:
        ConfigError.
        """
        ...


@runtime_checkable
class Measured(Protocol):
    """A schedule that may want to know how many tokens a task's rows have, which takes reading some of them."""

    @property
    def needs_tokens(self) -> bool:
        """Whether it asks for `Entry.tokens`."""
        ...


@runtime_checkable
class Following(Protocol):
    """A schedule in the middle of one run, which goes by what that run finds. All it knows is in its state."""

    def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
        """As of a Schedule; a function of its arguments and of what was decided a whole period before."""
        ...

    def told(self, kind: str, figures: Mapping[str, Mapping[str, float]]) -> None:
        """kind: "train", at the end of each period, or "valid", after an evaluation. figures: by task."""
        ...

    def decide(self, update: int) -> None:
        """A period has ended with this many updates done: decide what holds in the one after the next."""
        ...

    def state(self) -> dict[str, Any]:
        """What is saved with the run, as JSON."""
        ...


@runtime_checkable
class Follows(Protocol):
    """A schedule that goes by what the run finds: its record, of which each run begins a `Following`.

    Rows are prepared ahead of the step they are for, so what is found in one period can only hold from the period after
    the next on. The same run then draws the same rows whoever prepares them, and wherever it was resumed.
    """

    @property
    def every(self) -> int:
        """Updates of a period."""
        ...

    @property
    def valid_figure(self) -> str | None:
        """The figure of the evaluations that it goes by. None: it goes by none of them."""
        ...

    def begin(self, state: Mapping[str, Any]) -> Following:
        """For one run. state: what `Following.state` gave at its last checkpoint; empty at its beginning."""
        ...
