"""The token adaptor: one embedding table for all token slots, and the output rows where they are others."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ofasys.modality.vocabulary import Vocabulary
from ofasys.seeds import key_of

if TYPE_CHECKING:
    from typing import Annotated as Float


class TokenAdaptor(nn.Module):
    """tokens (n,) -> (n, D), rows of `weight` (V, D); scores are products with rows of `output` (V, D).

    tied: whether these are one.
    """

    def __init__(self, options: Mapping[str, object], width: int, tied: bool = True) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(0, width))
        self.head = None if tied else nn.Parameter(torch.empty(0, width))

    @property
    def output(self) -> Float[Tensor, "V width"]:
        """The output rows."""
        return self.weight if self.head is None else self.head

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n width"]:
        """tokens (n,) int64 -> their rows."""
        return nn.functional.embedding(tensors["tokens"], self.weight)

    def grow(self, vocabulary: Vocabulary, seed: int, ordered: Collection[str] = ()) -> None:
        """Rows for the ranges that are new. A range's first values depend on (seed, its name) alone.

        ordered: ranges in which neighbouring ids mean neighbouring values.
        """
        self.weight = self._grown(self.weight, vocabulary, seed, ordered)
        if self.head is not None:
            self.head = self._grown(self.head, vocabulary, seed, ordered, "output rows of ")

    def _grown(
        self, weight: nn.Parameter, vocabulary: Vocabulary, seed: int, ordered: Collection[str], of: str = ""
    ) -> nn.Parameter:
        rows = [weight.data]
        for name, start, size in vocabulary.ranges:
            if start >= len(weight):
                rows.append(_first_rows(of + name, size, self.width, seed, name in ordered).to(weight))
        return nn.Parameter(torch.cat(rows)) if len(rows) > 1 else weight


def _first_rows(name: str, size: int, width: int, seed: int, ordered: bool) -> Tensor:
    generator = torch.Generator().manual_seed(key_of("first values", seed, name))
    if not ordered:
        return torch.randn(size, width, generator=generator) * width**-0.5
    # neighbours start out alike: waves of 8 ids and more along the range
    period = 8.0 * (size / 4) ** torch.rand(width, generator=generator)
    phase = torch.rand(width, generator=generator) * 2 * math.pi
    waves = torch.cos(2 * math.pi * torch.arange(size)[:, None] / period + phase)
    return waves * math.sqrt(2) * width**-0.5
