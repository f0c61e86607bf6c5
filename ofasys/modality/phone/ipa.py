"""The International Phonetic Alphabet: letters, affricates as one symbol, diacritics, length, stress and tone."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from ofasys.errors import DataError
from ofasys.modality.phone.inventory import BOUNDARY

# The chart of the International Phonetic Association, revised to 2020, row by row.
PULMONIC = (
    "p b t d ʈ ɖ c ɟ k ɡ q ɢ ʔ m ɱ n ɳ ɲ ŋ ɴ ʙ r ʀ ⱱ ɾ ɽ ɸ β f v θ ð s z ʃ ʒ ʂ ʐ ç ʝ "
    "x ɣ χ ʁ ħ ʕ h ɦ ɬ ɮ ʋ ɹ ɻ j ɰ l ɭ ʎ ʟ"
)
OTHER = "ʘ ǀ ǃ ǂ ǁ ɓ ɗ ʄ ɠ ʛ ʍ w ɥ ʜ ʢ ʡ ɕ ʑ ɺ ɧ"
VOWELS = "i y ɨ ʉ ɯ u ɪ ʏ ʊ e ø ɘ ɵ ɤ o ə ɛ œ ɜ ɞ ʌ ɔ æ ɐ a ɶ ɑ ɒ"
BEYOND = "ɚ ɝ ɫ ᵻ ᵿ ȵ ȶ ȡ ȴ"  # not on the chart, but what dictionaries write
AFFRICATES = "p͡f b͡v t͡s d͡z t͡ʃ d͡ʒ t͡ɕ d͡ʑ ʈ͡ʂ ɖ͡ʐ t͡θ d͡ð c͡ç ɟ͡ʝ k͡x ɡ͡ɣ q͡χ t͡ɬ d͡ɮ k͡p ɡ͡b ŋ͡m"
MODIFIERS = "ʰ ʱ ʷ ʲ ˠ ˤ ˀ ⁿ ᵐ ᵑ ˡ ᶿ ˣ ᵊ ʼ ˞ ː ˑ"  # stand after what they change
MARKS = (  # stand over, under or through it
    "\u0325 \u030a \u032c \u0339 \u031c \u031f \u0320 \u0308 \u033d \u0329 \u032f \u0324 \u0330 \u033c \u0334 \u031d "
    "\u031e "
    "\u0318 \u0319 \u032a \u033a \u033b \u0303 \u031a \u0306 \u0361 \u035c \u0327 "
    "\u030b \u0301 \u0304 \u0300 \u030f \u030c \u0302 \u1dc4 \u1dc5 \u1dc6 \u1dc7 \u1dc8 \u1dc9"
)
TONES = "˥ ˦ ˧ ˨ ˩ ꜛ ꜜ ↗ ↘"
ALONE = "ˈ ˌ . ‖ ‿"
TIES = "\u0361\u035c"

# What is typed or printed for a symbol.
WRITTEN = {
    **{"g": "ɡ", ":": "ː", "'": "ˈ", "’": "ʼ", "ʦ": "t͡s", "ʣ": "d͡z", "ʧ": "t͡ʃ", "ʤ": "d͡ʒ", "ʨ": "t͡ɕ", "ʥ": "d͡ʑ"},
    **{"ˁ": "ˤ", "ɩ": "ɪ", "ɷ": "ʊ", "ι": "ɪ", "ε": "ɛ", "∅": "", "ǝ": "ə", "!": "ǃ", "\u200d": "", "\ufeff": ""},
}


def _symbols() -> tuple[str, ...]:
    groups = (PULMONIC, OTHER, VOWELS, BEYOND, AFFRICATES, MODIFIERS, MARKS, TONES, ALONE)
    return (*(symbol for group in groups for symbol in group.split()), BOUNDARY)


class IPA:
    """Text in the IPA, with blanks between phones or without. A phone is a letter or affricate with all that changes
    it.

    Read in canonical decomposition; longest match first. A tied pair that is no known affricate is its letters and the
    tie. A run of tone letters is one unit; stress marks, breaks and boundaries stand alone.
    """

    def __init__(self) -> None:
        self.symbols = _symbols()
        self.number = {symbol: i for i, symbol in enumerate(self.symbols)}
        self.pattern = re.compile("|".join(map(re.escape, sorted(self.symbols, key=len, reverse=True))))
        self.after = {self.number[s] for s in (*MODIFIERS.split(), *MARKS.split())}
        self.ties = {self.number[s] for s in TIES}
        self.tones = {self.number[s] for s in TONES.split()}
        self.alone = {self.number[s] for s in (*ALONE.split(), BOUNDARY)}

    def read(self, text: str) -> list[list[int]]:
        """Text -> phones. Errors: DataError for a character that is no symbol, with its name and what is like it."""
        numbers = [n for part in text.split() for n in self._part(decomposed(part))]
        return [numbers[start:end] for start, end in self._units(numbers)]

    def write(self, numbers: Sequence[int]) -> str:
        """The symbols, a blank between phones."""
        return " ".join("".join(self.symbols[n] for n in numbers[start:end]) for start, end in self._units(numbers))

    def _part(self, text: str) -> list[int]:
        found, at = [], 0
        for match in self.pattern.finditer(text):
            if match.start() != at:
                break
            found.append(self.number[match[0]])
            at = match.end()
        if at < len(text):
            raise DataError(f"unknown symbol {text[at]!r} in {text[:40]!r}", expected=_help(text[at], self.symbols))
        return found

    def _units(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        """Where each unit begins and ends."""
        starts: list[int] = []
        for i, number in enumerate(numbers):
            before = numbers[i - 1] if i else -1
            joined = before >= 0 and (
                (number in self.after and before not in self.alone | self.tones)
                or (number in self.tones and before in self.tones)
                or (before in self.ties and number not in self.alone | self.tones)
            )
            if not joined:
                starts.append(i)
        ends = [*starts[1:], len(numbers)] if starts else []
        return list(zip(starts, ends, strict=True))


def decomposed(text: str) -> str:
    """Canonical decomposition, but for the letter c with cedilla; what is typed for a symbol replaced by it."""
    text = unicodedata.normalize("NFD", text).replace("c\u0327", "ç")
    return "".join(WRITTEN.get(c, c) for c in text)


def _help(character: str, symbols: Sequence[str]) -> str:
    """What the character is called, and the symbols whose names say the same and least besides."""
    if character.isdigit():
        return "symbols of the IPA; tones are letters, ˥ ˦ ˧ ˨ ˩ from high to low, or marks on a vowel"
    name, told = unicodedata.name(character, "unnamed"), _told(character)
    like = [s for s in symbols if len(s) == 1 and told & _told(s)]
    like.sort(key=lambda s: (len(_told(s) - told), unicodedata.category(s) != "Ll"))
    near = f"; it is {name}, did you mean {' or '.join(like[:4])}?" if like else f"; it is {name}"
    return f"symbols of the IPA{near}"


def _told(character: str) -> set[str]:
    """The words of its name that tell it from others."""
    words = set(unicodedata.name(character, "").split())
    return words - {"LATIN", "GREEK", "SMALL", "LETTER", "CAPITAL", "WITH", "MODIFIER", "COMBINING"}
