"""Dynamic weight average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, isfinite
from typing import Any, ClassVar

from ofasys.arguments import arguments
from ofasys.errors import ConfigError
from ofasys.train.balance.balancer import Balancing, Begun, Losses
from ofasys.train.follow import MeanLosses


@arguments("balance dwa", {})
@dataclass(frozen=True)
class DWA:
    """More weight for tasks whose losses fall more slowly: tasks * softmax(r / temperature) with r the mean loss of the
    last period over that of the one before (Liu, Johns & Davison 2019). 1 in the first two periods.
    """

    every: int = 100
    """Updates of a period; the authors' is an epoch."""
    temperature: float = 2.0
    """Above 0; the higher, the more alike are the weights."""
    cost: ClassVar[str] = "nothing"

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"balance dwa has every={self.every}; it is 1 update or more")
        if not (self.temperature > 0 and isfinite(self.temperature)):
            raise ConfigError(f"balance dwa has temperature={self.temperature}; it is a number above 0")

    def begin(self, run: Begun) -> Averaging:
        """For one run."""
        return Averaging(self, run)


class Averaging(Balancing):
    """The weights of one run, and the losses they come from."""

    positive = True

    def __init__(self, record: DWA, run: Begun) -> None:
        self.record, self.tasks = record, run.tasks
        self.updates, self.losses = 0, MeanLosses()
        self.periods: list[dict[str, float]] = []  # mean losses of the last two

    def factor(self, task: str) -> float | None:
        """Of the task now."""
        return self._weights.get(task) if len(self.periods) == 2 else None

    @property
    def _weights(self) -> dict[str, float]:
        before, last = self.periods
        ratios = {task: last[task] / before[task] for task in self.tasks if before.get(task) and task in last}
        most = max(ratios.values(), default=0.0)  # one factor of all powers, so that none leaves what numbers can hold
        powers = {task: exp((ratio - most) / self.record.temperature) for task, ratio in ratios.items()}
        return {task: len(powers) * power / sum(powers.values()) for task, power in powers.items()}

    def finish(self, losses: Losses, shares: Mapping[str, float]) -> None:
        """One update more; at the end of a period its mean losses are read."""
        for task, loss in losses.items():
            self.losses.add(task, loss)
        self.updates += 1
        if self.updates % self.record.every == 0:
            self.periods = [*self.periods[-1:], self.losses.means()]
            self.losses = MeanLosses()

    def weights(self) -> dict[str, float]:
        """Of each task now."""
        return self._weights if len(self.periods) == 2 else {}

    def state(self) -> dict[str, Any]:
        """Where it is in its period, and what it has seen."""
        return {"updates": self.updates, "losses": self.losses.to_dict(), "periods": self.periods}

    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self.updates, self.losses = int(state["updates"]), MeanLosses(state["losses"])
        self.periods = [dict(means) for means in state["periods"]]
