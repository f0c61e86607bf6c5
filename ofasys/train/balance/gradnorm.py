"""Gradients of like length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor

from ofasys.arguments import arguments
from ofasys.errors import ConfigError
from ofasys.train.balance.balancer import Balancing, Begun, Gradient, add, finite, norm
from ofasys.train.balance.learnt import Learnt

LEAST = 1e-3  # of a weight


@arguments("balance gradnorm", {})
@dataclass(frozen=True)
class GradNorm:
    """Weights learnt so that the weighted gradients of all tasks have one length, a longer one for those that learn
    more slowly (Chen et al. 2018): its aim is the mean length times (loss / first loss, over their mean) ** alpha.

    Lengths are of the gradients of the engine's weights, which all tasks share.
    """

    alpha: float = 1.5
    """0 or more: how much more tasks get that have lost less of their first loss."""
    lr: float = 0.025
    """Of the weights, which an Adam of their own learns; after each step they are scaled to a mean of 1."""
    cost: ClassVar[str] = "a second copy of the gradients, and one pass over them a task"

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and isfinite(self.alpha) and self.lr > 0 and isfinite(self.lr)):
            raise ConfigError(
                f"balance gradnorm has alpha={self.alpha} and lr={self.lr}; alpha is 0 or more, and lr above 0"
            )

    def begin(self, run: Begun) -> Normed:
        """For one run."""
        return Normed(self, run)


class Normed(Balancing):
    """The weights of one run."""

    apart = True
    positive = True

    def __init__(self, record: GradNorm, run: Begun) -> None:
        self.record, self.shared = record, run.shared
        self.weight = Learnt(run.tasks, 1.0, record.lr, 0.0, run.device)
        self.first: dict[str, Tensor] = {}  # () the loss of each task when it was first seen
        self.device = run.device
        self.forget()

    def forget(self) -> None:
        """Nothing is taken yet."""
        self.total: Gradient = {}
        self.norms: dict[str, Tensor] = {}
        self.ratios: dict[str, Tensor] = {}

    def take(self, task: str, loss: Tensor, gradient: Gradient) -> None:
        """Its length without its weight; and it is added with it."""
        self.norms[task] = norm(one for parameter, one in gradient.items() if parameter in self.shared)
        first = self.first.setdefault(task, loss)
        self.ratios[task] = loss / first
        add(self.total, gradient, self.weight[task].detach())

    @torch.no_grad()
    def gradient(self, step: int) -> Gradient:
        """The weighted sum; and a step of the weights, each along the gradient of |weight * length - aim| by it."""
        total, weights = self.total, {task: self.weight[task] for task in self.norms}
        mean = torch.stack([weights[task] * length for task, length in self.norms.items()]).mean()
        pace = torch.stack(list(self.ratios.values())).mean()
        steps = {}
        for task, length in self.norms.items():
            aim = mean * (self.ratios[task] / pace) ** self.record.alpha
            steps[task] = torch.sign(weights[task] * length - aim) * length
        self.weight.step(steps)
        self._scale()
        self.forget()
        return total

    def _scale(self) -> None:
        values: list[Tensor] = list(self.weight.values.values())
        stacked = torch.stack(values).clamp(min=LEAST)
        for value, one in zip(values, (stacked / stacked.mean()).unbind(), strict=True):
            value.copy_(finite(one, value))

    def weights(self) -> dict[str, float]:
        """Of each task now."""
        return {task: float(value.detach()) for task, value in self.weight.values.items()}

    def state(self) -> dict[str, Any]:
        """The weights, their moments, and the first losses."""
        return {"weight": self.weight.state(), "first": {task: float(loss) for task, loss in self.first.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self.weight.restore(state["weight"])
        self.first = {task: torch.tensor(loss, device=self.device) for task, loss in state["first"].items()}
