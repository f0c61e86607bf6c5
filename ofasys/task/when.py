"""When a task joins or leaves a run, where that is no step but a condition: so many epochs, a figure that is reached,
or one that gets no better.

    leave="3 epochs"                        leave="2.5 epochs of caption"
    leave="accuracy >= 0.95"                join="caption.loss <= 0.5"
    leave="no better accuracy in 4"         join="no better caption.cider in 2"

Figures are those of the valid rows; 4 and 2 are evaluations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Protocol

from ofasys.errors import ConfigError

NEVER = 2**62  # the step at which a task joins whose condition is not met yet

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_EPOCHS = re.compile(rf"({_NUMBER}) epochs?(?: of (\S+))?")
_REACHED = re.compile(rf"(\S+) (>=|<=) ({_NUMBER})")
_PLATEAU = re.compile(r"no better (\S+) in (\d+)")


class Seen(Protocol):
    """What conditions look at in a run."""

    def epochs(self, task: str) -> float:
        """How often its rows have been seen."""
        ...

    def figure(self, name: str) -> float | None:
        """A figure of the last evaluation; None where there was none, or it was not finite."""
        ...

    def waited(self, name: str) -> int:
        """Evaluations since the best value of a figure."""
        ...


@dataclass(frozen=True)
class Epochs:
    """So many epochs of a task are done."""

    count: float
    """As many; part of one counts."""
    task: str
    figure: ClassVar[None] = None
    directed: ClassVar[bool] = False

    def met(self, seen: Seen) -> str | None:
        """Why it is met; None: it is not."""
        return f"{self.count:g} epochs of {self.task!r} are done" if seen.epochs(self.task) >= self.count else None


@dataclass(frozen=True)
class Reached:
    """A figure has reached a bound."""

    figure: str
    """TASK.FIGURE."""
    above: bool
    """Whether it is to be at least the bound, or at most."""
    bound: float
    directed: ClassVar[bool] = False

    def met(self, seen: Seen) -> str | None:
        """Why it is met; None: it is not."""
        value = seen.figure(self.figure)
        if value is None or not (value >= self.bound if self.above else value <= self.bound):
            return None
        return f"{self.figure} is {value:.6g}, {'at least' if self.above else 'at most'} {self.bound:g}"


@dataclass(frozen=True)
class Plateau:
    """A figure has not been better than its best for so many evaluations."""

    figure: str
    """TASK.FIGURE."""
    evaluations: int
    directed: ClassVar[bool] = True
    """Whether it has to be known which of two values is the better one."""

    def met(self, seen: Seen) -> str | None:
        """Why it is met; None: it is not."""
        waited = seen.waited(self.figure)
        return f"no better {self.figure} in {waited} evaluations" if waited >= self.evaluations else None


Condition = Epochs | Reached | Plateau


def condition(text: str, task: str, field: str) -> Condition:
    """What a text says. task, field: whose it is, "join" or "leave"; a figure without a task's name is that task's own.

    Errors: ConfigError for a text that says none.
    """
    if found := _EPOCHS.fullmatch(text):
        count = float(found[1])
        if count > 0 and isfinite(count):
            return Epochs(count, found[2] or task)
    elif found := _REACHED.fullmatch(text):
        return Reached(_own(found[1], task), found[2] == ">=", float(found[3]))
    elif (found := _PLATEAU.fullmatch(text)) and int(found[2]):
        return Plateau(_own(found[1], task), int(found[2]))
    raise ConfigError(
        f"task {task!r} has {field}={text!r}; it is a step, or a condition as '3 epochs', 'accuracy >= 0.95', "
        "'TASK.loss <= 0.5' or 'no better accuracy in 4'"
    )


def _own(name: str, task: str) -> str:
    return name if "." in name.partition("/")[0] else f"{task}.{name}"
