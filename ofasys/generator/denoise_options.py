"""What may follow the comma in a slot that is made from noise, and be given to `inference`. No torch here: the plan
reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class DenoiseOptions:
    """How to walk from noise to a value."""

    steps: int | None = option(
        None, low=1, high=10_000, about="passes of the model, at most timesteps; left out: 50, or timesteps if fewer"
    )
    method: str = option(
        "ddim", choices=("ddim", "ancestral"), about="ddim: no new noise on the way; ancestral: a share a step"
    )
    eta: float = option(0.0, low=0, high=1, about="of ddim: the share of ancestral sampling's noise; 1 is ancestral")
    guidance_weight: float = option(
        1.0, low=0, about="1: the source as it is; more: away from what would come without it"
    )
    length: int | None = option(None, low=1, high=65_536, about="how long the value is made, where that is not fixed")
    clip: float = option(
        6.0, low=0, about="estimates of the value stay within so many standard deviations; 0: anything goes"
    )
