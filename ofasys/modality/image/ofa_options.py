"""What may follow the comma where a picture goes through a network of OFA's."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option

BLOCKS = {50: (3, 4, 6), 101: (3, 4, 23), 152: (3, 8, 36)}
"""Depth of a residual network -> blocks of its three stages."""
STRIDE = 16
"""Pixels of a side that one position of it stands for."""


@dataclass(frozen=True, kw_only=True)
class OFAResNetOptions:
    """Of adaptor=ofa_resnet."""

    depth: int = option(101, choices=tuple(BLOCKS), about="layers of the residual network, its last stage counted too")
    norm_eps: float = option(1e-5, low=0, high=1, about="what is added to variances of its norms")


@dataclass(frozen=True, kw_only=True)
class OFAViTOptions:
    """Of adaptor=ofa_vit."""

    vit_width: int = option(768, low=1, high=8192, about="width of the vision transformer")
    vit_layers: int = option(9, low=0, high=256, about="its layers")
    vit_heads: int = option(12, low=1, high=256, about="its heads")
    vit_size: int = option(224, low=1, high=4096, about="pixels of the side of pictures its positions were learned on")
