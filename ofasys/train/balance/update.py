"""One update under a balancer: its losses and gradients task by task, and what they make together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ofasys.errors import ConfigError
from ofasys.parallel.ranks import ALONE, Ranks
from ofasys.train.balance.balancer import Balancing, Gradient, Losses
from ofasys.train.update import Part


class Balanced:
    """Gathers the losses of an update for a balancer, and hands it each task's gradient where it wants that.

    Of several processes, losses and gradients are summed over all before a balancer sees them, so that each process
    decides the same.
    """

    def __init__(
        self,
        balancing: Balancing,
        parameters: Iterable[nn.Parameter],
        name: str = "",
        ranks: Ranks = ALONE,
        summed: Iterable[nn.Parameter] | None = None,
    ) -> None:
        """name: of the balancer, for errors. summed: the parameters whose gradients are to be summed over processes;
        None: all.
        """
        self.balancing, self.parameters = balancing, list(parameters)
        self.summed = self.parameters if summed is None else list(summed)
        self.name, self.ranks = name, ranks
        self.least: dict[str, Tensor] = {}  # () the lowest loss of each task, where none may be below 0
        self.begin()

    def begin(self, watched: bool = False) -> None:
        """A new update. watched: whether somebody wants to see each task's gradient in it."""
        self.watched: dict[str, Gradient] | None = {} if watched else None
        self._before: Gradient = {}
        self.balancing.forget()
        self.totals: dict[str, Tensor] = {}  # () sums of the losses of each task's parts here, as they are minimised
        self.losses: dict[str, Tensor] = {}  # () means over the update, of the tasks that any process learned from
        self.shares: dict[tuple[str, int], float] = {}

    def by_task(self, parts: Sequence[Part]) -> list[tuple[str | None, list[Part]]]:
        """The parts of each task, where its gradient is wanted alone; else all of them together."""
        if not self.balancing.apart:
            return [(None, list(parts))]
        names = dict.fromkeys(part.key[0] for part in parts)
        return [(name, [part for part in parts if part.key[0] == name]) for name in names]

    def weighed(self, task: str, total: Tensor, own: Tensor) -> Tensor:
        """() what is to be passed back for a part of a task. total (): its loss. own (): the same in no scale."""
        self.totals[task] = self.totals[task] + own if task in self.totals else own
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

    def close(self, task: str | None, shares: Mapping[tuple[str, int], float]) -> None:
        """All parts of a task have been passed back on all processes. None: of all tasks, whose gradients stay where
        they are. shares: of the update, by task and instruction, of what any process learned from.
        """
        if not shares:
            return
        self.shares |= shares
        self.losses |= self._means(self.totals, list(dict.fromkeys(name for name, _ in shares)))
        self.ranks.sum_gradients(self.summed)
        if task is None:
            self._sum_watched()
            return
        gradient = self._taken()
        self._put({})
        if self.watched is not None:
            self.watched[task] = {one: value.clone() for one, value in gradient.items()}
        self.balancing.take(task, self.losses[task], gradient)

    def finish(self, step: int) -> None:
        """All tasks have been passed back: the gradient to descend is where the optimizer looks for it."""
        if self.balancing.apart:
            self._put(self.balancing.gradient(step))
        losses = self.losses
        if self.balancing.positive:
            self.least |= {task: torch.minimum(self.least.get(task, loss), loss) for task, loss in losses.items()}
        self.balancing.finish(losses, {task: self._share(task) for task in losses})

    def after(self, again: Callable[[], Losses]) -> None:
        """The step has been taken. again: sums of the losses of each task's parts here, as they would be minimised
        now.
        """
        self.balancing.after(lambda: self._means(again(), list(self.losses)))

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

    def _taken(self) -> Gradient:
        return {one: one.grad for one in self.parameters if one.grad is not None}

    def _sum_watched(self) -> None:
        """What each task has added to the gradients on this process becomes what it has added on all."""
        if self.watched is None or not self.ranks.several:
            return
        whole, here, self.watched = self._taken(), self.watched, {}
        for task in self.losses:
            self._put(here.get(task, {}))
            self.ranks.sum_gradients(self.parameters)
            self.watched[task] = self._taken()
        self._put(whole)

    def _means(self, totals: Losses, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Task -> () its mean loss over all processes. totals (): sums of the parts here."""
        if self.ranks.several:
            nothing = torch.zeros((), device=self.parameters[0].device)
            summed = self.ranks.sum_rows(torch.stack([totals.get(task, nothing).float() for task in tasks]))
            totals = dict(zip(tasks, summed.unbind(), strict=True))
        return {task: totals[task] / self._share(task) for task in tasks}

    def _share(self, task: str) -> float:
        return sum(share for (name, _), share in self.shares.items() if name == task)


def totals_of(parts: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Task -> () the sum of its parts' losses."""
    found: dict[str, Tensor] = {}
    for task, total in parts:
        found[task] = found[task] + total if task in found else total
    return found
