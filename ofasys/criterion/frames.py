"""Values that are learned frame by frame: how far the predicted frames are from the true ones, and where a value stops.

`n` positions of all values, `r` frames a position, `C` numbers a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ofasys.types import LossOutput, SlotPrediction

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int


class Frames(nn.Module):
    """Mean absolute plus mean squared error, of each of the adaptor's guesses, and cross-entropy of the stop (Tacotron
    2).

    made: `frames` (n, r, C), the last guess; `coarse`, the same before a postnet, where there is one; `stop` (n,), the
    logit that a position is its value's last, where the adaptor predicts it.
    """

    def __init__(self, options: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.stop_weight = float(options["stop_weight"])

    def forward(self, seen: SlotPrediction) -> LossOutput:
        """The loss of each position, summed. targets.tensors: frames (n * r, C), or (n, r, C), the truth."""
        made, lengths = seen.made, seen.targets.lengths
        last = made["frames"].float()
        truth = seen.targets.tensors["frames"].reshape(last.shape)
        l1, l2 = nn.functional.l1_loss(last, truth), nn.functional.mse_loss(last, truth)
        figures = {"l1": l1.detach(), "l2": l2.detach()}
        loss = l1 + l2
        if "coarse" in made:
            coarse = made["coarse"].float()
            loss = loss + nn.functional.l1_loss(coarse, truth) + nn.functional.mse_loss(coarse, truth)
        if "stop" in made:
            stop = self._stop(made["stop"].float(), lengths)
            figures["stop"] = stop.detach()
            loss = loss + stop
        return LossOutput(loss * len(last), figures)

    def _stop(self, logits: Float[Tensor, "n"], lengths: Int[Tensor, "values"]) -> Float[Tensor, ""]:
        last = torch.zeros_like(logits)
        last.index_fill_(0, lengths.cumsum(0) - 1, 1.0)
        weight = last * (self.stop_weight - 1) + 1
        return nn.functional.binary_cross_entropy_with_logits(logits, last, weight)
