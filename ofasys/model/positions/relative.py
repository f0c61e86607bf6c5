"""Relative positions as in T5 (Raffel et al., 2020): a learned bias by distance, in buckets that grow, shared by all
layers.

Within a picture, whose patches all stand at one place of the sentence, rows and columns apart have a bias each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ofasys.model.positions.positions import Positions
from ofasys.model.sizes import ModelConfig


class Relative(Positions):
    """bias = order[bucket(key - query)] + y[rows apart] + x[columns apart], the latter where both stand in a grid."""

    def __init__(self, config: ModelConfig, decoder: bool) -> None:
        super().__init__(config, decoder)
        self.buckets, self.farthest, self.grid = config.buckets, config.farthest, config.max_grid
        self.order = nn.Embedding(config.buckets, config.heads)
        self.y = nn.Embedding(2 * config.max_grid - 1, config.heads)
        self.x = nn.Embedding(2 * config.max_grid - 1, config.heads)

    @torch.no_grad()
    def initialise(self) -> None:
        """Small, so that nearness is learned and not assumed; rows and columns from zero."""
        nn.init.normal_(self.order.weight, std=0.1)
        nn.init.zeros_(self.y.weight)
        nn.init.zeros_(self.x.weight)

    def bias(self, layer: int, queries: Tensor, keys: Tensor) -> Tensor:
        """As of `Positions`; the same for each layer."""
        apart = keys[:, None] - queries[:, :, None]  # (B, T, S, 3)
        found = self.order(bucket(apart[..., 0], self.buckets, self.farthest, both=not self.decoder))
        in_grid = ((keys[..., 1] >= 0)[:, None] & (queries[..., 1] >= 0)[:, :, None])[..., None]
        for axis, table in ((1, self.y), (2, self.x)):
            place = apart[..., axis].clamp(1 - self.grid, self.grid - 1) + self.grid - 1
            found = found + table(place) * in_grid
        return found.permute(0, 3, 1, 2)


def bucket(apart: Tensor, buckets: int, farthest: int, both: bool) -> Tensor:
    """Distances (...), key less query -> buckets (...): one each when near, then wider and wider up to `farthest`.

    both: half of the buckets are for keys after the query; else those are as near as the query itself.
    """
    found = torch.zeros_like(apart)
    if both:
        buckets //= 2
        found = found + (apart > 0) * buckets
        away = apart.abs()
    else:
        away = (-apart).clamp(min=0)
    exact = buckets // 2
    wide = torch.log(away.clamp(min=1).float() / exact) / math.log(farthest / exact) * (buckets - exact)
    far = (exact + wide.to(apart.dtype)).clamp(max=buckets - 1)
    return found + torch.where(away < exact, away, far)
