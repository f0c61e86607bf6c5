"""One update under a balancer: its losses and gradients task by task, and what they make together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from ofasys.errors import ConfigError
from ofasys.train.balance.balancer import Balancing, Gradient, Losses
from ofasys.train.update import Part


class Balanced:
    """Gathers the losses of an update for a balancer, and hands it each task's gradient where it wants that."""

    def __init__(self, balancing: Balancing, parameters: Iterable[nn.Parameter], name: str = "") -> None:
        """name: of the balancer, for errors."""
        self.balancing, self.parameters = balancing, list(parameters)
        self.name = name
        self.least: dict[str, Tensor] = {}  # () the lowest loss of each task, where none may be below 0
        self.begin()

    def begin(self, watched: bool = False) -> None:
        """A new update. watched: whether somebody wants to see each task's gradient in it."""
        self.watched: dict[str, Gradient] | None = {} if watched else None
        self._before: Gradient = {}
        self.balancing.forget()
        self.totals: dict[str, Tensor] = {}  # () sums of the losses of each task's parts, as they are minimised
        self.shares: dict[tuple[str, int], float] = {}

    def by_task(self, parts: Sequence[Part]) -> list[tuple[str | None, list[Part]]]:
        """The parts of each task, where its gradient is wanted alone; else all of them together."""
        if not self.balancing.apart:
            return [(None, list(parts))]
        names = dict.fromkeys(part.key[0] for part in parts)
        return [(name, [part for part in parts if part.key[0] == name]) for name in names]

    def weighed(self, key: tuple[str, int], share: float, total: Tensor) -> Tensor:
        """() what is to be passed back for a part. key: its task and instruction. share: of that in the update.
        total: its loss.
        """
        task = key[0]
        own = total.detach()
        self.totals[task] = self.totals[task] + own if task in self.totals else own
        self.shares[key] = share
        factor = self.balancing.factor(task)
        return total if factor is None else total * factor

    @torch.no_grad()
    def watch(self, task: str) -> None:
        """A part of a task has been passed back: what it has added to the gradients that are not kept apart."""
        if self.watched is None or self.balancing.apart:
            return
        now = {one: one.grad.clone() for one in self.parameters if one.grad is not None}
        added = {one: value - self._before[one] if one in self._before else value for one, value in now.items()}
        own = self.watched.setdefault(task, {})
        own.update((one, own[one] + value if one in own else value) for one, value in added.items())
        self._before = now

    def close(self, task: str | None) -> None:
        """All parts of a task have been passed back. None: of all tasks, whose gradients stay where they are."""
        if task is not None and task in self.totals:
            gradient = {one: one.grad for one in self.parameters if one.grad is not None}
            self._put({})
            if self.watched is not None:
                self.watched[task] = {one: value.clone() for one, value in gradient.items()}
            self.balancing.take(task, self._mean(task), gradient)

    def finish(self, step: int) -> None:
        """All tasks have been passed back: the gradient to descend is where the optimizer looks for it."""
        if self.balancing.apart:
            self._put(self.balancing.gradient(step))
        losses = {task: self._mean(task) for task in self.totals}
        if self.balancing.positive:
            self.least |= {task: torch.minimum(self.least.get(task, loss), loss) for task, loss in losses.items()}
        self.balancing.finish(losses, {task: self._share(task) for task in losses})

    def after(self, again: Callable[[], Losses]) -> None:
        """The step has been taken. again: sums of the losses of each task's parts, as they would be minimised now."""
        self.balancing.after(lambda: {task: total / self._share(task) for task, total in again().items()})

    def check(self) -> None:
        """Errors: ConfigError for a loss that the balancer makes no sense of."""
        for task, loss in self.least.items():
            if float(loss) < 0:
                raise ConfigError(
                    f"the loss of task {task!r} was {float(loss):.4g}, and the balancer {self.name!r} weighs losses "
                    "of 0 and more; give balance='pcgrad' or 'sum', or the slot a criterion whose loss is never below 0"
                )

    def _put(self, gradient: Gradient) -> None:
        for parameter in self.parameters:
            parameter.grad = gradient.get(parameter)

    def _mean(self, task: str) -> Tensor:
        return self.totals[task] / self._share(task)

    def _share(self, task: str) -> float:
        return sum(share for (name, _), share in self.shares.items() if name == task)


def totals_of(parts: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Task -> () the sum of its parts' losses."""
    found: dict[str, Tensor] = {}
    for task, total in parts:
        found[task] = found[task] + total if task in found else total
    return found
