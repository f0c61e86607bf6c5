"""What may follow the comma where a picture goes through a network of OFA's."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class OFAViTOptions:
    """Of adaptor=ofa_vit."""

    vit_width: int = option(768, low=1, high=8192, about="width of the vision transformer")
    vit_layers: int = option(9, low=0, high=256, about="its layers")
    vit_heads: int = option(12, low=1, high=256, about="its heads")
    vit_size: int = option(224, low=1, high=4096, about="pixels of the side of pictures its positions were learned on")
