"""A small lexicon of the tests' own."""

from dataclasses import dataclass

import pytest

from ofasys.language import Instruction, Lexicon, Word, option, options_of


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    mask_ratio: float = option(0.0, low=0, high=1, side="source", about="share of tokens hidden")
    uncased: bool = option(False, about="letters become lower case")
    lang: str | None = option(None, about="a language")


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    shape: str = option("square", choices=("square", "aspect"), about="what becomes of the sides")
    size: int = option(224, low=32, high=1024, about="pixels a side")


@pytest.fixture(scope="session")
def lexicon():
    return Lexicon(
        [
            Word("IMAGE", options_of(ImageOptions)),
            Word("TEXT", options_of(TextOptions)),
            Word("BOX", aliases=("BOUNDING_BOX",)),
            Word("CATEGORY"),
            Word("AUDIO"),
        ]
    )


@pytest.fixture(scope="session")
def read(lexicon):
    """text -> Instruction, in the tests' lexicon."""
    return lambda text: Instruction(text, lexicon)
