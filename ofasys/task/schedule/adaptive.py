"""More turns for the tasks that have furthest to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from ofasys.arguments import arguments
from ofasys.errors import ConfigError
from ofasys.task.schedule.schedule import Entry, Turn
from ofasys.task.schedule.spread import place

KINDS = ("train", "valid")


@arguments("schedule adaptive", {})
@dataclass(frozen=True)
class Adaptive:
    """One task a step, each as often as its weight times what is left for it to learn: (figure - goal) / (first figure
    - goal), to a power, and never less than a floor. After the dynamic task prioritisation of Guo et al. (2018).

    What is found in one period of `every` updates holds in the period after the next.
    """

    figure: str = "train loss"
    """The figure it goes by: "train loss", or one of the evaluations, as "valid loss" or "valid accuracy"."""
    goal: float | None = None
    """Its value where nothing is left: 1 for an accuracy, 0 for an error rate. None: 0, of a loss."""
    every: int = 100
    """Updates of a period."""
    power: float = 1.0
    """Above 0; the higher, the more turns for those with much left."""
    floor: float = 0.1
    """What is left of every task at the least, from above 0 to 1, so that none is forgotten."""

    def __post_init__(self) -> None:
        kind, _, name = self.figure.partition(" ")
        if kind not in KINDS or not name or (kind == "train" and name != "loss"):
            raise ConfigError(
                f"schedule adaptive has figure={self.figure!r}; it is 'train loss', or one of the evaluations as "
                "'valid loss' or 'valid accuracy'"
            )
        if self.goal is None and name.partition("/")[0] != "loss":
            raise ConfigError(
                f"schedule adaptive has figure={self.figure!r} and no goal; give what it is where nothing is left to "
                "learn, as goal=1"
            )
        if self.goal is not None and not isfinite(self.goal):
            raise ConfigError(f"schedule adaptive has goal={self.goal}; it is finite")
        if self.every < 1:
            raise ConfigError(f"schedule adaptive has every={self.every}; it is 1 update or more")
        if not (self.power > 0 and isfinite(self.power) and 0 < self.floor <= 1):
            raise ConfigError(
                f"schedule adaptive has power={self.power} and floor={self.floor}; power is above 0, and floor above 0 "
                "and at most 1"
            )

    @property
    def valid_figure(self) -> str | None:
        """Its figure, where that is one of the evaluations."""
        kind, _, name = self.figure.partition(" ")
        return name if kind == KINDS[1] else None

    def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
        """As at the beginning of a run, where all is left to learn."""
        return self.begin({}).turns(step, tasks)

    def begin(self, state: Mapping[str, Any]) -> Adapted:
        """For one run."""
        return Adapted(self, state)


class Adapted:
    """An adaptive schedule in the middle of a run."""

    def __init__(self, record: Adaptive, state: Mapping[str, Any]) -> None:
        self.record = record
        if state.get("of") != self._of():
            state = {}
        self.first: dict[str, float] = dict(state.get("first", {}))
        self.latest: dict[str, float] = dict(state.get("latest", {}))
        self.left: dict[int, dict[str, float]] = {int(p): dict(own) for p, own in state.get("left", {}).items()}

    def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
        """The task whose turn it is."""
        left = self.left.get(step // tasks[0].per_update // self.record.every, {})
        return [Turn(tasks[place(step, [task.weight * left.get(task.name, 1.0) for task in tasks])].name)]

    def told(self, kind: str, figures: Mapping[str, Mapping[str, float]]) -> None:
        """Keep the figure it goes by, of each task that has it."""
        own, _, name = self.record.figure.partition(" ")
        if kind == own:
            found = {task: of[name] for task, of in figures.items() if name in of and isfinite(of[name])}
            self.latest |= found
            self.first = found | self.first

    def decide(self, update: int) -> None:
        """What is left of each task, for the period after the next."""
        period = update // self.record.every
        self.left = {one: left for one, left in self.left.items() if one >= period}
        self.left[period + 1] = {task: self._left(task) for task in self.latest}

    def _left(self, task: str) -> float:
        goal = self.record.goal or 0.0
        whole = self.first[task] - goal
        left = (self.latest[task] - goal) / whole if whole else 0.0
        return max(self.record.floor, max(0.0, left) ** self.record.power)

    def state(self) -> dict[str, Any]:
        """As JSON."""
        left = {str(period): own for period, own in self.left.items()}
        return {"of": self._of(), "first": self.first, "latest": self.latest, "left": left}

    def _of(self) -> list[Any]:
        """What figures and periods are of: with another of these a run begins anew to compare."""
        return [self.record.figure, self.record.every]
