"""What may follow the comma in a BOX slot."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option

BINS = 1000


@dataclass(frozen=True, kw_only=True)
class BoxOptions:
    """Attributes of BOX besides those every slot has."""

    bins: int = option(BINS, low=2, high=BINS, about="steps a coordinate is cut into, along each side of the image")
    of: str | None = option(None, about="the column of the image it lies in, where there are several")
