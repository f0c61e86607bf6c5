"""ALiBi (Press et al., 2022): attention with linear biases, in place of position embeddings."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ofasys.model.positions.positions import Positions
from ofasys.model.sizes import ModelConfig


class Alibi(Positions):
    """bias = -slope x distance: places of the sentence apart, and rows and columns where both stand in a grid."""

    slopes: Tensor

    def __init__(self, config: ModelConfig, decoder: bool) -> None:
        super().__init__(config, decoder)
        self.register_buffer("slopes", torch.tensor(slopes(config.heads)), persistent=False)

    def bias(self, layer: int, queries: Tensor, keys: Tensor) -> Tensor:
        """As of `Positions`; the same for each layer."""
        apart = (keys[:, None] - queries[:, :, None]).abs()  # (B, T, S, 3)
        in_grid = (keys[..., 1] >= 0)[:, None] & (queries[..., 1] >= 0)[:, :, None]
        away = apart[..., 0] + (apart[..., 1] + apart[..., 2]) * in_grid
        return -self.slopes[:, None, None] * away[:, None]


def slopes(heads: int) -> list[float]:
    """(H,): a geometric row from 2 ** (-8 / H) on; of a number that is no power of two, filled up from the next
    one's.
    """
    whole = 2 ** int(math.log2(heads))
    first = [2 ** (-8 * (i + 1) / whole) for i in range(whole)]
    more = [2 ** (-4 * (2 * i + 1) / whole) for i in range(heads - whole)]
    return first + more
