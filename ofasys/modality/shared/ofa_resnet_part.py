"""OFA's ResNet as a part: IMAGE and VIDEO name it, and their slots share its weights."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option
from ofasys.modality.modality import Options, Part

BLOCKS = {50: (3, 4, 6), 101: (3, 4, 23), 152: (3, 8, 36)}
"""Depth of a residual network -> blocks of its three stages."""
STRIDE = 16
"""Pixels of a side that one position of it stands for."""


@dataclass(frozen=True, kw_only=True)
class OFAResNetOptions:
    """Of adaptor=ofa_resnet."""

    depth: int = option(101, choices=tuple(BLOCKS), about="layers of the residual network, its last stage counted too")
    norm_eps: float = option(1e-5, low=0, high=1, about="what is added to variances of its norms")


def _cost(options: Options, width: int) -> tuple[int, int]:
    """Parameters, and FLOPs a position of 16 x 16 pixels, of three stages and the projection after them."""
    numbers, flops, into = 3 * 49 * 64 + 128, 2 * 3 * 49 * 64 * 64, 64
    for inside, count, cells in zip((64, 128, 256), BLOCKS[options["depth"]], (16, 4, 1), strict=True):
        out = 4 * inside
        for block in range(count):
            first = into * inside
            rest = 9 * inside**2 + inside * out + (into * out if block == 0 else 0)
            before = 4 * cells if block == 0 and into != 64 else cells  # the stride comes after the first product
            numbers += first + rest + 2 * (2 * inside + out) + (2 * out if block == 0 else 0)
            flops, into = flops + 2 * (first * before + rest * cells), out
    return numbers + into * width + width, flops + 2 * into * width


OFA_RESNET = Part(
    "ofasys.modality.shared.ofa_resnet:OFAResNetAdaptor",
    options=OFAResNetOptions,
    about="three stages of a ResNet, as OFA has them",
    family="image",
    keyed=("depth", "norm_eps"),
    cost=_cost,
)
