"""Classification on a source slot: the mean of its states against the labels of a closed set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.criterion.contrast import mean_of
from ofasys.types import LossOutput, SlotPrediction

if TYPE_CHECKING:
    from typing import Annotated as Float


class Classify(nn.Module):
    """One linear layer on the mean state, then products with the embeddings of the labels."""

    def __init__(self, options: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)

    def log_probs(self, seen: SlotPrediction) -> Float[Tensor, "values U"]:
        """Of each of the U labels."""
        assert seen.candidates is not None
        mean = self.project(mean_of(seen.hidden, seen.targets.lengths))
        return F.log_softmax(mean @ seen.candidates.t(), dim=-1)

    def forward(self, seen: SlotPrediction) -> LossOutput:
        """The negative log-likelihood of the labels; accuracy beside it."""
        scores, labels = self.log_probs(seen), seen.targets.tensors["tokens"]
        hit = (scores.detach().argmax(1) == labels).float().mean()
        return LossOutput(F.nll_loss(scores, labels, reduction="sum"), {"accuracy": hit})
