"""Contrast: two views of the same find each other among the others of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.parallel.sharing import absent, gathered
from ofasys.types import LossOutput, SlotPrediction

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

COLDEST = 100.0  # the largest factor of the cosines, as in CLIP


@runtime_checkable
class Comparing(Protocol):
    """A criterion that compares the samples of a batch over the processes that share it."""

    def absent(self) -> None:
        """What a process does that has none of these samples: the others wait for it as often as they gather."""
        ...


class Contrast(nn.Module):
    """InfoNCE over the global batch, both ways, with a learned temperature (van den Oord et al., 2018; Radford et al.,
    2021).

    A view's embedding is the mean of its states, mapped by one matrix for both views, of length one.
    """

    def __init__(self, options: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width, bias=False)
        self.scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def embed(self, seen: SlotPrediction) -> Float[Tensor, "B D"]:
        """The states of one view's values -> their embeddings, each of length one."""
        return F.normalize(self.project(mean_of(seen.hidden, seen.targets.lengths)), dim=-1)

    def forward(self, seen: Sequence[SlotPrediction]) -> LossOutput:
        """Two views -> the loss; accuracy is the share of left views whose nearest right view is its own."""
        left, right = (gathered(self.embed(view)) for view in seen)
        scores = left @ right.t() * self.scale.exp().clamp(max=COLDEST)
        own = torch.arange(len(left), device=left.device)
        loss = (F.cross_entropy(scores, own) + F.cross_entropy(scores.t(), own)) / 2
        hit = (scores.detach().argmax(1) == own).float().mean()
        figures = {"accuracy": hit, "scale": self.scale.detach().exp()}
        return LossOutput(loss * len(seen[0].targets.sizes["lengths"]), figures)

    def absent(self) -> None:
        """Two views are gathered."""
        absent(2, self.project.out_features, self.project.weight.device)


def mean_of(hidden: Float[Tensor, "n D"], lengths: Int[Tensor, "B"]) -> Float[Tensor, "B D"]:
    """States of B values with `lengths` positions -> their means."""
    owner = torch.repeat_interleave(lengths, output_size=len(hidden))
    total = hidden.new_zeros(len(lengths), hidden.shape[1]).index_add_(0, owner, hidden)
    return total / lengths[:, None].clamp(min=1)
