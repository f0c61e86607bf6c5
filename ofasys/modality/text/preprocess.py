"""TEXT: str -> byte-level pieces, and back."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.errors import ConfigError, DataError, one_of
from ofasys.generator.grammar import Grammar
from ofasys.modality.modality import NOWHERE, Concatenate, Context, Options
from ofasys.modality.shared.label import label_text
from ofasys.modality.symbols import Symbols
from ofasys.modality.text.written import number_text
from ofasys.types import SlotFeatures

MASK_TEXT = "<mask>"
TRIED = "an 8"  # a text that a vocabulary without marks of words gives back
GRAMMARS = ("regex", "json_schema", "grammar")  # attributes that say what an answer is


class Pieces(Concatenate):
    """str, or a number as the text that writes it -> tokens (n,).

    A literal `<mask>` in a text with `mask_ratio` is a mask and stops random masking.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.options, self.symbols = options, symbols

    @property
    def grammar(self) -> Grammar | None:
        """What an answer must be. Errors: ConfigError for what is no such thing, or two of them at once."""
        asked = [(kind, self.options[kind]) for kind in GRAMMARS if self.options.get(kind)]
        if len(asked) > 1:
            raise ConfigError(f"{asked[0][0]}= and {asked[1][0]}= say both what the answer is; leave one out")
        if not asked:
            return None
        if self.options["closed_set"]:
            raise ConfigError(f"{asked[0][0]}= does nothing beside closed_set; leave one out")
        return Grammar(*asked[0], *self.symbols.pieces())

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """A non-empty str, or a number. Errors: DataError for anything else."""
        text = self._text(value if context.labels is None else label_text(value))
        if context.labels is not None and text not in context.labels:
            problem = f"label {text!r} is not in the closed set of {len(context.labels)}"
            raise DataError(problem, expected=one_of(text, context.labels))
        if self.options["mask_ratio"] and MASK_TEXT in text:
            parts = [self._encode(part) for part in text.split(MASK_TEXT)]
            tokens = np.array(sum(([self.symbols.mask, *part] for part in parts[1:]), parts[0]), dtype=np.int64)
            tokens = tokens[: self.options["max_length"]]
        elif context.labels is not None:  # a label is never cut: it would be no label
            tokens = np.array(self._encode(text), dtype=np.int64)
        else:
            tokens = np.array(self._encode(text), dtype=np.int64)[: self.options["max_length"]]
            if context.random is not None:
                tokens = self._noised(tokens, context.random)
        if not len(tokens):
            raise DataError(f"the tokenizer leaves nothing of {_short(value)}", expected="text it has pieces for")
        return SlotFeatures({"tokens": tokens}, len(tokens))

    def postprocess(self, tokens: np.ndarray, context: Context) -> str:
        """The text of the pieces; of a closed set the label as the set spells it."""
        return self.symbols.decode(tokens) if context.labels is None else self.symbols.label(tokens, context.labels)

    @staticmethod
    def texts(value: Any, options: Options, root: str | Path | None = None) -> list[str]:
        """The text itself, in the slot's case; a number as it is written."""
        text = value if isinstance(value, str) else number_text(value)
        return [text.lower() if options["uncased"] else text] if text else []

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """In the slot's case; a number as text."""
        if self.options["closed_set"] and value is not None:
            value = label_text(value)
        elif (text := number_text(value)) is not None:
            value = text
        return value.lower() if self.options["uncased"] and isinstance(value, str) else value

    def _encode(self, text: str) -> list[int]:
        return self.symbols.encode(text)

    def _text(self, value: Any) -> str:
        text = value if isinstance(value, str) else number_text(value)
        if text is None:
            missing = isinstance(value, float | np.floating | Decimal)
            what = "the value is missing (NaN)" if missing else f"got {type(value).__name__} {_short(value)}"
            raise DataError(what, expected="a str, or a number")
        if not text.strip():
            raise DataError("the text is empty", expected="text with at least one visible character")
        return text.lower() if self.options["uncased"] else text

    def _noised(self, tokens: np.ndarray, random: np.random.Generator) -> np.ndarray:
        if ratio := self.options["noise_ratio"]:
            replaced = random.random(len(tokens)) < ratio
            low, high = self.symbols.text_start, self.symbols.text_end
            tokens = np.where(replaced, random.integers(low, high, len(tokens)), tokens)
        if ratio := self.options["mask_ratio"]:
            tokens = mask_spans(tokens, ratio, self.symbols.mask, random)
        return tokens


class Characters(Pieces):
    """The same, each character by itself: tokens (n,) of no piece that holds two. The tokenizer learns nothing of such
    texts.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        super().__init__(options, symbols)
        self.known: dict[str, list[int]] = {}
        if symbols.decode(self._encode(TRIED)) != TRIED:
            raise ConfigError(
                "preprocess=characters writes a text one character after the other, and this vocabulary's pieces say "
                "where words begin; leave it out"
            )

    @staticmethod
    def texts(value: Any, options: Options, root: str | Path | None = None) -> list[str]:
        """None of it."""
        return []

    def _encode(self, text: str) -> list[int]:
        new = sorted(set(text) - self.known.keys())
        self.known.update(zip(new, self.symbols.encode_batch(new), strict=True))
        return [one for character in text for one in self.known[character]]


def mask_spans(tokens: np.ndarray, ratio: float, mask: int, random: np.random.Generator) -> np.ndarray:
    """Text infilling as in BART (Lewis et al., 2020): spans of Poisson(3) length, each replaced by one mask token.

    tokens (n,) -> (m,), m <= n + 1: round(ratio * n) tokens are hidden, at least one where ratio > 0.
    """
    budget = max(1, round(ratio * len(tokens)))
    hidden = np.zeros(len(tokens), dtype=bool)
    while (left := budget - int(hidden.sum())) > 0:
        length = min(max(1, int(random.poisson(3))), left)
        start = int(random.integers(0, len(tokens) - length + 1))
        hidden[start : start + length] = True
    begins = hidden & ~np.concatenate([[False], hidden[:-1]])
    return np.where(begins, mask, tokens)[~hidden | begins]


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of more than 4300 digits
        return "of too many digits"
    return text if len(text) <= 40 else text[:37] + "..."
