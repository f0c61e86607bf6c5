"""A quantile of a number by the pinball loss (Koenker & Bassett, 1978), with an attribute that says which."""

from dataclasses import dataclass

import torch

from ofasys.criterion import Criterion
from ofasys.language import option
from ofasys.types import LossOutput


@dataclass(frozen=True, kw_only=True)
class PinballOptions:
    """What criterion=pinball gives a slot."""

    quantile: float = option(0.5, low=0, high=1, side="target", about="the share of truths below the answer")


class Pinball(torch.nn.Module):
    """An answer too low costs `quantile` a unit, one too high the rest of 1: least where that share lies below."""

    def __init__(self, options, width):
        super().__init__()
        self.quantile = options["quantile"]

    def forward(self, seen):
        """made: frames (n, 1), the answers, and spread (n, 1). targets.tensors: frames (n, 1), the truth."""
        answer, spread = seen.made["frames"].float(), seen.made["spread"].float()
        error = seen.targets.tensors["frames"].float().reshape(answer.shape) - answer
        loss = torch.maximum(self.quantile * error, (self.quantile - 1) * error)
        wide = (spread - error.detach().abs()) ** 2  # the spread is learned beside it: how far off answers are
        return LossOutput((loss + wide).sum(), {"below": (error < 0).float().mean()})


PINBALL = Criterion(
    name="pinball",
    about="pinball loss: the number below which a share of the truths lies",
    kind="number",
    load="pinball:Pinball",
    options=PinballOptions,
    keyed=("quantile",),
    generator="regress",
    before=True,
)
