"""The network between pictures and codes: small, convolutional, residual."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ofasys.modality.shared.code_levels import LEVELS
from ofasys.modality.shared.fsq import FSQ

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int


class Autoencoder(nn.Module):
    """Pictures (B, 3, H, W) in -1..1 -> codes (B, H/p, W/p) -> pictures.

    Between pictures and patches lie two ways, which are added: convolutions, and one linear map of the whole patch,
    which learns fast.

    codes: how many there are, one of LEVELS. patch: p, pixels of the side of the square a code stands for; it sees some
    of its neighbours too. width: channels at half the resolution, doubled with each halving, up to four times.
    """

    def __init__(self, codes: int, patch: int, width: int) -> None:
        super().__init__()
        levels = LEVELS[codes]
        channels = [width * min(2**i, 4) for i in range(patch.bit_length() - 1)]
        fine: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(12, channels[0], 3, padding=1)]
        for before, after in pairwise(channels):
            fine += [nn.SiLU(), nn.Conv2d(before, after, 3, stride=2, padding=1)]
        C = channels[-1]
        self.down = nn.Sequential(*fine)
        self.down_at_once = nn.Sequential(nn.PixelUnshuffle(patch), nn.Conv2d(3 * patch**2, C, 1))
        self.encoder = nn.Sequential(_Residual(C), _Residual(C), nn.Conv2d(C, len(levels), 1), _Spread(len(levels)))
        self.quantizer = FSQ(levels)
        self.decoder = nn.Sequential(nn.Conv2d(len(levels), C, 3, padding=1), _Residual(C), _Residual(C))
        fine = []
        for before, after in pairwise(channels[::-1]):
            fine += [nn.SiLU(), nn.Conv2d(before, 4 * after, 1), nn.PixelShuffle(2), _Residual(after)]
        fine += [nn.SiLU(), nn.Conv2d(channels[0], 12, 3, padding=1), nn.PixelShuffle(2)]
        self.up = nn.Sequential(*fine)
        self.up_at_once = nn.Sequential(nn.Conv2d(C, 3 * patch**2, 1), nn.PixelShuffle(patch))

    def values(self, pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B d h w"]:
        """(B, 3, H, W) -> rounded values (B, d, H/p, W/p)."""
        seen = self.encoder(self.down(pictures) + self.down_at_once(pictures))
        return self.quantizer(seen.movedim(1, -1)).movedim(-1, 1)

    def drawn(self, values: Float[Tensor, "B d h w"]) -> Float[Tensor, "B 3 H W"]:
        """Rounded values (B, d, h, w) -> pictures (B, 3, h p, w p)."""
        hidden = self.decoder(values)
        return self.up(hidden) + self.up_at_once(hidden)

    def encode(self, pictures: Float[Tensor, "B 3 H W"]) -> Int[Tensor, "B h w"]:
        """(B, 3, H, W) -> codes (B, H/p, W/p) int64."""
        return self.quantizer.index(self.values(pictures).movedim(1, -1))

    def decode(self, codes: Int[Tensor, "B h w"]) -> Float[Tensor, "B 3 H W"]:
        """Codes (B, h, w) int64 -> pictures (B, 3, h p, w p), about -1..1."""
        return self.drawn(self.quantizer.values(codes).movedim(-1, 1))


class _Residual(nn.Module):
    """x + conv(silu(conv(silu(norm(x))))); the second product starts at zero, so that training starts as a short
    network.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.nn.functional.silu(self.first(torch.nn.functional.silu(self.norm(x)))))


class _Spread(nn.Module):
    """Each of d numbers shifted and scaled to mean 0 and deviation 1 over the batch, and once trained by what was usual
    (batch normalisation; Ioffe & Szegedy, 2015), so that all levels are in use from the beginning."""

    mean: Tensor
    variance: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("variance", torch.ones(count))

    def forward(self, z: Tensor) -> Tensor:
        return nn.functional.batch_norm(z, self.mean, self.variance, training=self.training, momentum=0.1)
