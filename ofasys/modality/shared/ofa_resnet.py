"""Pixels -> embeddings through three stages of a ResNet (He et al., 2016), as OFA has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.modality.modality import Options
from ofasys.modality.shared.ofa_resnet_part import BLOCKS, STRIDE
from ofasys.modality.shared.whole_pictures import through_pictures

if TYPE_CHECKING:
    from typing import Annotated as Float

EXPANSION = 4
CHANNELS = (64, 128, 256)  # inside the blocks of each stage


class FrozenNorm(nn.Module):
    """Batch normalisation by the means and variances it was trained with, in training too: a picture's numbers depend
    on no other picture.
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Of each channel."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


class Bottleneck(nn.Module):
    """Three convolutions, the middle one with the stride, and what they are added to."""

    def __init__(self, into: int, channels: int, stride: int, eps: float) -> None:
        super().__init__()
        out = channels * EXPANSION
        self.conv1, self.bn1 = nn.Conv2d(into, channels, 1, bias=False), FrozenNorm(channels, eps)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = FrozenNorm(channels, eps)
        self.conv3, self.bn3 = nn.Conv2d(channels, out, 1, bias=False), FrozenNorm(out, eps)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or into != out:
            self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, stride=stride, bias=False), FrozenNorm(out, eps))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B out h w"]:
        """h = H / stride and w = W / stride, rounded up."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(torch.relu(self.bn2(self.conv2(y)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Pixels (B, 3, H, W) -> features (B, 1024, H / 16, W / 16): a ResNet without its last stage."""

    def __init__(self, depth: int, eps: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = FrozenNorm(64, eps)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        into = 64
        for stage, (channels, count) in enumerate(zip(CHANNELS, BLOCKS[depth], strict=True), 1):
            first = Bottleneck(into, channels, 1 if stage == 1 else 2, eps)
            into = channels * EXPANSION
            rest = [Bottleneck(into, channels, 1, eps) for _ in range(count - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(first, *rest))

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """See the class."""
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(1, len(CHANNELS) + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return x


class OFAResNetAdaptor(nn.Module):
    """patches (n, 3 * 16 * 16) uint8 and `grid HxW` (pictures, h * w), their rows -> (n, D)."""

    def __init__(self, options: Options, width: int) -> None:
        super().__init__()
        self.embed_images = ResNet(int(options["depth"]), float(options["norm_eps"]))
        self.image_proj = nn.Linear(CHANNELS[-1] * EXPANSION, width)

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """Pictures of one shape run together."""
        return through_pictures(tensors, STRIDE, self.image_proj.out_features, self.of_pixels)

    def of_pixels(self, pixels: Float[Tensor, "B 3 height width"]) -> Float[Tensor, "B cells D"]:
        """Pixels of -1..1 -> embeddings of the cells in raster order."""
        projected: Tensor = self.image_proj(self.embed_images(pixels).flatten(2).transpose(1, 2))
        return projected
