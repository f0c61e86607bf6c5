"""Contrast: two views of the same find each other among the others of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.types import LossOutput, SlotPrediction

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

COLDEST = 100.0  # the largest factor of the cosines, as in CLIP


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


def mean_of(hidden: Float[Tensor, "n D"], lengths: Int[Tensor, "B"]) -> Float[Tensor, "B D"]:
    """States of B values with `lengths` positions -> their means."""
    owner = torch.repeat_interleave(lengths, output_size=len(hidden))
    total = hidden.new_zeros(len(lengths), hidden.shape[1]).index_add_(0, owner, hidden)
    return total / lengths[:, None].clamp(min=1)


def gathered(embeddings: Float[Tensor, "B D"]) -> Float[Tensor, "all D"]:
    """Embeddings of this process -> those of all processes, by rank, with gradients, where there are several.

    B may differ from process to process.
    """
    dist = torch.distributed
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return embeddings
    counts = [torch.zeros(1, dtype=torch.int64, device=embeddings.device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, counts[0].new_tensor([len(embeddings)]))
    made: Tensor = _Gathered.apply(embeddings, torch.cat(counts).tolist())
    return made


class _Gathered(torch.autograd.Function):
    """Every process uses every embedding, so the gradient of one is the sum of what all of them have for it."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, counts: list[int]) -> Tensor:
        padded = own.new_zeros(max(counts), own.shape[1])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in counts]
        torch.distributed.all_gather(parts, padded)
        first = sum(counts[: torch.distributed.get_rank()])
        ctx.mine = slice(first, first + len(own))
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        torch.distributed.all_reduce(total)
        return total[ctx.mine], None
