"""What a slot with `criterion=frames` takes. No torch here: the plan reads it."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class FramesOptions:
    """Attributes that `criterion=frames` gives a slot."""

    stop_weight: int = option(
        5, low=1, high=1000, side="target", about="factor of a value's last position in the loss of where it stops"
    )
