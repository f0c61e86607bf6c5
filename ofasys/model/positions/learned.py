"""Where a position stands: three learned tables, added up. `order` is the place in the sentence, y and x in a
picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ofasys.errors import DataError
from ofasys.model.positions.positions import Positions
from ofasys.model.positions.scheme import top_of
from ofasys.model.sizes import ModelConfig


class Learned(Positions):
    """Positions (..., 3) of (order, y, x) -> (..., D). A y or x of -1 is no grid and adds nothing."""

    def __init__(self, config: ModelConfig, decoder: bool) -> None:
        super().__init__(config, decoder)
        self.order = nn.Embedding(config.max_positions, config.width)
        self.y = nn.Embedding(config.max_grid, config.width)
        self.x = nn.Embedding(config.max_grid, config.width)

    @torch.no_grad()
    def initialise(self) -> None:
        """As large as embeddings are (1 / sqrt(D)); y and x as waves of 4 cells and more, so that near places are
        alike.
        """
        scale = self.order.embedding_dim**-0.5
        nn.init.normal_(self.order.weight, std=scale)
        for table in (self.y, self.x):
            cells, width = table.weight.shape
            period = 4.0 * (cells / 2) ** torch.rand(width)
            phase = 2 * math.pi * torch.rand(width)
            along = torch.arange(cells)[:, None]
            table.weight.copy_(torch.cos(2 * math.pi * along / period + phase) * math.sqrt(2) * scale)

    def stream(self, positions: Tensor, top: Sequence[int] | None = None) -> Tensor:
        """As of `Positions`. Errors: DataError for a place beyond a table."""
        if positions.numel() == 0:
            return self.order(positions[..., 0])
        order, y, x = top_of(positions, top)
        if order >= self.order.num_embeddings:
            raise DataError(
                f"a sentence takes {order + 1} places, the model has {self.order.num_embeddings}",
                expected="a shorter sentence (max_length=...) or a model with a larger max_positions",
            )
        if max(y, x) >= self.y.num_embeddings:
            raise DataError(
                f"a picture has a grid of {y + 1} rows and {x + 1} columns of patches, the model has "
                f"{self.y.num_embeddings} of each",
                expected="a smaller picture, larger patches, or a model with a larger max_grid",
            )
        embedding = self.order(positions[..., 0])
        if max(y, x) >= 0:
            for axis, table in ((1, self.y), (2, self.x)):
                place = positions[..., axis]
                embedding = embedding + table(place.clamp(min=0)) * (place >= 0)[..., None]
        return embedding
