"""NUMBER: a place on a scale -> an embedding; a hidden state -> a place and the spread of its error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ofasys.modality.modality import Options
from ofasys.modality.number.options import WAVES

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

LEAST = 1e-3  # of the scale's unit: a spread is no smaller, so that no row outweighs all others


class WaveAdaptor(nn.Module):
    """frames (n, 1) -> (n, D), and states (n, D) -> frames (n, 1) and their spread (n, 1), both on the scale.

    Read by sines and cosines of learnt frequencies, a linear layer and a ReLU, as "PLR" of Gorishniy et al. (2022), and
    another layer. What goes in is asinh of the place: the place itself near the middle, its logarithm far out, where
    frequencies would tell nothing. Predicted at first is what is known before anything was seen: the middle, by a unit.
    """

    def __init__(self, options: Options, width: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(WAVES))
        self.first = nn.Linear(2 * WAVES + 1, width)
        self.second = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.before = nn.Linear(width, width)
        self.after = nn.Linear(width, 2)
        nn.init.zeros_(self.after.weight)
        with torch.no_grad():
            self.after.bias.copy_(torch.tensor([0.0, math.log(math.expm1(1.0 - LEAST))]))

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """frames (n, 1) -> embeddings."""
        place = torch.asinh(tensors["frames"].float())
        with torch.autocast(place.device.type, enabled=False):  # bfloat16 does not tell 256 from 257
            angles = 2 * math.pi * place * self.frequencies.float()
            seen = torch.cat([place, angles.sin(), angles.cos()], -1).to(self.first.weight.dtype)
            return self.norm(self.second(torch.relu(self.first(seen)))) * self.norm.normalized_shape[0] ** -0.5

    def predict(
        self, hidden: Float[Tensor, "n D"], lengths: Int[Tensor, "values"], tensors: Mapping[str, Tensor]
    ) -> dict[str, Float[Tensor, "n 1"]]:
        """States -> frames and spread, LEAST or more."""
        with torch.autocast(hidden.device.type, enabled=False):
            inside = nn.functional.gelu(self.before(hidden.to(self.before.weight.dtype)))
            place, spread = self.after(inside).float().split(1, -1)
        return {"frames": place, "spread": nn.functional.softplus(spread) + LEAST}
