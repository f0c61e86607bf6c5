"""Patches of pictures -> embeddings; what IMAGE and VIDEO share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int


def scaled(pixels: Int[Tensor, "..."] | Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """0..255, uint8 or float, -> float -1..1."""
    return pixels.float().mul(1 / 127.5).sub_(1)


class PatchAdaptor(nn.Module):
    """patches (n, 3 * p * p) uint8 -> (n, D): one linear map (Dosovitskiy et al., 2021), then LayerNorm."""

    def __init__(self, options: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.project = nn.Linear(3 * options["patch"] ** 2, width)
        self.norm = nn.LayerNorm(width)

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """patches (n, 3 * p * p) uint8 -> embeddings."""
        return self.norm(self.project(scaled(tensors["patches"]))) * self.norm.normalized_shape[0] ** -0.5
