"""IMAGE: patches -> embeddings through a residual network. The linear map of patches is in modality/shared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ofasys.modality.image.cost import channels
from ofasys.modality.modality import Options
from ofasys.modality.shared.whole_pictures import through_pictures

if TYPE_CHECKING:
    from typing import Annotated as Float


class ResNetAdaptor(nn.Module):
    """patches (n, 3 * p * p) uint8 and `grid HxW` (pictures, h * w), their rows -> (n, D), through a residual network.

    One halving of the resolution per factor two of p, each but the first followed by a residual block: where the
    picture is largest, a block would cost most and see least.
    """

    def __init__(self, options: Options, width: int) -> None:
        super().__init__()
        self.patch = int(options["patch"])
        stages: list[nn.Module] = []
        into = 3
        for stage, out in enumerate(channels(self.patch)):
            stages += [nn.Conv2d(into, out, 3, stride=2, padding=1, bias=False), nn.GroupNorm(8, out)]
            if stage:
                stages.append(_Residual(out))
            into = out
        self.stages = nn.Sequential(*stages)
        self.project = nn.Linear(into, width)

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """Images of one shape run together; the result keeps the order of the patches."""
        return through_pictures(tensors, self.patch, self.project.out_features, self._of_pixels)

    def _of_pixels(self, pixels: Tensor) -> Tensor:
        """(pictures, 3, H, W) -> (pictures, h * w, D)."""
        projected: Tensor = self.project(self.stages(pixels).flatten(2).transpose(1, 2))
        return projected


class _Residual(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))): activation before each product (He et al., 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(8, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(torch.relu(self.norm1(x)))
        return x + self.second(torch.relu(self.norm2(y)))
