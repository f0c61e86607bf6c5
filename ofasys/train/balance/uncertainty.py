"""Losses weighed by learnt uncertainties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

from torch import Tensor

from ofasys.arguments import arguments
from ofasys.errors import ConfigError
from ofasys.train.balance.balancer import Balancing, Begun, Losses
from ofasys.train.balance.learnt import Learnt


@arguments("balance uncertainty", {})
@dataclass(frozen=True)
class Uncertainty:
    """exp(-s) loss + s / 2 for each task, with s = log of a learnt variance (Kendall, Gal & Cipolla 2018, equation 10,
    of classification). Where s has settled, a task counts 1 / (2 loss): all losses are about alike.
    """

    lr: float = 0.01
    """Of the log variances, which an Adam of their own learns."""
    cost: ClassVar[str] = "one number a task"

    def __post_init__(self) -> None:
        if not (self.lr > 0 and isfinite(self.lr)):
            raise ConfigError(f"balance uncertainty has lr={self.lr}; it is a number above 0")

    def begin(self, run: Begun) -> Uncertain:
        """For one run."""
        return Uncertain(self, run)


class Uncertain(Balancing):
    """The log variances of one run."""

    positive = True

    def __init__(self, record: Uncertainty, run: Begun) -> None:
        self.log_variance = Learnt(run.tasks, 0.0, record.lr, 0.0, run.device)

    def factor(self, task: str) -> Tensor:
        """() 1 / variance."""
        return (-self.log_variance[task].detach()).exp()

    def finish(self, losses: Losses, shares: Mapping[str, float]) -> None:
        """The gradient of share * (exp(-s) loss + s / 2) by s, and a step along it."""
        self.log_variance.step({task: shares[task] * (0.5 - self.factor(task) * loss) for task, loss in losses.items()})

    def weights(self) -> dict[str, float]:
        """Task -> 1 / variance."""
        return {task: float(self.factor(task)) for task in self.log_variance.values}

    def state(self) -> dict[str, Any]:
        """The log variances and their moments."""
        return self.log_variance.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self.log_variance.restore(state)
