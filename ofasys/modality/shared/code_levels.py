"""How many values each number of a code has, by the number of codes; no torch here, the plan reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEVELS: dict[int, tuple[int, ...]] = {
    64: (8, 8),
    240: (8, 6, 5),
    512: (8, 8, 8),
    1000: (8, 5, 5, 5),
    4375: (7, 5, 5, 5, 5),
    15360: (8, 8, 8, 6, 5),
    64000: (8, 8, 8, 5, 5, 5),
}
"""Codes -> levels, most of them those of Mentzer et al. (2023), table 1; a code is one of their product."""


def code_range(options: Mapping[str, Any]) -> str:
    """The vocabulary range of a slot's codes. Codes of patches of another size mean something else: they have their
    own.
    """
    return f"codes.{options['codes']}.{options['patch']}"


def trainable(options: Mapping[str, Any]) -> str | None:
    """What is wrong with a slot's number of codes: there is no tokenizer of so many to train, nor is one named."""
    if options["tokenizer"] is not None or options["codes"] in LEVELS:
        return None
    known = ", ".join(map(str, LEVELS))
    return f"there is no tokenizer of codes={options['codes']} to train; there are {known}; or name a tokenizer="
