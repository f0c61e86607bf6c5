"""What may follow the comma in a COLOR slot."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class ColorOptions:
    """Attributes of COLOR besides those every slot has."""

    levels: int = option(256, low=2, high=256, about="steps from dark to light in each channel")
