"""What may follow the comma in an IMAGE slot."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Attributes of IMAGE besides those every slot has."""

    size: int = option(128, low=8, high=1024, about="pixels of the (longer) side after resizing; a multiple of patch")
    patch: int = option(16, choices=(4, 8, 16, 32), about="pixels of a patch's side; one position a patch")
    keep_aspect: bool = option(False, about="keep the image's shape; otherwise it becomes a square")
