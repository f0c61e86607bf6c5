"""Numbers that are learned with the spread of their error. Places and spreads are on the scale of their column.

`n` values, one number each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ofasys.types import LossOutput, SlotPrediction

if TYPE_CHECKING:
    from typing import Annotated as Float


class Gaussian(nn.Module):
    """Negative log-likelihood of a normal distribution, each row weighed by its spread ** (2 beta): beta-NLL (Seitzer
    et al., 2022).

    Plain likelihood (beta 0) divides a row's gradient by its variance: rows that are predicted badly at first are given
    a large spread, and are hardly learned after. With beta 1 the mean's gradient is that of the squared error. The
    weight has no gradient, so the best spread is the same for any beta.
    """

    def __init__(self, options: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.beta = float(options["beta"])

    def forward(self, seen: SlotPrediction) -> LossOutput:
        """made: frames (n, 1), the means, and spread (n, 1). targets.tensors: frames (n, 1), the truth."""
        mean, spread, truth = _read(seen)
        nll = negative_log_likelihood(mean, spread, truth)
        return _output((nll * spread.detach() ** (2 * self.beta)).mean(), nll, mean, truth)


class SquaredError(nn.Module):
    """Mean squared error of the mean; the spread is learned beside it, and changes nothing of the mean.

    By likelihood, weighed as with beta 1: unweighed, its gradient would drown that of the mean once the spread is
    small.
    """

    def __init__(self, options: Mapping[str, Any], width: int) -> None:
        super().__init__()

    def forward(self, seen: SlotPrediction) -> LossOutput:
        """As of Gaussian."""
        mean, spread, truth = _read(seen)
        nll = negative_log_likelihood(mean.detach(), spread, truth)
        beside = (nll * spread.detach() ** 2).mean()
        return _output(nn.functional.mse_loss(mean, truth) + beside, nll, mean, truth)


class Huber(nn.Module):
    """Huber's loss of the mean, squared up to `delta` and linear beyond; the spread as of SquaredError."""

    def __init__(self, options: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.delta = float(options["delta"])

    def forward(self, seen: SlotPrediction) -> LossOutput:
        """As of Gaussian."""
        mean, spread, truth = _read(seen)
        nll = negative_log_likelihood(mean.detach(), spread, truth)
        beside = (nll * spread.detach() ** 2).mean()
        return _output(nn.functional.huber_loss(mean, truth, delta=self.delta) + beside, nll, mean, truth)


def negative_log_likelihood(
    mean: Float[Tensor, "n 1"], spread: Float[Tensor, "n 1"], truth: Float[Tensor, "n 1"]
) -> Float[Tensor, "n 1"]:
    """-log of the normal density at `truth`, elementwise. spread: above 0."""
    return 0.5 * ((truth - mean) / spread) ** 2 + spread.log() + 0.5 * math.log(2 * math.pi)


def _read(
    seen: SlotPrediction,
) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1"], Float[Tensor, "n 1"]]:
    """Means, spreads and the truth."""
    mean, spread = seen.made["frames"].float(), seen.made["spread"].float()
    return mean, spread, seen.targets.tensors["frames"].float().reshape(mean.shape)


def _output(loss: Tensor, nll: Tensor, mean: Tensor, truth: Tensor) -> LossOutput:
    with torch.no_grad():
        figures = {"nll": nll.mean(), "l2": nn.functional.mse_loss(mean, truth)}
    return LossOutput(loss * len(truth), figures)
