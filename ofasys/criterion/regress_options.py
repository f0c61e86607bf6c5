"""What a slot whose value is a number takes from its criterion. No torch here: the plan reads it."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class GaussianOptions:
    """Attributes that `criterion=gaussian` gives a slot."""

    beta: float = option(
        0.5,
        low=0,
        high=1,
        side="target",
        about="how much a row's own spread evens out its weight: 0 plain likelihood, 1 all rows count alike",
    )


@dataclass(frozen=True, kw_only=True)
class HuberOptions:
    """Attributes that `criterion=huber` gives a slot."""

    delta: float = option(
        1.0, low=1e-3, high=1000, side="target", about="from how many units of the scale on an error counts linearly"
    )
