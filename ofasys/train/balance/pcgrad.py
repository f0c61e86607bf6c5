"""Gradient surgery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ofasys.errors import ConfigError
from ofasys.seeds import key_of
from ofasys.train.balance.balancer import Balancing, Begun, Gradient, add


@dataclass(frozen=True)
class PCGrad:
    """What of a task's gradient goes against another's is taken out before all are added (Yu et al. 2020), by
    `torchjd`. Of weights that two tasks or more of the update have gradients of; the others are as they are.
    """

    cost: ClassVar[str] = "a copy of the gradients a task; the device is waited for once an update"

    def begin(self, run: Begun) -> Surgery:
        """For one run. Errors: ConfigError without the library."""
        return Surgery(_weighting(), run)


class Surgery(Balancing):
    """The gradients of one update."""

    apart = True

    def __init__(self, weighting: Any, run: Begun) -> None:
        """weighting: (K, K) products of all gradients with each other -> (K,) what each is multiplied by."""
        self.weighting, self.seed, self.device = weighting, run.seed, run.device
        self.taken: list[Gradient] = []

    def forget(self) -> None:
        """Nothing is taken yet."""
        self.taken = []

    def take(self, task: str, loss: Tensor, gradient: Gradient) -> None:
        """Kept until all are there."""
        self.taken.append(gradient)

    @torch.no_grad()
    def gradient(self, step: int) -> Gradient:
        """The sum, of shared weights after the surgery. The order in which tasks meet is drawn for each update."""
        taken, self.taken = self.taken, []
        times: dict[Any, int] = {}
        for gradient in taken:
            for parameter in gradient:
                times[parameter] = times.get(parameter, 0) + 1
        shared = [{p: one for p, one in gradient.items() if times[p] > 1} for gradient in taken]
        with torch.random.fork_rng([]):
            torch.manual_seed(key_of("balance", self.seed, step) % 2**63)
            factors = self.weighting(_products(shared, self.device)).float()
        total: Gradient = {}
        for gradient, own, factor in zip(taken, shared, factors.unbind(), strict=True):
            add(total, own, factor)
            total.update((p, one) for p, one in gradient.items() if times[p] == 1)
        return total


def _products(gradients: list[Gradient], device: torch.device) -> Tensor:
    """(K, K) float64: of each gradient with each."""
    found = torch.zeros(len(gradients), len(gradients), dtype=torch.float64, device=device)
    for i, one in enumerate(gradients):
        for j, other in enumerate(gradients[: i + 1]):
            dots = [torch.dot(x.reshape(-1), other[p].reshape(-1)) for p, x in one.items() if p in other]
            if dots:
                found[i, j] = found[j, i] = torch.stack(dots).sum()
    return found


def _weighting() -> Any:
    try:
        from torchjd.aggregation import PCGradWeighting
    except ImportError as error:
        raise ConfigError('balance pcgrad needs the library torchjd: pip install "ofasys[balance]"') from error
    return PCGradWeighting()
