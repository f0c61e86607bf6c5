"""IMAGE: pixels -> embeddings through the lower layers of CLIP's vision transformer (Radford et al., 2021), as OFASys
has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.modality.modality import Options
from ofasys.modality.shared.whole_pictures import through_pictures

if TYPE_CHECKING:
    from typing import Annotated as Float


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x * torch.sigmoid(1.702 * x)


class ViTBlock(nn.Module):
    """A layer: attention and a feed-forward branch, each after a LayerNorm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, W) -> the same."""
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class ViT(nn.Module):
    """Pixels (B, 3, H, W) -> states of their patches (B, n, W), in raster order."""

    def __init__(self, patch: int, width: int, layers: int, heads: int, size: int) -> None:
        super().__init__()
        self.side = size // patch
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(self.side**2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.add_module("resblocks", nn.Sequential(*[ViTBlock(width, heads) for _ in range(layers)]))

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class. Positions are stretched to pictures of another size."""
        x = self.conv1(pixels)
        h, w = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2) + self.places(h, w)
        states: Tensor = self.transformer.get_submodule("resblocks")(self.ln_pre(x))
        return states

    def places(self, h: int, w: int) -> Tensor:
        """Embeddings of h x w places (h * w, W); the first row of the table is of a mark that is not used."""
        known = self.positional_embedding[1:]
        if h == w == self.side:
            return known
        square = known.T.reshape(1, -1, self.side, self.side)
        return F.interpolate(square, size=(h, w), mode="bilinear").flatten(2)[0].T


class OFAViTAdaptor(nn.Module):
    """patches (n, 3 * p * p) uint8 and `grid HxW` (pictures, h * w), their rows -> (n, D)."""

    def __init__(self, options: Options, width: int) -> None:
        super().__init__()
        self.patch = int(options["patch"])
        self.embed_images = ViT(
            self.patch,
            int(options["vit_width"]),
            int(options["vit_layers"]),
            int(options["vit_heads"]),
            int(options["vit_size"]),
        )
        self.image_proj = nn.Linear(int(options["vit_width"]), width)

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """Pictures of one shape run together."""
        return through_pictures(tensors, self.patch, self.image_proj.out_features, self.of_pixels)

    def of_pixels(self, pixels: Float[Tensor, "B 3 height width"]) -> Float[Tensor, "B cells D"]:
        """Pixels of -1..1 -> embeddings of the patches in raster order."""
        projected: Tensor = self.image_proj(self.embed_images(pixels))
        return projected
