"""An inventory of phones: how text in it is cut into symbols, and how symbols are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

BOUNDARY = "|"
APOSTROPHES = "'’‘‛ʼʻʹ´`′＇՚ꞌ΄"  # what keyboards, dictionaries and their makers write for one


class Inventory(Protocol):
    """A fixed list of symbols. What has one number is one token."""

    symbols: tuple[str, ...]

    def read(self, text: str) -> list[list[int]]:
        """Text -> its units (phones, or syllables), each the numbers of its symbols. Errors: DataError for an unknown
        one.
        """
        ...

    def write(self, numbers: Sequence[int]) -> str:
        """Numbers -> text, a blank between units. `read` gives the same numbers, if they came from it."""
        ...
