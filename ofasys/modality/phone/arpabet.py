"""ARPAbet, as cmudict uses it: 39 phones of American English; stress 0, 1 or 2 on the vowels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ofasys.errors import DataError, one_of
from ofasys.modality.phone.inventory import BOUNDARY

VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()  # noqa: SIM905
CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()  # noqa: SIM905
PHONES = sorted([*VOWELS, *CONSONANTS])
STRESSES = ("", "0", "1", "2")

# Broad transcription in the IPA. AH and ER without stress are the reduced vowels.
IPA_OF = {
    **{"AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "aʊ", "AY": "aɪ", "EH": "ɛ", "ER": "ɝ", "EY": "eɪ"},
    **{"IH": "ɪ", "IY": "i", "OW": "oʊ", "OY": "ɔɪ", "UH": "ʊ", "UW": "u", "AH0": "ə", "ER0": "ɚ"},
    **{"B": "b", "CH": "t͡ʃ", "D": "d", "DH": "ð", "F": "f", "G": "ɡ", "HH": "h", "JH": "d͡ʒ", "K": "k", "L": "l"},
    **{"M": "m", "N": "n", "NG": "ŋ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ", "V": "v"},
    **{"W": "w", "Y": "j", "Z": "z", "ZH": "ʒ"},
}

_SYMBOL = re.compile(r"([A-Z]+)([0-2]?)")


class Arpabet:
    """Symbols parted by blanks, in either case: "HH AH0 L OW1". Without `stress` the digits are dropped."""

    def __init__(self, stress: bool) -> None:
        self.stress = stress
        marked = [phone + s for phone in PHONES for s in (STRESSES if stress and phone in VOWELS else ("",))]
        self.symbols = (*marked, BOUNDARY)
        self.number = {symbol: i for i, symbol in enumerate(self.symbols)}

    def read(self, text: str) -> list[list[int]]:
        """Each phone is a unit. Errors: DataError for a symbol that is none, naming the nearest."""
        return [[self._number(symbol)] for symbol in text.split()]

    def write(self, numbers: Sequence[int]) -> str:
        """The symbols, a blank between them."""
        return " ".join(self.symbols[i] for i in numbers)

    def _number(self, symbol: str) -> int:
        plain = symbol.upper()
        found = _SYMBOL.fullmatch(plain)
        if found and found[2] and not self.stress and found[1] in VOWELS:
            plain = found[1]
        if plain not in self.number:
            raise DataError(f"unknown phone {symbol[:20]!r}", expected=f"ARPAbet: {one_of(plain, self.symbols)}")
        return self.number[plain]
