"""What a balancer is: how the losses and gradients of the tasks in one update become one gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Gradient = dict[nn.Parameter, Tensor]  # of those parameters that have one, each of its parameter's shape
Losses = Mapping[str, Tensor]


@dataclass(frozen=True)
class Begun:
    """What a balancer is told of the run it is for."""

    tasks: Sequence[str]
    """Names, in their order."""
    shared: frozenset[nn.Parameter]
    """Weights that all tasks go through: those of the engine."""
    device: torch.device
    """Of the model."""
    seed: int
    """Of the run."""


@runtime_checkable
class Balancer(Protocol):
    """The record of a balancer; its fields are its options."""

    @property
    def cost(self) -> str:
        """What it takes beside a plain sum: passes, memory, waiting for the device."""
        ...

    def begin(self, run: Begun) -> Balancing:
        """For one run."""
        ...


class Balancing:
    """A balancer in the middle of one run; as it stands here, the sum.

    A task's loss, wherever it is spoken of, is its mean over the update without weights; its gradient is of that loss
    times the task's share of the update, which `loss_weight` and its micro-batches make.
    """

    apart = False
    """Whether it wants each task's gradient by itself, in `take`, and gives what is to be descended in `gradient`."""

    positive = False
    """Whether it makes no sense of losses below 0. One ends the run before the next report or save."""

    def factor(self, task: str) -> Tensor | float | None:
        """() what the task's losses are multiplied by before their backward pass. None: nothing."""
        return None

    def forget(self) -> None:
        """An update begins, perhaps once more: what was taken and not asked for as `gradient` is dropped."""

    def take(self, task: str, loss: Tensor, gradient: Gradient) -> None:
        """One task's loss () and gradient, which the balancer may keep and change; tasks come one after another."""

    def gradient(self, step: int) -> Gradient:
        """What the gradients taken since the last step make together."""
        return {}

    def finish(self, losses: Losses, shares: Mapping[str, float]) -> None:
        """After all backward passes of an update, before its step. losses (): by task. shares: their factors in it."""

    def after(self, again: Callable[[], Losses]) -> None:
        """After the step. again: passes the same micro-batches through the new weights, without gradients."""

    def weights(self) -> dict[str, float]:
        """Task -> what its loss counts now, 1 being as in a sum, for the log; of balancers that have such weights."""
        return {}

    def state(self) -> dict[str, Any]:
        """What is saved with the run, as JSON."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave at the last checkpoint. Tasks that are new begin as at the beginning of a run."""


def add(total: Gradient, gradient: Gradient, factor: Tensor) -> None:
    """total += factor * gradient, keeping the storage of what is new in it. factor: ()."""
    known = [parameter for parameter in gradient if parameter in total]
    new = [parameter for parameter in gradient if parameter not in total]
    if gradient:
        torch._foreach_mul_(list(gradient.values()), factor)
    if known:
        torch._foreach_add_([total[p] for p in known], [gradient[p] for p in known])
    total.update((parameter, gradient[parameter]) for parameter in new)


def norm(gradients: Iterable[Tensor]) -> Tensor:
    """() float32: the length of some gradients as one vector."""
    squares = [torch.dot(flat, flat) for flat in (one.reshape(-1) for one in gradients)]
    return torch.stack(squares).sum().sqrt().float() if squares else torch.zeros(())


def finite(new: Tensor, old: Tensor) -> Tensor:
    """The new value; the old one where the new is not finite, so that one odd batch does not stay for ever."""
    return torch.where(torch.isfinite(new), new, old)
