"""What may follow the comma in a NUMBER slot."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option

WAVES = 32  # frequencies a number is read with


@dataclass(frozen=True, kw_only=True)
class NumberOptions:
    """Attributes of NUMBER besides those every slot has."""

    scale: str = option(
        "linear",
        choices=("linear", "log"),
        about="log: its logarithm is read and learned, for numbers above 0 of many sizes",
    )
    mean: float | None = option(None, about="the middle of the scale (of the logarithms), where it is not to be learnt")
    std: float | None = option(None, about="the unit of the scale (of the logarithms); goes with mean")
    lo: float | None = option(None, about="the least number: less is a bad value, and no answer is below")
    hi: float | None = option(None, about="the largest number: more is a bad value, and no answer is above")
