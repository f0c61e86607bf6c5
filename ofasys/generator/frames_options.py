"""What generating frames takes. No torch here: the plan reads it."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class FramesOptions:
    """Attributes that `generator=frames` gives a slot; arguments of `inference` too."""

    stop_threshold: float = option(
        0.5, low=0.01, high=0.99, side="target", about="a value ends where the model is at least so sure of it"
    )
    min_positions: int = option(1, low=1, side="target", about="positions a value has at least")
    max_positions: int | None = option(None, low=1, side="target", about="positions a value has at most")
