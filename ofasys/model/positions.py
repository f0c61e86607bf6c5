"""Where a position stands: three learned tables, added up. `order` is the place in the sentence, y and x in a picture."""

from __future__ import annotations

from torch import Tensor, nn

from ofasys.errors import DataError
from ofasys.model.sizes import ModelConfig


class Positions(nn.Module):
    """Positions (..., 3) of (order, y, x) -> (..., D). A y or x of -1 is no grid and adds nothing."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.order = nn.Embedding(config.max_positions, config.width)
        self.y = nn.Embedding(config.max_grid, config.width)
        self.x = nn.Embedding(config.max_grid, config.width)

    def forward(self, positions: Tensor) -> Tensor:
        """Positions (..., 3) -> (..., D)."""
        if positions.numel() == 0:
            return self.order(positions[..., 0])
        order, y, x = positions.reshape(-1, 3).amax(0).tolist()
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
