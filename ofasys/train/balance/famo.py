"""Fast adaptive multitask optimization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor

from ofasys.arguments import arguments
from ofasys.errors import ConfigError
from ofasys.train.balance.balancer import Balancing, Begun, Gradient, Losses, add
from ofasys.train.balance.learnt import Learnt

LEAST = 1e-8  # of a loss that is divided by


@arguments("balance famo", {})
@dataclass(frozen=True)
class FAMO:
    """All losses fall at one rate: each gradient by z / loss, with z a softmax of learnt numbers that grow for the
    tasks whose log loss the last step lowered least (Liu et al. 2023, algorithm 1).

    Here the factors are scaled to a sum of the number of tasks, 1 each being the plain sum.
    """

    lr: float = 0.025
    """Of the learnt numbers, which an Adam of their own learns."""
    decay: float = 0.01
    """Of them, 0 or more: it draws the tasks together again."""
    cost: ClassVar[str] = "a second forward pass of every micro-batch, and a second copy of the gradients"

    def __post_init__(self) -> None:
        if not (self.lr > 0 and isfinite(self.lr) and self.decay >= 0 and isfinite(self.decay)):
            raise ConfigError(
                f"balance famo has lr={self.lr} and decay={self.decay}; lr is above 0, and decay 0 or more"
            )

    def begin(self, run: Begun) -> Famous:
        """For one run."""
        return Famous(self, run)


class Famous(Balancing):
    """The learnt numbers of one run."""

    apart = True
    positive = True

    def __init__(self, record: FAMO, run: Begun) -> None:
        self.logit = Learnt(run.tasks, 0.0, record.lr, record.decay, run.device)
        self.total: Gradient = {}
        self.losses: dict[str, Tensor] = {}
        self.logs: dict[str, Tensor] = {}  # of the losses before the last step

    def forget(self) -> None:
        """Nothing is taken yet."""
        self.total, self.losses = {}, {}

    def take(self, task: str, loss: Tensor, gradient: Gradient) -> None:
        """Added as exp(logit) / loss times it: the softmax's own divisor is one for all, and comes last."""
        self.losses[task] = loss.clamp(min=LEAST)
        add(self.total, gradient, self.logit[task].detach().exp() / self.losses[task])

    @torch.no_grad()
    def gradient(self, step: int) -> Gradient:
        """The sum of all, scaled."""
        factors = torch.stack([self.logit[task].exp() / loss for task, loss in self.losses.items()])
        total, self.logs = self.total, {task: loss.log() for task, loss in self.losses.items()}
        if total:
            torch._foreach_mul_(list(total.values()), (1 / factors.mean()).float())
        self.total, self.losses = {}, {}
        return total

    def after(self, again: Callable[[], Losses]) -> None:
        """The learnt numbers, by how far the step has lowered each log loss."""
        now = again()
        tasks = [task for task in self.logs if task in now]
        if tasks:
            fallen = torch.stack([self.logs[task] - now[task].clamp(min=LEAST).log() for task in tasks]).float()
            shares = torch.softmax(torch.stack([self.logit[task].detach() for task in tasks]), 0)
            slopes = shares * (fallen - (shares * fallen).sum())
            self.logit.step(dict(zip(tasks, slopes.unbind(), strict=True)))

    def weights(self) -> dict[str, float]:
        """Of each task its z, times the number of tasks."""
        values = torch.stack([value.detach() for value in self.logit.values.values()])
        shares = torch.softmax(values, 0) * len(values)
        return dict(zip(self.logit.values, shares.tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """The learnt numbers and their moments."""
        return self.logit.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self.logit.restore(state)
