"""What may follow the comma in a BOX slot."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option
from ofasys.modality.box.box import FORMATS

BINS = 1000


@dataclass(frozen=True, kw_only=True)
class BoxOptions:
    """Attributes of BOX besides those every slot has."""

    bins: int = option(BINS, low=2, high=BINS, about="steps a coordinate is cut into, along each side of the image")
    format: str | None = option(
        None, choices=FORMATS, about="what the four numbers are, in rows and answers; without it xyxy"
    )
    normalised: bool = option(False, about="the numbers are shares of the image's sides, 0 to 1, and not pixels")
    clip: bool = option(False, about="what reaches outside the image is cut off, however far")
    of: str | None = option(None, about="the column of the image it lies in, where there are several")


@dataclass(frozen=True, kw_only=True)
class MarksOptions:
    """Of preprocess=marks."""

    extent: int = option(
        512, low=1, high=65536, about="pixels of the image, as the model reads it, from the first mark to the last"
    )
