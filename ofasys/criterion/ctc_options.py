"""What a slot with `criterion=ctc` takes. No torch here: the plan reads it."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class CTCOptions:
    """Attributes that `criterion=ctc` gives a slot."""

    ctc_target: str | None = option(None, side="source", about="the column that holds what was said")
    ctc_as: str | None = option(
        None, side="source", about="the modality of that column where no slot has it; TEXT if not said"
    )
