"""Attributes of a slot that reads or makes pictures as codes; what IMAGE and VIDEO share."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option

SMALLEST, LARGEST = 8, 1024
CODED = (4, 8, 16, 32)  # pixels of the side of what a code stands for, which is made by halving


@dataclass(frozen=True, kw_only=True)
class CodeOptions:
    """The square, its codes, and what makes them."""

    size: int = option(64, low=SMALLEST, high=LARGEST, about="pixels of the side of the square; a multiple of patch")
    patch: int = option(8, choices=CODED, about="pixels of the side of what a code stands for; one position a code")
    codes: int = option(1000, low=2, high=100_000, about="how many codes there are")
    tokenizer: str | None = option(
        None, about="folder of a trained image tokenizer; without it one is trained at first fit", place=True
    )
    fit_steps: int = option(600, low=1, high=100_000, about="steps of that training")
