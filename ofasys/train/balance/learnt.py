"""One learnt number a task, and the Adam that learns them: what several balancers keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Learnt:
    """A number a task, learnt by an Adam of its own (Kingma & Ba 2015): clipping and schedules of the weights are not
    for it. Numbers whose task has no gradient in an update stay as they are, moments and all.
    """

    def __init__(self, tasks: Sequence[str], start: float, lr: float, decay: float, device: torch.device) -> None:
        self.values = {task: nn.Parameter(torch.full((), start, device=device)) for task in tasks}
        self.optimizer = torch.optim.Adam(list(self.values.values()), lr=lr, weight_decay=decay, fused=True)

    def __getitem__(self, task: str) -> nn.Parameter:
        return self.values[task]

    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """One step of those that have a gradient (); one that is not finite counts as none."""
        self.optimizer.zero_grad(set_to_none=True)
        for task, gradient in gradients.items():
            self.values[task].grad = torch.nan_to_num(gradient.detach().float(), 0.0, 0.0, 0.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, dict[str, float]]:
        """Task -> its number and moments, as JSON."""
        kept = self.optimizer.state
        return {
            task: {"value": float(value.detach()), **{name: float(one) for name, one in kept.get(value, {}).items()}}
            for task, value in self.values.items()
        }

    @torch.no_grad()
    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """What `state` gave, of the tasks that are here."""
        for task, value in self.values.items():
            own = dict(state.get(task, {}))
            if own:
                value.fill_(own.pop("value"))
                self.optimizer.state[value] = {
                    name: torch.tensor(one, dtype=torch.float32, device=value.device) for name, one in own.items()
                }
