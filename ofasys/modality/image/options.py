"""What may follow the comma in an IMAGE slot: of pixels, or of codes. Both are cut into patches of a square grid."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option
from ofasys.modality.shared.code_options import LARGEST, SMALLEST, CodeOptions
from ofasys.modality.shared.colours import ABOUT_COLOURS, COLOURS

PATCHES = (4, 8, 14, 16, 32)


@dataclass(frozen=True, kw_only=True)
class PixelsOptions:
    """Attributes of a slot that reads pixels."""

    size: int = option(
        128, low=SMALLEST, high=LARGEST, about="pixels of the (longer) side after resizing; a multiple of patch"
    )
    patch: int = option(16, choices=PATCHES, about="pixels of a patch's side; one position a patch")
    keep_aspect: bool = option(False, about="keep the image's shape; otherwise it becomes a square")
    shift: int = option(
        0,
        low=0,
        high=LARGEST,
        side="source",
        about="most pixels it is moved by in training, each way; the edge repeats",
    )
    mirror: bool = option(False, side="source", about="left is right in half of the pictures of training")


@dataclass(frozen=True, kw_only=True)
class BicubicOptions(PixelsOptions):
    """Attributes of a slot that reads pixels as OFA does."""

    colours: str = option("half", choices=COLOURS, about=ABOUT_COLOURS)


@dataclass(frozen=True, kw_only=True)
class CodesOptions(CodeOptions):
    """Attributes of a slot that reads or makes codes."""

    patch: int = option(8, choices=PATCHES, about="pixels of the side of what a code stands for; one position a code")
    mask_ratio: float = option(0.0, low=0, high=1, side="source", about="share of codes hidden")
