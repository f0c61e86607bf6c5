"""The token adaptor: one embedding table for all token slots, which is the output projection too."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from ofasys.modality.vocabulary import Vocabulary
from ofasys.seeds import key_of


class TokenAdaptor(nn.Module):
    """tokens (n,) -> (n, D); scores are products with rows of the same table `weight` (V, D)."""

    def __init__(self, options: Mapping[str, object], width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(0, width))

    def embed(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """tokens (n,) int64 -> (n, D)."""
        return nn.functional.embedding(tensors["tokens"], self.weight)

    def grow(self, vocabulary: Vocabulary, seed: int, ordered: Collection[str] = ()) -> None:
        """Rows for the ranges that are new. A range's first values depend on (seed, its name) alone.

        ordered: ranges in which neighbouring ids mean neighbouring values.
        """
        rows = [self.weight.data]
        for name, start, size in vocabulary.ranges:
            if start >= len(self.weight):
                rows.append(_first_rows(name, size, self.width, seed, name in ordered).to(self.weight))
        if len(rows) > 1:
            self.weight = nn.Parameter(torch.cat(rows))


def _first_rows(name: str, size: int, width: int, seed: int, ordered: bool) -> Tensor:
    generator = torch.Generator().manual_seed(key_of("first values", seed, name))
    if not ordered:
        return torch.randn(size, width, generator=generator) * width**-0.5
    # neighbours start out alike: waves of 8 ids and more along the range
    period = 8.0 * (size / 4) ** torch.rand(width, generator=generator)
    phase = torch.rand(width, generator=generator) * 2 * math.pi
    waves = torch.cos(2 * math.pi * torch.arange(size)[:, None] / period + phase)
    return waves * math.sqrt(2) * width**-0.5
