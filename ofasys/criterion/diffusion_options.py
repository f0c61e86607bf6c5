"""What may follow the comma in a slot learned as noise. No torch here: the plan reads it."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class DiffusionOptions:
    """Attributes of a slot whose criterion is `diffusion`."""

    timesteps: int = option(
        1000, low=2, high=10_000, about="steps from the value to noise; training costs the same for any"
    )
    predict: str = option(
        "x0", choices=("x0", "noise"), about="what the model says of a noised value: the value, or the noise"
    )
    drop: float = option(
        0.1, low=0, high=1, about="share of samples that learn without the source, for guidance_weight"
    )
