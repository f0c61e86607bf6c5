"""Finite scalar quantisation (Mentzer et al., 2023, https://arxiv.org/abs/2309.15505): a code is a few rounded
numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

MARGIN = 1e-3  # so that the outermost values are reached before tanh is flat


class FSQ(nn.Module):
    """d numbers, each bounded by tanh and rounded to one of its levels; gradients pass the rounding unchanged.

    levels: values of each number. A code is their index in mixed radix, the first number changing fastest. Nothing here
    is learned, and every code can be reached, so no code book can collapse.
    """

    levels: Tensor
    basis: Tensor
    reach: Tensor
    offset: Tensor
    shift: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        sizes = torch.tensor(levels, dtype=torch.int64)
        self.codes = int(sizes.prod())
        self.register_buffer("levels", sizes, persistent=False)
        self.register_buffer("basis", torch.cumprod(torch.cat([sizes.new_ones(1), sizes[:-1]]), 0), persistent=False)
        reach, offset = (sizes - 1) * (1 + MARGIN) / 2, torch.where(sizes % 2 == 0, 0.5, 0.0)
        self.register_buffer("reach", reach, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("shift", torch.atanh(offset / reach), persistent=False)

    def forward(self, z: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """z (..., d) -> (..., d): the nearest values that can be, in -1..1."""
        bounded = self.bound(z)
        return (bounded + (bounded.round() - bounded).detach()) / (self.levels // 2)

    def bound(self, z: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """z (..., d) -> (..., d) before rounding: as many whole numbers within as there are levels, 0 going to 0."""
        return torch.tanh(z + self.shift) * self.reach - self.offset

    def index(self, values: Float[Tensor, "... d"]) -> Int[Tensor, "..."]:
        """What `forward` gave (..., d) -> codes (...) int64."""
        half = self.levels // 2
        return ((values * half).round().to(torch.int64) + half).mul(self.basis).sum(-1)

    def values(self, index: Int[Tensor, "..."]) -> Float[Tensor, "... d"]:
        """Codes (...) int64 -> the values (..., d) in -1..1 that have them."""
        half = self.levels // 2
        digits = index.unsqueeze(-1).div(self.basis, rounding_mode="floor") % self.levels
        return (digits - half) / half
