"""What decoding an alignment takes. No torch here: the plan reads it."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class CTCOptions:
    """Attributes that `generator=ctc` gives a slot; arguments of `inference` too."""

    ctc_beam: int = option(
        1, low=1, high=1000, side="source", about="labellings kept a step; 1 takes the best label of each position"
    )
